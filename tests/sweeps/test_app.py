"""LeukoBench as a Hydra app: Hydra's flags, and no trace of it in the other Hydra apps of an environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leukobench.cli import cli

APP = """\
import sys
if sys.argv[1] == "alone":  # as if LeukoBench were not installed
    sys.path = [p for p in sys.path if p != {source!r}]
del sys.argv[1]
import hydra
from omegaconf import OmegaConf

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    print(OmegaConf.to_yaml(config, resolve=True))

main()
"""
KEYS = ("model", "optimizer", "data", "trainer", "loss", "planner")
TIME = re.compile(r"^\[.*?\]", re.MULTILINE)
SOURCE = str(Path(__file__).resolve().parents[2] / "src")


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs another Hydra app beside the installed LeukoBench, or `alone`."""
    (tmp_path / "app.py").write_text(APP.format(source=SOURCE))

    def run(where: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(tmp_path / "app.py"), where, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    return run


@pytest.fixture
def plain_keys(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    text = "".join(f"{key}: mine\n" for key in KEYS)
    (tmp_path / "conf" / "config.yaml").write_text(text)


@pytest.fixture
def own_groups(tmp_path: Path) -> None:
    for key in KEYS:
        for choice in ("small", "large"):
            file = tmp_path / "conf" / key / f"{choice}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"size: {choice}\n")
    defaults = "".join(f"  - {key}: small\n" for key in KEYS)
    (tmp_path / "conf" / "config.yaml").write_text(f"defaults:\n{defaults}  - _self_\n")


@pytest.mark.usefixtures("plain_keys")
@pytest.mark.parametrize("more", [(), ("--cfg", "all")])
def test_keys_of_another_app_are_overridden_beside_leukobench(
    foreign: Callable[..., subprocess.CompletedProcess[str]], more: tuple[str, ...]
) -> None:
    overrides = [f"{key}=other" for key in KEYS]
    beside, alone = (foreign(where, *overrides, *more) for where in ("beside", "alone"))
    assert beside.returncode == 0, beside.stderr
    assert "optimizer: other" in beside.stdout
    assert (beside.stdout, beside.stderr) == (alone.stdout, alone.stderr)


@pytest.mark.usefixtures("own_groups")
@pytest.mark.parametrize(
    "arguments",
    [
        ("model=large", "optimizer=large"),
        ("model=gene_mlp",),
        ("-m", "model=small,large"),
        ("hydra/sweeper=planned",),
        ("hydra/launcher=slurm_local",),
        ("--cfg", "all"),
        ("--info", "defaults"),
        ("--info", "searchpath"),
        ("--help",),
    ],
)
def test_groups_of_another_app_hold_what_they_hold_without_leukobench(
    foreign: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...]
) -> None:
    beside, alone = (foreign(where, *arguments) for where in ("beside", "alone"))
    assert beside.returncode == alone.returncode
    assert TIME.sub("", beside.stdout) == TIME.sub("", alone.stdout)
    assert beside.stderr == alone.stderr


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(tmp_path / "out"))
    monkeypatch.setenv("LEUKOBENCH_CONF", "")
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cfg", "job", "--package", "optimizer"), "_target_: torch.optim.Adam"),
        (("--cfg", "hydra"), "name: leukobench"),
        (("--info", "defaults", "model=gene_mlp"), "model/gene_mlp"),
        (("--hydra-help",), "hydra/launcher: "),
        (("-sc", "install=none"), "none"),
        (("--version",), "Hydra 1."),
    ],
)
def test_hydra_s_flags_answer(
    command: Callable[..., Result], arguments: tuple[str, ...], said: str
) -> None:
    result = command("train", *arguments)
    assert said in result.output or said in str(result.exception)


def test_a_folder_of_configs_named_on_the_command_line_extends_every_group(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "own.yaml").write_text("family: expression\n")
    flags = ("--cfg", "job", "--config-dir", str(tmp_path / "mine"))
    assert "family: expression" in command("train", *flags, "model=own").output
    missing = command("train", "--config-dir", str(tmp_path / "absent"), "model=own")
    assert "there is no folder" in missing.stderr


def test_what_the_command_line_holds_is_left_as_it_was(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["as", "it", "was"])
    assert command("train", "--cfg", "job").exit_code == 0
    assert sys.argv == ["as", "it", "was"]


PLANNING = """\
import sys
from leukobench.cli import cli
cli(["sweep", "quickstart", "--dry-run"], standalone_mode=False)
print("imported:", sorted({"torch", "pytorch_lightning", "timm", "torchvision"} & set(sys.modules)))
"""


def test_an_expression_sweep_is_planned_without_torch(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    environment = {**os.environ, "LEUKOBENCH_OUTPUT": str(tmp_path)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-c", PLANNING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "120 jobs asked" in done.stderr
    assert done.stdout.splitlines()[-1] == "imported: []"

"""Every command that README, docs and `--help` print works: it is read by the command line, and run in bash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from documented import DRY, NOT_RUN, Block, blocks, commands_of, files, inline, resolve
from warm import Warm

from leukobench.errors import LeukoBenchError

NETWORK = """\
import torch


def my_model(input_shape, num_classes, width):
    channels, height, depth = input_shape
    return torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(channels * 16, width),
        torch.nn.Linear(width, num_classes),
    )
"""


def write_own_configs(folder: Path) -> Path:
    """The user's folder that the pages describe, and the module beside it."""
    for name, text in files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "my_package.py").write_text(NETWORK)
    return folder / "my_configs"


# --- read -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CONF", str(write_own_configs(tmp_path)))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", blocks(), ids=lambda b: b.place)
def test_commands_of_a_block_are_read_by_the_command_line(block: Block, own_configs: None) -> None:
    for words in commands_of(block):
        read(words)


def test_commands_in_running_text_are_read_by_the_command_line(own_configs: None) -> None:
    for _, command in inline():
        read(commands_of(Block("", (command,)))[0])


def test_no_exception_outlives_the_command_it_is_for() -> None:
    printed = {line for block in blocks() for line in block.lines} | {c for _, c in inline()}
    assert set(DRY) | set(NOT_RUN) <= printed


def test_shell_commands_are_marked_as_such() -> None:
    """A block that is not marked `sh` would be read by nobody."""
    from documented import PAGES

    for page in PAGES:
        for kind, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), re.M | re.S):
            shown = [line for line in body.splitlines() if line.startswith("leukobench ")]
            assert kind in ("sh", "python") or not shown, (page.name, shown[0])


def read(words: list[str]) -> None:
    """Parse a command as the command line does, and look up the names in it."""
    command, words = resolve(words)
    assert not hasattr(command, "commands"), words
    with command.make_context(command.name, list(words)) as context:
        values = context.params
    if command.name in ("train", "sweep"):
        look_up_launch(values)
    elif command.name == "audit":
        look_up_paper(values["name"], ())
    elif command.name == "tables":
        look_up_tables(values["names"])
    elif command.name in ("get", "check", "simulate"):
        from leukobench.data.catalog import data_files

        assert values["name"] in {*data_files(), "NAME"}


def look_up_launch(values: dict[str, object]) -> None:
    from leukobench.settings import config_folders, find_sweep
    from leukobench.sweeps.suggest import known_keys

    if values.get("name"):
        find_sweep(str(values["name"]))
    known = {*known_keys(), "data.n_columns"}
    for text in values["arguments"]:  # type: ignore[attr-defined]
        key, sign, value = text.partition("=")
        if not sign or key.startswith("hydra"):
            continue
        assert key in known, text
        folders = config_folders(key)
        for choice in value.split(",") if folders else ():
            assert any((folder / f"{choice}.yaml").is_file() for folder in folders), text


def look_up_tables(names: tuple[str, ...]) -> None:
    from leukobench.cli.papers import is_paper
    from leukobench.settings import find_sweep

    name, *only = names
    if is_paper(name):
        look_up_paper(name, tuple(only))
        return
    for sweep in names:
        find_sweep(sweep)


def look_up_paper(name: str, only: tuple[str, ...]) -> None:
    from leukobench.cli.papers import papers

    if name.endswith(".csv"):
        return
    if not only:
        papers(name)
        return
    (paper,) = papers(name)
    assert set(only) <= {table.id for table in paper.tables}


# --- run --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Project:
    """A folder in which everything that the pages speak of lies: data (simulated), a store with sweeps, own configs."""

    folder: Path
    environment: dict[str, str]
    run_id: str = ""

    def bash(self, script: str) -> str:
        """Run a script in the folder; every command must succeed.

        Raises:
            AssertionError: One did not; with what was printed.
        """
        file = self.folder / "script.sh"
        file.write_text(script)
        done = subprocess.run(
            ["bash", "-eu", str(file)],
            cwd=self.folder,
            env=self.environment,
            input="y\n" * 5,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr
        return done.stdout


PREPARATION = """\
leukobench data simulate cnmc --out data/cnmc --samples 400 --subjects 20
leukobench data simulate golub --out data/golub
leukobench data simulate cumida --out data/cumida --samples 150 --genes 20000
leukobench data simulate aml --out data/aml --samples 100
leukobench sweep quickstart
leukobench sweep quickstart sweep=quickstart_again epochs=5 seed=0
leukobench export quickstart before.zip
leukobench export quickstart_again after.zip
cp after.zip other.zip
leukobench train -m sweep=fata data=cnmc model=lenet5 preprocess.size=32 epochs=1 split.validation=0.2
leukobench train -m sweep=rai data=cnmc model=lenet5 preprocess.size=32 epochs=1 protocol=paper,leak_free
leukobench register --best fata --name cnmc-vgg16
leukobench train sweep=genes
leukobench register --best genes --name golub38-logistic
"""
"""Small simulated data and finished sweeps under the names that the pages use. The network is smaller than its name."""


def write_inputs(folder: Path) -> None:
    """Images and tables that the pages predict or train on."""
    from leukobench.data.sources.golub import Golub38

    images = sorted((folder / "data" / "cnmc").rglob("*all.bmp"))[:4]
    for name in ("new_images", "cells"):
        (folder / name).mkdir()
        for image in images[:2]:
            shutil.copy(image, folder / name)
    shutil.copy(images[2], folder / "cell.bmp")
    shutil.copy(images[3], folder / "other.bmp")
    shutil.make_archive(str(folder / "more"), "zip", folder / "cells")
    golub = Golub38().load()
    pd.DataFrame(golub.values[:5], columns=list(golub.genes)).to_csv(
        folder / "expression.csv", index=False
    )
    own = folder / "data" / "mine" / "mine.csv"
    own.parent.mkdir()
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(5, 1, (40, 30)), columns=[f"gene{i}" for i in range(30)])
    table.insert(0, "diagnosis", ["ALL", "ALL", "AML", "AML"] * 10)
    table.insert(0, "patient", [f"p{i // 2}" for i in range(40)])
    table.to_csv(own, index=False)
    table.insert(0, "sample", [f"s{i}" for i in range(40)])
    table.to_csv(folder / "my.csv", index=False)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder, bin = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("bin")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LEUKOBENCH_", "MLFLOW_"))}
    environment = {
        **kept,
        "PATH": os.pathsep.join([str(bin), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    write_own_configs(folder)
    with Warm(bin):
        made = Project(folder, environment)
        made.bash(PREPARATION)
        write_inputs(folder)
        yield Project(folder, environment, image_run(folder))


def image_run(folder: Path) -> str:
    """The id of a finished run of an image model."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'outputs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fata")
    runs = client.search_runs([experiment.experiment_id], "tags.`leukobench.kind` = 'result'")
    return str(runs[0].info.run_id)


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks(), ids=lambda b: b.place)
def test_a_block_runs_in_bash_as_printed(block: Block, project: Project) -> None:
    project.bash(block.script(project.run_id))


@pytest.mark.slow
def test_commands_in_running_text_run_in_bash(project: Project) -> None:
    failed = []
    for place, command in inline():
        if command.startswith(("leukobench train", "leukobench sweep")):
            command += " --dry-run"
        try:
            project.bash(Block(place, (command,)).script(project.run_id))
        except (AssertionError, LeukoBenchError) as e:
            failed.append(f"{place}: {e}")
    assert not failed, "\n\n".join(failed)

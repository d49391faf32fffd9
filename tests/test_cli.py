"""The command: thin, and one clear message for whatever a user mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leukobench.cli import cli, main
from leukobench.errors import LeukoBenchError
from leukobench.settings import Settings
from leukobench.sweeps.states import status

Run = Callable[..., Result]
HEAVY = (
    "torch",
    "pytorch_lightning",
    "mlflow",
    "hydra",
    "omegaconf",
    "sklearn",
    "pandas",
    "numpy",
    "scipy",
    "rich",
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, local: Settings, tiny_conf: Path) -> Run:
    """Runs `leukobench ARGUMENTS` in this process, with an empty store and `data=tiny` to choose."""
    import leukobench.sweeps.launch as launch

    monkeypatch.setenv("LEUKOBENCH_CONF", str(tiny_conf))
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(local.output))
    monkeypatch.setenv("LEUKOBENCH_DATA", str(local.data))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.store)
    monkeypatch.setattr(launch, "describe", lambda *args: None)
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def refused(result: Result, *said: str) -> None:
    """One message on standard error, nothing else, exit status 1."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert "HYDRA_FULL_ERROR" not in result.stderr
    for text in said:
        assert text in result.stderr


# --- thin -------------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from leukobench.cli import cli\n"
        "for arguments in (['--help'], ['train', '--help'], ['sweep', '--help'], ['tables', '--help'], ['data', '--help']):\n"
        "    try:\n"
        "        cli(arguments)\n"
        "    except SystemExit as e:\n"
        "        assert not e.code, e.code\n"
        f"print('imported:', sorted(set(sys.modules) & set({HEAVY!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_an_example_in_its_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    group = cli.commands[name]
    if not hasattr(group, "commands"):
        assert f"leukobench {name}" in result.output.partition("\n")[2]
        return
    for inner in group.commands:
        shown = CliRunner().invoke(cli, [name, inner, "--help"])
        assert f"leukobench {name} {inner}" in shown.output.partition("\n")[2]


# --- runs -------------------------------------------------------------------------------------------------------------


def test_train_runs_once_and_logs_it(command: Run, local: Settings) -> None:
    first = command("train", "data=tiny", "epochs=1")
    assert first.exit_code == 0, first.output
    assert [job["state"] for job in status(local, "train")] == ["done"]
    again = command("train", "data=tiny", "epochs=1")
    assert again.exit_code == 0
    assert "1 done, 0 to do" in again.stderr


def test_train_m_is_hydra_s_multirun(command: Run, local: Settings) -> None:
    done = command(
        "train", "-m", "data=tiny", "epochs=1,2", "seed=range(2)", "model=logistic,plain_cnn"
    )
    assert done.exit_code == 0, done.output
    jobs = status(local, "train")
    assert len(jobs) == 4
    assert {job["state"] for job in jobs} == {"done"}
    assert "left out" in done.stderr
    assert "reads image data" in done.stderr


def test_a_sweep_file_is_run_and_its_swept_keys_can_be_replaced(
    command: Run, local: Settings, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [train, {override data: tiny}, _self_]\n"
        "sweep: mine\n"
        "hydra: {sweeper: {params: {model: 'logistic,gene_mlp', seed: range(3), epochs: '1'}}}\n"
    )
    planned = command("sweep", str(tmp_path / "mine.yaml"), "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "6 jobs asked" in planned.stderr
    done = command(
        "sweep", str(tmp_path / "mine.yaml"), "seed=7", "model=logistic", "sweep=renamed"
    )
    assert done.exit_code == 0, done.output
    (job,) = status(local, "renamed")
    from mlflow import MlflowClient

    note = MlflowClient(local.store).get_run(job["run_id"]).data.tags["mlflow.note.content"]
    assert "leukobench sweep mine model=logistic" in note
    done = command("sweep", str(tmp_path / "mine.yaml"), "seed=7", "model=logistic")
    assert done.exit_code == 0, done.output
    (job,) = status(local, "mine")
    assert job["state"] == "done"
    assert "seed=7" in job["overrides"]
    forced = command("sweep", str(tmp_path / "mine.yaml"), "seed=7", "model=logistic", "--force")
    assert forced.exit_code == 0
    assert "0 done, 1 to do" in forced.stderr
    (after,) = status(local, "mine")
    assert after["run_id"] != job["run_id"]


def test_cfg_shows_the_config_without_running(command: Run, local: Settings) -> None:
    shown = command("train", "--cfg", "job", "data=tiny", "seed=5")
    assert shown.exit_code == 0
    assert "seed: 5" in shown.output
    assert not (local.output / "runs").exists()


def test_train_has_the_switches_of_sweep(command: Run, local: Settings) -> None:
    planned = command("train", "--dry-run", "data=tiny", "epochs=1")
    assert planned.exit_code == 0, planned.output
    assert "1 jobs asked" in planned.stderr
    assert not (local.output / "runs").exists()


def test_the_usual_preprocessing_takes_the_keys_of_the_data_s_family(
    command: Run, local: Settings
) -> None:
    done = command("train", "data=tiny", "epochs=1", "preprocess.genes=7", "preprocess.size=64")
    assert done.exit_code == 0, done.output
    (job,) = status(local, "train")
    from mlflow import MlflowClient

    params = MlflowClient(local.store).get_run(job["run_id"]).data.params
    assert params["preprocess"] == "auto"
    assert params["preprocess.genes"] == "7"
    assert "preprocess.size" not in params


# --- one's own folder -------------------------------------------------------------------------------------------------


@pytest.fixture
def project(command: Run, tmp_path: Path, tiny_conf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `my_configs` (a sweep, a model whose module lies beside it), stood in."""
    own = tmp_path / "project" / "my_configs"
    for name in ("sweeps", "model", "data"):
        (own / name).mkdir(parents=True)
    (own / "sweeps" / "own.yaml").write_text(
        "defaults: [train, {override data: tiny}, _self_]\nsweep: own\n"
    )
    (own / "data" / "tiny.yaml").write_text((tiny_conf / "data" / "tiny.yaml").read_text())
    (own / "model" / "mine.yaml").write_text(
        "_target_: my_network_of_tests.linear\nversion: 1\nfamily: expression\n"
    )
    (own.parent / "my_network_of_tests.py").write_text(
        "import torch\n\ndef linear(input_shape, num_classes):\n"
        "    return torch.nn.Linear(input_shape[0], num_classes)\n"
    )
    monkeypatch.chdir(own.parent)
    monkeypatch.delenv("LEUKOBENCH_CONF")
    return own.parent


def test_a_relative_folder_of_configs_serves_sweeps(
    command: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOBENCH_CONF", "my_configs")
    planned = command("sweep", "own", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "sweep own: 1 jobs asked" in planned.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep", "own", "--dry-run", "--config-dir", "my_configs"),
        ("train", "--config-dir=my_configs", "--dry-run", "data=tiny"),
        ("data", "list", "--config-dir", "my_configs"),
    ],
)
def test_the_folder_of_configs_can_be_named_after_any_command(
    command: Run, project: Path, arguments: tuple[str, ...]
) -> None:
    done = command(*arguments)
    assert done.exit_code == 0, done.output
    assert "LEUKOBENCH_CONF" not in os.environ


def test_a_module_beside_the_folder_of_configs_is_found(command: Run, project: Path) -> None:
    before = list(sys.path)
    done = command("train", "--config-dir", "my_configs", "data=tiny", "model=mine", "epochs=1")
    assert done.exit_code == 0, done.output
    assert "1 of 1 trainings finished" in done.stderr
    assert sys.path == before


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [["train"], ["train", "-m"], ["sweep", "quickstart"]])
def test_an_unknown_override_is_one_message(command: Run, mode: list[str]) -> None:
    refused(command(*mode, "no_such_key=1"), "Could not override 'no_such_key'", "+no_such_key=1")


def test_an_unknown_choice_lists_those_there_are(command: Run) -> None:
    result = command("train", "model=no_such_model")
    refused(result, "Could not find 'model/no_such_model'", "gene_mlp, ", "logistic")
    assert "search path" not in result.stderr.lower()


@pytest.mark.parametrize("start", [["train"], ["sweep", "quickstart"]])
def test_a_paper_given_as_a_choice_is_one_message_with_its_sweep(
    command: Run, start: list[str]
) -> None:
    refused(command(*start, "paper=fata"), "leukobench sweep fata")


@pytest.mark.parametrize("switch", ["planner.stack=false", "+planner.stack=auto"])
def test_stacking_asked_for_on_the_command_line_is_said_to_be_gone(
    command: Run, switch: str
) -> None:
    refused(command("train", switch), "planner.stack is gone")


def test_stacking_asked_for_in_a_file_is_said_to_be_gone(command: Run, tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("defaults: [train, _self_]\nplanner: {stack: false}\n")
    refused(command("sweep", str(file), "data=tiny"), "planner.stack is gone")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("lr=0.1", "Did you mean optimizer.lr?"),
        ("epoch=3", "Did you mean epochs?"),
        ("optimizer.weight_decy=0", "Did you mean optimizer.weight_decay"),
        ("model=resnet81", "model=resnet18"),
        ("modle=logistic", "Did you mean model?"),
    ],
)
def test_a_misspelt_key_or_choice_names_what_was_meant(
    command: Run, wrong: str, meant: str
) -> None:
    refused(command("train", wrong), meant)


@pytest.mark.parametrize(
    "wrong", ["epochs=abc", "epochs=-5", "epochs=0", "seed=x", "batch_size=0", "epochs=2.5"]
)
@pytest.mark.parametrize("start", [["train"], ["train", "-m"]])
def test_an_impossible_number_is_refused_before_anything_is_planned(
    command: Run, start: list[str], wrong: str
) -> None:
    result = command(*start, "data=tiny", wrong)
    refused(result, f"{wrong}: a whole number from ")
    assert "jobs asked" not in result.stderr


def test_a_folder_that_cannot_be_written_is_one_message(command: Run) -> None:
    refused(command("tables", "quickstart", "--format", "md", "--out", "/proc/x"), "/proc/x")


def test_an_override_that_cannot_be_read_is_one_message(command: Run) -> None:
    refused(command("train", "seed=[1"), "[1")


def test_an_unknown_sweep_lists_those_there_are(command: Run) -> None:
    refused(command("sweep", "no_such_sweep"), "no sweep 'no_such_sweep'; there are:", "quickstart")


def test_missing_data_are_one_message_with_the_way_to_get_them(command: Run) -> None:
    refused(
        command("train", "data=tiny", "data.root=/no/such/folder"),
        "no folder /no/such/folder",
        "data.root",
    )
    refused(command("train", "data=cnmc", "model=resnet18"), "cnmc", "data.root")


def test_an_image_model_on_genes_is_one_message(command: Run) -> None:
    refused(
        command("train", "data=tiny", "model=plain_cnn"),
        "model=plain_cnn reads image data",
        "data=tiny holds",
    )


def test_an_unwritable_store_is_one_message(command: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = f"settings.store=sqlite:///{tmp_path / 'file' / 'mlflow.db'}"
    refused(
        command("train", "data=tiny", store),
        "cannot open the MLflow store",
        "its folder can be written",
    )
    refused(
        command("train", "data=tiny", "settings.store=file:///tmp/mlruns"),
        "sqlite:////absolute/path",
    )


def test_a_failed_run_is_reported_with_its_reason(command: Run) -> None:
    result = command("train", "data=tiny", "optimizer=lbfgs", "batch_size=8")
    assert result.exit_code == 4
    assert "set batch_size=null" in result.stderr
    assert "error: 1 of 1 trainings failed" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--debug", "train", "fold=x"], ["train", "fold=x", "--debug"]]
)
def test_debug_shows_the_traceback_wherever_it_stands(
    command: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["leukobench", *arguments])
    with pytest.raises(LeukoBenchError, match="fold=x"):
        main()
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_status_of_an_unknown_sweep_says_how_to_launch_it(command: Run) -> None:
    refused(command("status", "quickstart"), "no sweep 'quickstart'", "leukobench sweep quickstart")


def test_status_without_a_name_lists_every_sweep(command: Run) -> None:
    assert "no sweep in" in command("status").stdout
    assert command("train", "data=tiny", "epochs=1", "sweep=one").exit_code == 0
    shown = command("status")
    assert shown.exit_code == 0, shown.output
    assert [line.split() for line in shown.stdout.splitlines()[2:]] == [["one", "1", "0", "0", "0"]]


def test_status_of_trainings_names_commands_that_run(command: Run) -> None:
    failing = ("data=tiny", "optimizer=lbfgs", "batch_size=8", "epochs=1")
    assert command("train", *failing).exit_code == 4
    shown = command("status", "train")
    assert f"go on with: leukobench train {' '.join(failing)}" in shown.stdout


# --- audit ------------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_the_report_shows_what_the_audit_finds_in_the_data(
    command: Run, shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "golub"
    folder.mkdir(parents=True)
    for file in (*(shared_data / "golub").glob("*.csv"), *(shared_data / "golub").glob("*/*.csv")):
        (folder / file.name).symlink_to(file)
    done = command("tables", "neuraldesigner", "--format", "html")
    assert done.exit_code == 0, done.output
    assert "36 distinct ones" in done.stdout
    assert done.stdout.count("verified on data") == 4
    assert "Not checked here" not in done.stdout


def test_without_the_data_the_audit_says_what_it_could_not_check(command: Run) -> None:
    done = command("audit", "neuraldesigner")
    assert done.exit_code == 0, done.output
    assert "not checked without real, complete data:" in done.stdout
    assert "36 distinct ones" in done.stdout
    assert "leukobench data get golub_corrupt" in done.stdout


def test_the_audit_reads_a_table_of_scores(command: Run, tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("model,n,accuracy\nA,1600,88.975\n", encoding="utf-8")
    done = command("audit", str(table))
    assert done.exit_code == 0, done.output
    assert "accuracy 88.975% cannot be" in done.stdout


def test_the_audit_of_a_paper_is_written_as_a_page(command: Run, tmp_path: Path) -> None:
    page = tmp_path / "rai.html"
    done = command("audit", "rai", "--format", "html", "--out", str(page))
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "FP would have to be 190" in text


# --- for real ---------------------------------------------------------------------------------------------------------


def test_the_installed_command_refuses_with_one_line_and_status_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leukobench", "train", "no_such_key=1"],
        capture_output=True,
        text=True,
        env={**os.environ, "LEUKOBENCH_OUTPUT": str(tmp_path)},
    )
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == "error: Could not override 'no_such_key'. To append to your config use +no_such_key=1."
    )

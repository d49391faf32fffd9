"""What is loaded is data: no command runs code that a stored config names, unless it is trusted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.cli import cli
from leukobench.files import read_json, write_json
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store
from leukobench.tracking.sweeps import open_sweep
from trained import Trained

Train = Callable[..., Trained]
Change = Callable[[dict[str, Any], dict[str, Any]], None]
COMMANDS = ("predict", "explain", "card", "register", "export-model", "figures")
GROUPS = ("data", "split", "preprocess", "resample", "augment", "loss", "optimizer", "schedule")
V1 = Path(__file__).parent / "fixtures" / "v1"


class Model:
    """A run in the store whose job.json can be changed, and the commands around it."""

    def __init__(self, folder: Path, settings: Settings, run: str, genes: list[str]) -> None:
        self.folder, self.settings, self.run = folder, settings, run
        self.table = folder.parent / "new.csv"
        pd.DataFrame([[200.0] * len(genes)] * 2, columns=genes).to_csv(self.table, index=False)

    @property
    def where(self) -> list[str]:
        folders = ["--output", str(self.settings.output), "--data-root", str(self.settings.data)]
        return [*folders, "--store", self.settings.store]

    def change(self, change: Change, evil: dict[str, Any]) -> None:
        body = read_json(self.folder / "job.json")
        change(body["config"], evil)
        write_json(self.folder / "job.json", body)

    def command(self, name: str, *options: str) -> Result:
        to = self.folder.parent
        arguments = {
            "predict": ["--run", self.run, str(self.table), "--any-scale"],
            "explain": ["--run", self.run, "-o", str(to / "explained")],
            "card": ["--run", self.run],
            "register": [self.run, "--name", "some"],
            "export-model": ["--run", self.run, "-o", str(to / "model.pt2")],
            "figures": [self.run],
        }[name]
        return CliRunner().invoke(cli, [name, *arguments, *options, *self.where])

    def registered(self, *options: str) -> Result:
        """Predict with what `register` left."""
        arguments = ["--model", "some", str(self.table), "--any-scale", *options]
        return CliRunner().invoke(cli, ["predict", *arguments, *self.where])


@pytest.fixture
def model(train: Train, local: Settings) -> Model:
    """A finished run on LeukoBench's own model."""
    done = train("epochs=1")
    store = Store(local)
    sweep = open_sweep(store, "some")
    delivery.deliver(store, sweep, done.folder, delivery_order(done.training))
    query = "tags.`leukobench.kind` = 'result'"
    (run,) = store.search(sweep.experiment_id, query)
    return Model(done.folder.path, local, run.info.run_id, [f"g{i}" for i in range(12)])


@pytest.fixture
def evil(tmp_path: Path) -> dict[str, Any]:
    """A node that leaves a file when it is built."""
    return {"_target_": "os.system", "command": f"touch {tmp_path / 'ran'}"}


def top(config: dict[str, Any], evil: dict[str, Any]) -> None:
    config["model"] = evil


def nested(config: dict[str, Any], evil: dict[str, Any]) -> None:
    config["model"]["evil"] = evil


def listed(config: dict[str, Any], evil: dict[str, Any]) -> None:
    config["model"]["some"] = {"deep": [1, [evil]]}


@pytest.mark.parametrize("change", [top, nested, listed])
def test_no_command_builds_a_model_that_names_other_code(
    model: Model, evil: dict[str, Any], tmp_path: Path, change: Change
) -> None:
    model.change(change, evil)
    for name in COMMANDS[:-1]:
        done = model.command(name)
        assert done.exit_code == 1, name
        assert "job.json: model" in done.output, name
        assert "_target_ names os.system" in done.output, name
        assert "--trust" in done.output, name
    assert not (tmp_path / "ran").exists()


def test_no_command_builds_another_node_that_names_other_code(
    model: Model, evil: dict[str, Any], tmp_path: Path
) -> None:
    def everywhere(config: dict[str, Any], evil: dict[str, Any]) -> None:
        config |= {group: evil for group in GROUPS}

    model.change(everywhere, evil)
    done = {name: model.command(name) for name in COMMANDS}
    assert "data._target_ names os.system" in done["explain"].output
    assert "os.system, which was not run" in done["card"].output
    assert not (tmp_path / "ran").exists()


def test_explain_reads_no_folder_outside_the_data_unless_it_is_trusted(
    model: Model, tmp_path: Path
) -> None:
    def elsewhere(config: dict[str, Any], _: dict[str, Any]) -> None:
        target = "leukobench.data.image_folder.ImageFolder"
        config["data"] = {"_target_": target, "root": str(tmp_path / "other")}

    model.change(elsewhere, {})
    assert "data.root is" in model.command("explain").output
    assert "data.root is" not in model.command("explain", "--trust").output


def test_a_model_of_the_users_own_goes_with_trust(
    local: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(V1))
    folder = tmp_path / "mine"
    shutil.copytree(V1 / "mine", folder)
    mine = Model(folder, local, str(folder), [f"g{i}" for i in range(6)])
    refused = mine.command("predict")
    assert refused.exit_code == 1
    assert "model._target_ names my_lab.dense" in refused.output
    for name in ("predict", "card", "export-model"):
        done = mine.command(name, "--trust")
        assert done.exit_code == 0, done.output


def test_a_registered_model_of_the_users_own_goes_with_trust(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(config: dict[str, Any], _: dict[str, Any]) -> None:
        config["model"] = {"_target_": "my_lab.linear"}

    monkeypatch.syspath_prepend(str(V1))
    model.change(own, {})
    assert model.command("register").exit_code == 1
    done = model.command("register", "--trust")
    assert done.exit_code == 0, done.output
    assert "names my_lab.linear" in model.registered().output
    assert model.registered("--trust").exit_code == 0
    run = Store(model.settings).client.get_run(model.run)
    loaded = mlflow.pyfunc.load_model(f"{run.info.artifact_uri}/model")
    assert len(loaded.predict(pd.read_csv(model.table))) == 2

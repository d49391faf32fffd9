"""What version 0.1.0 stored works with the code at hand (tests/fixtures/v1)."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import identities
from launching import start
from leukobench.files import read_json
from leukobench.settings import Settings
from leukobench.tracking.archive import Archive
from leukobench.tracking.identity import frozen_defaults, identity, training_id
from leukobench.tracking.imports import import_sweep
from leukobench.tracking.reading import Results
from leukobench.training.job import Job, prepare
from leukobench.training.predict import predict
from leukobench.training.saved import load_result
from trained import train_job

V1 = Path(__file__).parent / "fixtures" / "v1"


@pytest.fixture(autouse=True)
def _user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with the folder of then."""
    monkeypatch.setenv("LEUKOBENCH_CONF", str(V1 / "conf"))
    monkeypatch.syspath_prepend(str(V1))


def command(settings: Settings, *arguments: str) -> str:
    """Output of `leukobench ARGUMENTS` in a process of its own, which has to succeed."""
    log = settings.output / "log.txt"
    log.write_text("")
    environment = {
        "LEUKOBENCH_CONF": str(V1 / "conf"),
        "LEUKOBENCH_DATA": str(V1 / "data"),
        "LEUKOBENCH_OUTPUT": str(settings.output),
        "MLFLOW_TRACKING_URI": settings.store,
    }
    process = start(list(arguments), environment, settings.output, log)
    process.join(300)
    assert process.exitcode == 0, log.read_text()
    return log.read_text()


def recorded(path: Path) -> set[str | None]:
    """Identities of the results in an export."""
    with Archive(path) as archive:
        return {run.identity for run in archive.runs if run.kind == "result"}


def imported(settings: Settings, sweep: str) -> set[str]:
    return {result.identity for result in Results(settings, [sweep]).results}


@pytest.mark.parametrize("kind", ["groups", "sweeps"])
def test_the_projects_own_configs_have_the_identities_they_had(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEUKOBENCH_CONF")
    frozen = json.loads((V1 / "identities.json").read_text())[kind]
    now = identities.of_groups() if kind == "groups" else identities.of_sweeps()
    assert {name: now.get(name) for name in frozen} == frozen
    assert set(now) == set(frozen), "add the new ones: python tests/identities.py"


def test_an_export_is_imported_with_the_identities_that_its_sweep_has_now(
    local: Settings,
) -> None:
    import_sweep(local, V1 / "v1.zip")
    assert imported(local, "v1") == recorded(V1 / "v1.zip")
    assert "16 jobs asked, 16 done, 0 to do" in command(local, "sweep", "v1", "--dry-run")


def test_a_users_own_data_set_and_model_have_the_identity_they_had(
    tmp_path: Path,
) -> None:
    job = own_job(tmp_path)
    data = read_json(V1 / "mine" / "run.json")["data"]
    facts = (prepare(job).fingerprint, data["split_hash"])  # a better splitter may split otherwise
    assert identity(job.science, 3, *facts) == "5e841f35795b959e010dd90e3107bd14"
    assert training_id(job.science, None, *facts) == "89dc8551a72c2d9c6891ad2d8001be7c"
    trained = train_job(job)
    assert trained.state == "finished", trained.error


def own_job(output: Path) -> Job:
    """The job of the run folder `mine`."""
    from leukobench.settings import conf_dir

    with identities.composer_of(conf_dir(), "train") as composer:
        return composer.job(
            [
                "data=mine",
                "model=mine",
                "epochs=3",
                "seed=1",
                "figures=false",
                f"settings.data={V1 / 'data'}",
                f"settings.output={output}",
            ]
        )


def test_a_default_is_that_of_the_nodes_version() -> None:
    adam = frozen_defaults("torch.optim.Adam", 1)
    assert adam is not None
    assert adam["eps"] == 1e-8
    assert frozen_defaults("torch.optim.Adam", 7) == adam
    assert frozen_defaults("torch.optim.Adam", 0) == {}
    assert frozen_defaults("my_lab.dense") is None


def test_tables_of_an_import_are_laid_out_with_the_means_they_had(local: Settings) -> None:
    import_sweep(local, V1 / "v1.zip")
    now = command(local, "tables", "v1", "--format", "md")
    assert shown(now) == shown((V1 / "tables.md").read_text())


def shown(table: str) -> list[str]:
    """Headings and rows without intervals, which may be made otherwise (README: write it again)."""
    lines = [line for line in table.splitlines() if line.startswith(("#", "|"))]
    return [re.sub(r" \[[-\d., ]*\]", "", line) for line in lines]


@pytest.mark.parametrize("left", ["store", "folders"])
def test_a_sweep_that_was_stopped_is_finished_without_training_anything_twice(
    left: str, local: Settings
) -> None:
    if left == "store":
        import_sweep(local, V1 / "half.zip")
    else:
        with zipfile.ZipFile(V1 / "half_runs.zip") as archive:
            archive.extractall(local.output)
    before = recorded(V1 / "half.zip")
    kept = finished(local)
    said = command(local, "sweep", "half")
    if left == "store":
        assert "8 jobs asked, 3 done, 5 to do in 5 trainings" in said
    assert {k: v for k, v in finished(local).items() if k in kept} == kept
    assert len(finished(local)) == (5 if left == "store" else 8)
    results = imported(local, "half")
    assert len(results) == 8
    assert before < results


def finished(settings: Settings) -> dict[str, float]:
    """When each result in the output folder was written, by identity."""
    paths = (settings.output / "runs").glob("*/results/*/result.json")
    return {path.parent.name: os.stat(path).st_mtime for path in paths}


def test_a_run_folder_predicts_what_it_predicted() -> None:
    found = predict(load_result(V1 / "run"), [V1 / "run_new.csv"])
    before = pd.read_csv(V1 / "run_predicted.csv")
    columns = ["p_ALL", "p_AML"]
    assert found.frame[columns].to_numpy() == pytest.approx(before[columns].to_numpy(), abs=1e-5)
    assert list(found.frame["predicted"]) == list(before["predicted"])

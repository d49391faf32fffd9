"""Registering: chosen on validation, without pickle, and usable where nothing of the training is known."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.cli.models import card_of
from leukobench.cli.predict import operating
from leukobench.errors import ConfigError, FaultyDataError, StoreError
from leukobench.report.model_card import card_html
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.sweeps import open_experiment, open_sweep
from leukobench.training.job import Job, load_dataset
from leukobench.training.register import Card, best_of, default_name, register, write_model
from leukobench.training.saved import SavedModel, load_registered, load_result
from trained import Trained

Train = Callable[..., Trained]


@pytest.fixture
def sweep(train: Train, local: Settings) -> list[Trained]:
    """A sweep of three short trainings in the store."""
    store = Store(local)
    run = open_sweep(store, "three")
    done = [train("split.validation=0.25", f"optimizer.lr={lr}") for lr in (1e-4, 1e-2, 1.0)]
    for one in done:
        delivery.deliver(store, run, one.folder, delivery_order(one.training))
    return done


def card(model: SavedModel) -> Card:
    text = card_of(model, default_name(model))
    return Card(text, card_html(text))


def test_the_best_result_on_validation_is_chosen_and_never_on_test(
    sweep: list[Trained], local: Settings
) -> None:
    losses = {d.result().metrics["validation_log_loss"]: d for d in sweep}
    chosen = best_of("three", "validation_log_loss", local)
    assert chosen.among == 3
    assert chosen.value == pytest.approx(min(losses))
    assert (
        load_result(chosen.run_id, local).record.identity == losses[min(losses)].result().identity
    )
    accuracies = [d.result().metrics["validation_accuracy"] for d in sweep]
    assert best_of("three", "validation_accuracy", local).value == pytest.approx(max(accuracies))
    one = best_of("three", "validation_log_loss", local, {"optimizer.lr": "0.0001"})
    assert one.among == 1
    with pytest.raises(ConfigError, match="chosen on validation, never on test"):
        best_of("three", "test_accuracy", local)
    with pytest.raises(
        StoreError, match="has the metric validation_nothing; there are: validation_accuracy"
    ):
        best_of("three", "validation_nothing", local)
    with pytest.raises(StoreError, match="no finished result of a sweep 'four'"):
        best_of("four", "validation_accuracy", local)


def test_a_registered_model_predicts_alike_in_a_process_that_knows_nothing(
    sweep: list[Trained], local: Settings, tmp_path: Path
) -> None:
    chosen = best_of("three", "validation_balanced_accuracy", local)
    model = load_result(chosen.run_id, local)
    done = register(model, local, card(model), name="tiny", chosen=str(chosen))
    store = Store(local)
    version = store.client.get_model_version("tiny", "1")
    assert version.run_id == chosen.run_id
    assert "Not for clinical use" in version.description
    assert version.tags["leukobench.simulated"] == "true"
    assert store.client.get_run(chosen.run_id).info.status == "FINISHED", "the run stays as it was"
    artifacts = local_path(store.client.get_run(chosen.run_id).info.artifact_uri)
    assert artifacts is not None
    files = {p.name for p in (artifacts / "model").rglob("*") if p.is_file()}
    assert not [f for f in files if f.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))]
    assert {
        "MLmodel",
        "registered_model.py",
        "input_example.json",
        "model.safetensors",
        "card.html",
    } <= files

    for specificity in (None, 0.9):
        assert operating(load_registered("tiny", local), specificity) == pytest.approx(
            operating(model, specificity)
        )
    with pytest.raises(ConfigError, match=r"0\.8, 0\.85, 0\.9, 0\.95"):
        operating(load_registered("tiny", local), 0.93)

    dataset = load_dataset(Job(dict(model.config), {}))
    frame = pd.DataFrame(dataset.values, columns=dataset.genes)  # type: ignore[attr-defined]
    expected = model.predict(frame[list(model.genes)].to_numpy())
    again = load_registered("tiny", local)
    assert again.predict(frame[list(model.genes)].to_numpy()) == pytest.approx(expected, abs=1e-6)
    for folder in (d.folder.path for d in sweep):
        shutil.rmtree(folder)
    frame[frame.columns[::-1]].to_csv(tmp_path / "new.csv", index=False)
    script = (
        "import sys, mlflow, pandas as pd\n"
        f"mlflow.set_tracking_uri({local.store!r})\n"
        f"model = mlflow.pyfunc.load_model({done.uri!r})\n"
        f"assert len(model.metadata.signature.inputs.input_names()) == 12\n"
        f"model.predict(pd.read_csv({str(tmp_path / 'new.csv')!r})).to_csv({str(tmp_path / 'out.csv')!r}, index=False)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LEUKOBENCH")} | {
        "PYTHONPATH": ""
    }
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )
    found = pd.read_csv(tmp_path / "out.csv")
    assert found[["p_AML", "p_ALL"]].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert list(found["predicted"]) == [model.classes[i] for i in expected.argmax(axis=1)]


@pytest.mark.parametrize("most", [200, 5])
def test_whole_numbers_are_taken_and_missing_genes_named_with_and_without_columns_in_the_signature(
    train: Train, local: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    monkeypatch.setattr("leukobench.training.families.expression.MANY_GENES", most)
    model = load_result(train().folder.path, local)
    loaded = mlflow.pyfunc.load_model(str(write_model(model, tmp_path / "model", card(model))))
    inputs = loaded.metadata.signature.inputs
    assert (inputs is None) == (most < len(model.genes))
    values = load_dataset(Job(dict(model.config), {})).values.round()  # type: ignore[attr-defined]
    frame = pd.DataFrame(values, columns=model.genes).astype("int64")
    found = loaded.predict(frame[frame.columns[::-1]])
    assert found[["p_AML", "p_ALL"]].to_numpy() == pytest.approx(model.predict(values), abs=1e-5)
    with pytest.raises((FaultyDataError, MlflowException), match=r"missing.*g3"):
        loaded.predict(frame.drop(columns="g3"))


def test_registering_again_makes_another_version(sweep: list[Trained], local: Settings) -> None:
    first, second = (load_result(d.training.identities[3], local) for d in sweep[:2])
    with pytest.raises(StoreError, match="name its run id"):
        register(first, local, card(first))
    store = Store(local)
    runs = store.search(str(open_experiment(store, "three")), "tags.`leukobench.kind` = 'result'")
    by_identity = {r.data.tags["leukobench.identity"]: r.info.run_id for r in runs}
    for i, model in enumerate((first, second), start=1):
        run = by_identity[model.record.identity]
        model = load_result(run, local)
        assert register(model, local, card(model), name="again").version == str(i)
    assert load_registered("again", local).record.identity == second.record.identity, (
        "the latest version"
    )
    assert load_registered("again/1", local).record.identity == first.record.identity
    with pytest.raises(StoreError, match="has no version 7; there are: 1, 2"):
        load_registered("again/7", local)
    with pytest.raises(StoreError, match="no registered model 'other'; there are: again"):
        load_registered("other", local)
    kept = json.loads(
        (load_registered("again/1", local).files.training / "calibration.json").read_text()
    )
    assert np.isfinite(kept["temperature"])


def test_data_with_a_name_of_their_own_are_registered_under_it(train: Train) -> None:
    model = load_result(str(train().folder.path), Settings(Path(), Path(), ""))
    assert default_name(model) == "tiny-logistic"
    params = {**model.record.params, "data.name": "ours"}
    assert (
        default_name(replace(model, record=replace(model.record, params=params))) == "ours-logistic"
    )

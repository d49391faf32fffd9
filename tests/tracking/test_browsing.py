"""What a person finds in the store: names, notes, summaries, saved views, inputs, profiles and system metrics."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leukobench.errors import ConfigError
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric
from leukobench.report.sweep_picture import picture
from leukobench.schema.delivery import ResultOrder
from leukobench.schema.names import Tag
from leukobench.schema.records import DataRecord, ResultRecord, RunRecord
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.sweeps.plan import run_name
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.description import describe
from leukobench.tracking.inputs import dataset_input
from leukobench.tracking.notes import LONGEST_NOTE, run_note, sweep_note
from leukobench.tracking.reading import Results
from leukobench.tracking.summary import configuration_keys, summary
from leukobench.tracking.sweeps import SweepRun, open_sweep
from leukobench.tracking.views import COMPARE, CURVES, RESULTS, TAG, saved_views
from leukobench.training.job import Job
from trained import Trained

Train = Callable[..., Trained]


@pytest.fixture
def store(local: Settings) -> Store:
    return Store(local)


@pytest.fixture
def sweep(store: Store) -> SweepRun:
    return open_sweep(store, "a sweep")


def deliver(store: Store, sweep: SweepRun, done: Trained) -> None:
    delivery.deliver(store, sweep, done.folder, delivery_order(done.training))


def runs(store: Store, sweep: SweepRun, kind: str) -> list[Any]:
    return list(store.search(sweep.experiment_id, f"tags.`leukobench.kind` = '{kind}'"))


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_name_says_sweep_model_optimizer_epochs_and_seed(make_job: Callable[..., Job]) -> None:
    job = make_job("sweep=fata", "model=gene_mlp", "optimizer=rmsprop", "epochs=40", "seed=1")
    assert run_name(job).startswith("fata · gene_mlp · rmsprop · 40 epochs · seed 1")
    assert "fold" not in run_name(job)


def test_a_name_says_the_fold_where_there_are_several(make_job: Callable[..., Job]) -> None:
    assert "seed 0 · fold 2" in run_name(make_job("split=kfold", "fold=2"))


def test_a_name_leaves_out_places_and_what_changes_no_number(make_job: Callable[..., Job]) -> None:
    job = make_job(
        "trainer.inference_batch=8", "planner.merge=false", "save_model=false", "curves_on=[test]"
    )
    name = run_name(job)
    assert not any(
        word in name for word in ("inference", "merge", "save", "curves", "settings", "/", "=")
    )


def test_a_name_says_what_else_was_chosen(make_job: Callable[..., Job]) -> None:
    name = run_name(make_job("protocol=paper", "optimizer.lr=0.1", "batch_size=8", "epochs=1"))
    assert "1 epoch ·" in name
    assert name.endswith("paper · lr 0.1 · batch_size 8")


# --- notes of runs --------------------------------------------------------------------------------------------------

PARAMS = {"model": "vgg16", "optimizer": "adam", "epochs": "40", "seed": "1", "protocol": "paper"}
DATA = DataRecord(
    name="cnmc",
    family="image",
    fingerprint="0123456789abcdef0123456789abcdef",
    simulated=False,
    samples=100,
    subjects=9,
    classes=("ALL", "normal"),
    split="kfold",
    split_hash="1f",
    fold=2,
    folds=5,
    shared={"subject": 7, "content": 0},
)


def test_a_note_says_leaks_and_shared_subjects() -> None:
    note = run_note(PARAMS, RunRecord(data=DATA, leaks=("keep_together=[]", "fit_on=all")))
    assert "test data may leak" in note
    assert "`fit_on=all`" in note
    assert "7 subjects" in note
    assert "not for clinical use" in note


def job(origin: str, *overrides: str) -> ResultOrder:
    return ResultOrder("a", 40, origin=origin, overrides=overrides)


def test_a_note_says_simulated_subset_and_faults() -> None:
    data = replace(
        DATA,
        simulated=True,
        subset="100 of 10661 samples",
        faults=("a file | is\nbroken",),
    )
    note = run_note(PARAMS, RunRecord(data=data))
    assert "**simulated**" in note
    assert "100 of 10661 samples" in note
    assert "a file \\| is broken" in note


def test_a_note_shows_metrics_of_each_part_and_the_command() -> None:
    metrics = {"test_accuracy": 0.75, "train_accuracy": 1.0, "test_auroc": 0.5}
    made_by = job("fata", "model=vgg16", "split.parts=[a,b]")
    result = ResultRecord("a", 40, metrics=metrics)
    note = run_note(PARAMS, RunRecord(data=DATA), job=made_by, result=result)
    assert "| part | accuracy | AUROC |" in note
    assert "| train | 1.000 |  |" in note
    assert "| test | 0.750 | 0.500 |" in note
    assert "leukobench sweep fata model=vgg16 'split.parts=[a,b]'" in note
    assert "leukobench train sweep=mine a=1" in run_note(
        PARAMS, RunRecord(), job=job("train", "sweep=mine", "a=1")
    )


def test_a_note_of_a_failure_says_why_and_fits_into_a_tag() -> None:
    note = run_note(
        PARAMS, RunRecord(error="no memory " * 5000), job=job("fata", "x=" + "y" * 9000)
    )
    assert "**failed**: no memory" in note
    assert len(note) <= LONGEST_NOTE


# --- summary of a sweep ---------------------------------------------------------------------------------------------


def frame(validation: bool = True) -> pd.DataFrame:
    """Results of two models, two epoch counts, two seeds, two folds; the second model has a width."""
    rows = []
    for model in ("wide", "narrow"):
        for epochs in ("5", "20"):
            for seed in ("0", "1"):
                for fold in ("0", "1"):
                    good = 0.9 if (model, epochs) == ("wide", "20") else 0.6
                    rows.append(
                        {
                            "run_id": f"{model}{epochs}{seed}{fold}",
                            "dataset": "tiny",
                            "simulated": "true",
                            "subset": "",
                            "protocol": "leak_free",
                            "leaks": "",
                            "paper": "",
                            "model": model,
                            "model.width": None if model == "narrow" else "8",
                            "split.seed": seed,
                            "data": "tiny",
                            "epochs": epochs,
                            "seed": seed,
                            "fold": fold,
                            "validation_balanced_accuracy": good + 0.02 * int(seed),
                            "test_balanced_accuracy": 1.5 - good + 0.1 * int(fold),
                        }
                    )
    out = pd.DataFrame(rows)
    out.attrs["params"] = [
        "data",
        "epochs",
        "fold",
        "model",
        "model.width",
        "protocol",
        "seed",
        "split.seed",
    ]
    return out if validation else out.drop(columns="validation_balanced_accuracy")


class Predictions:
    """Predictions of the runs of `frame`: 20 samples a part, five in six right on `wide20`, else three in five."""

    def __init__(self, validation: bool = True) -> None:
        self.parts = ("validation", "test") if validation else ("test",)

    def pieces(self, results: Sequence[Any]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        return [
            (self.of(r.run_id), np.full(20 * len(self.parts), i)) for i, r in enumerate(results)
        ]

    def of(self, run_id: str) -> pd.DataFrame:
        seed, fold = run_id[-2], run_id[-1]
        share = 0.85 if run_id.startswith("wide20") else 0.6
        right = np.arange(20) < round(20 * share) + int(fold) - int(seed)
        is_positive = np.arange(20) % 2 == 0
        p = np.where(right == is_positive, 0.9, 0.1)
        frames = [
            pd.DataFrame(
                {
                    "sample": [f"{part}{fold}{i}" for i in range(20)],
                    "subject": None,
                    "part": part,
                    "fold": int(fold),
                    "label": np.where(is_positive, "ALL", "AML"),
                    "p_ALL": p,
                    "p_AML": 1 - p,
                }
            )
            for part in self.parts
        ]
        return pd.concat(frames, ignore_index=True)


def summary_of(results: pd.DataFrame, validation: bool = True) -> pd.DataFrame:
    return summary(results, Predictions(validation))


def test_configurations_differ_in_choices_and_not_in_what_follows_from_them() -> None:
    assert configuration_keys(frame()) == ["model", "epochs"]


def test_a_key_that_varies_within_a_choice_is_kept() -> None:
    results = frame()
    results["optimizer.lr"] = ["0.1", "0.01"] * (len(results) // 2)
    results.attrs["params"].append("optimizer.lr")
    assert "optimizer.lr" not in configuration_keys(results)  # it follows the fold
    results["optimizer.lr"] = (["0.1"] * 4 + ["0.01"] * 4) * 2
    assert configuration_keys(results) == ["model", "epochs"]  # and here the epochs
    again = pd.concat([results, results.assign(**{"optimizer.lr": "1"})], ignore_index=True)
    again.attrs = results.attrs
    assert configuration_keys(again) == ["model", "optimizer.lr", "epochs"]


def test_a_summary_is_the_mean_over_seeds_of_tables_with_its_deviation() -> None:
    table = summary_of(frame())
    of_seed = [[(seed, Predictions().of(f"wide20{seed}{fold}")) for fold in "01"] for seed in "01"]
    of_tables = Repeats.of([pair for pairs in of_seed for pair in pairs])
    found = table[(table["model"] == "wide") & (table["epochs"] == "20")].iloc[0]
    for name in ("accuracy", "balanced_accuracy", "auroc"):
        estimate = of_tables.estimate(Metric(name))
        assert found[f"test_{name}"] == pytest.approx(estimate.mean)
        assert found[f"test_{name}_sd"] == pytest.approx(np.std(estimate.values, ddof=1))
    assert found["n"] == 4
    assert list(table["epochs"]) == ["5", "20", "5", "20"]  # by value, not by text


def test_a_summary_marks_simulated_data() -> None:
    results = frame()
    results["simulated"] = ["true" if model == "wide" else "false" for model in results["model"]]
    table = summary_of(results)
    assert dict(zip(table["model"], table["simulated"])) == {"wide": True, "narrow": False}


def note_of(results: pd.DataFrame, planned: int, validation: bool = True) -> str:
    table = summary_of(results, validation)
    return sweep_note("s", results, table, links={}, picture="", planned=planned)


def test_the_best_row_is_chosen_on_validation_and_none_without_it() -> None:
    note = note_of(frame(), 16)
    assert "| **wide** | **20** |" in note
    assert sum(line.startswith("| **") for line in note.splitlines()) == 1
    assert "register --best s" in note
    without = note_of(frame(False), 16, validation=False)
    assert "| **" not in without
    assert "register" not in without, "nothing to choose by"


def test_a_sweeps_note_counts_what_is_missing_and_fits_into_a_tag() -> None:
    many = pd.concat([frame().assign(model=f"model{i:03d}") for i in range(200)], ignore_index=True)
    many.attrs = frame().attrs
    note = note_of(many, 4000)
    assert "3200 results of 4000 planned" in note
    assert len(note) <= LONGEST_NOTE
    assert "summary.csv" in note


@pytest.mark.parametrize("epochs", [True, False])
def test_a_picture_is_drawn_with_and_without_epoch_counts(epochs: bool) -> None:
    from PIL import Image

    results = frame() if epochs else frame()[lambda f: f["epochs"] == "5"]
    image = Image.open(BytesIO(picture(summary_of(results), "s", simulated=True)))
    assert image.format == "PNG"
    assert image.width > 300


# --- saved views ----------------------------------------------------------------------------------------------------


def state(text: str) -> dict[str, Any]:
    return json.loads(
        zlib.decompress(base64.b64decode(json.loads(text)["state"].removeprefix("deflate;")))
    )


def test_views_show_the_keys_and_metrics_and_list_results_flat() -> None:
    views = {
        k.removeprefix(TAG): state(v)
        for k, v in saved_views(["model"], ["test_auroc"], "curve/x").items()
    }
    table = views[RESULTS]
    assert {"params.`model`", "params.`seed`", "metrics.`test_auroc`"} <= set(
        table["selectedColumns"]
    )
    assert "start_time" not in table["orderByKey"]
    assert "result" in table["searchFilter"]
    (chart,) = views[COMPARE]["compareRunCharts"]
    assert chart["selectedParams"] == ["model"]
    assert "curve/x" in views[CURVES]["searchFilter"]


def test_a_sweep_without_keys_has_no_view_to_compare() -> None:
    assert TAG + COMPARE not in saved_views([], ["test_auroc"])


# --- in the store ---------------------------------------------------------------------------------------------------


def test_an_input_is_named_by_the_data_sets_own_fingerprint() -> None:
    found = dataset_input(DATA)
    assert DATA.fingerprint.startswith(found.dataset.digest)
    assert json.loads(found.dataset.profile)["fingerprint"] == DATA.fingerprint
    assert [t.value for t in found.tags] == ["complete"]
    assert [t.value for t in dataset_input(replace(DATA, simulated=True)).tags] == ["simulated"]


def test_final_metrics_and_curves_have_names_of_their_own(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    deliver(store, sweep, train("epochs=1"))
    (run,) = runs(store, sweep, "result")
    (test,) = store.client.get_metric_history(run.info.run_id, "test_accuracy")
    assert test.step == 1
    assert [
        m.step for m in store.client.get_metric_history(run.info.run_id, "curve/test_accuracy")
    ] == [1]
    assert "train" in run.data.tags[Tag.NOTE]


def test_profile_and_system_metrics_arrive_with_a_run(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    deliver(store, sweep, train("trainer.profiler=simple", "trainer.system_metrics=true"))
    (run,) = runs(store, sweep, "result")
    history = store.client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    assert history
    assert all(0 <= m.value <= 100 for m in history)
    folder = local_path(run.info.artifact_uri)
    assert folder is not None
    assert "run_training_epoch" in (folder / "fit-profile.txt").read_text()


def test_an_unknown_profiler_says_which_there_are(train: Train) -> None:
    from leukobench.training.machine import profiler

    with pytest.raises(ConfigError, match="simple, advanced, pytorch"):
        profiler("quick", Path())


def test_a_sweep_is_described_by_what_its_results_say(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    for model in ("logistic", "gene_mlp"):
        for seed in (0, 1):
            deliver(store, sweep, train(f"model={model}", f"seed={seed}", "evaluate_at=[1,3]"))
    describe(store, sweep, picture)
    run = store.client.get_run(sweep.run_id)
    folder = local_path(run.info.artifact_uri)
    assert folder is not None
    table = pd.read_csv(folder / "summary.csv")
    results = Results(store.settings, [sweep.name]).frame()
    assert table["n"].sum() == len(results) == 8
    expected = results.groupby(["model", "epochs"])["test_accuracy"].mean()
    found = table.set_index(["model", table["epochs"].astype(str)])["test_accuracy"]
    for key, value in expected.items():
        assert found.loc[key] == pytest.approx(value, rel=1e-5)
    assert (folder / "summary.png").read_bytes().startswith(b"\x89PNG")
    assert "8 results, 4 configurations, 2 seeds" in run.data.tags[Tag.NOTE]
    assert "(**simulated**)" in run.data.tags[Tag.NOTE]
    assert run.data.tags["leukobench.dataset"] == "tiny"
    tags = store.client.get_experiment(sweep.experiment_id).tags
    columns = state(tags[TAG + RESULTS])["selectedColumns"]
    for column in columns:
        kind, _, name = column.partition(".")
        assert kind == "attributes" or name.strip("`") in results.columns
    inputs = {
        i.dataset.digest for r in runs(store, sweep, "result") for i in store_inputs(store, r)
    }
    assert len(inputs) == 1


def store_inputs(store: Store, run: Any) -> list[Any]:
    return store.client.get_run(run.info.run_id).inputs.dataset_inputs


def test_a_sweep_without_results_is_left_undescribed(store: Store, sweep: SweepRun) -> None:
    describe(store, sweep, picture)
    assert Tag.NOTE not in store.client.get_run(sweep.run_id).data.tags


# --- the server -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_says_its_addresses_and_leaves_no_process(
    local: Settings, number: signal.Signals
) -> None:
    import psutil

    open_sweep(Store(local), "a sweep")
    port = free_port()
    command = [
        str(Path(sys.executable).parent / "leukobench"),
        "ui",
        "--port",
        str(port),
        "--output",
        str(local.output),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    ui = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert ui.stdout is not None
    said: list[str] = []
    for line in ui.stdout:
        said.append(line)
        if "a sweep" in line:
            break
    children = psutil.Process(ui.pid).children(recursive=True)
    assert children
    ui.send_signal(number)
    ui.stdout.read()
    assert ui.wait(60) == 0
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert f"http://127.0.0.1:{port}" in "".join(said)


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])

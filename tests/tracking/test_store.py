"""Delivery to the MLflow store: everything once, whatever was there before; clear errors where there is no store."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from launching import start
from leukobench.errors import StoreError
from leukobench.schema.delivery import DELIVERED, PlanEntry
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.entries import entries
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.sweeps import SweepRun, add_to_plan, find_sweep, open_sweep, read_plan
from trained import Trained

Train = Callable[..., Trained]
MLP = ("model=gene_mlp", "model.hidden=[8]", "batch_size=8")


@pytest.fixture
def store(local: Settings) -> Store:
    return Store(local)


@pytest.fixture
def sweep(store: Store) -> SweepRun:
    return open_sweep(store, "a sweep")


def everything(store: Store, sweep: SweepRun) -> dict[str, Any]:
    """All that the store holds of a sweep, in comparable form."""
    out = {}
    for run in store.search(sweep.experiment_id, ""):
        history = {
            key: [
                (m.step, m.value, m.timestamp)
                for m in store.client.get_metric_history(run.info.run_id, key)
            ]
            for key in run.data.metrics
        }
        folder = local_path(run.info.artifact_uri)
        assert folder is not None
        files = {
            str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
        }
        out[run.info.run_id] = (
            run.info.status,
            run.info.end_time,
            run.data.params,
            run.data.tags,
            history,
            files,
        )
    return out


def of_kind(store: Store, sweep: SweepRun, kind: str) -> list[Any]:
    return list(store.search(sweep.experiment_id, f"tags.`leukobench.kind` = '{kind}'"))


def deliver(store: Store, sweep: SweepRun, done: Trained, **more: Any) -> None:
    delivery.deliver(store, sweep, done.folder, replace(delivery_order(done.training), **more))


def broken(
    train: Train, monkeypatch: pytest.MonkeyPatch, *overrides: str, epoch: int = 1
) -> Trained:
    """A training that fails in writing the result of an epoch."""
    import leukobench.training.run as module

    whole = module.prediction_frame

    def fail(prepared: Any, rows: Any, probabilities: Any, at: int) -> Any:
        if at >= epoch:
            raise RuntimeError("a broken disk")
        return whole(prepared, rows, probabilities, at)

    with monkeypatch.context() as patch:
        patch.setattr(module, "prediction_frame", fail)
        return train(*overrides)


# --- what arrives -----------------------------------------------------------------------------------------------------


def test_a_run_arrives_with_params_tags_metrics_and_artifacts(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    done = train(*MLP)
    deliver(store, sweep, done)
    (run,) = of_kind(store, sweep, "result")
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "gene_mlp"
    assert run.data.params["optimizer.lr"] == "0.001"
    assert (run.data.params["seed"], run.data.params["fold"], run.data.params["epochs"]) == (
        "0",
        "0",
        "3",
    )
    tags = run.data.tags
    assert tags["leukobench.identity"] == done.training.identities[3]
    assert "epochs=3" in json.loads(tags["leukobench.overrides"])
    assert tags["leukobench.sweep"] == "a sweep"
    assert tags["leukobench.protocol"] == "leak_free"
    assert tags["leukobench.simulated"] == "true"
    assert tags["leukobench.split_hash"] == done.folder.run().data.split_hash
    assert {
        "leukobench.commit",
        "leukobench.dirty",
        "leukobench.hardware",
        "leukobench.version.torch",
    } <= tags.keys()
    assert tags["mlflow.parentRunId"] == sweep.run_id
    assert run.data.metrics["test_accuracy"] == done.result().metrics["test_accuracy"]
    assert run.data.metrics["seconds"] > 0
    curve = store.client.get_metric_history(run.info.run_id, "curve/train_loss")
    assert [(m.step, m.value) for m in curve] == [
        (row["epoch"], row["train_loss"]) for row in done.curves
    ]
    folder = local_path(run.info.artifact_uri)
    assert folder is not None
    files = {p.name for p in folder.iterdir()}
    assert {
        "job.json",
        "run.json",
        "split.json",
        "curves.json",
        "predictions.parquet",
        "result.json",
    } <= files
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet"), done.predictions()
    )


def test_a_trajectory_has_a_thin_child_for_each_checkpoint_epoch(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    done = train(*MLP, "evaluate_at=[1,2,4]")
    deliver(store, sweep, done)
    (trajectory,) = of_kind(store, sweep, "trajectory")
    children = of_kind(store, sweep, "result")
    assert trajectory.data.tags["mlflow.parentRunId"] == sweep.run_id
    assert {c.data.tags["mlflow.parentRunId"] for c in children} == {trajectory.info.run_id}
    assert sorted(int(c.data.params["epochs"]) for c in children) == [1, 2, 4]
    assert len(store.client.get_metric_history(trajectory.info.run_id, "curve/test_loss")) == 4
    assert "epochs" not in trajectory.data.params
    for child in children:
        assert not any(key.startswith("curve/") for key in child.data.metrics)
        assert "test_accuracy" in child.data.metrics


def test_a_long_curve_is_logged_in_a_hundred_points_and_kept_whole_as_an_artifact(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    done = train("epochs=160", "batch_size=null")
    deliver(store, sweep, done)
    (run,) = of_kind(store, sweep, "result")
    for key in done.curves[0].keys() - {"epoch"}:
        points = store.client.get_metric_history(run.info.run_id, "curve/" + key)
        assert [p.step for p in points] == [1, *range(2, 161, 2)]
        assert [p.value for p in points] == [done.curves[p.step - 1][key] for p in points]
    kept = Path(store.client.download_artifacts(run.info.run_id, "curves.json"))
    assert json.loads(kept.read_text()) == done.curves


def test_more_metrics_than_a_batch_takes_arrive(
    train: Train, store: Store, sweep: SweepRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leukobench.tracking.connection.METRICS_A_BATCH", 7)
    done = train("epochs=9")
    deliver(store, sweep, done)
    (run,) = of_kind(store, sweep, "result")
    for key in done.curves[0].keys() - {"epoch"}:
        assert len(store.client.get_metric_history(run.info.run_id, "curve/" + key)) == 9


# --- once, whatever happens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [(), ("evaluate_at=[1,3]",)])
def test_a_second_delivery_changes_nothing(
    train: Train, store: Store, sweep: SweepRun, overrides: tuple[str, ...]
) -> None:
    done = train(*MLP, *overrides)
    deliver(store, sweep, done)
    before = everything(store, sweep)
    deliver(store, sweep, done)
    (done.folder.path / "delivered.json").unlink()  # as from another machine
    deliver(store, sweep, done)
    assert everything(store, sweep) == before


@pytest.mark.parametrize("overrides", [(), ("evaluate_at=[1,3]",)])
@pytest.mark.parametrize("step", ["log_batch", "log_artifact", "log_artifacts", "set_terminated"])
def test_a_delivery_that_was_killed_is_continued_in_the_same_run(
    train: Train,
    store: Store,
    sweep: SweepRun,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    overrides: tuple[str, ...],
) -> None:
    done = train(*MLP, *overrides)

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.client, step, killed)
        with pytest.raises(KeyboardInterrupt):
            deliver(store, sweep, done)
    ids = {r.info.run_id for r in store.search(sweep.experiment_id, "")}
    assert len(ids) >= 2, "the sweep and what was begun"
    deliver(store, sweep, done)
    results = of_kind(store, sweep, "result")
    assert {r.info.status for r in results} == {"FINISHED"}
    assert len(results) == len(done.training.epochs)
    assert ids <= {r.info.run_id for r in store.search(sweep.experiment_id, "")}
    owner = (of_kind(store, sweep, "trajectory") or results)[0].info.run_id
    assert len(store.client.get_metric_history(owner, "curve/train_loss")) == len(done.curves)


def test_a_run_shown_as_running_is_the_one_that_ends(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    done = train(*MLP)
    record = delivery_order(done.training)
    delivery.begin(store, sweep, done.folder, record)
    (running,) = of_kind(store, sweep, "result")
    assert running.info.status == "RUNNING"
    assert running.info.end_time is None
    assert running.data.params["model"] == "gene_mlp"
    delivery.deliver(store, sweep, done.folder, record)
    (ended,) = of_kind(store, sweep, "result")
    assert (ended.info.run_id, ended.info.status) == (running.info.run_id, "FINISHED")


def test_a_failure_is_logged_with_its_traceback_and_the_next_attempt_continues_its_run(
    train: Train, store: Store, sweep: SweepRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = broken(train, monkeypatch, *MLP)
    deliver(store, sweep, failed)
    (run,) = of_kind(store, sweep, "result")
    assert run.info.status == "FAILED"
    assert "a broken disk" in run.data.tags["leukobench.error"]
    folder = local_path(run.info.artifact_uri)
    assert folder is not None
    assert "RuntimeError: a broken disk" in (folder / "traceback.txt").read_text()
    assert entries(store.settings, store, sweep)[failed.training.identities[3]].status == "FAILED"

    done = train(*MLP, "trainer.threads=2")
    deliver(store, sweep, done)
    (again,) = of_kind(store, sweep, "result")
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert "leukobench.error" not in again.data.tags
    assert "test_accuracy" in again.data.metrics


def test_a_trajectory_that_failed_half_way_keeps_its_early_results_and_is_continued(
    train: Train, store: Store, sweep: SweepRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = broken(train, monkeypatch, *MLP, "evaluate_at=[1,3]", epoch=3)
    deliver(store, sweep, failed)
    states = {r.data.params["epochs"]: r.info.status for r in of_kind(store, sweep, "result")}
    assert states == {"1": "FINISHED", "3": "FAILED"}
    (trajectory,) = of_kind(store, sweep, "trajectory")
    assert trajectory.info.status == "FAILED"

    done = train(*MLP, "epochs=3")  # what a planner asks for: the one that is missing
    deliver(store, sweep, done)
    assert {r.info.status for r in of_kind(store, sweep, "result")} == {"FINISHED"}
    assert len(of_kind(store, sweep, "result")) == 2
    (again,) = of_kind(store, sweep, "trajectory")
    assert (again.info.run_id, again.info.status) == (trajectory.info.run_id, "FINISHED")
    assert len(store.client.get_metric_history(again.info.run_id, "curve/train_loss")) == 3


def test_more_epochs_later_lengthen_the_trajectory_s_curves(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    deliver(store, sweep, train(*MLP, "evaluate_at=[1,2]"))
    deliver(store, sweep, train(*MLP, "evaluate_at=[3,5]"))
    (trajectory,) = of_kind(store, sweep, "trajectory")
    curve = store.client.get_metric_history(trajectory.info.run_id, "curve/train_loss")
    assert [m.step for m in curve] == [1, 2, 3, 4, 5]
    assert len(of_kind(store, sweep, "result")) == 4


def test_the_curve_of_a_result_ends_at_its_epoch(
    train: Train, store: Store, local: Settings
) -> None:
    train(*MLP, "evaluate_at=[2,5]")
    alone = train(*MLP, "epochs=2")
    sweep = open_sweep(store, "another")
    deliver(store, sweep, alone)
    (run,) = of_kind(store, sweep, "result")
    assert len(store.client.get_metric_history(run.info.run_id, "curve/train_loss")) == 2


def test_an_interrupted_run_is_killed_in_the_store_and_finished_later(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    stopped = train(*MLP, "epochs=5", stop_after=2)
    deliver(store, sweep, stopped)
    (run,) = of_kind(store, sweep, "result")
    assert run.info.status == "KILLED"
    deliver(store, sweep, train(*MLP, "epochs=5"))
    (again,) = of_kind(store, sweep, "result")
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")


def test_a_run_deleted_in_the_store_is_delivered_anew(
    train: Train, store: Store, sweep: SweepRun
) -> None:
    done = train(*MLP)
    deliver(store, sweep, done)
    (run,) = of_kind(store, sweep, "result")
    store.client.delete_run(run.info.run_id)
    assert entries(store.settings, store, sweep) == {}
    deliver(store, sweep, done)
    (again,) = of_kind(store, sweep, "result")
    assert again.info.run_id != run.info.run_id
    assert again.info.status == "FINISHED"


def test_a_new_database_at_the_old_address_gets_everything(
    train: Train, store: Store, sweep: SweepRun, local: Settings, database: Path
) -> None:
    import shutil

    done = train(*MLP)
    deliver(store, sweep, done)
    store.client._tracking_client.store.engine.dispose()
    shutil.copy(database, local.output / "mlflow.db")
    sweep = open_sweep(store, "a sweep")
    deliver(store, sweep, done)
    assert [r.info.status for r in of_kind(store, sweep, "result")] == ["FINISHED"]


def test_the_same_result_can_be_in_two_sweeps(train: Train, store: Store, sweep: SweepRun) -> None:
    done = train(*MLP)
    other = open_sweep(store, "another")
    deliver(store, sweep, done)
    deliver(store, other, done)
    assert [len(of_kind(store, s, "result")) for s in (sweep, other)] == [1, 1]


@pytest.mark.parametrize("overrides", [(), ("evaluate_at=[1,3]",)])
def test_a_forced_run_replaces_the_one_before(
    train: Train, store: Store, sweep: SweepRun, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    deliver(store, sweep, train(*MLP, *overrides))
    before = {i: e.run_id for i, e in entries(store.settings, store, sweep).items()}
    again = train(*MLP, *overrides, output=tmp_path / "again")
    for _ in range(2):
        deliver(store, sweep, again, replaces=before)
    now = {i: e.run_id for i, e in entries(store.settings, store, sweep).items()}
    assert now.keys() == before.keys()
    assert not set(now.values()) & set(before.values())
    assert len(of_kind(store, sweep, "result")) == len(before)
    assert len(of_kind(store, sweep, "trajectory")) == (1 if overrides else 0)


def test_a_forced_run_that_fails_replaces_nothing(
    train: Train, store: Store, sweep: SweepRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(store, sweep, train(*MLP))
    before = entries(store.settings, store, sweep)
    import leukobench.training.run as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "prediction_frame", lambda *a: 1 / 0)
        failed = train(*MLP, output=tmp_path / "again")
    deliver(store, sweep, failed, replaces={i: e.run_id for i, e in before.items()})
    assert {i: e.status for i, e in entries(store.settings, store, sweep).items()} == dict.fromkeys(
        before, "FINISHED"
    )


# --- sweeps -----------------------------------------------------------------------------------------------------------


def test_a_sweep_is_opened_once(store: Store) -> None:
    one, two = open_sweep(store, "a sweep"), open_sweep(store, "a sweep")
    assert one == two == find_sweep(store, "a sweep")
    assert find_sweep(store, "no sweep") is None


def test_the_plan_is_kept_with_the_sweep_and_grows(store: Store, sweep: SweepRun) -> None:
    job = PlanEntry("a", "t", ("seed=0",), "x")
    assert read_plan(store, sweep).jobs == ()
    add_to_plan(store, sweep, [job])
    add_to_plan(store, sweep, [replace(job, name="y"), replace(job, identity="b")])
    planned = read_plan(store, sweep).jobs
    assert [(j.identity, j.name) for j in planned] == [("a", "y"), ("b", "x")]


def test_a_deleted_experiment_is_named_with_the_way_out(store: Store, sweep: SweepRun) -> None:
    store.client.delete_experiment(sweep.experiment_id)
    with pytest.raises(StoreError, match=r"experiment 'a sweep' was deleted.*restore"):
        open_sweep(store, "a sweep")


# --- no store ---------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, store: str) -> Settings:
    return Settings(tmp_path / "data", tmp_path / "out", store)


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns"])
def test_a_file_store_is_refused_with_what_to_use(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StoreError, match=r"no longer in plain files.*sqlite:////"):
        Store(settings(tmp_path, uri))


def test_an_unreachable_server_is_named_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(
        StoreError, match=rf"cannot open the MLflow store http://127.0.0.1:{port}.*leukobench sync"
    ):
        Store(settings(tmp_path, f"http://127.0.0.1:{port}"))
    assert time.monotonic() - began < 15


def test_a_folder_that_cannot_be_made_is_an_unwritable_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreError, match=r"cannot open the MLflow store sqlite.*its folder can be written"
    ):
        Store(settings(tmp_path, f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"))


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(StoreError, match="cannot open the MLflow store sqlite"):
        Store(settings(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}"))


@pytest.mark.slow
def test_processes_that_are_killed_while_they_make_a_database_leave_none_or_a_whole_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mlflow.db"
    arguments = [
        "status",
        "nothing",
        "--store",
        f"sqlite:///{path}",
        "--output",
        str(tmp_path / "out"),
    ]
    for delay in (0.2, 0.5, 0.8, 1.2):
        process = start(arguments, {}, tmp_path, tmp_path / "log")
        process.join(delay)
        process.kill()
        process.join()
    several = [start(arguments, {}, tmp_path, tmp_path / "log") for _ in range(3)]
    for process in several:
        process.join(60)
    assert (tmp_path / "log").read_text().count("has no sweep 'nothing'") >= 3, "each could open it"
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".new")] == []


def test_a_store_that_fails_while_it_is_written_to_costs_no_result(
    train: Train, store: Store, sweep: SweepRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = train(*MLP)

    def locked(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("database is locked\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "log_batch", locked)
        with pytest.raises(StoreError, match=r"cannot write .*: database is locked\. Check"):
            deliver(store, sweep, done)
    assert done.folder.has_result(done.training.identities[3])
    deliver(store, sweep, done)
    assert [r.info.status for r in of_kind(store, sweep, "result")] == ["FINISHED"]


def test_marks_hold_no_results(train: Train, store: Store, sweep: SweepRun) -> None:
    done = train(*MLP)
    deliver(store, sweep, done)
    marks = done.folder.read(DELIVERED)
    assert marks is not None
    assert list(marks.runs) == [f"{store.uri}#{sweep.run_id}"]
    assert RunFolder(done.folder.path).has_result(done.training.identities[3])

"""A sweep from its jobs to the store: run once, resumed, forced, delivered late; failures are no results."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException
from mlflow import MlflowClient
from omegaconf import OmegaConf

from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.files import read_json, write_json
from leukobench.settings import Settings
from leukobench.sweeps import launch, outlet, session
from leukobench.sweeps.launch import launch_with, run_jobs, workers_of
from leukobench.sweeps.messages import one_message
from leukobench.sweeps.outcome import Interrupted, NotDelivered, TrainingsFailed
from leukobench.sweeps.plan import expand
from leukobench.sweeps.states import status
from leukobench.sweeps.workers import gpu_of, saved, work
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.delivery import sync
from leukobench.tracking.entries import entries
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.sweeps import find_sweep
from leukobench.training import run as runs
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training
from trained import planned

pytestmark = pytest.mark.usefixtures("local")
Run = Callable[..., dict[str, str]]


@pytest.fixture(autouse=True)
def _no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's plot takes longer than these sweeps; it has tests of its own."""
    monkeypatch.setattr(launch, "describe", lambda *args: None)


@pytest.fixture
def run(make_job: Callable[..., Job], local: Settings) -> Run:
    """Runs override strings as a sweep in this process: `a=1,2` is a grid."""

    def go(*overrides: str) -> dict[str, str]:
        grid: list[list[str]] = [[]]
        for override in overrides:
            key, _, values = override.partition("=")
            single = values.startswith("[") or "," not in values
            choices = [override] if single else [f"{key}={v}" for v in values.split(",")]
            grid = [[*job, choice] for job in grid for choice in choices]
        jobs = [make_job(*job, "sweep=trial") for job in grid]
        return run_jobs(expand(jobs), [])

    return go


def states(settings: Settings) -> dict[str, int]:
    """How many jobs of the sweep are in which state."""
    out: dict[str, int] = {}
    for job in status(settings, "trial"):
        out[job["state"]] = out.get(job["state"], 0) + 1
    return out


def run_ids(settings: Settings) -> dict[str, str]:
    store = Store(settings)
    sweep = find_sweep(store, "trial")
    assert sweep is not None
    return {i: e.run_id for i, e in entries(store.settings, store, sweep).items()}


def count(settings: Settings) -> int:
    """Result runs in the store, whatever their state."""
    store = Store(settings)
    sweep = find_sweep(store, "trial")
    assert sweep is not None
    return len(list(store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'")))


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)


def break_predictions(patch: pytest.MonkeyPatch, when: Callable[[Any], bool]) -> None:
    """Let a training fail where `when(job config)` holds."""
    import leukobench.training.run as module

    whole = module.build_network

    def build(job: Job, *args: Any) -> Any:
        if when(job.config):
            raise RuntimeError("no network today")
        return whole(job, *args)

    patch.setattr(module, "build_network", build)


def test_a_sweep_runs_once(run: Run, local: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    first = run("seed=0,1", "epochs=1,2")
    assert set(first.values()) == {"finished"}
    assert len(first) == 2
    assert states(local) == {"done": 4}
    before = run_ids(local)
    capsys.readouterr()
    assert run("seed=0,1", "epochs=1,2") == {}
    told = capsys.readouterr().err
    assert "4 jobs asked, 4 done, 0 to do" in told
    assert sum(i in told for i in before.values()) == 3, "the console says which runs hold them"
    assert "1 more" in told
    assert run_ids(local) == before


def test_what_is_added_to_a_grid_is_all_that_runs(run: Run, local: Settings) -> None:
    run("seed=0")
    before = run_ids(local)
    assert len(run("seed=0,1")) == 1
    assert before.items() < run_ids(local).items()
    assert states(local) == {"done": 2}


def test_a_failure_is_logged_the_rest_goes_on_and_the_next_launch_retries_it(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        break_predictions(patch, lambda config: config["seed"] == 0)
        with pytest.raises(TrainingsFailed, match="1 of 2 trainings failed"):
            run("seed=0,1")
    assert "no network today" in capsys.readouterr().err
    assert states(local) == {"failed": 1, "done": 1}
    before = run_ids(local)
    assert list(run("seed=0,1").values()) == ["finished"]
    assert states(local) == {"done": 2}
    assert run_ids(local) == before, "the failed run was continued"


def test_a_lost_loss_and_a_full_memory_are_failures_with_their_traceback_and_the_rest_goes_on(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    import leukobench.training.run as module

    whole = module.build_network

    def build(job: Job, *args: Any) -> Any:
        if job.config["seed"] == 1:
            raise torch.cuda.OutOfMemoryError("tried to allocate 20 GiB")
        return whole(job, *args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "build_network", build)
        with pytest.raises(TrainingsFailed, match="3 of 4 trainings failed"):
            run(
                "model=gene_mlp", "optimizer=sgd", "optimizer.lr=1e30,0.01", "epochs=20", "seed=0,1"
            )
    told = capsys.readouterr().err
    assert "out of GPU memory; a smaller trainer.inference_batch or batch_size may fit" in told
    assert "loss" in told
    assert states(local) == {"failed": 3, "done": 1}
    for job in status(local, "trial"):
        if job["state"] == "failed":
            folder = local_path(Store(local).client.get_run(job["run_id"]).info.artifact_uri)
            assert folder is not None
            assert "Traceback" in (folder / "traceback.txt").read_text()


def test_fail_fast_stops_at_the_first_failure(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_predictions(patch, lambda config: config["seed"] == 0)
        with pytest.raises(TrainingsFailed):
            run("seed=0,1", "planner.fail_fast=true")
    assert states(local) == {"failed": 1, "not started": 1}


def test_ctrl_c_once_stops_after_the_epoch_and_the_next_launch_goes_on(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "requested", True, raising=False)
        patch.setattr(Interruption, "__init__", lambda self: None)
        with pytest.raises(Interrupted, match="interrupted; the same command goes on"):
            run("seed=0,1", "epochs=4")
    assert states(local) == {"unfinished": 1, "not started": 1}
    assert len(run("seed=0,1", "epochs=4")) == 2
    assert states(local) == {"done": 2}
    assert count(local) == 2


def test_ctrl_c_in_a_last_epoch_is_an_interruption_too(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "requested", True, raising=False)
        patch.setattr(Interruption, "__init__", lambda self: None)
        with pytest.raises(Interrupted, match="interrupted"):
            run("seed=0,1", "epochs=1")
    assert states(local) == {"done": 1, "not started": 1}


def test_force_replaces_results_and_leaves_those_that_were_not_asked_for(
    run: Run, local: Settings
) -> None:
    run("epochs=1,3")
    before = run_ids(local)
    assert list(run("epochs=3", "planner.force=true").values()) == ["finished"]
    after = run_ids(local)
    assert before.keys() == after.keys()
    assert sum(before[i] != after[i] for i in before) == 1
    assert count(local) == 2
    folder = next((local.output / "runs").iterdir())
    assert len(list((folder / "results").iterdir())) == 2


def test_a_dry_run_trains_nothing_and_writes_nothing(
    run: Run, local: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("seed=0,1", "planner.dry_run=true") == {}
    assert "2 jobs asked, 0 done, 2 to do" in capsys.readouterr().err
    assert not (local.output / "runs").exists()
    with pytest.raises(StoreError, match="has no sweep 'trial'; launch it: leukobench sweep trial"):
        status(local, "trial")


def test_a_store_out_of_reach_costs_no_result_and_sync_delivers_later(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(outlet, "deliver", away)
        with pytest.raises(NotDelivered):
            run("seed=0", "epochs=1,2")
        with pytest.raises(NotDelivered):
            run("seed=0", "epochs=3")  # another order of the same training
    assert "the server is away" in capsys.readouterr().err
    assert states(local) == {"not started": 3}
    assert sync(local) == 1
    assert states(local) == {"done": 3}
    assert count(local) == 3
    sync(local)
    assert count(local) == 3


def test_a_folder_of_a_stacked_training_is_still_delivered(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(outlet, "deliver", away)
        with pytest.raises(NotDelivered):
            run("seed=0")
    (path,) = (local.output / "runs").iterdir()
    folder = RunFolder(path)
    record = read_json(path / "run.json")
    write_json(path / "run.json", record | {"stacked": 4, "not_stacked": None})
    job = read_json(folder.path / "job.json")
    job["config"]["planner"]["stack"] = "auto"
    write_json(folder.path / "job.json", job)
    assert sync(local) == 1
    assert states(local) == {"done": 1}


def test_the_next_launch_delivers_without_training_again(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(outlet, "deliver", away)
        with pytest.raises(NotDelivered):
            run()
    with monkeypatch.context() as patch:
        break_predictions(patch, lambda config: True)
        assert list(run().values()) == ["finished"]
    assert states(local) == {"done": 1}


def test_a_sweep_goes_on_where_its_store_cannot_be_opened(
    run: Run, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("seed=0")
    away = make_job("seed=1", "settings.store=http://127.0.0.1:9", "sweep=trial")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(NotDelivered, match="1 of 1 trainings are computed and not in the store"):
        run_jobs([away], [])


@pytest.mark.parametrize("disk", ["full", "without the folder"])
def test_a_disk_that_takes_no_artifacts_is_no_success(
    run: Run,
    local: Settings,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    disk: str,
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if disk == "full":
            patch.setattr(MlflowClient, "log_artifact", full)
            patch.setattr(MlflowClient, "log_artifacts", full)
        else:
            (local.output / "artifacts").write_text("a file where the folder should be")
        with pytest.raises(NotDelivered, match="2 of 2 trainings are computed and not in"):
            run("seed=0,1")
    assert "2 of 2 trainings finished, 2 not delivered" in capfd.readouterr().err
    if disk != "full":
        (local.output / "artifacts").unlink()
    assert len(run("seed=0,1")) == 2, "delivered by the next launch"
    assert states(local) == {"done": 2}
    assert count(local) == 2


def test_what_a_store_did_not_take_is_delivered_at_the_end_where_it_takes_it_then(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = outlet.Outlet.deliver, []

    def once(self: Any, training: Any) -> None:
        if refused:
            real(self, training)
        else:
            refused.append(training)
            self.undelivered[training.id] = training

    monkeypatch.setattr(outlet.Outlet, "deliver", once)
    assert len(run("seed=0,1")) == 2
    assert states(local) == {"done": 2}


def test_every_ending_has_a_status_of_its_own() -> None:
    assert [e.status for e in (LeukoBenchError, TrainingsFailed, NotDelivered, Interrupted)] == [
        1,
        4,
        5,
        130,
    ]


@pytest.mark.parametrize("store", ["file:///tmp/mlruns", "sqlite:////dev/null/mlflow.db"])
def test_a_store_that_can_never_work_stops_a_sweep_before_it_trains(
    run: Run, make_job: Callable[..., Job], local: Settings, store: str
) -> None:
    run("seed=0")
    with pytest.raises(StoreError, match=r"store|MLFLOW_TRACKING_URI"):
        run_jobs([make_job("seed=1", f"settings.store={store}")], [])
    assert len(list((local.output / "runs").iterdir())) == 1


def test_a_training_that_takes_long_is_shown_as_running(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, int]] = []
    original = session.showing

    def at_once(*args: Any) -> Any:
        inner = original(*args, after=0)

        def both(epoch: int, total: int, row: Any) -> None:
            inner(epoch, total, row)
            seen.append(states(local))

        return both

    monkeypatch.setattr(session, "showing", at_once)
    run("epochs=2")
    assert seen == [{"unfinished": 1}] * 2
    assert states(local) == {"done": 1}
    assert count(local) == 1


class Launcher:
    """Runs jobs one after the other, from override strings as Hydra's launchers do."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.launches = config, 0

    def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> None:
        self.launches += 1
        for overrides in job_overrides:
            planned = OmegaConf.from_dotlist([o.lstrip("+").replace("'", "") for o in overrides])
            launch.task(OmegaConf.merge(self.config, planned))


def test_a_launcher_runs_what_was_planned_and_results_are_delivered_while_workers_run(
    make_job: Callable[..., Job], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(f"seed={s}", "sweep=trial") for s in range(4)]
    before: list[int] = []
    whole = runs.run_training

    def train_and_look(*args: Any, **options: Any) -> runs.State:
        wait_for(lambda: states(local).get("done", 0) >= len(before))
        before.append(states(local).get("done", 0))
        return whole(*args, **options)

    monkeypatch.setattr(runs, "run_training", train_and_look)
    ended = run_jobs(jobs, [], launch_with(Launcher(jobs[0].config)), workers=2)
    assert list(ended.values()) == ["finished"] * 4
    assert states(local) == {"done": 4}
    assert before == [0, 1, 2, 3]
    assert list((local.output / "plans").iterdir()) == [], "nothing is left behind"


def test_what_a_dead_worker_was_at_is_trained_by_another(
    make_job: Callable[..., Job], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(f"seed={s}", "sweep=trial") for s in range(4)]
    launcher = Launcher(jobs[0].config)
    whole, begun = runs.run_training, []

    def killed(training: Any, **options: Any) -> runs.State:
        begun.append(training)
        if len(begun) == 2:
            raise MemoryError("killed")
        return whole(training, **options)

    monkeypatch.setattr(runs, "run_training", killed)
    ended = run_jobs(jobs, [], launch_with(launcher))
    assert list(ended.values()) == ["finished"] * 4
    assert states(local) == {"done": 4}
    assert launcher.launches == 2, "they went on with new workers"
    assert [training.id for training in begun].count(begun[1].id) == 2


def test_a_worker_that_lost_its_lease_writes_nothing_of_the_next_epoch(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    (training,) = planned(make_job("epochs=2"))
    plan = tmp_path / "plan"
    write_json(plan / "00000.ready", saved(training))

    def train(training: Training, **options: Any) -> str:
        (plan / "00000.taken").unlink()  # the planner gave it to another
        (plan / "end").touch()
        return runs.run_training(training, **options)

    work(plan, 0, train)
    folder = RunFolder.of(training.job.settings.output, training.id)
    assert folder.run().state == "running"
    assert folder.results() == []
    assert folder.curves() == []
    assert not list(plan.glob("*.done"))


def test_a_training_that_ends_every_worker_fails_and_the_others_go_on(
    make_job: Callable[..., Job], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(f"seed={s}", "sweep=trial") for s in range(3)]
    whole = runs.run_training

    def killed(training: Any, **options: Any) -> runs.State:
        if training.job.config["seed"] == 1:
            raise MemoryError("killed")
        return whole(training, **options)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "run_training", killed)
        with pytest.raises(TrainingsFailed, match="1 of 3 trainings failed"):
            run_jobs(jobs, [], launch_with(Launcher(jobs[0].config)))
    assert states(local) == {"done": 2, "failed": 1}
    (failed,) = [job for job in status(local, "trial") if job["state"] == "failed"]
    assert "5 workers ended while they trained it (the last: MemoryError" in failed["error"]
    assert len(run_jobs(jobs, [])) == 1


def test_workers_that_cannot_start_are_reported_and_nothing_is_lost(
    make_job: Callable[..., Job], local: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path, count: int) -> None:
        raise OSError("no cluster here")

    with pytest.raises(TrainingsFailed, match="the same command goes on"):
        run_jobs([make_job("sweep=trial")], [], broken)
    assert "no cluster here" in capsys.readouterr().err
    assert states(local) == {"not started": 1}


def test_fail_fast_stops_workers_too(
    make_job: Callable[..., Job], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(f"seed={s}", "sweep=trial", "planner.fail_fast=true") for s in range(9)]
    break_predictions(monkeypatch, lambda config: config["seed"] == 0)
    with pytest.raises(TrainingsFailed, match="1 of 9 trainings failed"):
        run_jobs(jobs, [], launch_with(Launcher(jobs[0].config)))
    assert states(local)["not started"] >= 6


def test_a_stop_reaches_workers_and_the_next_launch_goes_on(
    make_job: Callable[..., Job], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(f"seed={s}", "sweep=trial", "epochs=4") for s in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "requested", True, raising=False)
        patch.setattr(Interruption, "__init__", lambda self: None)
        with pytest.raises(Interrupted, match="interrupted; the same command goes on"):
            run_jobs(jobs, [], launch_with(Launcher(jobs[0].config)))
    assert len(run_jobs(jobs, [])) == 3
    assert states(local) == {"done": 3}


@pytest.mark.parametrize(
    ("worker", "visible", "count", "expected"),
    [
        (0, None, 0, None),
        (3, None, 1, None),
        (0, "2", 1, None),
        (0, None, 2, "0"),
        (1, None, 2, "1"),
        (2, None, 2, "0"),
        (1, "4,6,7", 3, "6"),
        (3, "GPU-a, GPU-b", 2, "GPU-b"),
    ],
)
def test_workers_share_out_the_gpus_of_a_machine(
    worker: int, visible: str | None, count: int, expected: str | None
) -> None:
    assert gpu_of(worker, visible, count) == expected


@pytest.mark.parametrize(("said", "extra"), [("joblib", "joblib"), ("submitit_slurm", "submitit")])
def test_a_launcher_that_is_not_installed_is_one_message(said: str, extra: str) -> None:
    error = HydraException(
        f"Could not find 'hydra/launcher/{said}'\n\nAvailable options:\n\tbasic\n\tray\n"
    )
    assert one_message(error) == f"this launcher is not installed: pip install leukobench[{extra}]"


def test_the_name_of_hydra_s_own_ray_launcher_says_what_leukobench_s_is_called() -> None:
    error = HydraException("Could not find 'hydra/launcher/ray'\n\nAvailable options:\n\tbasic\n")
    assert "hydra/launcher=leukobench_ray" in one_message(error)


def test_planner_workers_is_how_many_a_launcher_is_asked_for() -> None:
    def asked(workers: int | None, **launcher: Any) -> tuple[int, Any]:
        config = OmegaConf.create(
            {"planner": {"workers": workers}, "hydra": {"launcher": launcher}}
        )
        return workers_of(config), config.hydra.launcher.get("n_jobs")

    assert asked(3, n_jobs=-1) == (3, 3)
    assert asked(None, n_jobs=2) == (2, 2)
    assert asked(None, array_parallelism=16) == (16, None)
    assert asked(None)[0] >= 1
    with pytest.raises(ConfigError, match="at least one worker"):
        asked(0)


def test_identities_do_not_depend_on_how_a_sweep_was_written(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    (one,) = planned(make_job("seed=1", "model=gene_mlp"))
    (other,) = planned(make_job("model=gene_mlp", "optimizer.lr=0.001", "seed=1"))
    assert one.identities == other.identities

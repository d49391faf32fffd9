"""A sweep from its jobs to the store: run once, resumed, forced, delivered late; failures are no results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leukobench.errors import StoreError
from leukobench.settings import Settings
from leukobench.sweeps import launch
from leukobench.sweeps.launch import Outcome, load_planned, run_jobs, save_plan
from leukobench.sweeps.plan import expand, make_plan
from leukobench.sweeps.states import status
from leukobench.tracking.delivery import sync
from leukobench.tracking.store import Store
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job
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
        jobs = [make_job(*job, "sweep=trial", "planner.stack=false") for job in grid]
        return run_jobs(expand(jobs), [], None)

    return go


def states(settings: Settings) -> dict[str, int]:
    """How many jobs of the sweep are in which state."""
    out: dict[str, int] = {}
    for job in status(settings, "trial"):
        out[job["state"]] = out.get(job["state"], 0) + 1
    return out


def run_ids(settings: Settings) -> dict[str, str]:
    store = Store(settings)
    sweep = store.find_sweep("trial")
    assert sweep is not None
    return {i: e.run_id for i, e in store.entries(sweep).items()}


def count(settings: Settings) -> int:
    """Result runs in the store, whatever their state."""
    store = Store(settings)
    sweep = store.find_sweep("trial")
    assert sweep is not None
    return len(list(store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'")))


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
        with pytest.raises(Outcome, match="1 of 2 trainings failed"):
            run("seed=0,1")
    assert "no network today" in capsys.readouterr().err
    assert states(local) == {"failed": 1, "done": 1}
    before = run_ids(local)
    assert list(run("seed=0,1").values()) == ["finished"]
    assert states(local) == {"done": 2}
    assert run_ids(local) == before, "the failed run was continued"


def test_fail_fast_stops_at_the_first_failure(run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_predictions(patch, lambda config: config["seed"] == 0)
        with pytest.raises(Outcome):
            run("seed=0,1", "planner.fail_fast=true")
    assert states(local) == {"failed": 1, "not started": 1}


def test_ctrl_c_once_stops_after_the_epoch_and_the_next_launch_goes_on(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "requested", True, raising=False)
        patch.setattr(Interruption, "__init__", lambda self: None)
        with pytest.raises(Outcome, match="interrupted; the same command goes on"):
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
        with pytest.raises(Outcome, match="interrupted"):
            run("seed=0,1", "epochs=1")
    assert states(local) == {"done": 1, "not started": 1}


def test_force_replaces_results_and_leaves_those_that_were_not_asked_for(run: Run, local: Settings) -> None:
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
        patch.setattr(Store, "deliver", away)
        assert set(run("seed=0", "epochs=1,2").values()) == {"finished"}
        assert set(run("seed=0", "epochs=3").values()) == {"finished"}, "another order of the same training"
    assert "the server is away" in capsys.readouterr().err
    assert states(local) == {"not started": 3}
    assert sync(local) == 1
    assert states(local) == {"done": 3}
    assert count(local) == 3
    sync(local)
    assert count(local) == 3


def test_the_next_launch_delivers_without_training_again(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise StoreError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "deliver", away)
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
    assert list(run_jobs([away], [], None).values()) == ["finished"]


@pytest.mark.parametrize("store", ["file:///tmp/mlruns", "sqlite:////dev/null/mlflow.db"])
def test_a_store_that_can_never_work_stops_a_sweep_before_it_trains(
    run: Run, make_job: Callable[..., Job], local: Settings, store: str
) -> None:
    run("seed=0")
    with pytest.raises(StoreError, match=r"store|MLFLOW_TRACKING_URI"):
        run_jobs([make_job("seed=1", f"settings.store={store}")], [], None)
    assert len(list((local.output / "runs").iterdir())) == 1


def test_a_training_that_takes_long_is_shown_as_running(
    run: Run, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, int]] = []
    original = launch.showing

    def at_once(*args: Any) -> Any:
        inner = original(*args, after=0)

        def both(epoch: int, total: int, row: Any) -> None:
            inner(epoch, total, row)
            seen.append(states(local))

        return both

    monkeypatch.setattr(launch, "showing", at_once)
    run("epochs=2")
    assert seen == [{"unfinished": 1}] * 2
    assert states(local) == {"done": 1}
    assert count(local) == 1


def test_a_saved_plan_gives_back_its_trainings(make_job: Callable[..., Job], local: Settings) -> None:
    jobs = expand([make_job("evaluate_at=[1,2]"), make_job("seed=1")])
    plan = make_plan(jobs, {})
    folder = save_plan(plan, local, "trial")
    for i, training in enumerate(plan.trainings):
        (again,) = load_planned(folder, i)
        assert (again.id, again.identities, again.epochs) == (training.id, training.identities, training.epochs)
        assert again.job.config == training.job.config


def test_a_launcher_runs_what_was_planned_and_its_results_are_delivered(
    make_job: Callable[..., Job], local: Settings
) -> None:
    from omegaconf import OmegaConf

    class Launcher:
        """Runs jobs as Hydra's launchers do: from override strings."""

        def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> None:
            for overrides in job_overrides:
                planned = OmegaConf.from_dotlist([o.lstrip("+") for o in overrides])
                launch.task(OmegaConf.merge(jobs[0].config, planned))

    jobs = [make_job(f"seed={s}", "sweep=trial") for s in (0, 1)]
    assert set(run_jobs(jobs, [], Launcher()).values()) == {"finished"}
    assert states(local) == {"done": 2}


def test_identities_do_not_depend_on_how_a_sweep_was_written(make_job: Callable[..., Job], tmp_path: Path) -> None:
    (one,) = planned(make_job("seed=1", "model=gene_mlp"))
    (other,) = planned(make_job("model=gene_mlp", "optimizer.lr=0.001", "seed=1"))
    assert one.identities == other.identities

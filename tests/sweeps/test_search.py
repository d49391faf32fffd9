"""Searching: trials are runs like any others, chosen on validation, and a search that was killed repeats none."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from launching import start
from leukobench.errors import ConfigError
from leukobench.settings import Settings
from leukobench.sweeps import launch
from leukobench.sweeps.launch import run_jobs
from leukobench.sweeps.outcome import Outcome
from leukobench.sweeps.search import TABLE, Search, run, space_of
from leukobench.sweeps.states import status
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.reading import Results
from leukobench.tracking.sweeps import find_sweep

PARAMS = {
    "optimizer.lr": "tag(log, interval(1e-4, 1e-1))",
    "batch_size": "choice(4,8)",
    "fold": "0",
}
METRIC = "validation_log_loss"
Go = Callable[..., list[list[str]]]


@pytest.fixture(autouse=True)
def _no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's plot takes longer than these trials; it has tests of its own."""
    monkeypatch.setattr(launch, "describe", lambda *args: None)


@pytest.fixture
def search(composer: Any, local: Settings) -> Go:
    """Runs a search on tiny data in this process; returns the overrides of each job that was run, in order."""

    def go(
        *arguments: str,
        trials: int = 3,
        before: Callable[[int], None] | None = None,
        place: Settings = local,
        **options: Any,
    ) -> list[list[str]]:
        own = [
            "data=tiny",
            "epochs=2",
            "sweep=trial",
            "split=kfold",
            "split.validation=0.25",
        ]
        own += [f"settings.output={place.output}", f"settings.store={place.store}"]
        space, fixed = space_of(PARAMS, [*own, *arguments], OverridesParser.create())
        launches: list[list[str]] = []

        def launch_jobs(jobs: Any) -> Any:
            if before is not None:
                before(len(launches))
            launches.append(
                [
                    " ".join(o for o in job.overrides if o.startswith(("optimizer", "batch")))
                    for job in jobs
                ]
            )
            return run_jobs(jobs, [])

        try:
            run(
                composer, space, fixed, Search(trials=trials, metric=METRIC, **options), launch_jobs
            )
        finally:
            go.launches = launches  # type: ignore[attr-defined]
        return launches

    return go


def table(settings: Settings) -> list[dict[str, str]]:
    """Every trial, as kept with the sweep's run."""
    store = Store(settings)
    sweep = find_sweep(store, "trial")
    assert sweep is not None
    folder = local_path(store.client.get_run(sweep.run_id).info.artifact_uri)
    assert folder is not None
    with (folder / TABLE).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def space(**params: str) -> dict[str, Any]:
    return space_of(params, [], OverridesParser.create())[0]


# --- what is searched -------------------------------------------------------------------------------------------------


def test_a_space_is_written_like_a_grid() -> None:
    found = space(
        a="interval(0, 0.5)",
        b="tag(log, interval(1e-4, 1e-1))",
        c="int(interval(1, 9))",
        d="range(10, 60, 10)",
        e="[16],[64,64]",
        f="choice(adam, sgd)",
        g="7",
        seed="range(3)",
        fold="all",
    )
    assert {k: str(v) for k, v in found.items()} == {
        "a": "FloatDistribution(high=0.5, log=False, low=0.0, step=None)",
        "b": "FloatDistribution(high=0.1, log=True, low=0.0001, step=None)",
        "c": "IntDistribution(high=9, log=False, low=1, step=1)",
        "d": "IntDistribution(high=50, log=False, low=10, step=10)",
        "e": "CategoricalDistribution(choices=('[16]', '[64,64]'))",
        "f": "CategoricalDistribution(choices=('adam', 'sgd'))",
    }


def test_arguments_replace_what_the_file_searches() -> None:
    found, fixed = space_of(
        {"a": "1,2", "b": "1,2", "fold": "all"}, ["a=3", "c=4,5"], OverridesParser.create()
    )
    assert list(found) == ["b", "c"]
    assert fixed == {"fold": ["fold=all"], "a": ["a=3"]}
    with pytest.raises(ConfigError, match="cannot be searched"):
        space(a="tag(log, interval(0, 1))")


def test_test_results_are_never_chosen_on() -> None:
    with pytest.raises(ConfigError, match="never on test"):
        Search(metric="test_accuracy")
    assert Search(metric="validation_log_loss").direction == "minimize"
    assert Search(metric="validation_auroc").direction == "maximize"


def test_a_split_without_validation_is_refused_before_anything_runs(
    search: Go, local: Settings
) -> None:
    with pytest.raises(ConfigError, match="no validation part"):
        search("split.validation=0")
    assert not (local.output / "runs").exists()


# --- trials -----------------------------------------------------------------------------------------------------------


def test_trials_are_the_runs_of_the_sweep_and_the_best_on_validation_is_said(
    search: Go, local: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    launches = search("fold=0,1")
    assert [len(jobs) for jobs in launches] == [2, 2, 2], "one run a fold"
    assert len({jobs[0] for jobs in launches}) == 3
    assert [job["state"] for job in status(local, "trial")] == ["done"] * 6
    results = {r.identity: r.metrics for r in Results(local, ["trial"]).results}
    rows = table(local)
    for row in rows:
        values = [results[i][METRIC] for i in row["identities"].split()]
        assert float(row[METRIC]) == sum(values) / 2
        assert 1e-4 <= float(row["optimizer.lr"]) <= 0.1
    best = min(rows, key=lambda row: float(row[METRIC]))
    said = capsys.readouterr().err
    assert f"best of 3 trials: trial {best['trial']}, optimizer.lr {best['optimizer.lr']}" in said
    assert "chosen on" in said
    of = [[results[i] for i in row["identities"].split()] for row in rows]
    chosen = [min((trial[k] for trial in of), key=lambda m: m[METRIC]) for k in (0, 1)]
    test = [m["test_log_loss"] for m in chosen]
    flat = " ".join(said.split())
    assert f"test log loss {sum(test) / 2:.4f}, nested: each of 2 test parts" in flat
    assert "by guessing: class shares of training" in flat
    assert not any("test" in column for column in rows[0])


def test_a_second_launch_runs_nothing_and_more_trials_go_on(
    search: Go, local: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    search()
    before = table(local)
    capsys.readouterr()
    assert search() == []
    assert "best of 3 trials" in capsys.readouterr().err
    assert table(local) == before
    assert len(search(trials=4)) == 1
    assert table(local)[:3] == before


def test_a_search_that_was_stopped_proposes_the_same_trials_and_repeats_none(
    search: Go, local: Settings, tmp_path: Path, database: Path
) -> None:
    def stop(launches: int) -> None:
        if launches == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(trials=12, before=stop)
    first = search.launches  # type: ignore[attr-defined]
    second = search(trials=12)
    assert (len(first), len(second)) == (2, 10)
    store = Store(local)
    sweep = find_sweep(store, "trial")
    assert sweep is not None
    assert len(list(store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'"))) == 12
    twin = Settings(local.data, tmp_path / "twin", f"sqlite:///{tmp_path / 'twin' / 'mlflow.db'}")
    twin.output.mkdir()
    shutil.copy(database, twin.output / "mlflow.db")
    assert search(trials=12, place=twin) == first + second
    assert table(local) == table(twin), "values too are those of a search that was never stopped"
    rates = [float(row["optimizer.lr"]) for row in table(twin)]
    assert min(rates[-2:]) > 0.05, (
        "the last trials follow what was best before: the highest rates of so short a training"
    )


def test_another_seed_proposes_other_trials(search: Go) -> None:
    assert search(trials=1) != search(trials=1, seed=1)


def test_several_trials_are_run_at_once(search: Go) -> None:
    assert [len(jobs) for jobs in search(at_once=2)] == [2, 1]


def test_a_failed_trial_costs_itself_alone_and_is_retried(
    search: Go, local: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import leukobench.training.run as module

    whole = module.build_network
    with monkeypatch.context() as patch:

        def broken(job: Any, *args: Any) -> Any:
            if job.config["batch_size"] == 4:
                raise RuntimeError("no network today")
            return whole(job, *args)

        patch.setattr(module, "build_network", broken)
        with pytest.raises(Outcome, match="trials failed"):
            search()
    rows = table(local)
    assert [row[METRIC] == "" for row in rows] == [row["batch_size"] == "4" for row in rows]
    assert 0 < sum(row[METRIC] == "" for row in rows) < 3
    search()
    assert all(row[METRIC] for row in table(local))
    assert {job["state"] for job in status(local, "trial")} == {"done"}


def test_an_interruption_stops_the_search(search: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "leukobench.training.interruption.Interruption.requested",
        property(lambda self: True, lambda self, v: None),
        raising=False,
    )
    with pytest.raises(Outcome, match="interrupted"):
        search("epochs=50")
    assert len(search.launches) == 1  # type: ignore[attr-defined]


def test_a_dry_run_trains_nothing(
    search: Go, local: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    search("planner.dry_run=true")
    assert "follows from this one's result" in capsys.readouterr().err
    assert not (local.output / "runs").exists()


def test_the_best_can_be_run_again_with_more_seeds(search: Go, local: Settings) -> None:
    search(trials=2)
    best = min(table(local), key=lambda row: float(row[METRIC]))
    own = (f"optimizer.lr={best['optimizer.lr']}", f"batch_size={best['batch_size']}")
    assert search(*own) == []
    (jobs,) = search(*own, "seed=0,1")
    assert len(jobs) == 2


@pytest.mark.slow
def test_a_search_on_real_data_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    arguments = [
        "sweep",
        "search",
        "hydra.sweeper.trials=5",
        "fold=0,1",
        "epochs=5,10",
        "model.hidden=[8],[16]",
    ]

    def begin(place: str) -> Any:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        environment = {"LEUKOBENCH_OUTPUT": str(tmp_path / place), "OMP_NUM_THREADS": "1"}
        return start(arguments, environment, tmp_path, tmp_path / f"{place}.log")

    def trials(place: str) -> list[str]:
        log = (tmp_path / f"{place}.log").read_text()
        return list(dict.fromkeys(line for line in log.splitlines() if line.startswith("trial ")))

    whole = begin("whole")
    whole.join(300)
    assert whole.exitcode == 0
    stamps: dict[Path, float] = {}
    for seen in (2, 4):
        process = begin("killed")
        while (
            len(trials("killed") if (tmp_path / "killed.log").exists() else []) < seen
            and process.exitcode is None
        ):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        for path in (tmp_path / "killed" / "runs").glob("*/results/*/result.json"):
            stamps.setdefault(path, path.stat().st_mtime)
    last = begin("killed")
    last.join(300)
    assert last.exitcode == 0
    assert trials("killed") == trials("whole")
    assert len(stamps) >= 4
    assert all(path.stat().st_mtime == stamp for path, stamp in stamps.items()), (
        "nothing finished was run again"
    )
    tables, counts = [], []
    for place in ("whole", "killed"):
        (path,) = (tmp_path / place).glob(f"artifacts/search/*/artifacts/{TABLE}")
        tables.append(path.read_text())
        with sqlite3.connect(tmp_path / place / "mlflow.db") as db:
            counts.append(
                db.execute("select count(*) from runs where lifecycle_stage = 'active'").fetchall()
            )
    assert tables[0] == tables[1]
    assert counts[0] == counts[1]

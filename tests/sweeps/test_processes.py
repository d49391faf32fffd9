"""Sweeps as processes of their own: stopped by Ctrl-C, launched twice at once, run by launchers, without their store."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Process
from pathlib import Path

import pandas as pd
import pytest

from launching import start
from leukobench.settings import Settings
from leukobench.sweeps.states import status
from leukobench.tracking.delivery import sync
from leukobench.tracking.folder import RunFolder

pytestmark = pytest.mark.slow

SWEEP = """\
defaults:
  - train
  - override data: tiny
  - override model: gene_mlp
  - _self_
sweep: trial
batch_size: 8
model: {hidden: [8]}
hydra: {sweeper: {params: {seed: range(8), epochs: '2,5'}}}
"""


class Place:
    """Launches in a folder, on one store."""

    def __init__(self, folder: Path, conf: Path, database: Path | None) -> None:
        self.folder, self.conf, self.launched = folder, conf, 0
        self.store = folder / "mlflow.db"
        (conf / "trial.yaml").write_text(SWEEP)
        if database is not None:
            self.store.write_bytes(database.read_bytes())

    def settings(self, output: str = "out") -> Settings:
        return Settings(self.folder / "data", self.folder / output, f"sqlite:///{self.store}")

    def environment(self, output: str = "out") -> dict[str, str]:
        return {
            "LEUKOBENCH_OUTPUT": str(self.folder / output),
            "LEUKOBENCH_CONF": str(self.conf),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.store}",
            "PYTHONPATH": str(Path(__file__).parents[1]),  # launchers' workers load tiny data too
            "OMP_NUM_THREADS": "1",
        }

    def launch(
        self, *arguments: str, output: str = "out", **environment: str
    ) -> tuple[Process, Path]:
        """Start `leukobench sweep trial`; the process and its log."""
        self.launched += 1
        log = self.folder / f"log-{self.launched}.txt"
        where = {**self.environment(output), **environment}
        return start(
            ["sweep", str(self.conf / "trial.yaml"), *arguments], where, self.folder, log
        ), log

    def finish(self, *arguments: str, expect: int = 0, **more: str) -> str:
        process, log = self.launch(*arguments, **more)
        process.join(300)
        assert process.exitcode == expect, log.read_text()[-3000:]
        return log.read_text()

    def results(self, output: str = "out") -> dict[str, pd.DataFrame]:
        """Predictions by identity."""
        paths = (self.folder / output / "runs").glob("*/results/*/result.json")
        return {p.parent.name: pd.read_parquet(p.parent / "predictions.parquet") for p in paths}

    def states(self) -> dict[str, int]:
        jobs = [job["state"] for job in status(self.settings(), "trial")]
        return {state: jobs.count(state) for state in set(jobs)}

    def counted(self) -> list[object]:
        """How many active runs of the store hold each result."""
        return [n for (n,) in self.query(
            "select count(*) from tags t join runs r on r.run_uuid = t.run_uuid "
            "where t.key = 'leukobench.identity' and r.lifecycle_stage = 'active' group by t.value"
        )]  # fmt: skip

    def sweep_run(self) -> list[tuple[object, ...]]:
        """Status of the sweep's own run."""
        return self.query(
            "select r.status from runs r join tags t on t.run_uuid = r.run_uuid "
            "where t.key = 'leukobench.kind' and t.value = 'sweep'"
        )

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.store) as db:
            return db.execute(sql).fetchall()


@pytest.fixture
def place(tmp_path: Path, tiny_conf: Path, database: Path) -> Place:
    return Place(tmp_path, tiny_conf, database)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


def same(ours: dict[str, pd.DataFrame], theirs: dict[str, pd.DataFrame]) -> None:
    assert ours.keys() == theirs.keys()
    for identity, frame in ours.items():
        pd.testing.assert_frame_equal(frame, theirs[identity], check_exact=True)


def test_ctrl_c_once_checkpoints_says_how_to_go_on_and_the_next_launch_ends_with_the_same_numbers(
    place: Place,
) -> None:
    long = ("epochs=300,400", "seed=0,1,2")
    process, log = place.launch(*long)
    runs = place.folder / "out" / "runs"
    wait_for(lambda: any(runs.glob("*/preprocess.safetensors")))
    time.sleep(0.2)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    assert "stopping after this epoch; Ctrl-C again stops at once" in log.read_text()
    assert "interrupted; the same command goes on where it stopped" in log.read_text()
    assert "Traceback" not in log.read_text()
    (folder,) = map(RunFolder, runs.iterdir())
    assert folder.run().state == "interrupted"
    assert folder.checkpoint.is_file()
    reached = len(folder.curves())
    assert reached < 300
    assert place.states().get("unfinished") == 2, (place.states(), log.read_text())
    place.finish(*long)
    assert place.states() == {"done": 6}
    place.finish(*long, output="twin")
    assert not place.results("twin"), "what the store holds is not run again from another folder"
    place.store.unlink()
    place.finish(*long, output="twin")
    same(place.results(), place.results("twin"))


def test_sigterm_checkpoints_closes_the_sweep_and_the_next_launch_goes_on(place: Place) -> None:
    long = ("epochs=300,400", "seed=0,1,2")
    process, log = place.launch(*long)
    runs = place.folder / "out" / "runs"
    wait_for(lambda: any(runs.glob("*/preprocess.safetensors")))
    time.sleep(0.2)
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143, log.read_text()
    assert "asked to end (SIGTERM)" in log.read_text()
    (folder,) = map(RunFolder, runs.iterdir())
    assert folder.run().state == "interrupted"
    assert folder.checkpoint.is_file()
    assert place.states().get("unfinished") == 2, (place.states(), log.read_text())
    assert place.sweep_run() == [("FINISHED",)]
    place.finish(*long)
    assert place.states() == {"done": 6}


def test_a_slurm_job_requeues_itself_at_its_time_limit_and_goes_on(place: Place) -> None:
    binaries = place.folder / "bin"
    binaries.mkdir()
    asked = place.folder / "asked.txt"
    stand_ins = {
        "scontrol": f'echo "$@" >> {asked}',
        "leukobench": f'exec {sys.executable} -m leukobench "$@"',
    }
    for name, line in stand_ins.items():
        (binaries / name).write_text(f"#!/bin/sh\n{line}\n")
        (binaries / name).chmod(0o755)
    script = Path(__file__).parents[2] / "deploy" / "slurm.sbatch"
    path = f"{binaries}:{os.environ['PATH']}"
    environment = {**os.environ, **place.environment(), "PATH": path, "SLURM_JOB_ID": "7"}
    sweep = str(place.conf / "trial.yaml")
    command = ["bash", str(script), sweep, "epochs=3000", "seed=0,1"]
    job = subprocess.Popen(command, env=environment, cwd=place.folder)
    runs = place.folder / "out" / "runs"
    wait_for(lambda: any(runs.glob("*/preprocess.safetensors")), 120)
    time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 143
    assert asked.read_text() == "requeue 7\n"
    assert place.states() == {"unfinished": 1, "not started": 1}
    assert subprocess.run(command, env=environment, cwd=place.folder, timeout=300).returncode == 0
    assert asked.read_text() == "requeue 7\n"
    assert place.states() == {"done": 2}


def test_two_launches_on_one_store_train_each_job_once(place: Place) -> None:
    launches = [place.launch(output=name) for name in ("one", "other")]
    for process, log in launches:
        process.join(300)
        assert process.exitcode == 0, log.read_text()[-3000:]
        assert "8 of 8 trainings finished" in log.read_text()
    one, other = (place.results(name) for name in ("one", "other"))
    assert not one.keys() & other.keys()
    assert len(one) + len(other) == 16
    assert one, "both took part"
    assert other, "both took part"
    assert place.states() == {"done": 16}
    assert place.counted() == [1] * 16
    assert place.query("select count(*) from registered_models") == [(0,)], (
        "no claim is left behind"
    )
    assert place.query(
        "select count(*) from tags where key = 'leukobench.kind' and value = 'sweep'"
    ) == [(1,)]


def test_what_a_killed_launch_was_at_is_taken_over_by_another_at_once(place: Place) -> None:
    process, _ = place.launch("epochs=3000", "seed=0,1", output="one")
    wait_for(lambda: any((place.folder / "one" / "runs").glob("*/preprocess.safetensors")))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert place.query("select count(*) from registered_models") == [(1,)]
    began = time.monotonic()
    place.finish("epochs=20", "seed=0,1", output="other")
    assert time.monotonic() - began < 60
    assert place.query("select count(*) from registered_models") == [(0,)]


@pytest.mark.parametrize(
    ("launcher", "package"),
    [("joblib", "joblib"), ("slurm_local", "submitit"), ("leukobench_ray", "ray")],
)
def test_a_launcher_gives_the_numbers_of_running_here(
    place: Place, launcher: str, package: str
) -> None:
    pytest.importorskip(package)
    place.finish(f"hydra/launcher={launcher}", "planner.workers=2", "seed=0,1,2")
    assert place.states() == {"done": 6}
    place.store.unlink()
    place.finish("seed=0,1,2", output="here")
    same(place.results(), place.results("here"))


def test_ctrl_c_stops_workers_after_their_epoch(place: Place) -> None:
    pytest.importorskip("joblib")
    long = ("epochs=500", "seed=0,1,2,3", "hydra/launcher=joblib", "planner.workers=2")
    process, log = place.launch(*long)
    runs = place.folder / "out" / "runs"

    def in_state(state: str) -> int:
        return sum(RunFolder(p.parent).run().state == state for p in runs.glob("*/run.json"))

    wait_for(lambda: in_state("running") == 2, 120)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    assert "interrupted; the same command goes on where it stopped" in log.read_text()
    assert in_state("running") == 0
    assert in_state("interrupted") == len(list(runs.glob("*/checkpoint.pt"))) >= 1
    place.finish(*long)
    assert place.states() == {"done": 4}
    assert place.counted() == [1] * 4


def test_a_locked_database_costs_no_result_and_the_next_launch_delivers_once(place: Place) -> None:
    process, log = place.launch("seed=0,1", "epochs=400")
    wait_for(lambda: any((place.folder / "out" / "runs").glob("*/preprocess.safetensors")))
    with sqlite3.connect(place.store, isolation_level=None) as lock:
        lock.execute("begin exclusive")  # as another program may hold it for long
        process.join(300)
    assert process.exitcode == 0, log.read_text()[-3000:]
    assert "database is locked" in log.read_text()
    assert len(place.results()) == 2
    text = place.finish("seed=0,1", "epochs=400")
    assert place.states() == {"done": 2}, text
    assert place.counted() == [1, 1]
    assert sync(place.settings()) == 2
    assert place.counted() == [1, 1]

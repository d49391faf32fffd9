"""States of a sweep's jobs, read from the store alone: the same from any machine, without Hydra or torch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from leukobench.errors import ConfigError, StoreError
from leukobench.settings import Settings, find_sweep
from leukobench.tracking.connection import Store
from leukobench.tracking.entries import entries
from leukobench.tracking.pace import FinishedWork, Work, time_left
from leukobench.tracking.sweeps import find_sweep as find_sweep_run
from leukobench.tracking.sweeps import read_plan

WORDS = {"FINISHED": "done", "FAILED": "failed"}
"""States by the status of a job's run; any other status is `unfinished`, no run `not started`."""


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 10 min`."""
    s = round(seconds)
    if s < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s"
    return f"{s // 3600} h {s % 3600 // 60} min"


def seconds_left(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Estimate of the time that a sweep's other jobs take; None where a kind of them has not been trained.

    Args:
        rows: As `status` gives them.
    """
    done: list[FinishedWork] = []
    todo: dict[str, Work] = {}
    for row in rows:
        chosen = dict(o.partition("=")[::2] for o in row["overrides"])
        kind = (row.get("origin") or "", chosen.get("data", ""), chosen.get("model", ""))
        epochs = int(chosen["epochs"]) if chosen.get("epochs", "").isdigit() else None
        training, seconds = row["training"], row["training_seconds"]
        if row["state"] == "done" and seconds is not None:
            done.append(FinishedWork(kind, epochs, training, seconds))
        elif row["state"] != "done":
            before = todo.get(training)
            if before is None or (epochs or 1) > (before.epochs or 1):
                todo[training] = Work(kind, epochs)
    return time_left(done, list(todo.values()))


def go_on(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Commands that go on with a sweep's jobs that are not done, as few as there can be; none where all are.

    Args:
        rows: As `status` gives them.
    """
    waiting = [row for row in rows if row["state"] != "done"]
    commands: dict[str, None] = {}
    alone: list[Sequence[str]] = []
    for row in waiting:
        origin = row.get("origin") or _origin(name)
        if origin == "train":
            alone.append(row["overrides"])
        else:
            renamed = "" if origin == name else f" sweep={shlex.quote(name)}"
            commands[f"leukobench sweep {shlex.quote(origin)}{renamed}"] = None
    return [*commands, *_train_commands(alone)]


def _origin(name: str) -> str:
    """What launched a sweep whose plan does not say it."""
    try:
        find_sweep(name)
    except ConfigError:
        return "train"
    return name


def _train_commands(jobs: Sequence[Sequence[str]], most: int = 5) -> list[str]:
    """One command where the jobs are a whole grid, else one a job, the first few."""
    values: dict[str, list[str]] = {}
    for overrides in jobs:
        for key, _, value in (o.partition("=") for o in overrides):
            known = values.setdefault(key, [])
            if value not in known:
                known.append(value)
    alike = len({tuple(o.partition("=")[0] for o in overrides) for overrides in jobs}) == 1
    if len(jobs) > 1 and alike and math.prod(map(len, values.values())) == len(jobs):
        jobs = [[f"{key}={','.join(each)}" for key, each in values.items()]]
        return [shlex.join(["leukobench", "train", "-m", *jobs[0]])]
    commands = [shlex.join(["leukobench", "train", *overrides]) for overrides in jobs]
    more = len(commands) - most
    return [*commands[:most], f"... and {more} more"] if more > 0 else commands


def status(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Jobs of a sweep as planned so far.

    Returns:
        Records with `identity`, `training`, `overrides`, `origin`, `name`, `state` (`done`, `failed`, `unfinished`,
        `not started`), `run_id`, `error`, and `training_seconds` (None where unknown).

    Raises:
        StoreError: The store has no such sweep.
    """
    store = Store(settings)
    sweep_run = find_sweep_run(store, name)
    if sweep_run is None:
        raise StoreError(
            f"the store {settings.store} has no sweep {name!r}; launch it: leukobench sweep {name}"
        )
    known = entries(settings, store, sweep_run)
    jobs: list[dict[str, Any]] = [asdict(job) for job in read_plan(store, sweep_run).jobs]
    for job in jobs:
        entry = known.get(job["identity"])
        job["state"] = "not started" if entry is None else WORDS.get(entry.status, "unfinished")
        job["training_seconds"] = None if entry is None else entry.seconds
        job["run_id"] = None if entry is None else entry.run_id
        job["error"] = None if entry is None else entry.error
    return jobs

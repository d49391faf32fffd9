"""States of a sweep's jobs, read from the store alone: the same from any machine, without Hydra or torch."""

from __future__ import annotations

from typing import Any

from leukobench.errors import StoreError
from leukobench.settings import Settings
from leukobench.tracking.entries import entries
from leukobench.tracking.store import Store

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


def status(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Jobs of a sweep as planned so far.

    Returns:
        Records with `identity`, `training`, `overrides`, `name`, `state` (`done`, `failed`, `unfinished`,
        `not started`), `run_id`, `error`, and `training_seconds` (None where unknown).

    Raises:
        StoreError: The store has no such sweep.
    """
    store = Store(settings)
    sweep_run = store.find_sweep(name)
    if sweep_run is None:
        raise StoreError(
            f"the store {settings.store} has no sweep {name!r}; launch it: leukobench sweep {name}"
        )
    known = entries(settings, store, sweep_run)
    jobs = store.read_plan(sweep_run)
    for job in jobs:
        entry = known.get(job["identity"])
        job["state"] = "not started" if entry is None else WORDS.get(entry.status, "unfinished")
        job["training_seconds"] = None if entry is None else entry.seconds
        job["run_id"] = None if entry is None else entry.run_id
        job["error"] = None if entry is None else entry.error
    return jobs

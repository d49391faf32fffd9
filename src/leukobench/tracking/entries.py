"""What a planner asks of the store: which results of a sweep are there, in which state.

Finished runs never change, so they are taken from what `leukobench.tracking.reading` keeps; the
others are read anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leukobench.schema.names import Param, Tag
from leukobench.settings import Settings
from leukobench.tracking.connection import Store
from leukobench.tracking.pace import FinishedWork
from leukobench.tracking.reading import Results, StoredResult
from leukobench.tracking.sweeps import SweepRun


@dataclass(frozen=True)
class Entry:
    """What a planner needs to know of a run in the store.

    Attributes:
        work: What was trained and how long it took; None where the run is not finished or does not
            say it.
    """

    run_id: str
    status: str
    name: str
    seconds: float | None
    error: str | None = None
    work: FinishedWork | None = None


def entries(settings: Settings, store: Store, sweep: SweepRun) -> dict[str, Entry]:
    """Every result of a sweep by identity: a finished one where there is one, else the latest.

    Raises:
        StoreError
    """
    results = Results(settings, [sweep.name])
    out: dict[str, Entry] = {}
    condition = f"tags.`{Tag.KIND}` = 'result' and attributes.status != 'FINISHED'"
    for run in store.search(sweep.experiment_id, condition):
        tags, info = run.data.tags, run.info
        identity = tags.get(Tag.IDENTITY)
        if identity is not None and identity not in out:
            out[identity] = Entry(
                run_id=info.run_id,
                status=info.status,
                name=info.run_name or "",
                seconds=_seconds(tags),
                error=tags.get(Tag.ERROR),
            )
    for result in sorted(results.results, key=lambda r: r.start_time):
        out[result.identity] = _entry(result)
    return out


def _entry(result: StoredResult) -> Entry:
    seconds, params = _seconds(result.tags), result.params
    work = None
    if seconds is not None and {Param.DATA, Param.MODEL, Param.EPOCHS} <= set(params):
        work = FinishedWork(
            kind=(params[Param.DATA], params[Param.MODEL]),
            epochs=int(params[Param.EPOCHS]),
            training=result.tags.get(Tag.TRAINING, result.run_id),
            seconds=seconds,
        )
    return Entry(result.run_id, "FINISHED", name="", seconds=seconds, work=work)


def _seconds(tags: Mapping[str, str]) -> float | None:
    value = tags.get(Tag.SECONDS)
    return float(value) if value else None

"""What a planner asks of the store: which results of a sweep are there, in which state.

Finished runs never change, so they are taken from what `leukobench.tracking.reading` keeps; the others are read anew.
"""

from __future__ import annotations

from leukobench.settings import Settings
from leukobench.tracking.pace import FinishedWork
from leukobench.tracking.reading import Results, StoredResult
from leukobench.tracking.store import PREFIX, Entry, Store, SweepRun


def entries(settings: Settings, store: Store, sweep: SweepRun) -> dict[str, Entry]:
    """Every result of a sweep by identity: a finished one where there is one, else the latest.

    Raises:
        StoreError
    """
    results = Results(settings, [sweep.name])
    out: dict[str, Entry] = {}
    for run in store.search(
        sweep.experiment_id, f"tags.`{PREFIX}kind` = 'result' and attributes.status != 'FINISHED'"
    ):
        tags = run.data.tags
        identity = tags.get(PREFIX + "identity")
        if identity is not None and identity not in out:
            error = tags.get(PREFIX + "error")
            out[identity] = Entry(
                run.info.run_id, run.info.status, run.info.run_name or "", _seconds(tags), error
            )
    for result in sorted(results.results, key=lambda r: r.start_time):
        out[result.identity] = _entry(result)
    return out


def _entry(result: StoredResult) -> Entry:
    seconds, params = _seconds(result.tags), result.params
    work = None
    if seconds is not None and {"data", "model", "epochs"} <= set(params):
        work = FinishedWork(
            kind=(params["data"], params["model"]),
            epochs=int(params["epochs"]),
            training=result.tags.get(PREFIX + "training", result.run_id),
            seconds=seconds,
        )
    return Entry(result.run_id, "FINISHED", "", seconds, work=work)


def _seconds(tags: object) -> float | None:
    value = tags.get(PREFIX + "seconds")  # type: ignore[attr-defined]
    return float(value) if value else None

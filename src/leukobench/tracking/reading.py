"""Reading finished results back from the store, quickly.

Finished runs never change, so what was read of them is kept in the output folder: a later reading
asks only for what ended since, and for what was deleted. Torch, Lightning and Hydra are not needed
to read.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from leukobench.errors import LeukoBenchError, StoreError
from leukobench.progress import Progress
from leukobench.schema import predictions as schema
from leukobench.schema.documents import Json
from leukobench.schema.names import PREFIX, Tag
from leukobench.settings import Settings
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.prediction_cache import PredictionCache
from leukobench.tracking.result_cache import (
    ResultCache,
    RunReference,
    StoredResult,
    up_to_own_epoch,
)
from leukobench.tracking.soundness import predictions_damage

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from leukobench.data.base import Dataset

TAGS = ("sweep", "dataset", "family", "simulated", "subset", "protocol", "paper")
"""Tags that are columns of a frame of results."""


class Results:
    """Finished results of some sweeps (experiments), with their predictions.

    Args:
        names: Names of sweeps; None reads every experiment of the store.
        refresh: Read everything again.

    Raises:
        StoreError: The store cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        names: Iterable[str] | None = None,
        refresh: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.settings = settings
        self.store = settings.shown_store
        self._connection = Store(settings)
        self.cache = (
            settings.output / "cache" / hashlib.sha256(settings.store.encode()).hexdigest()[:16]
        )
        client = self._connection.client
        with self._connection.errors("read"):
            experiments = client.search_experiments(max_results=1000)
        wanted = None if names is None else set(names)
        self.experiments = {
            e.experiment_id: e.name for e in experiments if wanted is None or e.name in wanted
        }
        # An address and an id do not make an experiment: a database can be made anew at the same
        # place.
        self._state = {
            e.experiment_id: f"{e.creation_time} {e.tags.get(Tag.IMPORTED, '')}"
            for e in experiments
        }
        self.results: list[StoredResult] = []
        for experiment_id in sorted(self.experiments):
            self.results += self._read(experiment_id, refresh, progress)

    # runs

    def _read(
        self, experiment_id: str, refresh: bool, progress: Progress | None
    ) -> list[StoredResult]:
        cache = ResultCache(self.cache, experiment_id, self._state[experiment_id])
        if not refresh:
            cache.load()
        began = int(time.time() * 1000)
        known = bool(cache.results)
        changed = self._add_new(cache, progress)
        if known:
            changed |= self._drop_deleted(cache)
            if cache.results and not self._holds(self._latest(cache)):
                return self._read(experiment_id, True, progress)
        if changed:
            cache.save()
        if cache.results:
            cache.mark(began)
        return list(cache.results.values())

    def _add_new(self, cache: ResultCache, progress: Progress | None) -> bool:
        """Add results that ended since the last reading; whether there are any."""
        condition = f"tags.`{Tag.KIND}` = 'result' and attributes.status = 'FINISHED'"
        if cache.asked_from:
            condition += f" and attributes.end_time > {cache.asked_from}"
        before = len(cache.results)
        for run in self._connection.search(cache.experiment_id, condition, progress=progress):
            if run.info.run_id not in cache.results:
                cache.results[run.info.run_id] = StoredResult.of(run)
                cache.watermark = max(cache.watermark, int(run.info.end_time or 0))
        return len(cache.results) > before

    def _drop_deleted(self, cache: ResultCache) -> bool:
        """Drop results that were deleted since the last reading; whether there are any."""
        before = len(cache.results)
        condition = f"tags.`{Tag.KIND}` = 'result'"
        for run in self._connection.search(cache.experiment_id, condition, deleted=True):
            cache.results.pop(run.info.run_id, None)
        return len(cache.results) < before

    def _latest(self, cache: ResultCache) -> str:
        return max(cache.results.values(), key=lambda result: result.start_time).run_id

    def _holds(self, run_id: str) -> bool:
        """Whether the store has this run: it has not where an older copy of the database was put
        back.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._connection.client.get_run(run_id)
        except MlflowException:
            return False
        return True

    def frame(self) -> pd.DataFrame:
        """One row a result: its `run_id`, tags, every param as text, every final metric as a
        number.

        Tags are `sweep`, `dataset`, `family`, `simulated`, `subset`, `protocol`, `leaks` and
        `paper`; `attrs["params"]` names the columns that are params, `attrs["metrics"]` those that
        are metrics. A param that a result does not have is None, a metric NaN.
        """
        import pandas as pd

        params = sorted({k for r in self.results for k in r.params})
        metrics = sorted({k for r in self.results for k in r.metrics if "/" not in k})
        frame = pd.DataFrame(
            {
                "run_id": [r.run_id for r in self.results],
                **{tag: [r.tags.get(PREFIX + tag, "") for r in self.results] for tag in TAGS},
                "leaks": [", ".join(json.loads(r.tags.get(Tag.LEAKS, "[]"))) for r in self.results],
                **{k: [r.params.get(k) for r in self.results] for k in params},
                **{k: [r.metrics.get(k, math.nan) for r in self.results] for k in metrics},
            }
        )
        frame.attrs |= {"params": params, "metrics": metrics}
        return frame

    # what runs hold

    def predictions(self, result: RunReference) -> pd.DataFrame:
        """Predictions of a result, as logged.

        Raises:
            StoreError: The run has none, or its artifacts cannot be read.
        """
        return self._kept.read(result.run_id, self._fetch)

    def pieces(self, results: Sequence[RunReference]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        """The predictions of many results, in as few frames as it takes, and the place in `results`
        of each row's.
        """
        return self._kept.pieces([r.run_id for r in results], self._fetch)

    def _fetch(self, run_id: str) -> pa.Table:
        path = self._file(self._by_id[run_id], schema.FILE)
        table = schema.read_table(path, f"run {run_id}")
        damage = predictions_damage(path)
        if damage is not None:
            raise StoreError(
                f"run {run_id}: {damage}; `leukobench fsck --repair` takes a sound copy where there "
                "is one, or makes it run again"
            )
        return table

    @cached_property
    def _kept(self) -> PredictionCache:
        return PredictionCache(self.cache / "predictions")

    def close(self) -> None:
        """Keep the predictions that were read from the store, for the next reading."""
        self._kept.flush()

    def artifact(self, result: RunReference, name: str) -> Json:
        """Content of a run's JSON artifact (`curves`, `job`, `split`, ...), None where it has none.

        A thin result of a trajectory has its curves and losses at the trajectory, up to its own
        epoch.
        """
        stored = self._by_id[result.run_id]
        for owner in (stored, self._trajectory(stored)):
            if owner is None:
                continue
            try:
                content = json.loads(self._file(owner, f"{name}.json").read_text(encoding="utf-8"))
            except (StoreError, OSError):
                continue
            return up_to_own_epoch(name, content, stored.params)
        return None

    @cached_property
    def _by_id(self) -> dict[str, StoredResult]:
        return {r.run_id: r for r in self.results}

    @cached_property
    def _parents(self) -> dict[str, StoredResult]:
        return {}

    def _trajectory(self, result: StoredResult) -> StoredResult | None:
        parent = result.tags.get(Tag.PARENT)
        if parent is None:
            return None
        if parent not in self._parents:
            with self._connection.errors("read"):
                run = self._connection.client.get_run(parent)
            self._parents[parent] = StoredResult.of(run)
        found = self._parents[parent]
        return found if found.tags.get(Tag.KIND) == "trajectory" else None

    def _file(self, result: StoredResult, name: str) -> Path:
        folder = local_path(result.artifact_uri)
        if folder is not None:
            path = folder / name
            if not path.is_file():
                raise StoreError(
                    f"run {result.run_id} has no artifact {name} ({path}); {_remedy(folder)}"
                )
            return path
        kept = self.cache / "artifacts" / result.run_id / name
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with self._connection.errors("read"):
                self._connection.download(f"{result.artifact_uri}/{name}", kept.parent)
        return kept

    def dataset(self, name: str) -> Dataset | None:
        """The data set of that name, None where its files are absent or faulty: for figures of the
        data themselves.
        """
        from leukobench.data.catalog import source

        try:
            return source(name, self.settings).load()
        except LeukoBenchError:
            return None


def _remedy(folder: Path) -> str:
    if folder.exists():
        return "`leukobench fsck --repair` takes it from the run folder, or makes it run again"
    return (
        "its folder is gone: MLflow keeps whole paths, so put a moved output folder back where it "
        "was (runs move with `leukobench export` and `leukobench import`); of a folder that was "
        "deleted, `leukobench fsck --repair` delivers what run folders hold and makes the rest run "
        "again"
    )

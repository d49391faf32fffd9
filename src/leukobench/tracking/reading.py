"""Reading finished results back from the store, quickly.

Finished runs never change, so what was read of them is kept in the output folder: a later reading asks only for what
ended since, and for what was deleted. Torch, Lightning and Hydra are not needed to read.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from leukobench.errors import StoreError
from leukobench.files import atomic
from leukobench.integrity import read_lines, write_lines
from leukobench.schema.predictions import FILE as PREDICTIONS
from leukobench.schema.predictions import read_table
from leukobench.settings import Settings
from leukobench.tracking.kept import KeptPredictions
from leukobench.tracking.store import PREFIX, Progress, Store, local_path

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from leukobench.data.base import Dataset

FORMAT = 2
MARGIN = 600_000
"""Milliseconds that a run may come late, by another clock or a slow delivery: what ended so long before the last reading
was seen by it, what ended later is asked for again."""

IMPORTED = PREFIX + "imported"
"""Tag of an experiment: changes when runs were brought in from another store, whose ends may lie before the latest end
seen; tag of such a run: the id it had there."""


class Named(Protocol):
    """Anything that names a run of the store."""

    @property
    def run_id(self) -> str: ...


@dataclass(frozen=True)
class StoredResult:
    """One finished result of the store; `start_time` in seconds."""

    run_id: str
    identity: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    start_time: float
    artifact_uri: str
    experiment_id: str
    metrics: Mapping[str, float] = field(default_factory=dict)


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
        # An address and an id do not make an experiment: a database can be made anew at the same place.
        self._state = {
            e.experiment_id: f"{e.creation_time} {e.tags.get(IMPORTED, '')}" for e in experiments
        }
        self.results: list[StoredResult] = []
        for experiment_id in sorted(self.experiments):
            self.results += self._read(experiment_id, refresh, progress)

    # --- runs -----------------------------------------------------------------------------------------------------

    def _read(
        self, experiment_id: str, refresh: bool, progress: Progress | None
    ) -> list[StoredResult]:
        path, last = (
            self.cache / f"results-{experiment_id}.json",
            self.cache / f"results-{experiment_id}.time",
        )
        began = int(time.time() * 1000)
        known: dict[str, dict[str, Any]] = {}
        watermark = 0
        if not refresh and path.is_file():
            try:
                kept = read_lines(path, "the store is read again") or {}
                if kept["format"] == FORMAT and kept["experiment"] == self._state[experiment_id]:
                    known, watermark = kept["results"], kept["watermark"]
            except KeyError:
                pass
        before = set(known)
        condition = f"tags.`{PREFIX}kind` = 'result' and attributes.status = 'FINISHED'"
        if watermark:
            condition += f" and attributes.end_time > {min(watermark, _time_in(last) - MARGIN)}"
        changed = False
        for run in self._connection.search(experiment_id, condition, progress=progress):
            if run.info.run_id in known:
                continue
            known[run.info.run_id] = _plain(run)
            watermark = max(watermark, int(run.info.end_time or 0))
            changed = True
        if before:
            for run in self._connection.search(
                experiment_id, f"tags.`{PREFIX}kind` = 'result'", deleted=True
            ):
                changed |= known.pop(run.info.run_id, None) is not None
            if known and not self._holds(
                max(known, key=lambda run_id: known[run_id]["start_time"])
            ):
                return self._read(experiment_id, True, progress)
        if changed:
            kept = {
                "format": FORMAT,
                "watermark": watermark,
                "experiment": self._state[experiment_id],
            }
            write_lines(path, {**kept, "results": known})
        if known:
            with atomic(last) as temporary:
                temporary.write_text(str(began), encoding="utf-8")
        return [StoredResult(run_id=i, experiment_id=experiment_id, **r) for i, r in known.items()]

    def _holds(self, run_id: str) -> bool:
        """Whether the store has this run: it has not where an older copy of the database was put back."""
        from mlflow.exceptions import MlflowException

        try:
            self._connection.client.get_run(run_id)
        except MlflowException:
            return False
        return True

    def frame(self) -> pd.DataFrame:
        """One row a result: its `run_id`, tags, every param as text, every final metric as a number.

        Tags are `sweep`, `dataset`, `family`, `simulated`, `subset`, `protocol`, `leaks` and `paper`; `attrs["params"]`
        names the columns that are params, `attrs["metrics"]` those that are metrics. A param that a result does not
        have is None, a metric NaN.
        """
        import pandas as pd

        params = sorted({k for r in self.results for k in r.params})
        metrics = sorted({k for r in self.results for k in r.metrics if "/" not in k})
        columns: dict[str, Any] = {"run_id": [r.run_id for r in self.results]}
        for tag in ("sweep", "dataset", "family", "simulated", "subset", "protocol", "paper"):
            columns[tag] = [r.tags.get(PREFIX + tag, "") for r in self.results]
        columns["leaks"] = [
            ", ".join(json.loads(r.tags.get(PREFIX + "leaks", "[]"))) for r in self.results
        ]
        columns |= {k: [r.params.get(k) for r in self.results] for k in params}
        columns |= {k: [r.metrics.get(k, math.nan) for r in self.results] for k in metrics}
        frame = pd.DataFrame(columns)
        frame.attrs |= {"params": params, "metrics": metrics}
        return frame

    # --- what runs hold -------------------------------------------------------------------------------------------

    def predictions(self, result: Named) -> pd.DataFrame:
        """Predictions of a result, as logged.

        Raises:
            StoreError: The run has none, or its artifacts cannot be read.
        """
        return self._kept.read(result.run_id, self._fetch)

    def pieces(self, results: Sequence[Named]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        """The predictions of many results, in as few frames as it takes, and the place in `results` of each row's."""
        return self._kept.pieces([r.run_id for r in results], self._fetch)

    def _fetch(self, run_id: str) -> pa.Table:
        return read_table(self._file(self._by_id[run_id], PREDICTIONS), f"run {run_id}")

    @cached_property
    def _kept(self) -> KeptPredictions:
        return KeptPredictions(self.cache / "predictions")

    def close(self) -> None:
        """Keep the predictions that were read from the store, for the next reading."""
        self._kept.flush()

    def artifact(self, result: Named, name: str) -> Any:
        """Content of a run's JSON artifact (`curves`, `job`, `split`, ...), None where it has none.

        A thin result of a trajectory has its curves and losses at the trajectory, up to its own epoch.
        """
        stored = self._by_id[result.run_id]
        for owner in (stored, self._trajectory(stored)):
            if owner is None:
                continue
            try:
                content = json.loads(self._file(owner, f"{name}.json").read_text(encoding="utf-8"))
            except (StoreError, OSError):
                continue
            if name == "curves" and "epochs" in stored.params:
                return [row for row in content if row["epoch"] <= int(stored.params["epochs"])]
            return content
        return None

    @cached_property
    def _by_id(self) -> dict[str, StoredResult]:
        return {r.run_id: r for r in self.results}

    @cached_property
    def _parents(self) -> dict[str, StoredResult]:
        return {}

    def _trajectory(self, result: StoredResult) -> StoredResult | None:
        parent = result.tags.get("mlflow.parentRunId")
        if parent is None:
            return None
        if parent not in self._parents:
            with self._connection.errors("read"):
                run = self._connection.client.get_run(parent)
            plain = _plain(run)
            self._parents[parent] = StoredResult(
                run_id=parent, experiment_id=result.experiment_id, **plain
            )
        found = self._parents[parent]
        return found if found.tags.get(PREFIX + "kind") == "trajectory" else None

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
            from mlflow.artifacts import download_artifacts

            kept.parent.mkdir(parents=True, exist_ok=True)
            with self._connection.errors("read"):
                download_artifacts(
                    artifact_uri=f"{result.artifact_uri}/{name}",
                    dst_path=str(kept.parent),
                    tracking_uri=self._connection.uri,
                )
        return kept

    def dataset(self, name: str) -> Dataset | None:
        """The data set of that name, None where its files are absent or faulty: for figures of the data themselves."""
        from leukobench.data.catalog import source
        from leukobench.errors import LeukoBenchError

        try:
            return source(name, self.settings).load()
        except LeukoBenchError:
            return None


def _remedy(folder: Path) -> str:
    if folder.exists():
        return "run it again with --force"
    return (
        "its folder is gone: MLflow keeps whole paths, so put a moved output folder back where it was (runs move with "
        "`leukobench export` and `leukobench import`), or run it again with --force"
    )


def _time_in(path: Path) -> int:
    """Milliseconds kept in a file; 0 where there is none."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def _plain(run: Any) -> dict[str, Any]:
    tags = {
        k: v for k, v in run.data.tags.items() if k.startswith(PREFIX) or k == "mlflow.parentRunId"
    }
    return {
        "identity": tags.get(PREFIX + "identity", run.info.run_id),
        "params": dict(run.data.params),
        "tags": tags,
        "start_time": run.info.start_time / 1000,
        "artifact_uri": run.info.artifact_uri,
        "metrics": dict(run.data.metrics),
    }


def sweeps_in(settings: Settings) -> Sequence[str]:
    """Names of the sweeps that the store holds."""
    store = Store(settings)
    with store.errors("read"):
        return sorted(
            e.name
            for e in store.client.search_experiments(max_results=1000)
            if e.experiment_id != "0"
        )

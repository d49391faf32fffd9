"""Results of an experiment kept between readings: finished runs never change, so they are asked for
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from leukobench.files import atomic
from leukobench.integrity import read_lines, write_lines
from leukobench.schema.documents import Json
from leukobench.schema.names import PREFIX, Param, Tag
from leukobench.schema.records import CURVES

if TYPE_CHECKING:
    from mlflow.entities import Run

FORMAT = 2
MARGIN = 600_000
"""Milliseconds that a run may come late, by another clock or a slow delivery: what ended so long
before the last reading was seen by it, what ended later is asked for again.
"""


class RunReference(Protocol):
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

    @classmethod
    def of(cls, run: Run) -> StoredResult:
        """What is read of a run of the store, a result's or a trajectory's."""
        logged, info = run.data.tags, run.info
        return cls(
            run_id=info.run_id,
            identity=logged.get(Tag.IDENTITY, info.run_id),
            params=dict(run.data.params),
            tags={k: v for k, v in logged.items() if k.startswith(PREFIX) or k == Tag.PARENT},
            start_time=info.start_time / 1000,
            artifact_uri=info.artifact_uri,
            experiment_id=info.experiment_id,
            metrics=dict(run.data.metrics),
        )


def up_to_own_epoch(name: str, content: Json, params: Mapping[str, str]) -> Json:
    """An artifact as a result with these params sees it: of curves, its own epochs."""
    if name != CURVES.name or Param.EPOCHS not in params:
        return content
    last = int(params[Param.EPOCHS])
    rows = CURVES.of(content, CURVES.file)
    return [dict(row) for row in rows if row["epoch"] <= last]


class ResultCache:
    """What was read of one experiment.

    Args:
        state: What makes the experiment another one under the same id; results of another are not
            taken.

    Attributes:
        results: By run id.
        watermark: Unix milliseconds of the latest end among them.
    """

    def __init__(self, folder: Path, experiment_id: str, state: str) -> None:
        self.path = folder / f"results-{experiment_id}.json"
        self.last = folder / f"results-{experiment_id}.time"
        self.experiment_id, self.state = experiment_id, state
        self.results: dict[str, StoredResult] = {}
        self.watermark = 0

    def load(self) -> None:
        """Take in what was kept; nothing where it is of another format or of another experiment."""
        if not self.path.is_file():
            return
        kept = read_lines(self.path, "the store is read again") or {}
        if kept.get("format") != FORMAT or kept.get("experiment") != self.state:
            return
        self.watermark = kept["watermark"]
        self.results = {
            run_id: StoredResult(run_id=run_id, experiment_id=self.experiment_id, **fields)
            for run_id, fields in kept["results"].items()
        }

    def forget(self) -> None:
        self.results, self.watermark = {}, 0

    def save(self) -> None:
        results = {
            run_id: {
                "identity": result.identity,
                "params": result.params,
                "tags": result.tags,
                "start_time": result.start_time,
                "artifact_uri": result.artifact_uri,
                "metrics": result.metrics,
            }
            for run_id, result in self.results.items()
        }
        head = {"format": FORMAT, "watermark": self.watermark, "experiment": self.state}
        write_lines(self.path, {**head, "results": results})

    @property
    def asked_from(self) -> int:
        """Unix milliseconds from when ended runs must be asked for; 0 for all."""
        return min(self.watermark, self._last_reading() - MARGIN) if self.watermark else 0

    def _last_reading(self) -> int:
        try:
            return int(self.last.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    def mark(self, moment: int) -> None:
        """Remember when this reading began, in Unix milliseconds."""
        with atomic(self.last) as temporary:
            temporary.write_text(str(moment), encoding="utf-8")

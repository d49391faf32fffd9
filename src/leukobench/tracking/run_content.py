"""What of a run folder's records becomes tags and metrics of a run in the store.

Every metric has a time of its own that follows from the records, so that a second delivery logs the
same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from leukobench.schema.names import Tag
from leukobench.schema.records import Curves, Environment, ResultRecord, RunRecord

if TYPE_CHECKING:
    from mlflow.entities import Metric

STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's status of a run folder's state."""
CURVE = "curve/"
"""Prefix of the metrics of epochs; those without it are final, one value a result."""
POINTS = 100
"""About the most points of a learning curve that are logged as metrics: enough to draw, and each
takes 0.2 ms or more. The artifact `curves.json` has every epoch.
"""
MOST_CONCERNS = 20
"""Sentences on thin parts that a tag holds."""
LONGEST_TAG = 4000
"""Characters of an error or of faults that a tag says."""


def run_tags(sweep: str, record: RunRecord) -> dict[str, str]:
    """Tags of every run of a training, from its record."""
    machine, data = record.environment or Environment(), record.data
    tags = {
        Tag.SWEEP: sweep,
        Tag.COMMIT: machine.commit or "unknown",
        Tag.DIRTY: str(machine.dirty).lower(),
        Tag.HARDWARE: f"{machine.processor}, {machine.cores} cores",
        Tag.SOURCE: "leukobench",
    }
    if record.seconds is not None:
        tags[Tag.SECONDS] = str(record.seconds)
    if machine.commit:
        tags[Tag.SOURCE_COMMIT] = machine.commit
    tags |= {Tag.VERSION + name: v for name, v in machine.packages.items() if v}
    if record.fitted is not None:
        tags[Tag.FITTED] = json.dumps({step: dict(rows) for step, rows in record.fitted.items()})
    if data is not None:
        tags |= {
            Tag.DATASET: data.name,
            Tag.FAMILY: data.family,
            Tag.FINGERPRINT: data.fingerprint,
            Tag.SPLIT_HASH: data.split_hash,
            Tag.SIMULATED: str(data.simulated).lower(),
            Tag.SUBSET: data.subset,
            Tag.SAMPLES: str(data.samples),
            Tag.SHARED_PARTS: json.dumps(dict(data.shared)),
            Tag.LEAKS: json.dumps(record.leaks),
            Tag.POSITIVE: data.positive or "",
        }
        if data.concerns:
            tags[Tag.CONCERNS] = json.dumps(data.concerns[:MOST_CONCERNS])
        if data.faults:
            tags[Tag.FAULTY] = "; ".join(data.faults)[:LONGEST_TAG]
    return tags


def curve_metrics(curves: Curves, record: RunRecord) -> list[Metric]:
    """Points of learning curves, an epoch a step."""
    from mlflow.entities import Metric

    began = milliseconds(record.created or record.started)
    return [
        Metric(CURVE + name, float(value), began + int(row["epoch"]), int(row["epoch"]))
        for row in thinned(curves)
        for name, value in row.items()
        if name != "epoch"
    ]


def result_metrics(result: ResultRecord) -> list[Metric]:
    """Final metrics of a result."""
    from mlflow.entities import Metric

    ended = milliseconds(result.finished)
    return [Metric(k, float(v), ended, result.epoch) for k, v in result.metrics.items()]


def training_metrics(record: RunRecord, system: Curves) -> list[Metric]:
    """What a training took: seconds, speed, and samples of the machine's load; nothing before it
    has ended.
    """
    from mlflow.entities import Metric

    if record.seconds is None:
        return []
    ended = milliseconds(record.ended)
    took = {"seconds": record.seconds, **record.speed}
    load = [
        Metric(f"system/{name}", float(value), int(row["time"]), i)
        for i, row in enumerate(system)
        for name, value in row.items()
        if name != "time"
    ]
    return [*(Metric(k, float(v), ended, 0) for k, v in took.items()), *load]


def thinned(curves: Curves) -> Sequence[Mapping[str, float]]:
    """The first and last row of a curve and, between them, every k-th epoch, so that at most about
    `POINTS` remain.
    """
    every = -(-len(curves) // POINTS)
    return [
        row
        for i, row in enumerate(curves)
        if i in (0, len(curves) - 1) or int(row["epoch"]) % every == 0
    ]


def milliseconds(moment: str | None) -> int:
    """Unix time of an ISO time; now where there is none."""
    return int((datetime.fromisoformat(moment).timestamp() if moment else time.time()) * 1000)

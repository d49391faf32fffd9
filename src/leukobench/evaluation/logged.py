"""The metrics that a run logs, for browsing and choosing: all that its predictions and artifacts
give."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.definition import MetricDefinition
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.kept import Place
from leukobench.evaluation.metrics import Metric, Predicted, metric_of, score
from leukobench.evaluation.registry import definitions

T = TypeVar("T")
NOTHING = (math.nan, math.nan)


def metrics_of(
    predicted: Predicted, positive: str | None = None, summary: bool = False
) -> dict[str, float]:
    """Every metric that is defined on these predictions, by name, ready for logging.

    Args:
        positive: The positive class of two; the default one where it is among the classes.
        summary: Only what notes show.
    """
    of = positive if positive in predicted.classes and len(predicted.classes) == 2 else None
    found: dict[str, float] = {}
    for row in definitions():
        if not row.computed or (summary and not row.summarised):
            continue
        metric = metric_of(row.name, None, of, predicted.classes)
        if row.kind == "count" and metric.averaging != "binary":
            continue  # of more than two classes none is the positive one
        value = _or_nothing(row, partial(score, predicted, metric), math.nan)
        if math.isfinite(value):
            found[row.name] = value
    return found


def summary_of(repeats: Repeats) -> dict[str, tuple[float, float]]:
    """Every metric that notes show of one configuration: mean over seeds, as tables have it, and
    standard deviation between seeds (NaN of one), by name."""
    found: dict[str, tuple[float, float]] = {}
    for row in definitions():
        if not (row.computed and row.summarised):
            continue
        metric = metric_of(row.name, None, None, repeats.classes)
        found[row.name] = _or_nothing(row, partial(_over_seeds, repeats, metric), NOTHING)
    return found


def _over_seeds(repeats: Repeats, metric: Metric) -> tuple[float, float]:
    estimate = repeats.estimate(metric, with_interval=False)
    several = len(estimate.values) > 1
    return estimate.mean, statistics.stdev(estimate.values) if several else math.nan


def _or_nothing(row: MetricDefinition, compute: Callable[[], T], nothing: T) -> T:
    """What is computed; nothing, and a warning, where the function of a project's own metric
    fails: a training is not lost by it."""
    try:
        return compute()
    except LeukoBenchError as error:
        if not row.version:
            raise
        warnings.warn(str(error), stacklevel=3)
        return nothing


def kept_metrics(artifacts: Mapping[str, Any], parts: Sequence[str]) -> dict[str, float]:
    """Every metric that a run's artifacts hold, by name, and by part where each part has one, ready
    for logging.

    Args:
        artifacts: Content of the JSON artifacts by name.
        parts: Of the split.
    """
    found: dict[str, float] = {}
    for row in definitions():
        if row.needs != "artifact" or row.artifact not in artifacts:
            continue
        content = artifacts[row.artifact]
        for part in parts if row.by_part else ("",):
            value = row.function(content, row.key.format(part=part), Place(part))
            if value is not None:
                found[f"{part}_{row.name}".lstrip("_")] = value
    return found

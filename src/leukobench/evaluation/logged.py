"""The metrics that a run logs, for browsing and choosing: all that its predictions and artifacts
give."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.kept import Place
from leukobench.evaluation.metrics import Predicted, metric_of, score
from leukobench.evaluation.registry import definitions


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
        try:
            value = score(predicted, metric)
        except LeukoBenchError as error:
            if not row.version:
                raise
            warnings.warn(str(error), stacklevel=2)  # a training is not lost by it
            continue
        if math.isfinite(value):
            found[row.name] = value
    return found


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

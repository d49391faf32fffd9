"""Reading what a run kept of itself, from the content of its JSON artifacts: losses, reconstruction
errors, class counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Place:
    """Which of the values that a run kept is meant.

    Attributes:
        part: Part of the split.
        epoch: `last`, or one of the training that the value belongs to.
        epochs: Epochs of the run, as logged: what `last` is.
        of: Class; None for all.
    """

    part: str = "train"
    epoch: Literal["last"] | int = "last"
    epochs: str = ""
    of: str | None = None


def of_epoch(content: Any, key: str, place: Place) -> float | None:
    """From rows with a column `epoch`: the value of a column."""
    wanted = place.epochs if place.epoch == "last" else str(place.epoch)
    values = [
        float(row[key]) for row in content or () if key in row and str(row["epoch"]) == wanted
    ]
    return values[-1] if values else None


def of_series(content: Any, key: str, place: Place) -> float | None:
    """From lists by name with a number an epoch."""
    values = series(content, key)
    if not values:
        return None
    if place.epoch == "last":
        return values[-1]
    return values[place.epoch - 1] if 0 < place.epoch <= len(values) else None


def smallest(content: Any, key: str, place: Place) -> float | None:
    """Of all numbers there are."""
    return min(numbers(content), default=None)


def largest(content: Any, key: str, place: Place) -> float | None:
    """Of all numbers there are."""
    return max(numbers(content), default=None)


def mean(content: Any, key: str, place: Place) -> float | None:
    """Of all numbers there are."""
    import numpy as np

    values = numbers(content)
    return float(np.mean(values)) if values else None


def of_class(content: Any, key: str, place: Place) -> float | None:
    """From numbers by class: that of the class, or the sum of all."""
    counted = [int(n) for name, n in (content or {}).items() if place.of in (None, name)]
    return float(sum(counted)) if counted else None


def of_training(content: Any, key: str, place: Place) -> float | None:
    """From the record of a training with its checkpoint `epochs`: what it took up to this run's
    epochs. Epochs take the same time, so that trainings that serve several runs are shared out."""
    if not isinstance(content, Mapping) or content.get(key) is None:
        return None
    last = max(content.get("epochs") or (0,))
    share = int(place.epochs) / last if last and place.epochs.isdecimal() else 1.0
    return float(content[key]) * share


def series(content: Any, key: str) -> list[float]:
    """The list of this name; empty where there is none."""
    if not isinstance(content, Mapping):
        return []
    return [float(x) for x in content.get(key, ())]


def numbers(content: Any) -> list[float]:
    """Every number of a list, or of lists or numbers by name."""
    if isinstance(content, Mapping):
        return [x for value in content.values() for x in numbers(value)]
    if isinstance(content, list | tuple):
        return [float(x) for x in content]
    return [] if content is None else [float(content)]

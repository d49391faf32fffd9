"""How long trainings take that are left to do, judged by finished ones of the same kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Work:
    """A training that is left to do.

    Attributes:
        kind: What trainings must share to take alike long an epoch: data set and model.
        epochs: How many; None where that is not known, which is the same for all of a kind.
    """

    kind: tuple[str, ...]
    epochs: int | None


@dataclass(frozen=True)
class FinishedWork(Work):
    """A training that is done.

    Attributes:
        training: Its id: results of one training count once, with the most epochs.
        seconds: How long it took.
    """

    training: str
    seconds: float


def time_left(done: Iterable[FinishedWork], todo: Sequence[Work]) -> float | None:
    """Seconds that trainings take one after another; None where any is of a kind that none was
    finished of.
    """
    longest: dict[str, FinishedWork] = {}
    for one in done:
        known = longest.get(one.training)
        if known is None or (one.epochs or 1) > (known.epochs or 1):
            longest[one.training] = one
    paces: dict[tuple[str, ...], list[float]] = {}
    for one in longest.values():
        paces.setdefault(one.kind, []).append(one.seconds / (one.epochs or 1))
    if any(work.kind not in paces for work in todo):
        return None
    return sum(median(paces[work.kind]) * (work.epochs or 1) for work in todo)

"""All confusion matrices of a two-class test that print given numbers, by branch and prune.

Boxes of class splits and recalls are halved; a box in which some score cannot take its printed
value is dropped with everything in it. What is left in the end are single matrices. The search
is complete: a system without an answer has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from leukobench.papers.audit.scores import Boxes, score_bounds

CHUNK = 2048
BUDGET = 4_000_000
"""Boxes looked at before the search gives up and calls the system possible."""
SPLIT_BUDGET = 150_000
FINEST = 1e-4
"""Width of a box that is taken for a point where the size of the test is unknown."""
SLACK = 1e-9
MOST_BOXES = 20_000


@dataclass(frozen=True)
class Demand:
    """A score must lie between two values."""

    metric: str
    averaging: str
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """What is known of a two-class test.

    Attributes:
        n: Its samples; None where that is unknown.
        positives: Fewest and most samples of the positive class; None where that is unknown.
    """

    n: int | None = None
    positives: tuple[int, int] | None = None

    @property
    def share(self) -> tuple[float, float]:
        """Least and largest share of positives; a test of two classes has samples of both."""
        if self.n is None:
            return 1e-6, 1 - 1e-6
        low, high = self.positives or (1, self.n - 1)
        return low / self.n, high / self.n


def possible(sample: Sample, demands: Sequence[Demand]) -> bool:
    """Whether some confusion matrix meets all demands."""
    if sample.n is not None and sample.share[0] > sample.share[1]:
        return False
    return next(_matrices(sample, demands), None) is not None


def possible_splits(sample: Sample, demands: Sequence[Demand]) -> frozenset[int] | None:
    """The numbers of positives with which some matrix of a test of known size meets all demands.

    None where finding them takes too long, which coarse numbers do that leave most splits open.
    """
    assert sample.n is not None
    settled = np.zeros(sample.n + 1, dtype=bool)
    for found in _matrices(sample, demands, settled=settled, budget=SPLIT_BUDGET):
        if found.size == 0:
            return None
        settled[np.rint(found[:, 0] * sample.n).astype(int)] = True
    return frozenset(np.flatnonzero(settled).tolist())


def reach(sample: Sample, demands: Sequence[Demand], wanted: Demand) -> tuple[float, float] | None:
    """Between which values a score lies in all matrices that meet the demands; None without any.

    Exact where few matrices are left, else never too narrow.
    """
    boxes = _start(sample)
    for _ in range(80):
        boxes, _ = _kept(_snap(boxes, sample.n), demands)
        points = _widths(boxes, sample.n).max(axis=1, initial=0) == 0
        if len(boxes) > MOST_BOXES or points.all():
            break
        boxes = np.concatenate([boxes[points], _halves(boxes[~points], sample.n)])
    if not len(boxes):
        return None
    low, high = score_bounds(wanted.metric, wanted.averaging, _named(boxes))
    return float(low.min()), float(high.max())


def _matrices(
    sample: Sample,
    demands: Sequence[Demand],
    *,
    settled: np.ndarray | None = None,
    budget: int = BUDGET,
) -> Iterator[np.ndarray]:
    """Boxes that hold an answer, of one class split each; an empty array where the budget ends.

    Splits that `settled` marks meanwhile are passed over.
    """
    stack, looked_at = [_start(sample)], 0
    while stack:
        boxes = _next_boxes(stack)
        looked_at += len(boxes)
        if looked_at > budget:
            yield boxes[:0]
            return
        boxes, inside = _kept(_snap(boxes, sample.n), demands)
        if settled is not None and sample.n is not None:
            split = np.rint(boxes[:, 0] * sample.n).astype(int)
            left = ~(settled[split] & (boxes[:, 0] == boxes[:, 1]))
            boxes, inside = boxes[left], inside[left]
        widths = _widths(boxes, sample.n)
        # A box whose scores all print as they should holds a matrix, whichever one is taken.
        answers = (widths.max(axis=1, initial=0) == 0) | (inside & (widths[:, 0] == 0))
        if answers.any():
            yield boxes[answers]
        if not answers.all():
            stack.append(_halves(boxes[~answers], sample.n))


def _next_boxes(stack: list[np.ndarray]) -> np.ndarray:
    """The last boxes of the stack, up to a chunk: what is deepest is looked at first."""
    taken, size = [], 0
    while stack and size < CHUNK:
        boxes = stack.pop()
        split = max(len(boxes) - (CHUNK - size), 0)
        if split:
            stack.append(boxes[:split])
        taken.append(boxes[split:])
        size += len(taken[-1])
    return np.concatenate(taken)


def _start(sample: Sample) -> np.ndarray:
    """One box of everything, shape (1, 6): ranges of p, r and s."""
    return np.array([[*sample.share, 0.0, 1.0, 0.0, 1.0]])


def _named(boxes: np.ndarray) -> Boxes:
    return Boxes(*boxes.T)


def _kept(boxes: np.ndarray, demands: Sequence[Demand]) -> tuple[np.ndarray, np.ndarray]:
    """The boxes in which each score can meet its demand, and in which of them it always does."""
    inside = np.ones(len(boxes), dtype=bool)
    for demand in demands:
        low, high = score_bounds(demand.metric, demand.averaging, _named(boxes))
        kept = (low <= demand.high + SLACK) & (high >= demand.low - SLACK)
        inside &= (low >= demand.low - SLACK) & (high <= demand.high + SLACK)
        boxes, inside = boxes[kept], inside[kept]
    return boxes, inside


def _grids(boxes: np.ndarray, n: int | None) -> np.ndarray:
    """Samples that each of p, r and s is a share of, shape (boxes, 3); 0 where it is any number."""
    grids = np.zeros((len(boxes), 3))
    if n is not None:
        one_split = boxes[:, 0] == boxes[:, 1]
        positives = np.rint(boxes[:, 0] * n)
        grids[:, 0] = n
        grids[:, 1] = np.where(one_split, positives, 0)
        grids[:, 2] = np.where(one_split, n - positives, 0)
    return grids


def _snap(boxes: np.ndarray, n: int | None) -> np.ndarray:
    """Boxes drawn in to shares of whole samples; those without any are dropped."""
    if n is None:
        return boxes
    fewest, most = np.ceil(boxes[:, 0] * n - 1e-6), np.floor(boxes[:, 1] * n + 1e-6)
    one_split = (fewest == most)[:, None]
    classes = np.maximum(np.stack([fewest, n - fewest], axis=1), 1)
    low = np.where(one_split, np.ceil(boxes[:, 2::2] * classes - 1e-6) / classes, boxes[:, 2::2])
    high = np.where(one_split, np.floor(boxes[:, 3::2] * classes + 1e-6) / classes, boxes[:, 3::2])
    snapped = np.stack([fewest / n, most / n, low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    return snapped[(fewest <= most) & (low <= high).all(axis=1)]


def _widths(boxes: np.ndarray, n: int | None) -> np.ndarray:
    widths = boxes[:, 1::2] - boxes[:, ::2]
    return np.where(widths < FINEST, 0, widths) if n is None else widths


def _halves(boxes: np.ndarray, n: int | None) -> np.ndarray:
    """Each box cut in two across its longest side."""
    rows, axis = np.arange(len(boxes)), _widths(boxes, n).argmax(axis=1)
    grid = _grids(boxes, n)[rows, axis]
    middle = (boxes[rows, 2 * axis] + boxes[rows, 2 * axis + 1]) / 2
    size = np.maximum(grid, 1)
    whole = np.floor(middle * size + 1e-6)
    lower, upper = boxes.copy(), boxes.copy()
    lower[rows, 2 * axis + 1] = np.where(grid > 0, whole / size, middle)
    upper[rows, 2 * axis] = np.where(grid > 0, (whole + 1) / size, middle)
    return np.concatenate([lower, upper])

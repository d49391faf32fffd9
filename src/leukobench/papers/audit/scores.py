"""Scores of a two-class test as functions of its class split and of the recalls of both classes.

A test is described by `p`, the share of positive samples, `r`, the share of them called positive,
and `s`, the share of the others called negative. Every score here rises with `r` and with `s`
(error rates and wrong counts fall), so its bounds over a box lie in two corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Bounds = tuple[Array, Array]

COUNTS = ("tp", "fn", "fp", "tn")
AVERAGED = ("precision", "recall", "f1")
AVERAGINGS = ("binary", "macro", "weighted", "micro")
SAME_AS = {
    "accuracy": ("recall", "weighted"),
    "sensitivity": ("recall", "binary"),
    "specificity": ("recall", "negative"),
    "npv": ("precision", "negative"),
    "balanced_accuracy": ("recall", "macro"),
}
"""Scores that are another one under a fixed averaging; `negative` is the class that is not ALL."""
KNOWN = (*AVERAGED, *SAME_AS, "error_rate", "mcc", "kappa", "auroc", *COUNTS)
EMPTY = 1e-12
"""Shares below it are no sample."""


@dataclass(frozen=True)
class Boxes:
    """Ranges of p, r and s, each array of shape (boxes,)."""

    p0: Array
    p1: Array
    r0: Array
    r1: Array
    s0: Array
    s1: Array


def score_bounds(metric: str, averaging: str, boxes: Boxes) -> Bounds:
    """Least and largest value of a score in each box; counts as shares of the test.

    0/0 is anything between 0 and 1, since papers differ in what they print for it.
    """
    if metric == "error_rate":
        low, high = score_bounds("accuracy", "weighted", boxes)
        return 1 - high, 1 - low
    if metric in COUNTS:
        return _count(metric, boxes)
    if metric == "auroc":
        # A curve through the operating point (1 - s, r) that rises leaves no other areas.
        return boxes.r0 * boxes.s0, 1 - (1 - boxes.r1) * (1 - boxes.s1)
    if metric in ("mcc", "kappa"):
        return _chance_corrected(metric, boxes)
    metric, averaging = SAME_AS.get(metric, (metric, averaging))
    return _averaged("recall" if averaging == "micro" else metric, averaging, boxes)


def _averaged(metric: str, averaging: str, b: Boxes) -> Bounds:
    positive = (
        _of_class(metric, b.p0, b.r0, other=b.s0, empty=0),
        _of_class(metric, b.p1, b.r1, other=b.s1, empty=1),
    )
    if averaging == "binary":
        return positive
    negative = (
        _of_class(metric, 1 - b.p1, b.s0, other=b.r0, empty=0),
        _of_class(metric, 1 - b.p0, b.s1, other=b.r1, empty=1),
    )
    if averaging == "negative":
        return negative
    if averaging == "macro":
        return (positive[0] + negative[0]) / 2, (positive[1] + negative[1]) / 2
    low = [p * positive[0] + (1 - p) * negative[0] for p in (b.p0, b.p1)]
    high = [p * positive[1] + (1 - p) * negative[1] for p in (b.p0, b.p1)]
    return np.minimum(*low), np.maximum(*high)


def _of_class(metric: str, share: Array, recall: Array, *, other: Array, empty: float) -> Array:
    """A score of the class with this share and recall; `other` is the recall of the other class."""
    if metric == "recall":
        return recall
    called = share * recall + (1 - share) * (1 - other)
    if metric == "f1":
        return 2 * share * recall / np.maximum(share + called, EMPTY)
    return np.where(called > EMPTY, share * recall / np.maximum(called, EMPTY), empty)


def _count(metric: str, b: Boxes) -> Bounds:
    if metric == "tp":
        return b.p0 * b.r0, b.p1 * b.r1
    if metric == "fn":
        return b.p0 * (1 - b.r1), b.p1 * (1 - b.r0)
    if metric == "tn":
        return (1 - b.p1) * b.s0, (1 - b.p0) * b.s1
    return (1 - b.p1) * (1 - b.s1), (1 - b.p0) * (1 - b.s0)


def _chance_corrected(metric: str, b: Boxes) -> Bounds:
    """Matthews' correlation and Cohen's kappa: monotone for one class split, open for several."""
    open_split = b.p1 > b.p0
    low = _corrected(metric, b.p0, b.r0, b.s0)
    high = _corrected(metric, b.p0, b.r1, b.s1)
    return np.where(open_split, -1, low), np.where(open_split, 1, high)


def _corrected(metric: str, p: Array, r: Array, s: Array, /) -> Array:
    called = p * r + (1 - p) * (1 - s)
    if metric == "kappa":
        by_chance = p * called + (1 - p) * (1 - called)
        right = p * r + (1 - p) * s
        return (right - by_chance) / np.maximum(1 - by_chance, EMPTY)
    spread = np.sqrt(np.maximum(p * (1 - p) * called * (1 - called), 0))
    covariance = p * (1 - p) * (r + s - 1)
    return np.where(spread > 1e-9, covariance / np.maximum(spread, 1e-9), 0)

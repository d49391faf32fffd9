"""Ranking metrics within models: only probabilities of one model are put in order.

Models of different folds are fitted on different samples; how high the scores of one run compared
with another's says nothing of how well either ranks. So a ranking metric of several folds is that
of each fold, weighted:

- AUROC: concordant pairs (ties half) within folds over all pairs within folds;
- others: the value of each fold by its number of samples of the class.

Where most samples stand in folds that hold only one class (leave-one-out, leave-one-subject-out)
there is no such value. `pooled_auroc` and `pooled_auprc` then order all probabilities together, and
say so in their name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

COMPARED_SHARE = 0.5
"""Least share of the samples that must have a sample of the other class in their fold."""


def placements(
    positive: np.ndarray, scores: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How each sample stands among those of the other class in its group.

    Args:
        positive: Whether a sample is of the class, bool, shape (n,).
        scores: Probability of the class, shape (n,).
        groups: Only samples of one group are compared, shape (n,), integers from 0.

    Returns:
        For each sample the pairs that it makes in the right order (ties half), and all pairs that
        it makes. Both float64, shape (n,).
    """
    order = np.lexsort((scores, groups))
    is_positive = positive[order].astype(np.float64)
    group, score = groups[order], scores[order]
    new_tie = np.r_[True, (np.diff(group) != 0) | (np.diff(score) != 0)][: len(order)]
    tie = np.cumsum(new_tie) - 1
    placed = np.empty(len(order))
    pairs = np.empty(len(order))
    size = int(groups.max()) + 1 if len(groups) else 0
    for mine, other in ((is_positive, 1 - is_positive), (1 - is_positive, is_positive)):
        own = mine > 0
        total = np.bincount(group, other, minlength=size)
        before = np.cumsum(other) - other
        start = np.cumsum(total) - total
        below = before[np.flatnonzero(new_tie)][tie] - start[group]
        tied = np.bincount(tie, other)[tie]
        # A negative is placed well by the positives above it, a positive by the negatives below.
        ahead = below if mine is is_positive else total[group] - below - tied
        placed[order[own]] = (ahead + tied / 2)[own]
        pairs[order[own]] = total[group][own]
    return placed, pairs


def comparable(positive: np.ndarray, groups: np.ndarray) -> bool:
    """Whether enough samples have one of the other class in their group for a ranking within groups
    to mean anything."""
    if not len(groups):
        return False
    totals = np.bincount(groups)
    positives = np.bincount(groups, positive)
    both = (positives > 0) & (positives < totals)
    return bool(totals[both].sum() >= COMPARED_SHARE * len(groups))


def auroc(positive: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """Concordant pairs within groups over all pairs within groups; NaN where groups are not
    `comparable`."""
    if not comparable(positive, groups):
        return float("nan")
    placed, pairs = placements(positive, scores, groups)
    return float(placed[positive].sum() / pairs[positive].sum())


def average_precision(positive: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """Average precision of each group with both classes, weighted by its positives; NaN where not
    `comparable`.

    Precision at each distinct score of a group, weighted by the positives that have it: all groups
    in one pass.
    """
    if not comparable(positive, groups):
        return float("nan")
    order = np.lexsort((-scores, groups))
    group, score, is_positive = groups[order], scores[order], positive[order].astype(np.float64)
    size = int(groups.max()) + 1
    totals, positives = np.bincount(group, minlength=size), np.bincount(group, is_positive, size)
    last_of_tie = np.r_[(np.diff(group) != 0) | (np.diff(score) != 0), True]
    ends = np.flatnonzero(last_of_tie)
    starts = (np.cumsum(totals) - totals)[group]
    before = (np.cumsum(positives) - positives)[group]
    found = np.cumsum(is_positive) - before
    called = np.arange(1, len(order) + 1) - starts
    tied = np.add.reduceat(is_positive, np.r_[0, ends[:-1] + 1])
    counts = ((positives > 0) & (positives < totals))[group][ends]
    precision = (found / called)[ends]
    return float((tied * precision)[counts].sum() / tied[counts].sum())


def weighted_by_group(
    positive: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> float:
    """Any ranking metric of each group with both classes, weighted by its positives; NaN where not
    `comparable`.

    Args:
        measure: Of whether samples are of the class and their scores, both of shape (n, 1); gives
            shape (1,).
    """
    if not comparable(positive, groups):
        return float("nan")
    values, weights = [], []
    for group in np.unique(groups):
        rows = groups == group
        positives = int(positive[rows].sum())
        if 0 < positives < int(rows.sum()):
            values.append(measure(positive[rows, None], scores[rows, None])[0])
            weights.append(positives)
    return float(np.average(values, weights=weights))

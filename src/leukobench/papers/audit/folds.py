"""Means and standard deviations over the folds of a cross-validation, by integer programming.

A variable for each confusion matrix that a fold can have counts the folds that have it: every
printed mean, and every deviation around it, is a linear constraint on these counts. SciPy's HiGHS
solves it; where there are too many matrices or it takes too long, the numbers count as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from leukobench.papers.audit.scores import COUNTS, Boxes, score_bounds
from leukobench.papers.audit.search import SLACK, Demand, Sample

MOST_MATRICES = 5_000
SECONDS = 3.0


@dataclass(frozen=True)
class Deviation:
    """A standard deviation over folds must lie between two values, around a mean that is known to
    half a printed step."""

    metric: str
    averaging: str
    low: float
    high: float
    mean: float
    half_step: float


def possible_means(
    sample: Sample, folds: int, means: Sequence[Demand], deviations: Sequence[Deviation] = ()
) -> bool:
    """Whether folds exist whose scores have these means and deviations.

    Fold sizes differ by one sample at most. With the class split known the folds are stratified:
    the samples of each class differ by one at most.
    """
    if sample.n is None or sample.n < folds:
        return True
    matrices = _matrices_of_folds(sample.n, folds, _one_split(sample))
    if matrices is None:
        return True
    # Papers divide the squares by k - 1 or by k.
    divisors = (folds - 1, folds) if deviations else (folds,)
    return any(
        _solvable(sample, folds, matrices, means=means, deviations=deviations, divisor=divisor)
        for divisor in divisors
    )


def _one_split(sample: Sample) -> int | None:
    if sample.positives is None or sample.positives[0] != sample.positives[1]:
        return None
    return sample.positives[0]


@lru_cache(maxsize=8)
def _matrices_of_folds(n: int, folds: int, positives: int | None) -> np.ndarray | None:
    """Every matrix of a fold, shape (matrices, 4): n, positives, tp, tn; None if too many."""
    found, total = [], 0
    for size, some in _classes_of_folds(n, folds, positives):
        total += (some + 1) * (size - some + 1)
        if total > MOST_MATRICES:
            return None
        tp, tn = np.mgrid[0 : some + 1, 0 : size - some + 1].reshape(2, -1)
        found.append(np.stack([np.full_like(tp, size), np.full_like(tp, some), tp, tn], axis=1))
    return np.concatenate(found)


def _classes_of_folds(n: int, folds: int, positives: int | None) -> list[tuple[int, int]]:
    """(samples, positives) that a fold can have."""
    if positives is None:
        sizes = {n // folds, -(-n // folds)}
        return [(size, some) for size in sizes for some in range(size + 1)]
    of_positive = {positives // folds, -(-positives // folds)}
    of_negative = {(n - positives) // folds, -(-(n - positives) // folds)}
    return [(a + b, a) for a in of_positive for b in of_negative]


def _solvable(
    sample: Sample,
    folds: int,
    matrices: np.ndarray,
    *,
    means: Sequence[Demand],
    deviations: Sequence[Deviation],
    divisor: int,
) -> bool:
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows = [np.ones(len(matrices)), matrices[:, 0].astype(float)]
    limits: list[tuple[float, float]] = [(folds, folds), (sample.n or 0, sample.n or 0)]
    if sample.positives is not None:
        rows.append(matrices[:, 1].astype(float))
        limits.append(sample.positives)
    for demand in means:
        low, high = _scores(demand.metric, demand.averaging, matrices)
        rows += [low, high]
        limits += [(-np.inf, folds * demand.high + SLACK), (folds * demand.low - SLACK, np.inf)]
    for d in deviations:
        low, high = _scores(d.metric, d.averaging, matrices)
        most = divisor * d.high**2 + folds * d.half_step**2
        least = divisor * max(d.low, 0) ** 2
        distances = np.abs(np.stack([low, high]) - d.mean)
        around = (low <= d.mean) & (d.mean <= high)
        near = np.where(around, 0, distances.min(axis=0))
        # Scaled to about 1: the squares may be as small as the solver's tolerance.
        rows += [near**2 / most, distances.max(axis=0) ** 2 / most]
        limits += [(-np.inf, 1 + SLACK), (least / most - SLACK, np.inf)]
    lower, upper = zip(*limits)
    answer = milp(
        np.zeros(len(matrices)),
        integrality=np.ones(len(matrices)),
        bounds=Bounds(0, folds),
        constraints=LinearConstraint(np.array(rows), lower, upper),
        options={"time_limit": SECONDS},
    )
    return bool(answer.status != 2)  # 2: proven to have no answer


def _scores(metric: str, averaging: str, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a score in each matrix; a fold without a class has any score of it."""
    n, positives, tp, tn = matrices.T.astype(float)
    negatives = n - positives
    recall, lost = tp / np.maximum(positives, 1), positives == 0
    specificity, bare = tn / np.maximum(negatives, 1), negatives == 0
    share = positives / n
    boxes = Boxes(
        share,
        share,
        np.where(lost, 0, recall),
        np.where(lost, 1, recall),
        np.where(bare, 0, specificity),
        np.where(bare, 1, specificity),
    )
    low, high = score_bounds(metric, averaging, boxes)
    return (low * n, high * n) if metric in COUNTS else (low, high)

"""Intervals over seeds and over the test set, for one configuration's predictions.

`Repeats` holds the test predictions of one configuration: one entry a seed, the folds of a seed pooled into one set of
out-of-fold predictions before anything is measured. Its `interval` says how far the mean over seeds would move with
other seeds and another test set:

1. Bootstrap, crossed: each resample draws the seeds with replacement and, independently, the units of the test set with
   replacement: subjects where every sample has one and they have several
   samples, else samples. A unit drawn twice counts twice in every seed, so what
   seeds have in common is not counted as independent. The metric is computed for each drawn seed and averaged; the
   interval is the 2.5th to 97.5th percentile. Resamples in which a class of the test set is missing are left out where
   the metric needs all of them.
2. Clopper-Pearson for a single proportion (accuracy, error rate, or recall, specificity, precision of one class) of one
   seed over independent samples.
3. Where every resample gives the same value (nothing was ever wrong), the bootstrap says nothing: a metric between 0
   and 1 is then taken for a proportion of the units and takes Clopper-Pearson; any other has no interval.

Draws come from a generator with a fixed seed: the same predictions give the same interval, in any order of runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.metrics import (
    Metric,
    Predicted,
    class_index,
    classes_of,
    count_metric,
    proportion_counts,
    score,
)

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000
"""Resamples of a metric of counts; the Monte Carlo error of a 95 % limit is then about 3 % of the interval's width."""
PROBABILITY_RESAMPLES = 200
"""Resamples of a metric of probabilities, each of which has to be computed anew (AUROC of `FEW_UNITS` excepted)."""
FEW_UNITS = 200
"""Units up to which AUROC is resampled as often as a metric of counts."""
MOST_PAIRED_UNITS = 4000
"""Units up to which AUROC is resampled by pairs of units (memory grows with their square)."""
PAIRS_AT_ONCE = 2_000_000
LEVEL = 0.95
SEED = 20240229
METHOD_VERSION = 1
"""Raised when the same predictions would give another value or interval: kept statistics are then computed anew."""


@dataclass(frozen=True)
class Estimate:
    """A metric of one configuration: mean over seeds and its interval.

    Attributes:
        mean: Mean over seeds of the metric of each seed's pooled predictions.
        low, high: Limits of the interval, None where there is none.
        values: The metric of each seed, in the order of the seeds' names.
        method: `bootstrap`, `clopper-pearson` or `none`.
        unit: What was resampled: `subjects` or `samples`.
        seeds: Number of seeds.
        samples: Distinct test samples.
        subjects: Distinct test subjects, None where unknown.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    method: str
    unit: str
    seeds: int
    samples: int
    subjects: int | None


@dataclass(frozen=True, eq=False)
class Repeats:
    """Test predictions of one configuration.

    Attributes:
        seeds: Names of the seeds, sorted.
        predicted: The pooled predictions of each seed.
    """

    seeds: tuple[str, ...]
    predicted: tuple[Predicted, ...]

    @classmethod
    def of(
        cls, frames: Iterable[tuple[str | np.ndarray, pd.DataFrame]], part: str | None = "test"
    ) -> Repeats:
        """From (seed, predictions frame) pairs: frames of the same seed are its folds and are pooled.

        A frame of several seeds comes with the seed of each row, shape (rows,). Rows are sorted, so that the order of
        runs never matters.
        """
        import pandas as pd

        pairs = list(frames)
        if not pairs:
            raise LeukoBenchError("no predictions to pool")
        classes = {classes_of(frame) for _, frame in pairs}
        if len(classes) > 1:
            raise LeukoBenchError(
                f"runs of one configuration have different classes, {' and '.join(str(list(c)) for c in classes)}: "
                "they come from different data"
            )
        # Thousands of small frames are converted in one go: converting each takes milliseconds.
        whole = pd.concat([frame for _, frame in pairs], ignore_index=True)
        codes, names = pd.factorize(
            np.concatenate([np.broadcast_to(seed, len(frame)) for seed, frame in pairs])
        )
        seeds = tuple(sorted(map(str, names), key=natural))
        codes = np.array([seeds.index(str(n)) for n in names], dtype=np.int64)[codes]
        if part is not None and "part" in whole.columns:
            wanted = np.asarray(whole["part"] == part)
            whole, codes = whole[wanted], codes[wanted]
        predicted = Predicted.of(whole, None)
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(1, len(seeds)))
        return cls(seeds, tuple(_sorted(predicted.take(rows)) for rows in np.split(order, bounds)))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.predicted[0].classes

    @cached_property
    def has_subjects(self) -> bool:
        """Whether all subjects are known and one has several samples; else samples themselves are independent."""
        return self.subjects is not None and self.subjects < self.samples

    @cached_property
    def samples(self) -> int:
        """Distinct test samples over all seeds."""
        return len(np.unique(np.concatenate([p.samples for p in self.predicted])))

    @cached_property
    def subjects(self) -> int | None:
        """Distinct test subjects over all seeds; None where unknown."""
        if any(p.subjects is None for p in self.predicted):
            return None
        return len(
            np.unique(
                np.concatenate([p.subjects for p in self.predicted if p.subjects is not None])
            )
        )

    @cached_property
    def by_subject(self) -> Repeats:
        """The same with one row a subject in each seed."""
        return replace(self, predicted=tuple(p.by_subject for p in self.predicted))

    @cached_property
    def mean_probabilities(self) -> Predicted:
        """One row a sample: its probabilities averaged over seeds (and over folds that predict it more than once)."""
        return _mean_by_sample(self.predicted)

    def confusion(self) -> np.ndarray:
        """Confusion matrix summed over seeds, shape (classes, classes), int64, rows = truth."""
        return np.sum([p.confusion() for p in self.predicted], axis=0)

    def estimate(self, metric: Metric, with_interval: bool = True) -> Estimate:
        """Mean over seeds and interval of a metric; see the module's docstring for the method."""
        if metric.by == "subject":
            return self.by_subject.estimate(replace(metric, by="sample"), with_interval)
        values = tuple(score(p, metric) for p in self.predicted)
        mean = float(np.mean(values))
        low = high = None
        method = "none"
        if with_interval and np.isfinite(mean):
            low, high, method = self._interval(metric)
        unit = "subjects" if self.has_subjects else "samples"
        return Estimate(
            mean, low, high, values, method, unit, len(self.seeds), self.samples, self.subjects
        )

    def _interval(self, metric: Metric) -> tuple[float | None, float | None, str]:
        proportion = metric.is_proportion
        if (
            proportion
            and len(self.seeds) == 1
            and not self.has_subjects
            and self.samples == len(self.predicted[0])
        ):
            return (*self._clopper_pearson(metric), "clopper-pearson")
        draws = weighted(self.resampled(metric), self._seed_draws)
        draws = draws[np.isfinite(draws)]
        if len(draws) < PROBABILITY_RESAMPLES // 4:
            return None, None, "none"
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        if high - low < 1e-12:
            return (
                (*self._clopper_pearson(metric), "clopper-pearson")
                if metric.definition.is_share
                else (None, None, "none")
            )
        return float(low), float(high), "bootstrap"

    def _clopper_pearson(self, metric: Metric) -> tuple[float, float]:
        """Interval of a proportion whose trials are the test set's samples, or its subjects where those are the units."""
        if metric.is_proportion:
            hits, trials = np.sum([proportion_counts(p, metric) for p in self.predicted], axis=0)
            rate, units = (hits / trials if trials else 0.0), trials / len(self.seeds)
        else:
            rate, units = (
                float(np.mean([score(p, metric) for p in self.predicted])),
                float(self.samples),
            )
        if self.has_subjects:
            units *= (self.subjects or 0) / max(self.samples, 1)
        n = max(round(units), 1)
        return clopper_pearson(round(rate * n), n)

    @cached_property
    def _seed_draws(self) -> np.ndarray:
        """How often each seed is drawn in each resample, as shares, shape (RESAMPLES, seeds)."""
        k = len(self.seeds)
        rng = np.random.default_rng([SEED, 1])
        return rng.multinomial(k, np.full(k, 1 / k), size=RESAMPLES) / k

    @cached_property
    def _units(self) -> tuple[np.ndarray, ...]:
        """Index of each prediction's unit (subject or sample) among all units, one array a seed."""
        ids = [
            p.samples if p.subjects is None or not self.has_subjects else p.subjects
            for p in self.predicted
        ]
        lengths = np.cumsum([len(i) for i in ids])[:-1]
        _, inverse = np.unique(np.concatenate(ids), return_inverse=True)
        return tuple(np.split(inverse, lengths))

    def _resampled_confusions(self, metric: Metric) -> np.ndarray:
        """Confusion matrices of every resample and seed, shape (RESAMPLES, seeds, classes, classes)."""
        threshold = None if metric.threshold is None else (metric.positive, metric.threshold)
        if threshold not in self._confusions:
            self._confusions[threshold] = self._draw_confusions(*(threshold or (None, None)))
        return self._confusions[threshold]

    @cached_property
    def _confusions(self) -> dict[tuple[str | None, float] | None, np.ndarray]:
        return {}

    def _draw_confusions(self, positive: str | None, threshold: float | None) -> np.ndarray:
        k, seeds = len(self.classes), len(self.seeds)
        cells = [p.y * k + p.predicted(positive, threshold) for p in self.predicted]
        patterns, sizes = _patterns(self._units, cells, k * k)
        # Units with the same counts in every seed are interchangeable: drawing how many of each pattern come up is the
        # same bootstrap as drawing units, and for samples there are few patterns.
        rng = np.random.default_rng([SEED, 2])
        n = int(sizes.sum())
        draws = rng.multinomial(n, sizes / n, size=RESAMPLES).astype(np.float64)
        return (draws @ patterns).reshape(RESAMPLES, seeds, k, k)

    def resampled(self, metric: Metric) -> np.ndarray:
        """The metric of each seed on resampled test sets, the same ones for all seeds, shape (resamples, seeds).

        NaN where a resample lacks a class that the metric needs.
        """
        return self._count_values(metric) if metric.of_counts else self._probability_values(metric)

    def _count_values(self, metric: Metric) -> np.ndarray:
        confusions = self._resampled_confusions(metric)
        values = np.array(count_metric(confusions, metric, self.classes))
        if metric.definition.every_class:
            needed = np.sum([p.confusion().sum(axis=1) for p in self.predicted], axis=0) > 0
            support = np.einsum("bsij->bi", confusions)
            values[(support[:, needed] == 0).any(axis=1)] = np.nan
        return values

    def _probability_values(self, metric: Metric) -> np.ndarray:
        rng = np.random.default_rng([SEED, 3])
        n = max(int(u.max()) for u in self._units if len(u)) + 1
        by_pairs = metric.name == "auroc" and n <= MOST_PAIRED_UNITS
        resamples = RESAMPLES if by_pairs and n <= FEW_UNITS else PROBABILITY_RESAMPLES
        weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
        values = np.full((resamples, len(self.seeds)), np.nan)
        for s, (predicted, units) in enumerate(zip(self.predicted, self._units)):
            if by_pairs:
                values[:, s] = _auroc_of_resamples(predicted, units, weights, metric)
                continue
            w = weights[:, units]
            for b in range(resamples):
                values[b, s] = score(predicted.take(np.repeat(np.arange(len(units)), w[b])), metric)
        return values


def weighted(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Means over the seeds as drawn: `values` (resamples, seeds) by how often each was drawn, NaN of undrawn ones aside."""
    share = share[: len(values)]
    return np.where(share > 0, values * share, 0.0).sum(axis=1)


def clopper_pearson(hits: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a proportion, from scipy."""
    from scipy.stats import binomtest

    if trials == 0:
        return 0.0, 1.0
    interval = binomtest(hits, trials).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def natural(name: str) -> tuple[int, float, str]:
    """Sort key that puts numbers in numeric order, before words."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _sorted(predicted: Predicted) -> Predicted:
    """By sample, then by probability where a sample was predicted more than once."""
    return predicted.take(np.lexsort([*predicted.p.T, predicted.samples]))


def _mean_by_sample(predicted: Iterable[Predicted]) -> Predicted:
    pieces = list(predicted)
    samples = np.concatenate([p.samples for p in pieces])
    p = np.concatenate([piece.p for piece in pieces])
    _, first, inverse = np.unique(samples, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), p.shape[1]))
    np.add.at(sums, inverse, p)
    subjects = None
    if all(piece.subjects is not None for piece in pieces):
        subjects = np.concatenate(
            [piece.subjects for piece in pieces if piece.subjects is not None]
        )[first]
    y = np.concatenate([piece.y for piece in pieces])[first]
    return Predicted(
        pieces[0].classes, y, sums / np.bincount(inverse)[:, None], samples[first], subjects
    )


def _patterns(
    units: tuple[np.ndarray, ...], cells: list[np.ndarray], width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Group units whose counts are equal in every seed.

    Args:
        units: Unit index of each prediction, one array a seed.
        cells: Confusion cell of each prediction, one array a seed.
        width: Number of confusion cells.

    Returns:
        Counts of each pattern, shape (patterns, seeds * width), and the number of units of each pattern.
    """
    n = max((int(u.max()) for u in units if len(u)), default=-1) + 1
    # A unit's counts are summed into one 64-bit number by random odd weights; equal numbers are equal counts but for
    # a chance of about n**2 / 2**64.
    weights = np.random.default_rng([SEED, 4]).integers(
        1, 2**63, size=len(units) * width, dtype=np.int64
    )
    codes = np.zeros(n, dtype=np.int64)
    for s, (unit, cell) in enumerate(zip(units, cells)):
        np.add.at(codes, unit, weights[s * width + cell])
    _, first, sizes = np.unique(codes, return_index=True, return_counts=True)
    member = np.full(n, -1, dtype=np.int64)
    member[first] = np.arange(len(first))
    counts = np.zeros((len(first), len(units) * width))
    for s, (unit, cell) in enumerate(zip(units, cells)):
        row = member[unit]
        kept = row >= 0
        np.add.at(counts, (row[kept], s * width + cell[kept]), 1.0)
    return counts, sizes


def _auroc_of_resamples(
    predicted: Predicted, units: np.ndarray, weights: np.ndarray, metric: Metric
) -> np.ndarray:
    """AUROC of each resample, shape (resamples,), from how often its units were drawn, shape (resamples, units)."""
    k = len(predicted.classes)
    w = weights.astype(np.float64)
    if metric.averaging == "binary":
        return _ovr_auroc(predicted, units, w, class_index(predicted.classes, metric.positive))[0]
    have = np.flatnonzero(np.bincount(predicted.y, minlength=k) > 0)
    values, support = (
        np.stack(x, axis=1) for x in zip(*(_ovr_auroc(predicted, units, w, int(i)) for i in have))
    )
    if metric.averaging == "weighted":
        return (values * support).sum(axis=1) / support.sum(axis=1)
    return values.mean(axis=1)


def _ovr_auroc(
    predicted: Predicted, units: np.ndarray, w: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC of class k against the rest in each resample, and the class's support.

    The share of correctly ordered pairs (ties half) is a sum over pairs of units of how many of their pairs are in
    order, times how often both were drawn: the samples are compared once, not once a resample.
    """
    m = w.shape[1]
    scores, positive = predicted.p[:, k], predicted.y == k
    unit_pos, unit_neg = units[positive], units[~positive]
    by_unit = np.argsort(unit_neg, kind="stable")
    negatives, starts = (
        scores[~positive][by_unit],
        np.flatnonzero(np.diff(unit_neg[by_unit], prepend=-1)),
    )
    with_pos, row = np.unique(unit_pos, return_inverse=True)
    with_neg = unit_neg[by_unit][starts]
    pairs = np.zeros((len(with_pos), len(with_neg)))
    block = max(1, PAIRS_AT_ONCE // max(len(negatives), 1))
    for i in range(0, len(row) if len(starts) else 0, block):
        mine = scores[positive][i : i + block, None]
        ordered = (mine > negatives) + 0.5 * (mine == negatives)
        np.add.at(pairs, row[i : i + block], np.add.reduceat(ordered, starts, axis=1))
    n_pos = w @ np.bincount(unit_pos, minlength=m)
    n_neg = w @ np.bincount(unit_neg, minlength=m)
    total = ((w[:, with_pos] @ pairs) * w[:, with_neg]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n_pos * n_neg > 0, total / (n_pos * n_neg), np.nan), n_pos

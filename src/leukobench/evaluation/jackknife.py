"""What each unit of a test set contributes to a metric: the metric without it, minus the metric.

A unit is a subject, or a sample where subjects are not known. From these numbers alone follow
standard errors of any smooth metric over new units (the cluster jackknife; for a share of samples
it is the cluster-robust variance CR3, Bell and McCaffrey 2002; for AUROC it is Obuchowski 1997 up
to terms of order 1 / units) and what of the spread between seeds is due to units.

Metrics of counts, AUROC and means over samples are in closed form. Any other is computed without
each of at most `MOST_GROUPS` groups of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leukobench.evaluation.formulas import log_losses, square_errors
from leukobench.evaluation.metrics import (
    Metric,
    Predicted,
    average,
    class_index,
    count_metric,
    score,
)
from leukobench.evaluation.ranking import placements

MOST_GROUPS = 40
FEWEST_GROUPS = 15
"""Groups that are left out one after another where there is no closed form."""
MOST_SCORES = 2000
"""How often such a metric is computed, about: with many seeds there are fewer groups."""
MEANS = {"log_loss": log_losses, "brier": square_errors}
"""Metrics that are a mean over samples, and what of."""
SEED = 20240229


@dataclass(frozen=True, eq=False)
class Contributions:
    """The metric of each seed, and without each unit.

    Attributes:
        values: Of each seed, shape (seeds,).
        change: Without a unit minus with it, shape (seeds, units); 0 where a seed did not test the
            unit.
        tested: Whether it did, bool, likewise.
        stratum: Which stratum a unit belongs to, shape (units,): the group of samples (`needed`)
            that most of its own are of, where a metric does not depend on how many samples each
            group has; else all are in stratum 0.
        effective: Effective number of units of each stratum.
        clusters: Effective number of units of each needed group of samples, by name.
        of_subjects: Whether a unit holds several samples.
    """

    values: np.ndarray
    change: np.ndarray
    tested: np.ndarray
    stratum: np.ndarray
    effective: tuple[float, ...]
    clusters: tuple[tuple[str, float], ...]
    of_subjects: bool

    @property
    def mean_change(self) -> np.ndarray:
        """Change of the mean over seeds, shape (units,)."""
        return self.change.mean(axis=0)


def contributions(
    predicted: Sequence[Predicted], units: Sequence[np.ndarray], metric: Metric
) -> Contributions:
    """Contributions of all units to a metric.

    Args:
        predicted: Predictions of each seed.
        units: Index of each prediction's unit, one array a seed, from 0 and without gaps over all
            seeds.
        metric: By sample.
    """
    sizes = _sizes(predicted, units, metric)
    stratum, effective = _strata(sizes, is_conditional(metric, predicted[0].classes))
    n = len(stratum)
    if metric.of_counts:
        rows = [_of_counts(p, u, metric, n) for p, u in zip(predicted, units)]
    elif metric.name in ("auroc", "pooled_auroc"):
        rows = [_of_auroc(p, u, metric, n) for p, u in zip(predicted, units)]
    elif metric.name in MEANS:
        rows = [_of_mean(p, u, metric, n) for p, u in zip(predicted, units)]
    else:
        deal = _dealt(sizes.of_group.argmax(axis=1), len(predicted))
        n = int(deal.max()) + 1
        stratum, effective = np.zeros(n, dtype=np.int64), (min(float(n), min(effective)),)
        units = [deal[u] for u in units]
        rows = [_of_any(p, u, metric, n) for p, u in zip(predicted, units)]
    tested = np.array([np.bincount(u, minlength=n) > 0 for u in units])
    values = np.array([value for value, _ in rows])
    change = np.where(tested, np.array([change for _, change in rows]), 0.0)
    return Contributions(
        values=values,
        change=change,
        tested=tested,
        stratum=stratum,
        effective=effective,
        clusters=sizes.clusters,
        of_subjects=any(
            len(np.unique(p.samples)) > seen.sum() for p, seen in zip(predicted, tested)
        ),
    )


def needed(metric: Metric, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Groups of true classes, each of which a metric needs samples of: names and masks, bool, shape
    (classes,).

    Sensitivity needs positives and nothing else; AUROC both sides; accuracy samples of any class.
    """
    k = len(classes)
    row = metric.definition
    of_all = not row.every_class or row.kind == "loss"
    if of_all or (metric.averaging == "micro" and row.averaged):
        return {"all": np.ones(k, dtype=bool)}
    one_sided = row.averaged and metric.averaging == "binary"
    if not (one_sided or row.kind == "count"):
        return {name: np.arange(k) == i for i, name in enumerate(classes)}
    of = np.arange(k) == class_index(classes, metric.positive)
    sides = {
        str(metric.positive): of,
        " or ".join(name for name, own in zip(classes, of) if not own): ~of,
    }
    if metric.name in ("recall", "tp", "fn"):
        sides.popitem()
    if metric.name in ("specificity", "fp", "tn"):
        del sides[str(metric.positive)]
    return sides


def is_conditional(metric: Metric, classes: tuple[str, ...]) -> bool:
    """Whether a metric does not depend on how many samples each class has: its groups are
    independent strata."""
    if metric.averaging in ("weighted", "micro"):
        return False
    two_sided = metric.averaging == "binary" or len(classes) == 2
    if metric.name in ("balanced_accuracy", "recall"):
        return True
    return two_sided and metric.name in ("specificity", "auroc", "pooled_auroc")


@dataclass(frozen=True, eq=False)
class _Sizes:
    """Samples of each unit: in needed groups, shape (units, groups); in all, shape (units,)."""

    names: tuple[str, ...]
    of_group: np.ndarray
    of_all: np.ndarray

    @property
    def clusters(self) -> tuple[tuple[str, float], ...]:
        return tuple(
            (name, effective_number(size))
            for name, size in zip(self.names, self.of_group.T)
            if size.any()
        )


def effective_number(sizes: np.ndarray) -> float:
    """How many clusters of equal size are worth as much as clusters of these sizes: (sum n)^2 / sum
    n^2."""
    return float(sizes.sum() ** 2 / max((sizes**2).sum(), 1.0))


def _sizes(predicted: Sequence[Predicted], units: Sequence[np.ndarray], metric: Metric) -> _Sizes:
    classes = predicted[0].classes
    k = len(classes)
    y = np.concatenate([p.y for p in predicted])
    unit = np.concatenate(units)
    n = int(unit.max()) + 1 if len(unit) else 0
    counts = np.bincount(unit * k + y, minlength=n * k).reshape(n, k).astype(np.float64)
    groups = needed(metric, classes)
    of_group = np.stack([counts[:, mask].sum(axis=1) for mask in groups.values()], axis=1)
    return _Sizes(tuple(groups), of_group, counts.sum(axis=1))


def _strata(sizes: _Sizes, conditional: bool) -> tuple[np.ndarray, tuple[float, ...]]:
    """Stratum of each unit, -1 where the metric needs none of its samples, and effective units of
    each stratum."""
    if not conditional:
        return np.zeros(len(sizes.of_all), np.int64), (effective_number(sizes.of_all),)
    own = np.where(sizes.of_group.any(axis=1), sizes.of_group.argmax(axis=1), -1)
    return own, tuple(effective_number(size) for size in sizes.of_group.T)


def _of_counts(
    predicted: Predicted, unit: np.ndarray, metric: Metric, n: int
) -> tuple[float, np.ndarray]:
    k = len(predicted.classes)
    called = (
        predicted.predicted()
        if metric.threshold is None
        else predicted.predicted(metric.positive, metric.threshold)
    )
    cell = (unit * k + predicted.y) * k + called
    own = np.bincount(cell, minlength=n * k * k).reshape(n, k, k)
    whole = own.sum(axis=0)
    value = float(count_metric(whole, metric, predicted.classes))
    return value, count_metric(whole - own, metric, predicted.classes) - value


def _of_auroc(
    predicted: Predicted, unit: np.ndarray, metric: Metric, n: int
) -> tuple[float, np.ndarray]:
    value = score(predicted, metric)
    if not np.isfinite(value):
        return value, np.zeros(n)
    groups = predicted.groups(metric)
    if metric.averaging == "binary":
        k = class_index(predicted.classes, metric.positive)
        without = _auroc_without(predicted.y == k, predicted.p[:, k], groups, unit, n)
        return value, without - value
    present = np.flatnonzero(np.bincount(predicted.y, minlength=len(predicted.classes)))
    each = [_auroc_without(predicted.y == k, predicted.p[:, k], groups, unit, n) for k in present]
    size = len(predicted.classes)
    support = np.bincount(unit * size + predicted.y, minlength=n * size).reshape(n, size)
    left = (support.sum(axis=0) - support)[:, present]
    values = np.stack(each, axis=1)
    defined = np.isfinite(values)
    without = average(np.where(defined, values, 0.0), left * defined, defined, metric.averaging)
    return value, without - value


def _auroc_without(
    positive: np.ndarray, scores: np.ndarray, groups: np.ndarray, unit: np.ndarray, n: int
) -> np.ndarray:
    """AUROC within groups without each unit, shape (n,); NaN where no pair is left."""
    placed, pairs = placements(positive, scores, groups)
    total, count = placed[positive].sum(), pairs[positive].sum()
    own_placed = np.bincount(unit, placed, minlength=n)
    own_pairs = np.bincount(unit, pairs, minlength=n)
    both = np.bincount(unit, positive, minlength=n) * np.bincount(unit, ~positive, minlength=n)
    if both.any():
        # Pairs within a unit of both classes were taken off twice.
        _, within = np.unique(groups.astype(np.int64) * n + unit, return_inverse=True)
        placed, pairs = placements(positive, scores, within)
        own_placed -= np.bincount(unit[positive], placed[positive], minlength=n)
        own_pairs -= np.bincount(unit[positive], pairs[positive], minlength=n)
    left = count - own_pairs
    return np.divide(total - own_placed, left, out=np.full(n, np.nan), where=left > 0)


def _of_mean(
    predicted: Predicted, unit: np.ndarray, metric: Metric, n: int
) -> tuple[float, np.ndarray]:
    each = MEANS[metric.name](predicted.y, predicted.p)
    value = float(each.mean())
    own, size = np.bincount(unit, each, minlength=n), np.bincount(unit, minlength=n)
    left = len(each) - size
    without = np.divide(each.sum() - own, left, out=np.full(n, np.nan), where=left > 0)
    return value, without - value


def _of_any(
    predicted: Predicted, unit: np.ndarray, metric: Metric, n: int
) -> tuple[float, np.ndarray]:
    value = score(predicted, metric)
    without = [
        score(predicted.take(np.flatnonzero(unit != i)), metric) if (unit == i).any() else value
        for i in range(n)
    ]
    return value, np.array(without) - value


def _dealt(stratum: np.ndarray, seeds: int) -> np.ndarray:
    """Group of each unit, dealt out in random order, one stratum after the other."""
    groups = int(np.clip(MOST_SCORES // seeds, FEWEST_GROUPS, MOST_GROUPS))
    shuffled = np.random.default_rng([SEED, 5]).permutation(len(stratum))
    order = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    deal = np.empty(len(stratum), dtype=np.int64)
    deal[order] = np.arange(len(stratum)) % groups
    return deal

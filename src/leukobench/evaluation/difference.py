"""The difference of a metric between two configurations, with an interval that keeps what they have
in common.

A unit (a subject, or a sample where subjects are not known) contributes to both: the jackknife
takes it out of both at once. Seeds count in pairs where both have the same ones, else apart.
Samples on which only one was tested count for that one alone. The interval is of the same estimand
as those of `leukobench.evaluation.intervals`, and refused where they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation import limits
from leukobench.evaluation.estimates import Estimand, Estimate
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.jackknife import Contributions
from leukobench.evaluation.limits import Variance
from leukobench.evaluation.metrics import Metric
from leukobench.evaluation.replicates import Replicates, replicates_of


def difference(a: Repeats, b: Repeats, metric: Metric) -> Estimate:
    """The metric of `a` minus that of `b`: difference of the means over seeds, and its interval.

    Returns:
        `values` are the differences of each seed where both have the same seeds, else empty;
        `samples` and `subjects` count those of both together.

    Raises:
        LeukoBenchError: They have different classes.
    """
    if a.classes != b.classes:
        raise LeukoBenchError(
            "no difference between results of different classes, "
            f"{list(a.classes)} and {list(b.classes)}"
        )
    if metric.by == "subject":
        raise LeukoBenchError(
            "a difference is measured by sample; its interval is over subjects where they are known"
        )
    # Side by side, every prediction set is a "seed": all of them have the same units.
    both = Repeats(
        (*(f"a{s}" for s in a.seeds), *(f"b{s}" for s in b.seeds)), (*a.predicted, *b.predicted)
    )
    plain = both.estimate(metric, with_interval=False)
    paired = a.seeds == b.seeds
    first, second = np.split(np.array(plain.values), [len(a.seeds)])
    plain = replace(
        plain,
        mean=float(first.mean() - second.mean()),
        values=tuple(float(d) for d in first - second) if paired else (),
        seeds=min(len(a.seeds), len(b.seeds)),
        estimand=Estimand.TRAINED if min(len(a.seeds), len(b.seeds)) == 1 else Estimand.PROCEDURE,
    )
    if not np.isfinite(plain.mean):
        return plain
    found = both.contributions(metric)
    plain = replace(plain, clusters=found.clusters)
    if reason := both.refusal(found):
        return replace(plain, reason=reason)
    variance = _variance(found, a, b)
    if variance.total <= limits.NOTHING**2:
        return replace(plain, reason="no unit tells them apart")
    half = float(limits.quantile(variance.degrees) * np.sqrt(variance.total))
    return replace(
        plain,
        low=plain.mean - half,
        high=plain.mean + half,
        method="paired jackknife",
        error=float(np.sqrt(variance.total)),
        degrees=variance.degrees,
    )


def difference_replicates(a: Repeats, b: Repeats, metric: Metric) -> Replicates:
    """How replicates of the difference of a metric between two configurations differ.

    Raises:
        LeukoBenchError: They have different seeds, so that none has a difference.
    """
    if a.seeds != b.seeds:
        raise LeukoBenchError(
            "a difference of configurations with different seeds has no replicates"
        )
    both = Repeats((*a.seeds, *b.seeds), (*a.predicted, *b.predicted))
    found = both.contributions(metric)
    k = len(a.seeds)
    together = _together(_only(found, slice(None, k)), _only(found, slice(k, None)))
    sizes = [len(np.unique(p.samples)) for p in a.predicted]
    return replicates_of(
        together,
        a.seeds,
        tested=(float(np.mean(sizes)), a.samples),
        split_anew=a.split_anew or b.split_anew,
        bounds=(-np.inf, np.inf),
    )


def _variance(found: Contributions, a: Repeats, b: Repeats) -> Variance:
    k = len(a.seeds)
    first, second = _only(found, slice(None, k)), _only(found, slice(k, None))
    split_anew = a.split_anew or b.split_anew
    if a.seeds == b.seeds:
        together = _together(first, second)
        variance = limits.over_units(together)
        return variance if k == 1 else variance.plus(limits.over_trainings(together, split_anew))
    means = replace(
        first,
        values=np.array([first.values.mean() - second.values.mean()]),
        change=(first.mean_change - second.mean_change)[None],
        tested=np.atleast_2d(first.tested.any(axis=0) | second.tested.any(axis=0)),
    )
    variance = limits.over_units(means)
    if min(len(first.values), len(second.values)) == 1:
        return variance
    for side in (first, second):
        variance = variance.plus(limits.over_trainings(side, split_anew))
    return variance


def _together(first: Contributions, second: Contributions) -> Contributions:
    """Contributions to the difference of each seed."""
    return replace(
        first,
        values=first.values - second.values,
        change=first.change - second.change,
        tested=first.tested | second.tested,
    )


def _only(found: Contributions, seeds: slice) -> Contributions:
    return replace(
        found, values=found.values[seeds], change=found.change[seeds], tested=found.tested[seeds]
    )

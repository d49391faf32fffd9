"""The difference of a metric between two configurations, with an interval that keeps what they have in common.

Crossed bootstrap as in `leukobench.evaluation.intervals`, with the same resampled test set for both: a subject (a sample
where subjects are not known) that is drawn twice counts twice in both. Seeds are drawn together where both
configurations have the same ones, else apart. Samples on which only one was tested count for that one alone.
"""

from __future__ import annotations

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.intervals import (
    LEVEL,
    PROBABILITY_RESAMPLES,
    RESAMPLES,
    SEED,
    Estimate,
    Repeats,
    weighted,
)
from leukobench.evaluation.metrics import Metric, score


def difference(a: Repeats, b: Repeats, metric: Metric) -> Estimate:
    """The metric of `a` minus that of `b`: difference of the means over seeds, and its interval.

    Returns:
        `values` are the differences of each seed where both have the same seeds, else empty; `samples` and `subjects`
        count those of both together.

    Raises:
        LeukoBenchError: They have different classes.
    """
    if a.classes != b.classes:
        raise LeukoBenchError(
            f"no difference between results of different classes, {list(a.classes)} and {list(b.classes)}"
        )
    if metric.by == "subject":
        raise LeukoBenchError(
            "a difference is measured by sample; its interval resamples subjects where they are known"
        )
    # Side by side, every prediction set is a "seed": all of them meet the same resampled units.
    both = Repeats(
        (*(f"a{s}" for s in a.seeds), *(f"b{s}" for s in b.seeds)), (*a.predicted, *b.predicted)
    )
    ours, theirs = (np.array([score(p, metric) for p in r.predicted]) for r in (a, b))
    mean = float(ours.mean() - theirs.mean())
    low = high = None
    if np.isfinite(mean):
        values = both.resampled(metric)
        shares = (
            [_seed_shares(r, 1) for r in (a, b)]
            if a.seeds == b.seeds
            else [_seed_shares(a, 1), _seed_shares(b, 2)]
        )
        k = len(a.seeds)
        draws = weighted(values[:, :k], shares[0]) - weighted(values[:, k:], shares[1])
        draws = draws[np.isfinite(draws)]
        if len(draws) >= PROBABILITY_RESAMPLES // 4 and np.ptp(draws) > 1e-12:
            low, high = (float(x) for x in np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Estimate(
        mean,
        low,
        high,
        tuple(float(d) for d in ours - theirs) if a.seeds == b.seeds else (),
        "none" if low is None else "paired bootstrap",
        "subjects" if both.has_subjects else "samples",
        min(len(a.seeds), len(b.seeds)),
        both.samples,
        both.subjects,
    )


def _seed_shares(repeats: Repeats, stream: int) -> np.ndarray:
    """How often each seed is drawn in each resample, as shares, shape (RESAMPLES, seeds)."""
    k = len(repeats.seeds)
    return (
        np.random.default_rng([SEED, stream]).multinomial(k, np.full(k, 1 / k), size=RESAMPLES) / k
    )

"""From contributions of units and values of seeds to variances, and from variances to limits of an
interval.

A variance is a sum of independent parts, each with degrees of freedom; those of the sum are
Satterthwaite's (1946).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leukobench.evaluation.jackknife import Contributions

LEVEL = 0.95
NOTHING = 1e-12
"""Variances and distances from a bound below this are rounding."""


@dataclass(frozen=True)
class Variance:
    """A variance as a sum of independent parts.

    Attributes:
        parts: Value and degrees of freedom of each.
    """

    parts: tuple[tuple[float, float], ...]

    @property
    def total(self) -> float:
        return sum(value for value, _ in self.parts)

    @property
    def degrees(self) -> float:
        """Of the sum, at least 1.

        Satterthwaite's, with every part taken at (1 + 2 / its degrees) times its value: a part with
        few degrees is often found smaller than it is, and would then lend the sum degrees that it
        has not (coverage .92 instead of .95 where three seeds differ more than units do).
        """
        weights = [(value * (1 + 2 / degrees), degrees) for value, degrees in self.parts]
        spread = sum(weight**2 / degrees for weight, degrees in weights)
        if spread <= NOTHING**4:
            return 1.0
        return max(sum(weight for weight, _ in weights) ** 2 / spread, 1.0)

    def plus(self, other: Variance) -> Variance:
        return Variance(self.parts + other.parts)

    def merged(self, other: Variance) -> Variance:
        """The sum of two whose last parts are the same estimates times something: their degrees count once."""
        shared = min(len(self.parts), len(other.parts))
        alone = self.parts[: len(self.parts) - shared] + other.parts[: len(other.parts) - shared]
        pairs = zip(
            self.parts[len(self.parts) - shared :], other.parts[len(other.parts) - shared :]
        )
        return Variance(alone + tuple((x + y, min(f, g)) for (x, f), (y, g) in pairs))

    def times(self, factor: float) -> Variance:
        return Variance(tuple((value * factor, degrees) for value, degrees in self.parts))


def over_units(found: Contributions) -> Variance:
    """Variance of the mean over seeds with other units, its models as they are.

    The jackknife without the factor (units - 1) / units, which is CR3. Each stratum has as many
    degrees of freedom as it has effective units but one. Where units hold several samples and few
    units make most of the variance, it has fewer: those of a sum of squares of the kurtosis that
    the contributions show, 2 n / (kurtosis - 1), n where they are normal. Of single samples the
    variance of a share follows from the share.
    """
    parts = []
    for stratum, effective in enumerate(found.effective):
        change = found.mean_change[found.stratum == stratum]
        squares = change**2
        if squares.sum() <= NOTHING**2:
            continue
        centred = (change - change.mean()) ** 2
        degrees = max(effective - 1, 1.0)
        kurtosis = len(change) * (centred**2).sum() / max(centred.sum() ** 2, NOTHING**4)
        if kurtosis > 1 and found.of_subjects:
            degrees = min(degrees, 2 * effective / (kurtosis - 1))
        parts.append((float(squares.sum()), max(degrees, 1.0)))
    return Variance(tuple(parts))


def over_trainings(found: Contributions, split_anew: bool) -> Variance:
    """What other trainings add to the variance of the mean over seeds. At least two seeds.

    Seeds are drawn beside units: the variance between them, less what comes of units being tested
    and answering differently in each, is divided by their number.

    Where seeds split one pool anew, the models of all seeds share most of their training samples.
    What they owe to the pool does not show between seeds and does not shrink with their number. It
    is taken to be as large as the variance that units show by answering differently when the pool
    is split another way, which is counted whole. This is a rule of thumb, not an estimator: no
    unbiased one exists (Bengio and Grandvalet 2004). `benchmarks/inference.py` measures how it does
    for five kinds of classifier.
    """
    seeds = len(found.values)
    parts = [(max(0.0, _between(found) - _by_units(found).total) / seeds, seeds - 1.0)]
    if split_anew:
        parts += over_splits(found).parts
    return Variance(tuple(parts))


def over_splits(found: Contributions) -> Variance:
    """What models owe to the pool that all seeds split anew: see `over_trainings`."""
    return Variance(((_by_answers(found), max(sum(found.effective) - 1, 1.0)),))


@dataclass(frozen=True)
class Replication:
    """Why two runs of one pipeline on one pool differ: variances of the value of one seed.

    Attributes:
        units: By which units were tested, and by units that answer differently in each training.
        training: By what moves all units of a seed together, as far as seeds show it.
        sampling: Variance of one seed's value over units drawn from all like them, the whole of it.
        tested: Mean number of distinct test samples of a seed.
        samples: Distinct test samples of all seeds.
        seeds: Number of seeds.
    """

    units: Variance
    training: Variance
    sampling: Variance
    tested: float
    samples: int
    seeds: int

    @property
    def whole(self) -> Variance:
        """Of one seed's value."""
        return self.units.plus(self.training)

    def at(self, samples: int, pool: int | None = None) -> Variance:
        """Of one seed's value with a test set of another size, drawn from a pool (for None: of all
        samples tested)."""
        size = max(pool or self.samples, self.samples)
        scale = self.tested / samples
        part = min(samples / size, 1.0)
        if self.tested < size and self.seeds > 1:
            own = self.tested / size
            return self.units.times(scale * (1 - part) / (1 - own)).plus(self.training)
        drawn = self.sampling.times(scale * (1 - part))
        return drawn.plus(self.units.times(scale * part)).plus(self.training)


def replication(found: Contributions, tested: float, samples: int) -> Replication:
    """Variances between replicates; with one seed that by units is taken for the whole variance
    over units, and that by training for unknown, 0."""
    seeds = len(found.values)
    one_seed = float((found.change**2).sum() / seeds)
    sampling = Variance(((one_seed, max(sum(found.effective) - 1, 1.0)),))
    units, training = sampling, Variance(())
    if seeds > 1:
        units = _by_units(found)
        training = Variance(((max(0.0, _between(found) - units.total), seeds - 1.0),))
    return Replication(
        units=units,
        training=training,
        sampling=sampling,
        tested=tested,
        samples=samples,
        seeds=seeds,
    )


def around(
    mean: float, variance: Variance, bounds: tuple[float, float], level: float = LEVEL
) -> tuple[float, float]:
    """Limits by Student's t: on the logit scale between two bounds, on the logarithm's above one,
    else as it is."""
    low, high = bounds
    half = quantile(variance.degrees, level) * np.sqrt(variance.total)
    if np.isfinite(low) and np.isfinite(high):
        share = (mean - low) / (high - low)
        logit = np.log(share / (1 - share))
        step = half / (high - low) / (share * (1 - share))
        limits = 1 / (1 + np.exp(-(logit + np.array([-step, step]))))
        return float(low + (high - low) * limits[0]), float(low + (high - low) * limits[1])
    if np.isfinite(low) and mean > low:
        factor = np.exp(half / (mean - low))
        return float(low + (mean - low) / factor), float(low + (mean - low) * factor)
    return mean - half, mean + half


def at_bound(
    mean: float, clusters: Sequence[float], bounds: tuple[float, float], level: float = LEVEL
) -> tuple[float, float]:
    """Limits of a value at one of its two bounds: of Clopper and Pearson (1934), where all of the
    fewest units agree."""
    low, high = bounds
    reach = (high - low) * (1 - ((1 - level) / 2) ** (1 / min(clusters)))
    return (high - reach, high) if mean > (low + high) / 2 else (low, low + reach)


def quantile(degrees: float, level: float = LEVEL) -> float:
    """Of Student's t, two-sided."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def _between(found: Contributions) -> float:
    """Variance between the values of seeds."""
    return float(np.var(found.values, ddof=1))


def _by_units(found: Contributions) -> Variance:
    """Variance between seeds if nothing but units, independent of each other, made them differ.

    Units differ in whether a seed tests them and in how they answer.
    """
    spread = found.change.var(axis=0, ddof=1)
    total, squares = float(spread.sum()), float((spread**2).sum())
    if squares <= NOTHING**4:
        return Variance(())
    return Variance(((total, (len(found.values) - 1) * total**2 / squares),))


def _by_answers(found: Contributions) -> float:
    """The part of `_by_units` that comes of how units answer, from those tested by two seeds or
    more."""
    times = found.tested.sum(axis=0)
    several = times > 1
    if not several.any():
        return 0.0
    change, tested, times = found.change[:, several], found.tested[:, several], times[several]
    gap = np.where(tested, change - change.sum(axis=0) / times, 0.0)
    spread = (gap**2).sum(axis=0) / (times - 1) * times / len(found.values)
    return float(spread.sum() * found.tested.sum() / times.sum())

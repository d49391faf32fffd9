"""How far one more run of the same pipeline may be from the mean of ours.

`Replicates` holds what the seeds of one configuration show of it, `reach` turns that into the half-width of an interval
of prediction. Only the variance by training, which few seeds show badly, is borrowed from siblings: other configurations
of the same table, tested with the same seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leukobench.evaluation import limits
from leukobench.evaluation.jackknife import Contributions
from leukobench.evaluation.limits import Replication, Variance

SAME_SIZE = 0.05
"""Share by which two test sets may differ in size and count as equally large."""
FEWEST_ALONE = 5
"""Seeds of a configuration without siblings below which its degrees of freedom are those of seeds."""
ALPHA = 1 - limits.LEVEL
POWER = 0.8
"""With which a difference is found that is called detectable."""


@dataclass(frozen=True)
class Replicates:
    """What the runs of one configuration show of how replicates differ.

    Attributes:
        seeds: Names.
        values: The metric of each seed.
        units: Variance between seeds of one seed's value, as far as units explain it; empty for one seed.
        sampling: Variance of one seed's value over units drawn from all like them.
        tested: Mean number of distinct test samples of a seed.
        samples: Distinct test samples of all seeds.
        split_anew: Whether seeds test different samples.
        step: What one unit moves the value at most.
        span: Distance of the metric's bounds where the value of every seed stands at one of them, else 0.
    """

    seeds: tuple[str, ...]
    values: tuple[float, ...]
    units: Variance
    sampling: Variance
    tested: float
    samples: int
    split_anew: bool
    step: float
    span: float = 0.0

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Replicates:
        """From what `dataclasses.asdict` and JSON made of one."""
        units, sampling = (
            Variance(tuple((float(v), float(d)) for v, d in record[key]["parts"]))
            for key in ("units", "sampling")
        )
        lists = {"seeds": tuple(record["seeds"]), "values": tuple(record["values"])}
        return cls(**{**record, **lists, "units": units, "sampling": sampling})

    @property
    def between(self) -> float:
        """Variance between the values of seeds, two or more."""
        return float(np.var(self.values, ddof=1))

    @property
    def excess(self) -> float:
        """The variance between seeds that units do not explain; may be negative."""
        return self.between - self.units.total

    def times(self, factor: float) -> Replicates:
        """The same in another unit, a count for a share."""
        return replace(
            self,
            values=tuple(value * factor for value in self.values),
            units=self.units.times(factor**2),
            sampling=self.sampling.times(factor**2),
            step=self.step * factor,
            span=self.span * factor,
        )


@dataclass(frozen=True)
class Reach:
    """How far a replicate may be from our mean.

    Attributes:
        half: Half-width of the 95 % interval of prediction, None where there is none.
        detectable: Smallest difference that is called one in four of five cases.
        configurations: Over how many the variance by training was pooled; 0 where nothing was to be estimated.
        reason: Why there is none.
    """

    half: float | None
    detectable: float | None = None
    configurations: int = 0
    reason: str = ""


EXACT = Reach(0.0, 0.0)
"""Of a fact that no training and no draw of samples moves."""


def replicates_of(
    found: Contributions,
    seeds: tuple[str, ...],
    tested: tuple[float, int],
    split_anew: bool,
    bounds: tuple[float, float],
) -> Replicates:
    """What contributions of units to the values of seeds show.

    Args:
        tested: Mean number of distinct test samples of a seed, and of all seeds together.
        bounds: Of the metric.
    """
    several = len(seeds) > 1
    units = limits.replication(found, *tested).units if several else Variance(())
    drawn = float((found.change**2).sum() / len(seeds))
    at_bound = any(np.all(np.abs(found.values - b) <= limits.NOTHING) for b in bounds)
    return Replicates(
        seeds=seeds,
        values=tuple(float(v) for v in found.values),
        units=units,
        sampling=Variance(((drawn, max(sum(found.effective) - 1, 1.0)),)),
        tested=tested[0],
        samples=tested[1],
        split_anew=split_anew,
        step=float(np.abs(found.change).max(initial=0.0)) or 1 / max(tested[0], 1.0),
        span=bounds[1] - bounds[0] if at_bound and all(np.isfinite(bounds)) else 0.0,
    )


def pooled_training(siblings: Sequence[Replicates]) -> Variance:
    """Variance of a seed's value by training, the mean over siblings with the same seeds, two or more.

    Siblings that share splits or whole trainings (epochs of one) move together and show less than their number: degrees
    of freedom are those of Box (1954), with Huynh and Feldt's (1976) unbiased sums of the eigenvalues.
    """
    values = np.array([s.values for s in siblings])
    degrees = values.shape[1] - 1
    excess = max(0.0, float(np.mean([s.excess for s in siblings])))
    return Variance(((excess, degrees * _dimensions(values)),))


def reach(
    own: Replicates, siblings: Sequence[Replicates] = (), samples: float | None = None
) -> Reach:
    """How far one more replicate may be from the mean of these.

    A configuration whose seeds differ more than its siblings' do (F test) keeps its own variance.

    Args:
        siblings: Of the same table, itself among them or not; those with other seeds are left out.
        samples: Size of the replicate's test set, None for that of ours.
    """
    training, configurations = _training(own, siblings)
    if training is None:
        return Reach(None, reason="one seed does not show how far replicates differ")
    size = _other_size(own, samples)
    if len(own.seeds) == 1:
        mine = own.sampling.plus(training)
        other = own.sampling.times(own.tested / size).plus(training)
    else:
        spread = Replication(
            own.units, training, own.sampling, own.tested, own.samples, len(own.seeds)
        )
        mine = spread.whole
        resized = own.split_anew and size != own.tested
        other = spread.at(round(size)) if resized else mine
    variance = other.merged(mine.times(1 / len(own.seeds)))
    if configurations == 1 and len(own.seeds) < FEWEST_ALONE:
        # Seeds that happen to agree hide the variance by training: .08 to .09 false verdicts.
        variance = Variance(((variance.total, len(own.seeds) - 1.0),))
    if variance.total > limits.NOTHING**2:
        return _of_variance(variance, configurations)
    if own.span and (own.split_anew or len(own.seeds) == 1):
        # Nothing was ever wrong: as far as Clopper and Pearson's limit of the smaller test set.
        half = own.span * (1 - (ALPHA / 2) ** (1 / min(size, own.tested)))
        return Reach(half, half, configurations)
    # Every seed gave the same answers; one unit that answers otherwise in the next was as likely as not to be missed.
    seeds = len(own.seeds)
    unseen = own.step**2 / seeds * (1 + 1 / seeds)
    return _of_variance(Variance(((unseen, max(seeds - 1.0, 1.0)),)), configurations)


def reach_of_values(values: Sequence[float] | np.ndarray) -> Reach:
    """From the values of runs alone, of what no prediction tells."""
    runs = len(values)
    if runs == 1:
        return Reach(None, reason="one run does not show how far replicates differ")
    spread = float(np.var(values, ddof=1)) * (1 + 1 / runs)
    if spread <= limits.NOTHING**2:
        return EXACT
    return _of_variance(Variance(((spread, runs - 1.0),)), 1)


def _of_variance(variance: Variance, configurations: int) -> Reach:
    error = float(np.sqrt(variance.total))
    half = limits.quantile(variance.degrees) * error
    found = limits.quantile(variance.degrees, 2 * POWER - 1) * error
    return Reach(half, half + found, configurations)


def _training(own: Replicates, siblings: Sequence[Replicates]) -> tuple[Variance | None, int]:
    seeds = own.seeds if len(own.seeds) > 1 else _most_common(siblings)
    same = [s for s in siblings if s.seeds == seeds and s != own]
    if len(own.seeds) == 1:
        return (pooled_training(same), len(same)) if same else (None, 0)
    alone = Variance(((max(0.0, own.excess), len(own.seeds) - 1.0),))
    if not same:
        return alone, 1
    if _differs_more(own, pooled_training(same)):
        return alone, 1
    return pooled_training([own, *same]), len(same) + 1


def _differs_more(own: Replicates, training: Variance) -> bool:
    """Whether the seeds of a configuration differ more than a variance by training says (F test)."""
    from scipy.special import fdtrc

    expected = own.units.plus(training)
    if expected.total <= limits.NOTHING**2:
        return own.between > limits.NOTHING**2
    ratio = own.between / expected.total
    return bool(fdtrc(len(own.seeds) - 1.0, expected.degrees, ratio) < ALPHA)


def _most_common(siblings: Sequence[Replicates]) -> tuple[str, ...]:
    several = [s.seeds for s in siblings if len(s.seeds) > 1]
    return max(several, key=several.count, default=())


def _other_size(own: Replicates, samples: float | None) -> float:
    if samples is None or abs(own.tested / samples - 1) <= SAME_SIZE:
        return own.tested
    return samples


def _dimensions(values: np.ndarray) -> float:
    """Of how many independent rows of equal variance rows of shape (siblings, seeds) are worth."""
    rows, seeds = values.shape
    degrees = seeds - 1.0
    gaps = values - values.mean(axis=1, keepdims=True)
    products = gaps @ gaps.T
    squares, whole = float((products**2).sum()), float(np.trace(products)) ** 2
    if rows == 1 or degrees < 2 or whole <= limits.NOTHING**4:
        return 1.0
    together = (squares - whole / degrees) / ((degrees + 2) * (degrees - 1))
    apart = (whole - 2 * degrees * together) / degrees**2
    if together <= 0 or apart >= rows * together:
        return float(rows)
    return max(1.0, apart / together)

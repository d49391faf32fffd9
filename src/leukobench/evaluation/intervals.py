"""Intervals of a metric of one configuration, from the predictions of its runs alone.

`Repeats` holds the test predictions: one entry a seed, the folds of a seed together. A unit is what
is independent: a subject where every sample has one and some have several, else a sample. Every
`Estimate` says what it is an estimate of (`Estimand`):

- One seed: *these trained models on new subjects*. Its variance is that over units, by the
  jackknife (`leukobench.evaluation.jackknife`, `limits.over_units`).
- More seeds: *the procedure on new subjects and a new training*. To the variance over units that of
  trainings is added (`limits.over_trainings`): divided by the number of seeds where all test the
  same samples with the same ones held out, whole where every seed splits the pool anew.
- `Repeats.replicate`: *a replicate*, an interval of prediction for the value that the pipeline
  gives once more.

Limits are Student's t on the logit scale of the metric's bounds (the logarithm's where there is one
bound). A value at a bound with no variance (nothing was ever wrong) takes Clopper and Pearson's
limits on the fewest effective units of a class that the metric needs: positives for sensitivity,
the smaller class for AUROC.

There is no interval where a class that the metric needs has fewer than `FEWEST_CLUSTERS` effective
units: no method covers there. The estimate then holds the range over subjects and the reason.
Measured error rates of all this are in `benchmarks/README-inference.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation import limits
from leukobench.evaluation.estimates import Estimand, Estimate
from leukobench.evaluation.jackknife import Contributions, contributions, needed
from leukobench.evaluation.limits import Replication, Variance
from leukobench.evaluation.metrics import Metric, Predicted, classes_of, score
from leukobench.evaluation.replicates import Replicates, replicates_of

if TYPE_CHECKING:
    import pandas as pd

FEWEST_CLUSTERS = 5.0
"""Effective units of a class below which there is no interval."""
RATES = {
    "tp": ("recall", False),
    "fn": ("recall", True),
    "tn": ("specificity", False),
    "fp": ("specificity", True),
}
"""The rate that a count is of, and whether it counts what the rate does not."""
METHOD_VERSION = 3
"""Raised when the same predictions would give another value or interval: kept statistics are then
computed anew."""


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
        """From (seed, predictions frame) pairs: frames of the same seed are its folds and are
        pooled.

        A frame of several seeds comes with the seed of each row, shape (rows,). Rows are sorted, so
        that the order of runs never matters.
        """
        import pandas as pd

        pairs = list(frames)
        if not pairs:
            raise LeukoBenchError("no predictions to pool")
        classes = {classes_of(frame) for _, frame in pairs}
        if len(classes) > 1:
            raise LeukoBenchError(
                "runs of one configuration have different classes, "
                f"{' and '.join(str(list(c)) for c in classes)}: "
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
        """Whether all subjects are known and one has several samples; else samples themselves are
        independent."""
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
        """One row a sample: its probabilities averaged over seeds (and over folds that predict it
        more than once)."""
        return _mean_by_sample(self.predicted)

    def confusion(self) -> np.ndarray:
        """Confusion matrix summed over seeds, shape (classes, classes), int64, rows = truth."""
        return np.sum([p.confusion() for p in self.predicted], axis=0)

    def estimate(
        self, metric: Metric, with_interval: bool = True, estimand: Estimand | None = None
    ) -> Estimate:
        """Mean over seeds and interval of a metric.

        Args:
            estimand: None for the most that the predictions can say: `PROCEDURE` with two seeds or
                more, else `TRAINED`.
        """
        if metric.by == "subject":
            voted = self.by_subject.estimate(replace(metric, by="sample"), with_interval, estimand)
            return replace(voted, weight="subject")
        if estimand is None:
            estimand = Estimand.TRAINED if len(self.seeds) == 1 else Estimand.PROCEDURE
        if estimand is Estimand.REPLICATE:
            return self.replicate(metric)
        if metric.name in RATES:
            return self._count(metric, with_interval, estimand)
        plain = self._without_interval(metric, estimand)
        if not (with_interval and np.isfinite(plain.mean)):
            return plain
        found = self.contributions(metric)
        plain = replace(plain, clusters=found.clusters)
        if reason := self.refusal(found):
            return replace(plain, reason=reason, spread=self._spread(metric, found))
        variance = limits.over_units(found)
        if estimand is Estimand.PROCEDURE and len(self.seeds) > 1:
            variance = variance.plus(limits.over_trainings(found, self.split_anew))
        return _with_limits(plain, variance, metric.definition.bounds)

    def replicate(
        self,
        metric: Metric,
        samples: int | None = None,
        pool: int | None = None,
        training: Variance | None = None,
    ) -> Estimate:
        """Mean over seeds, and an interval of prediction for the value of one more seed of the same
        pipeline.

        What chose a run's epoch or setting is part of the pipeline: the values here are of runs
        chosen that way. The interval is symmetric, so that its half is what a difference from the
        mean may be: `error` holds the variances of both, and `degrees` their degrees of freedom.

        Args:
            samples: Size of the replicate's test set; None for that of these runs. Where all seeds
                test the same samples, a replicate does so too.
            pool: Samples from which it is drawn; None for all samples tested here.
            training: Variance of a seed's value by training, where known better than from these
                seeds (pooled over sibling configurations). With it one seed has an interval too, of
                test sets drawn from all samples like these.
        """
        plain = self._without_interval(metric, Estimand.REPLICATE)
        if not np.isfinite(plain.mean):
            return plain
        if len(self.seeds) == 1 and training is None:
            return replace(plain, reason="one seed does not show how far replicates differ")
        found = self.replication(metric)
        if training is not None:
            found = replace(found, training=training)
        own, other = found.whole, found.whole
        if samples is not None and (self.split_anew or len(self.seeds) == 1):
            other = found.at(samples, pool)
        variance = other.merged(own.times(1 / len(self.seeds)))
        if variance.total <= limits.NOTHING:
            return replace(plain, reason="all seeds give the same value")
        half = limits.quantile(variance.degrees) * np.sqrt(variance.total)
        lowest, highest = metric.definition.bounds
        return replace(
            plain,
            low=max(plain.mean - half, lowest),
            high=min(plain.mean + half, highest),
            method="jackknife",
            error=float(np.sqrt(variance.total)),
            degrees=variance.degrees,
        )

    def replicates(self, metric: Metric) -> Replicates:
        """What these seeds show of how replicates differ, of any metric and number of seeds."""
        if metric.by == "subject":
            return self.by_subject.replicates(replace(metric, by="sample"))
        if metric.name in RATES:
            rate = Metric(RATES[metric.name][0], "binary", metric.positive, metric.threshold)
            found = self.replicates(rate).times(self._tested(rate))
            return replace(found, values=tuple(score(p, metric) for p in self.predicted))
        return replicates_of(
            self.contributions(metric),
            self.seeds,
            tested=(self._tested_samples, self.samples),
            split_anew=self.split_anew,
            bounds=metric.definition.bounds,
        )

    def replication(self, metric: Metric) -> Replication:
        """Variances between replicates of a metric by sample, by training unknown with one seed."""
        return limits.replication(self.contributions(metric), self._tested_samples, self.samples)

    @property
    def _tested_samples(self) -> float:
        """Mean number over seeds of distinct samples."""
        return float(np.mean([len(np.unique(p.samples)) for p in self.predicted]))

    def contributions(self, metric: Metric) -> Contributions:
        """What each unit contributes to a metric by sample."""
        return contributions(self.predicted, self._units, metric)

    @cached_property
    def split_anew(self) -> bool:
        """Whether seeds differ in which samples they test, or in which samples each model tests."""
        first = self.predicted[0]
        return not all(_same_split(first, other) for other in self.predicted[1:])

    def _count(self, metric: Metric, with_interval: bool, estimand: Estimand) -> Estimate:
        """A count of samples called right or wrong: a rate of as many samples as were tested."""
        rate_name, complement = RATES[metric.name]
        rate = Metric(rate_name, "binary", metric.positive, metric.threshold)
        plain = self._without_interval(metric, estimand)
        of_rate = self.estimate(rate, with_interval, estimand)
        plain = replace(plain, reason=of_rate.reason, clusters=of_rate.clusters)
        if of_rate.low is None or of_rate.high is None:
            return plain
        ends = (1 - of_rate.high, 1 - of_rate.low) if complement else (of_rate.low, of_rate.high)
        tested = self._tested(rate)
        return replace(
            plain,
            low=float(ends[0] * tested),
            high=float(ends[1] * tested),
            method=of_rate.method,
            error=None if of_rate.error is None else of_rate.error * tested,
            degrees=of_rate.degrees,
        )

    def _tested(self, rate: Metric) -> float:
        """Mean number over seeds of samples that a rate is of."""
        (own,) = needed(rate, self.classes).values()
        return float(np.mean([own[p.y].sum() for p in self.predicted]))

    def _without_interval(self, metric: Metric, estimand: Estimand) -> Estimate:
        values = tuple(score(p, metric) for p in self.predicted)
        mean = float(np.mean(values))
        undefined = not np.isfinite(mean) and any(len(p) for p in self.predicted)
        return Estimate(
            mean=mean,
            low=None,
            high=None,
            values=values,
            method="none",
            unit="subjects" if self.has_subjects else "samples",
            seeds=len(self.seeds),
            samples=self.samples,
            subjects=self.subjects,
            estimand=estimand,
            reason=self._why_undefined(metric) if undefined else "",
        )

    def _why_undefined(self, metric: Metric) -> str:
        y = np.concatenate([p.y for p in self.predicted])
        if len(np.unique(y)) < 2:
            return f"{metric.name} needs samples of two classes, the test set has one"
        return (
            f"{metric.name} compares samples within a fold, and most folds test one class only; "
            "pooled_auroc and pooled_auprc compare the scores of different models"
        )

    def refusal(self, found: Contributions) -> str:
        """Why there is no interval; empty where there is one."""
        short = [f"{n:.1f} of {name}" for name, n in found.clusters if n < FEWEST_CLUSTERS]
        if not short:
            return ""
        return (
            f"no interval from fewer than {FEWEST_CLUSTERS:.0f} effective {self._unit}: "
            + ", ".join(short)
        )

    @property
    def _unit(self) -> str:
        return "subjects" if self.has_subjects else "samples"

    def _spread(self, metric: Metric, found: Contributions) -> tuple[float, float] | None:
        """Smallest and largest value over subjects, of those with samples that the metric needs.

        A metric of one group of samples has a value of every subject; any other (AUROC, MCC) shows
        what it is without each subject in turn.
        """
        if not self.has_subjects:
            return None
        groups = needed(metric, self.classes)
        if len(groups) > 1:
            without = float(np.mean(found.values)) + found.mean_change
            without = without[np.isfinite(without)]
            return float(without.min()), float(without.max())
        of_group = next(iter(groups.values()))
        pooled = _concatenated(self.predicted)
        rows = np.flatnonzero(of_group[pooled.y])
        units = np.concatenate(self._units)[rows]
        values = [score(pooled.take(rows[units == unit]), metric) for unit in np.unique(units)]
        return float(min(values)), float(max(values))

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


def _with_limits(plain: Estimate, variance: Variance, bounds: tuple[float, float]) -> Estimate:
    if not np.isfinite(variance.total):
        return replace(plain, reason="without one of its units it is not defined")
    nearest = min(abs(plain.mean - bound) for bound in bounds)
    if variance.total > limits.NOTHING**2 and nearest > limits.NOTHING:
        low, high = limits.around(plain.mean, variance, bounds)
        return replace(
            plain,
            low=low,
            high=high,
            method="jackknife",
            error=float(np.sqrt(variance.total)),
            degrees=variance.degrees,
        )
    if nearest <= limits.NOTHING and all(np.isfinite(bounds)):
        low, high = limits.at_bound(plain.mean, [n for _, n in plain.clusters], bounds)
        return replace(plain, low=low, high=high, method="exact")
    return replace(plain, reason="all units give the same value")


def _same_split(a: Predicted, b: Predicted) -> bool:
    """Whether two seeds test the same samples, divided among their models in the same way."""
    if not np.array_equal(a.samples, b.samples):
        return False
    if a.models is None or b.models is None:
        return True
    pairs = len(np.unique(np.stack([a.models, b.models]), axis=1).T)
    return pairs == len(np.unique(a.models)) == len(np.unique(b.models))


def _concatenated(predicted: Iterable[Predicted]) -> Predicted:
    pieces = list(predicted)
    subjects = [p.subjects for p in pieces if p.subjects is not None]
    return Predicted(
        classes=pieces[0].classes,
        y=np.concatenate([p.y for p in pieces]),
        p=np.concatenate([p.p for p in pieces]),
        samples=np.concatenate([p.samples for p in pieces]),
        subjects=np.concatenate(subjects) if len(subjects) == len(pieces) else None,
    )


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

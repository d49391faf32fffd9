"""Whether printed numbers can stand together, under one reading of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor
from typing import Literal

from leukobench.papers.audit.folds import Deviation, possible_means
from leukobench.papers.audit.scores import AVERAGED, AVERAGINGS
from leukobench.papers.audit.search import Demand, Sample, possible
from leukobench.papers.audit.sheet import Rounding, Score, Sheet

Classes = Literal["two", "more"]
Pooling = Literal["stratified", "other", "pooled"]
Scores = tuple[Score, ...]
SLACK = 1e-9

AVERAGING_WORDS = {
    "binary": "scores of the positive class",
    "negative": "scores of the other class",
    "macro": "macro averages",
    "weighted": "weighted averages",
    "micro": "micro averages",
}
ROUNDING_WORDS = {
    "truncated": "cut off",
    "padded": "zeros at the end being no digits",
    "either": "some rounded and some cut off",
}
ROUNDINGS: tuple[Rounding | None, ...] = (None, "truncated", "padded", "either")
POOLING_WORDS = {
    "stratified": "means over stratified folds",
    "other": "means over folds of any class split",
    "pooled": "one score of all folds together",
}


@dataclass(frozen=True)
class Reading:
    """How printed numbers are read.

    Attributes:
        averaging: Of precision, recall and F1; None = as each score states.
        rounding: None = as each score states.
        pooling: What scores of folds are.
    """

    classes: Classes = "two"
    averaging: str | None = None
    rounding: Rounding | None = None
    pooling: Pooling = "stratified"

    def words(self, sheet: Sheet) -> str:
        """As a reader would say it."""
        words = ["two classes" if self.classes == "two" else "more than two classes"]
        if not sheet.folds:
            words.insert(0, "one test")
        if self.averaging:
            words.append(AVERAGING_WORDS[self.averaging])
        words.append(ROUNDING_WORDS.get(self.rounding or "", "rounded as stated"))
        if sheet.folds:
            words.append(POOLING_WORDS[self.pooling])
        return ", ".join(words)

    def apply(self, scores: Iterable[Score]) -> Scores:
        if self.averaging is None:
            return tuple(scores)
        return tuple(score.averaged_as(self.averaging) for score in scores)


def stated_readings(sheet: Sheet) -> list[Reading]:
    """The readings that the source leaves open: one where it says everything."""
    unsaid = any(
        score.metric in AVERAGED and score.averaging is None
        for line in sheet.lines
        for score in line.scores
    )
    averagings = AVERAGINGS if unsaid and not sheet.names_positives else (None,)
    return [Reading(c, averaging) for c, averaging in product(_classes(sheet), averagings)]


def other_readings(sheet: Sheet) -> Iterator[Reading]:
    """Readings that may explain what the stated ones do not, the likeliest first."""
    poolings: tuple[Pooling, ...] = ("stratified", "other", "pooled")
    as_stated = [(rounding, reading.averaging)
                 for rounding in ROUNDINGS[:3] for reading in stated_readings(sheet)]  # fmt: skip
    otherwise = list(product(ROUNDINGS, (None, *AVERAGINGS, "negative")))
    for pooling, (rounding, averaging), classes in product(
        poolings if sheet.folds else poolings[:1], [*as_stated, *otherwise], _classes(sheet)
    ):
        yield Reading(classes, averaging, rounding, pooling)


def _classes(sheet: Sheet) -> tuple[Classes, ...]:
    if sheet.two_classes_stated:
        return ("two",)
    return ("more",) if sheet.classes else ("two", "more")


def fits(scores: Sequence[Score], sheet: Sheet, reading: Reading) -> bool:
    """Whether some result of the sheet's test prints all these scores."""
    read = reading.apply(scores)
    if any(not _in_range(score, reading) for score in read):
        return False
    if not _counts_fit(read, sheet, reading):
        return False
    if reading.classes == "more":
        return _fits_many_classes(read, sheet, reading)
    if sheet.folds is None or reading.pooling == "pooled":
        if sheet.folds and any(s.deviation for s in read):
            return False  # folds that have a deviation have means
        plain = [demand(s, sheet.sample, reading) for s in read if not s.deviation]
        return possible(sheet.sample, plain)
    return _fits_folds(read, sheet, reading)


def demand(score: Score, sample: Sample, reading: Reading) -> Demand:
    """The score as the search wants it: counts become shares of the test."""
    low, high = score.interval(reading.rounding)
    if score.is_count:
        size = sample.n or 1
        low, high = low / size, high / size
    metric, averaging = score.definition
    return Demand(metric, averaging, low, high)


def _in_range(score: Score, reading: Reading) -> bool:
    low, high = score.interval(reading.rounding)
    if score.is_count or score.deviation:
        return high >= 0
    least = -1 if score.metric in ("mcc", "kappa") else 0
    return high >= least and low <= 1


def _fits_folds(read: Scores, sheet: Sheet, reading: Reading) -> bool:
    assert sheet.folds is not None
    means = [s for s in read if not s.deviation]
    if not (_deviations_fit(read, sheet.folds, reading) and _means_fit(means, reading)):
        return False
    sample = sheet.sample
    if reading.pooling == "other":
        sample = replace(sample, positives=None)
    demands = [demand(s, replace(sample, n=None), reading) for s in means]
    return possible_means(sample, sheet.folds, demands, list(_deviations(read, reading)))


def _deviations(read: Scores, reading: Reading) -> Iterator[Deviation]:
    """Deviations beside their means; one without its mean says too little."""
    means = {s.definition: s for s in read if not s.deviation}
    for score in read:
        mean = means.get(score.definition)
        if score.deviation and mean is not None:
            low, high = mean.interval(reading.rounding)
            yield Deviation(
                *score.definition,
                *score.interval(reading.rounding),
                mean=(low + high) / 2,
                half_step=(high - low) / 2,
            )


def _deviations_fit(read: Scores, folds: int, reading: Reading) -> bool:
    """k shares with mean m deviate most where they are 0 and 1: by sqrt(m (1 - m) k / (k - 1))."""
    for d in _deviations(read, reading):
        if d.metric in ("mcc", "kappa"):
            continue
        nearest = min(max(0.5, d.mean - d.half_step), d.mean + d.half_step)
        if d.low**2 > nearest * (1 - nearest) * folds / (folds - 1) + SLACK:
            return False
    return True


def _fits_many_classes(read: Scores, sheet: Sheet, reading: Reading) -> bool:
    """What holds for any number of classes: it is necessary, not sufficient."""
    means = [s for s in read if not s.deviation]
    if sheet.folds and not _deviations_fit(read, sheet.folds, reading):
        return False
    return _means_fit(means, reading)


SHARES_OF_ALL = ("accuracy", "error_rate")


def _counts_fit(read: Scores, sheet: Sheet, reading: Reading) -> bool:
    """An accuracy is k/n, of one test and on average over folds of equal size."""
    n = sheet.sample.n
    if n is None or (sheet.folds and n % sheet.folds):
        return True
    shares = [s for s in read if s.metric in SHARES_OF_ALL and not s.deviation]
    return all(has_count(s.interval(reading.rounding), n) for s in shares)


def has_count(interval: tuple[float, float], n: int) -> bool:
    """Whether some k/n lies in the interval."""
    low, high = (min(max(bound, -1.0), 2.0) for bound in interval)
    return floor(high * n + 1e-7) >= ceil(low * n - 1e-7)


def _means_fit(scores: Sequence[Score], reading: Reading) -> bool:
    """What survives averaging over classes and folds.

    Weighted recall and all micro averages are the accuracy. The harmonic mean is concave, so an
    averaged F1 is at most that of the averaged precision and recall; and it is at least P + R - 1.
    """
    ranges: dict[tuple[str, str], tuple[float, float]] = {}
    for score in scores:
        low, high = score.interval(reading.rounding)
        metric, averaging = score.definition
        if averaging == "micro":
            metric, averaging = "recall", "weighted"
        if metric == "error_rate":
            metric, averaging, low, high = "recall", "weighted", 1 - high, 1 - low
        before = ranges.get((metric, averaging), (-2.0, 2.0))
        ranges[metric, averaging] = max(low, before[0]), min(high, before[1])
    if any(low > high + SLACK for low, high in ranges.values()):
        return False
    return all(_f1_fits(ranges, averaging) for averaging in ("binary", "macro", "weighted"))


def _f1_fits(ranges: dict[tuple[str, str], tuple[float, float]], averaging: str) -> bool:
    whole = (0.0, 1.0)
    p0, p1 = ranges.get(("precision", averaging), whole)
    r0, r1 = ranges.get(("recall", averaging), whole)
    f0, f1 = ranges.get(("f1", averaging), whole)
    p1, r1 = min(p1, 1.0), min(r1, 1.0)
    most = 2 * p1 * r1 / (p1 + r1) if p1 + r1 > 0 else 0.0
    return f0 <= most + SLACK and f1 >= p0 + r0 - 1 - SLACK

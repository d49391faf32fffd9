"""A table of scores as the solver sees it, whatever file it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from leukobench.papers.audit.scores import COUNTS, SAME_AS
from leukobench.papers.audit.search import Sample

Rounding = Literal["rounded", "truncated", "padded", "either"]
Relation = Literal["=", ">", "<", "~"]


@dataclass(frozen=True)
class Score:
    """One printed number.

    Attributes:
        metric: One of `scores.KNOWN`.
        text: As printed.
        value: As a fraction; counts as they are.
        step: Distance of two neighbouring printed values, as a fraction.
        averaging: How it is averaged over classes; None where that is not said.
        rounding: How it was shortened.
        deviation: Whether it is the standard deviation of the metric over folds.
        place: Where it stands.
    """

    metric: str
    text: str
    value: float
    step: float
    averaging: str | None = None
    rounding: Rounding = "rounded"
    relation: Relation = "="
    deviation: bool = False
    place: str = ""

    @property
    def is_count(self) -> bool:
        return self.metric in COUNTS

    @property
    def name(self) -> str:
        """`recall`, `standard deviation of recall`, `TP`."""
        if self.is_count:
            return self.metric.upper()
        words = self.metric.replace("_", " ")
        return f"standard deviation of {words}" if self.deviation else words

    @property
    def shown(self) -> str:
        return f"{self.name} {self.text}"

    def interval(self, rounding: Rounding | None = None) -> tuple[float, float]:
        """Least and largest number that prints so; counts are exact."""
        if self.is_count:
            return self.value, self.value
        if self.relation == ">":
            return self.value, float("inf")
        if self.relation == "<":
            return float("-inf"), self.value
        rounding = rounding or self.rounding
        half = self.step / 2
        if rounding == "padded":
            zeros = _trailing_zeros(self.text)
            half *= 10**zeros if zeros > 1 else 1  # 0.80 has two decimals, 87.00% perhaps none
        low, high = self.value - half, self.value + half
        if rounding in ("rounded", "padded"):
            return low, high
        # Just below the next printed value, by less than any test is large.
        top = self.value + self.step * (1 - 1e-6)
        return (self.value if rounding == "truncated" else low), top

    def prints(self, exact: float) -> bool:
        """Whether a number prints as it does, rounded or cut off as stated."""
        low, high = self.interval()
        return low - 1e-9 <= exact <= high + 1e-9

    def averaged_as(self, averaging: str) -> Score:
        """The score under an averaging; scores that have only one are left as they are."""
        one_only = self.metric not in ("precision", "recall", "f1")
        return self if one_only else replace(self, averaging=averaging)

    @property
    def definition(self) -> tuple[str, str]:
        """Metric and averaging, aliases resolved."""
        return SAME_AS.get(self.metric, (self.metric, self.averaging or "binary"))


def _trailing_zeros(text: str) -> int:
    """Zeros at the end of the decimals: 2 for `87.00%`, 0 for `100`."""
    match = re.search(r"[.,]\d*?(0*)\s*%?$", text)
    return len(match.group(1)) if match else 0


@dataclass(frozen=True)
class Line:
    """What is printed of one model on one test."""

    name: str
    place: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Aggregate:
    """A line that should be the mean (or, of counts, the total) of others."""

    line: Line
    of: tuple[Line, ...]
    called_total: bool = False


UNKNOWN = Sample()
OF_POSITIVES = ("specificity", "npv", "sensitivity")


@dataclass(frozen=True)
class Sheet:
    """Lines of one test set.

    Attributes:
        sample: The test's size and class split, as far as they are known.
        folds: Of how many folds the scores are means; None where they are of one test.
        classes: How many classes there are; None where that is not said.
    """

    name: str
    lines: tuple[Line, ...]
    sample: Sample = UNKNOWN
    folds: int | None = None
    classes: int | None = None
    aggregates: tuple[Aggregate, ...] = ()

    @property
    def two_classes_stated(self) -> bool:
        """Whether the numbers themselves say that there are two classes."""
        if self.classes is not None:
            return self.classes == 2
        if self.sample.positives is not None or self.names_positives:
            return True
        return any(s.averaging == "binary" for line in self.lines for s in line.scores)

    @property
    def names_positives(self) -> bool:
        """Whether a score or count is printed that only a positive class has: a recall beside a
        specificity is hers."""
        return any(
            s.is_count or s.metric in OF_POSITIVES for line in self.lines for s in line.scores
        )

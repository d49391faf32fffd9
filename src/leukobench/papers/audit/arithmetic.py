"""The arithmetic of printed numbers: which fractions k/n can print as a value, which confusion matrices as a row.

Knows no papers. Values are fractions; `step` is the distance of two neighbouring printed values (0.001 for 96.6 %).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

SLACK = 1e-9
"""Allowance for binary fractions at the edge of a rounding interval, far below any printed step."""

Reading = Literal["rounded", "truncated"]


def bounds(value: float, step: float, reading: Reading = "rounded") -> tuple[float, float]:
    """Smallest and largest number that prints as `value`: half a step to both sides, or a step upwards if truncated."""
    if reading == "rounded":
        return value - step / 2 - SLACK, value + step / 2 + SLACK
    return value - SLACK, value + step - 2 * SLACK


def prints_as(exact: float, value: float, step: float, reading: Reading = "rounded") -> bool:
    """Whether a number prints as `value`."""
    low, high = bounds(value, step, reading)
    return low <= exact <= high


def counts_that_print(value: float, step: float, n: int, reading: Reading = "rounded") -> range:
    """All k for which k/n prints as `value`; empty where no test of n samples allows it."""
    low, high = bounds(value, step, reading)
    return range(max(0, math.ceil(low * n)), min(n, math.floor(high * n)) + 1)


def smallest_size(
    value: float, step: float, reading: Reading = "rounded", limit: int = 5000
) -> int | None:
    """The smallest n for which some k/n prints as `value`, None up to `limit`."""
    return next(
        (n for n in range(1, limit + 1) if counts_that_print(value, step, n, reading)), None
    )


def share_of_grid(step: float, n: int) -> float:
    """Share of the printed values between 0 and 1 that some k/n rounds to: the chance that a random one fits."""
    cells = round(1 / step)
    return len({round(k * cells / n) for k in range(n + 1)}) / (cells + 1)


def harmonic(precision: float, recall: float) -> float:
    """F1 of one class: 2 P R / (P + R), 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@dataclass(frozen=True)
class Matrix:
    """A two-class confusion matrix; the first row of the truth is the positive class (ALL)."""

    tp: int
    fn: int
    fp: int
    tn: int

    @property
    def n(self) -> int:
        return self.tp + self.fn + self.fp + self.tn

    @property
    def positives(self) -> int:
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        return self.fp + self.tn

    def scores(self) -> dict[str, float]:
        """accuracy, precision, recall, specificity, f1 and balanced_accuracy; 0/0 is 0."""

        def ratio(a: int, b: int) -> float:
            return a / b if b else 0.0

        precision, recall = ratio(self.tp, self.tp + self.fp), ratio(self.tp, self.positives)
        specificity = ratio(self.tn, self.negatives)
        return {
            "accuracy": ratio(self.tp + self.tn, self.n),
            "error_rate": ratio(self.fp + self.fn, self.n),
            "precision": precision,
            "recall": recall,
            "sensitivity": recall,
            "specificity": specificity,
            "f1": harmonic(precision, recall),
            "balanced_accuracy": (recall + specificity) / 2,
        }


@dataclass(frozen=True)
class AllMatrices:
    """Every two-class confusion matrix with given row sums, and their scores as arrays (positives+1, negatives+1).

    Axis 0 counts positives called positive, axis 1 negatives called negative.
    """

    positives: int
    negatives: int

    @cached_property
    def _classes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Score: arrays of the positive and of the negative class."""
        tp = np.arange(self.positives + 1)[:, None]
        tn = np.arange(self.negatives + 1)[None, :]
        called_positive = tp + self.negatives - tn
        called_negative = tn + self.positives - tp
        recall = (np.broadcast_to(tp / self.positives, called_positive.shape),
                  np.broadcast_to(tn / self.negatives, called_positive.shape))  # fmt: skip
        precision = tp / np.maximum(called_positive, 1), tn / np.maximum(called_negative, 1)
        # F1 = 2 TP / (2 TP + FP + FN) has no 0/0 for a class with samples.
        f1 = (
            2 * tp / (called_positive + self.positives),
            2 * tn / (called_negative + self.negatives),
        )
        return {"recall": recall, "precision": precision, "f1": f1}

    @cached_property
    def accuracy(self) -> np.ndarray:
        tp, tn = np.arange(self.positives + 1)[:, None], np.arange(self.negatives + 1)[None, :]
        return (tp + tn) / (self.positives + self.negatives)

    def score(self, name: str, averaging: str) -> np.ndarray:
        """`recall`, `precision` or `f1` as `macro`, `weighted`, `positive` or `negative`."""
        of_positive, of_negative = self._classes[name]
        if averaging == "positive":
            return of_positive
        if averaging == "negative":
            return of_negative
        if averaging == "macro":
            return (of_positive + of_negative) / 2
        return (of_positive * self.positives + of_negative * self.negatives) / (
            self.positives + self.negatives
        )

    def that_print(self, values: dict[str, tuple[float, float]], averaging: str) -> np.ndarray:
        """Mask of the matrices whose scores print as the values; `values` maps a score to (value, step)."""
        mask = np.ones((self.positives + 1, self.negatives + 1), dtype=bool)
        for name, (value, step) in values.items():
            low, high = bounds(value, step)
            score = self.accuracy if name == "accuracy" else self.score(name, averaging)
            mask &= (score >= low) & (score <= high)
        return mask


def macro_f1_near(
    positives: int, negatives: int, recall: tuple[float, float], precision: tuple[float, float]
) -> tuple[float, float] | None:
    """Smallest and largest macro F1 of all matrices with these row sums whose macro recall and precision print so.

    Looks only at the band of matrices with the right macro recall, which makes trying many row sums cheap. `recall`
    and `precision` are (value, step). None where no matrix fits.
    """  # fmt: skip
    low, high = bounds(*recall)
    tp = np.arange(positives + 1)[:, None]
    first = np.ceil((2 * low - tp / positives) * negatives)
    width = int(2 * (high - low) * negatives) + 2
    tn = first + np.arange(width)[None, :]
    macro_recall = (tp / positives + tn / negatives) / 2
    called_positive, called_negative = tp + negatives - tn, tn + positives - tp
    macro_precision = (
        tp / np.maximum(called_positive, 1) + tn / np.maximum(called_negative, 1)
    ) / 2
    p_low, p_high = bounds(*precision)
    mask = (tn >= 0) & (tn <= negatives) & (macro_recall >= low) & (macro_recall <= high)
    mask &= (macro_precision >= p_low) & (macro_precision <= p_high)
    if not mask.any():
        return None
    f1 = (2 * tp / (called_positive + positives) + 2 * tn / (called_negative + negatives)) / 2
    return float(f1[mask].min()), float(f1[mask].max())


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share k/n (`scipy.stats.binomtest`)."""
    from scipy.stats import binomtest

    interval = binomtest(k, n).proportion_ci(confidence_level=level, method="exact")
    return float(interval.low), float(interval.high)


def gaussian_outside_unit_interval() -> float:
    """Mean squared distance of a standard normal number to [0, 1]: 0.5753.

    It is the least mean squared error that a sigmoid output can have on z-scored normal input. Below 0 the distance is
    the number itself, E[x^2; x<0] = 1/2; above 1, E[(x-1)^2; x>1] = 2 (1 - Phi(1)) - phi(1).
    """
    from scipy.stats import norm

    return float(0.5 + 2 * norm.sf(1) - norm.pdf(1))

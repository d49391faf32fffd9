"""The formulas of the metrics: of confusion matrices, of class probabilities, of labels.

Metrics of counts give numerator and denominator for whole stacks of confusion matrices, because an
interval evaluates thousands of resampled ones at once, which scikit-learn does not offer; the tests
hold every one of them equal to scikit-learn's. Metrics of probabilities are scikit-learn's where it
has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

CALIBRATION_BINS = 15
"""Number of equally wide confidence bins of the expected calibration error (Guo et al. 2017,
section 5)."""
ROUNDING = 1e-12
"""Specificities that differ by no more are the same."""
Fraction = tuple[np.ndarray, Any]


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Each class against the rest: true and false positives and negatives, each of shape (...,
    classes)."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    def only(self, k: int) -> ClassCounts:
        """Those of class k, each of shape (...)."""
        return ClassCounts(self.tp[..., k], self.fp[..., k], self.fn[..., k], self.tn[..., k])

    def added(self) -> ClassCounts:
        """Those of all classes added up, each of shape (...)."""
        return ClassCounts(self.tp.sum(-1), self.fp.sum(-1), self.fn.sum(-1), self.tn.sum(-1))


@dataclass(frozen=True, eq=False)
class Confusion:
    """A stack of confusion matrices, shape (..., classes, classes), float64, rows = truth."""

    matrix: np.ndarray

    # einsum: sum over an axis as short as the classes takes several times as long for thousands of
    # resamples.
    @cached_property
    def support(self) -> np.ndarray:
        """Samples of each class, shape (..., classes)."""
        return np.einsum("...ij->...i", self.matrix)

    @cached_property
    def called(self) -> np.ndarray:
        """Samples called each class, shape (..., classes)."""
        return np.einsum("...ij->...j", self.matrix)

    @cached_property
    def hits(self) -> np.ndarray:
        """Samples of each class called so, shape (..., classes)."""
        return np.diagonal(self.matrix, axis1=-2, axis2=-1)

    @cached_property
    def right(self) -> np.ndarray:
        """Samples called right, shape (...)."""
        return np.einsum("...ii->...", self.matrix)

    @cached_property
    def total(self) -> np.ndarray:
        """All samples, shape (...)."""
        return np.einsum("...i->...", self.support)

    @cached_property
    def present(self) -> np.ndarray:
        """Whether a class has true or called samples, shape (..., classes)."""
        return self.support + self.called > 0

    @cached_property
    def by_class(self) -> ClassCounts:
        fp, fn = self.called - self.hits, self.support - self.hits
        return ClassCounts(self.hits, fp, fn, self.total[..., None] - self.hits - fp - fn)


def ratio(numerator: Any, denominator: Any) -> np.ndarray:
    """Their quotient; 0/0 is 0."""
    a, b = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    return np.divide(a, b, out=np.zeros(a.shape), where=b != 0)


# --- of the whole confusion matrix ----------------------------------------------------------------


def accuracy(c: Confusion) -> Fraction:
    return c.right, c.total


def error_rate(c: Confusion) -> Fraction:
    return c.total - c.right, c.total


def balanced_accuracy(c: Confusion) -> Fraction:
    return ratio(c.hits, c.support).sum(-1), (c.support > 0).sum(-1)


def macro_f1(c: Confusion) -> Fraction:
    return ratio(*f1(c.by_class)).sum(-1), c.present.sum(-1)


def mcc(c: Confusion) -> Fraction:
    """Gorodkin 2004, equation 8; the two-class case is Matthews' coefficient."""
    covariance = c.hits.sum(-1) * c.total - (c.support * c.called).sum(-1)
    spread_called = c.total**2 - (c.called**2).sum(-1)
    spread_true = c.total**2 - (c.support**2).sum(-1)
    return covariance, np.sqrt(spread_called * spread_true)


def kappa(c: Confusion) -> Fraction:
    """Cohen 1960."""
    chance = ratio((c.support * c.called).sum(-1), c.total**2)
    return ratio(c.hits.sum(-1), c.total) - chance, 1.0 - chance


# --- of each class against the rest ---------------------------------------------------------------


def precision(c: ClassCounts) -> Fraction:
    return c.tp, c.tp + c.fp


def recall(c: ClassCounts) -> Fraction:
    return c.tp, c.tp + c.fn


def specificity(c: ClassCounts) -> Fraction:
    return c.tn, c.tn + c.fp


def f1(c: ClassCounts) -> Fraction:
    return 2 * c.tp, 2 * c.tp + c.fp + c.fn


def class_accuracy(c: ClassCounts) -> Fraction:
    return c.tp + c.tn, c.tp + c.fp + c.fn + c.tn


def true_positives(c: ClassCounts) -> Fraction:
    return c.tp, 1.0


def false_negatives(c: ClassCounts) -> Fraction:
    return c.fn, 1.0


def false_positives(c: ClassCounts) -> Fraction:
    return c.fp, 1.0


def true_negatives(c: ClassCounts) -> Fraction:
    return c.tn, 1.0


# --- of the probabilities of each class -----------------------------------------------------------


def auroc(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, shape (classes,).

    Args:
        truth: Which samples are of the class, bool, shape (n, classes); each class has some and
            lacks some.
        p: Its probabilities, likewise.
    """
    from sklearn.metrics import roc_auc_score

    # All classes in one call: scikit-learn's checks of its arguments cost more than the curves.
    return np.atleast_1d(roc_auc_score(*_columns(truth, p), average=None))


def auprc(truth: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Average precision of each class; arguments and result as for `auroc`."""
    from sklearn.metrics import average_precision_score

    return np.atleast_1d(average_precision_score(*_columns(truth, p), average=None))


def sensitivity_at_specificity(
    truth: np.ndarray, p: np.ndarray, specificity: float = 0.95
) -> np.ndarray:
    """Highest sensitivity of each class at any threshold with this specificity or more; otherwise
    as for `auroc`.

    The threshold is that of the very samples that are scored. One chosen on validation is a model's
    operating point (`leukobench.evaluation.calibration`).
    """
    from sklearn.metrics import roc_curve

    values = []
    for positive, score in zip(truth.T, p.T):
        false_alarms, found, _ = roc_curve(positive, score, drop_intermediate=False)
        values.append(found[false_alarms <= 1 - specificity + ROUNDING].max())
    return np.array(values)


def _columns(truth: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As scikit-learn takes one class (flat) or several (an indicator matrix)."""
    if truth.shape[1] == 1:
        return truth[:, 0], p[:, 0]
    return truth.astype(int), p


# --- of all probabilities -------------------------------------------------------------------------


def log_loss(
    y: np.ndarray, p: np.ndarray, classes: tuple[str, ...], positive: str | None = None
) -> float:
    """Mean negative logarithm of the true class's probability.

    Args:
        y: True class indices, shape (n,).
        p: Probabilities, shape (n, classes).
        classes: Class names.
        positive: Of no meaning here.
    """
    return float(log_losses(y, p).mean())


def log_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Of each sample, shape (n,)."""
    # Probabilities are kept as float32: their rows sum to one only to about 1e-7.
    own = p[np.arange(len(y)), y] / p.sum(axis=1)
    return -np.log(np.clip(own, np.finfo(p.dtype).eps, 1.0))


def brier(
    y: np.ndarray, p: np.ndarray, classes: tuple[str, ...], positive: str | None = None
) -> float:
    """Brier's score of one class of two; of more the sum over classes, both as scikit-learn has
    it."""
    return float(square_errors(y, p).mean())


def square_errors(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Of each sample, shape (n,): of one class of two, summed over classes of more."""
    if p.shape[1] == 2:
        return (p[:, 1] - (y == 1)) ** 2
    return ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1)


def expected_calibration_error(
    y: np.ndarray,
    p: np.ndarray,
    classes: tuple[str, ...],
    positive: str | None = None,
    bins: int = CALIBRATION_BINS,
) -> float:
    """Mean gap between confidence and accuracy of the predicted class (Guo et al. 2017, equation
    5)."""
    confidence = p.max(axis=1)
    hit = p.argmax(axis=1) == y
    # Bins are open on the left and closed on the right: (0, 1/bins], ..., (1 - 1/bins, 1].
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=confidence - hit, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


# --- of labels ------------------------------------------------------------------------------------


def number_of_samples(labels: np.ndarray, of: str | None) -> float:
    return float(len(labels))


def number_of_class(labels: np.ndarray, of: str | None) -> float:
    return float((labels == of).sum())


def share_of_class(labels: np.ndarray, of: str | None) -> float:
    return number_of_class(labels, of) / max(len(labels), 1)

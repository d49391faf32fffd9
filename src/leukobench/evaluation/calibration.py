"""Temperature and operating point: chosen on validation predictions, applied to others.

Both change what probabilities mean or where a decision is made, never the order of samples. They are functions of a
predictions frame, so that a published run can be calibrated afterwards without training. Test rows enter no choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.metrics import Metric, Predicted, class_index, classes_of, score
from leukobench.schema.predictions import probability_columns

if TYPE_CHECKING:
    import pandas as pd

TEMPERATURES = (0.05, 100.0)
"""Range in which a temperature is sought: a limit is reached where validation is separated perfectly."""
SMALLEST = 1e-12
"""Probabilities are kept as float32 and may be 0: logarithms are taken of no less than this."""


@dataclass(frozen=True)
class OperatingPoint:
    """From which probability the positive class is called, chosen at a wanted specificity.

    Attributes:
        positive: The positive class.
        threshold: Probability from which it is called.
        wanted: The specificity that was asked for.
        sensitivity, specificity: On the rows it was chosen on.
        negatives, positives: How many of each those rows held; with few negatives few specificities are possible.
    """

    positive: str
    threshold: float
    wanted: float
    sensitivity: float
    specificity: float
    negatives: int
    positives: int


def fit_temperature(predicted: Predicted) -> float:
    """The temperature T that minimises the log loss of softmax(log p / T) (Guo et al. 2017, section 4.2).

    Above 1 the probabilities were too confident. Of predictions that are never wrong any small one does.

    Raises:
        LeukoBenchError: No rows.
    """
    from scipy.optimize import minimize_scalar

    if not len(predicted):
        raise LeukoBenchError(
            "a temperature is fitted on validation predictions, and there are none: set split.validation"
        )
    rows = np.arange(len(predicted))

    def loss(log_t: float) -> float:
        p = scaled(predicted.p, float(np.exp(log_t)))
        return float(-np.log(np.maximum(p[rows, predicted.y], SMALLEST)).mean())

    found = minimize_scalar(
        loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def scaled(p: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log p / T) of probabilities (n, classes); T = 1 gives them back."""
    from scipy.special import softmax

    if not temperature > 0:
        raise LeukoBenchError(f"a temperature is positive, not {temperature}")
    return softmax(np.log(np.maximum(np.asarray(p, np.float64), SMALLEST)) / temperature, axis=1)


def with_temperature(frame: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """The same predictions frame with scaled probabilities."""
    columns = probability_columns(classes_of(frame))
    p = scaled(frame[columns].to_numpy(), temperature)
    return frame.assign(**{c: p[:, i].astype(np.float32) for i, c in enumerate(columns)})


def operating_point(
    predicted: Predicted, positive: str | None, specificity: float = 0.9
) -> OperatingPoint:
    """The threshold with the highest sensitivity among those of at least this specificity.

    Raises:
        LeukoBenchError: Rows of the positive class or of the others are missing.
    """
    from sklearn.metrics import roc_curve

    if not 0 <= specificity <= 1:
        raise LeukoBenchError(f"a specificity is between 0 and 1, not {specificity}")
    k = class_index(predicted.classes, positive)
    truth = predicted.y == k
    negatives, positives = int((~truth).sum()), int(truth.sum())
    if not negatives or not positives:
        raise LeukoBenchError(
            f"an operating point needs validation rows of {positive} and of the others; there are {positives} and "
            f"{negatives}: set split.validation"
        )
    fpr, tpr, thresholds = roc_curve(truth, predicted.p[:, k], drop_intermediate=False)
    allowed = np.flatnonzero(1 - fpr >= specificity - 1e-12)
    best = allowed[-1]  # both rates grow along the curve
    threshold = float(min(thresholds[best], np.nextafter(1.0, 2.0)))
    return OperatingPoint(
        str(positive),
        threshold,
        specificity,
        float(tpr[best]),
        float(1 - fpr[best]),
        negatives,
        positives,
    )


@dataclass(frozen=True)
class Calibration:
    """What was chosen on validation, and what it does on the test rows.

    Attributes:
        temperature: Of the probabilities; the point's threshold refers to scaled ones.
        point: The operating point, None for more than two classes without a positive one.
        before, after: Log loss and expected calibration error on test, without and with the temperature.
        sensitivity, specificity: Of the operating point on test; NaN without test rows.
    """

    temperature: float
    point: OperatingPoint | None
    before: dict[str, float]
    after: dict[str, float]
    sensitivity: float
    specificity: float


def calibrate(frame: pd.DataFrame, positive: str | None, specificity: float = 0.9) -> Calibration:
    """Choose temperature and operating point on the validation rows of a predictions frame and apply both to test.

    Raises:
        LeukoBenchError: There are no validation rows.
    """
    temperature = fit_temperature(Predicted.of(frame, "validation"))
    changed = with_temperature(frame, temperature)
    test, test_after = Predicted.of(frame, "test"), Predicted.of(changed, "test")
    point = None
    if positive is not None:
        point = operating_point(Predicted.of(changed, "validation"), positive, specificity)
    sensitivity = specificity_found = float("nan")
    if point is not None:
        sensitivity = score(test_after, Metric("recall", "binary", positive, point.threshold))
        specificity_found = score(
            test_after, Metric("specificity", "binary", positive, point.threshold)
        )
    names = ("log_loss", "ece", "brier")
    return Calibration(
        temperature,
        point,
        {n: score(test, Metric(n)) for n in names},
        {n: score(test_after, Metric(n)) for n in names},
        sensitivity,
        specificity_found,
    )

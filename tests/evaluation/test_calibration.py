"""Temperature and operating point: chosen on validation alone, and what they do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import predictions, random_predictions
from scipy.special import softmax

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.calibration import (
    calibrate,
    fit_temperature,
    operating_point,
    scaled,
    with_temperature,
)
from leukobench.evaluation.metrics import Metric, Predicted, score


def drawn(n: int, temperature: float, seed: int = 0, parts: str = "validation") -> pd.DataFrame:
    """Labels drawn from softmax(z), predicted as softmax(z / temperature) would have it the other way round."""
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=1.5, size=(n, 2))
    truth = softmax(z, axis=1)
    y = (rng.random(n) < truth[:, 1]).astype(int)
    return predictions(np.array(["ALL", "AML"])[y], softmax(z * temperature, axis=1), parts=parts)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_probabilities_is_found(temperature: float) -> None:
    found = fit_temperature(Predicted.of(drawn(20_000, temperature), "validation"))
    assert found == pytest.approx(temperature, rel=0.05)


def test_a_temperature_of_one_changes_nothing_and_none_changes_the_order() -> None:
    frame = random_predictions(n=50, classes=("a", "b", "c"))
    pd.testing.assert_frame_equal(with_temperature(frame, 1.0), frame, atol=1e-6)
    p = frame[["p_a", "p_b", "p_c"]].to_numpy()
    assert (scaled(p, 7.0).argmax(axis=1) == p.argmax(axis=1)).all()
    assert scaled(p, 7.0).sum(axis=1) == pytest.approx(np.ones(50))


def test_certain_probabilities_stay_numbers() -> None:
    certain = predictions(["ALL", "AML"], [[1, 0], [0, 1]], parts="validation")
    assert np.isfinite(fit_temperature(Predicted.of(certain, "validation")))
    right = predictions(["ALL", "AML"], [[0.6, 0.4], [0.4, 0.6]], parts="validation")
    assert fit_temperature(Predicted.of(right, "validation")) < 0.2
    assert np.isfinite(scaled(np.array([[1.0, 0.0]]), 2.0)).all()


def test_the_operating_point_has_the_best_sensitivity_at_the_specificity_asked_for() -> None:
    frame = random_predictions(n=400, parts="validation", skill=1.5)
    predicted = Predicted.of(frame, "validation")
    for wanted in (0.0, 0.5, 0.9, 1.0):
        point = operating_point(predicted, "ALL", wanted)
        here = [
            score(predicted, Metric(m, "binary", "ALL", point.threshold))
            for m in ("recall", "specificity")
        ]
        assert here == pytest.approx([point.sensitivity, point.specificity])
        assert point.specificity >= wanted
        thresholds = np.unique(predicted.p[:, 0])
        reachable = [
            score(predicted, Metric("recall", "binary", "ALL", t))
            for t in thresholds
            if score(predicted, Metric("specificity", "binary", "ALL", t)) >= wanted
        ]
        assert point.sensitivity == pytest.approx(max(reachable, default=0.0))


def test_test_rows_enter_no_choice() -> None:
    validation = random_predictions(n=80, parts="validation")
    one = pd.concat([validation, random_predictions(seed=1, parts="test")])
    other = pd.concat([validation, drawn(100, 5.0, parts="test")])
    a, b = calibrate(one, "ALL"), calibrate(other, "ALL")
    assert (a.temperature, a.point) == (b.temperature, b.point)
    assert (a.sensitivity, a.before) != (b.sensitivity, b.before)


def test_temperature_lowers_the_log_loss_of_overconfident_test_predictions() -> None:
    frame = pd.concat([drawn(2000, 4.0), drawn(2000, 4.0, seed=1, parts="test")])
    found = calibrate(frame, "ALL")
    assert found.after["log_loss"] < found.before["log_loss"]
    assert found.after["ece"] < found.before["ece"]


def test_what_cannot_be_chosen_says_what_to_set() -> None:
    with pytest.raises(LeukoBenchError, match=r"split\.validation"):
        calibrate(random_predictions(parts="test"), "ALL")
    one_class = predictions(["ALL", "ALL"], [[0.9, 0.1], [0.8, 0.2]], parts="validation")
    with pytest.raises(LeukoBenchError, match=r"there are 2 and 0.*split\.validation"):
        operating_point(Predicted.of(one_class, "validation"), "ALL")
    with pytest.raises(LeukoBenchError, match="between 0 and 1"):
        operating_point(Predicted.of(one_class, "validation"), "ALL", 90)

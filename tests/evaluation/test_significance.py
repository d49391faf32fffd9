"""Paired tests and baselines."""

import numpy as np
import pandas as pd
import pytest
from frames import predictions, random_predictions

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.baselines import majority, series_majority
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import compute
from leukobench.evaluation.significance import compare


def with_hits(hits, **more):
    """Predictions of ALL samples, right where hits says so."""
    return predictions(["ALL"] * len(hits), [[0.9, 0.1] if h else [0.1, 0.9] for h in hits], **more)


def repeats(frame):
    return Repeats.of([("0", frame)])


def test_two_configurations_are_compared_by_mcnemar():
    a, b = np.ones(20, bool), np.ones(20, bool)
    b[:8] = False
    found = compare({"a": repeats(with_hits(a)), "b": repeats(with_hits(b))}, best="a")
    assert (found.test, found.unit, found.n) == ("McNemar", "samples", 20)
    assert found.p["b"] == pytest.approx(2 * 0.5**8)
    assert found.best_stands_out


def test_subjects_are_compared_by_wilcoxon():
    subjects = [f"P{i // 2}" for i in range(20)]
    a, b = np.ones(20, bool), np.zeros(20, bool)
    found = compare(
        {
            "a": repeats(with_hits(a, subjects=subjects)),
            "b": repeats(with_hits(b, subjects=subjects)),
        },
        best="a",
    )
    assert (found.test, found.unit, found.n) == ("Wilcoxon", "subjects", 10)
    assert found.differs("b")


def test_many_are_corrected_by_holm_after_friedman():
    a, b, c = np.ones(40, bool), np.ones(40, bool), np.ones(40, bool)
    b[:12] = False
    c[0] = False
    found = compare(
        {n: repeats(with_hits(h)) for n, h in {"a": a, "b": b, "c": c}.items()}, best="a"
    )
    assert found.overall < 0.05
    assert found.p["b"] == pytest.approx(2 * 2 * 0.5**12)
    assert found.differs("b")
    assert not found.differs("c")
    assert not found.best_stands_out


def test_equal_predictions_are_never_told_apart():
    same = repeats(random_predictions())
    found = compare({"a": same, "b": same, "c": same}, best="a")
    assert not any(found.differs(n) for n in "bc")


def test_only_common_samples_are_compared():
    a = with_hits([True] * 10)
    b = with_hits([False] * 6, samples=[f"s{i}" for i in range(4, 10)])
    assert compare({"a": repeats(a), "b": repeats(b)}, best="a").n == 6


def test_configurations_of_different_data_are_not_compared():
    other = with_hits([True] * 10, samples=[f"t{i}" for i in range(10)])
    assert compare({"a": repeats(with_hits([True] * 10)), "b": repeats(other)}, best="a") is None
    assert compare({"a": repeats(other)}, best="a") is None


def test_majority_baseline_learns_from_training_rows():
    frame = predictions(
        ["AML", "AML", "ALL", "ALL"], [[0.5, 0.5]] * 4, parts=["train", "train", "train", "test"]
    )
    assert compute(majority(frame)) == 0.0
    assert compute(majority(frame), part="train") == pytest.approx(2 / 3)


def test_series_oracle_predicts_each_series_majority():
    frame = predictions(
        ["ALL", "ALL", "AML", "ALL", "AML"],
        [[0.5, 0.5]] * 5,
        parts=["train", "train", "train", "test", "test"],
    ).assign(series=["A", "A", "B", "A", "B"])
    assert compute(series_majority(frame)) == 1.0
    assert compute(majority(frame)) == 0.5


def test_series_oracle_falls_back_on_the_majority_for_an_unseen_series():
    frame = predictions(
        ["ALL", "ALL", "AML"], [[0.5, 0.5]] * 3, parts=["train", "train", "test"]
    ).assign(series=["A", "A", "B"])
    assert compute(series_majority(frame)) == 0.0


def test_each_run_of_a_frame_learns_from_its_own_training_rows():
    parts = ["train", "train", "test", "test"]
    first = predictions(["ALL", "ALL", "ALL", "AML"], [[0.5, 0.5]] * 4, parts=parts).assign(
        series=list("AABA")
    )
    second = predictions(["AML", "ALL", "ALL", "AML"], [[0.5, 0.5]] * 4, parts=parts).assign(
        series=list("ABCA")
    )
    both, run = pd.concat([first, second], ignore_index=True), np.repeat([5, 2], 4)
    for baseline in (majority, series_majority):
        apart = pd.concat([baseline(first), baseline(second)], ignore_index=True)
        pd.testing.assert_frame_equal(baseline(both, run), apart)
    only_second = np.asarray(run == 2) | (both["part"] == "test")
    with pytest.raises(LeukoBenchError, match="no training rows"):
        majority(both[only_second], run[only_second])


def test_baselines_say_what_they_lack():
    frame = random_predictions()
    with pytest.raises(LeukoBenchError, match="no training rows"):
        majority(frame)
    with pytest.raises(LeukoBenchError, match="series"):
        series_majority(frame)

"""Differences between configurations."""

import numpy as np
import pytest
from frames import predictions, random_predictions
from scipy.stats import bootstrap

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.difference import difference
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric, compute

ACCURACY = Metric("accuracy")


def one(frame, seed="0"):
    return Repeats.of([(seed, frame)])


def test_it_is_the_difference_of_the_means():
    a = [random_predictions(s, skill=2.0) for s in range(3)]
    b = [random_predictions(s + 10) for s in range(3)]
    found = difference(
        *(Repeats.of([(str(s), f) for s, f in enumerate(frames)]) for frames in (a, b)), ACCURACY
    )
    expected = [compute(x) - compute(y) for x, y in zip(a, b)]
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.values == pytest.approx(expected)
    assert found.low < found.mean < found.high
    assert (found.seeds, found.samples, found.method) == (3, 60, "paired jackknife")


def test_the_interval_is_that_of_a_paired_bootstrap_over_subjects():
    a, b = (
        random_predictions(1, n=300, skill=2.0, subjects=30),
        random_predictions(2, n=300, subjects=30),
    )

    def right(frame):
        called = np.where(frame["p_ALL"] > frame["p_AML"], "ALL", "AML")
        return (called == frame["label"]).groupby(frame["subject"])

    hits = (right(a).sum() - right(b).sum()).to_numpy()
    sizes = right(a).count().to_numpy()
    theirs = bootstrap(
        (hits, sizes),
        lambda h, n, axis=-1: h.sum(axis) / n.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = difference(one(a), one(b), ACCURACY)
    assert ours.unit == "subjects"
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.012)


def test_what_both_get_wrong_does_not_widen_it():
    a = random_predictions(1, n=200)
    b = a.copy()
    b.loc[:9, ["p_ALL", "p_AML"]] = b.loc[:9, ["p_AML", "p_ALL"]].to_numpy()
    apart = random_predictions(5, n=200)
    paired, unpaired = (difference(one(a), one(x), ACCURACY) for x in (b, apart))
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 1.5


@pytest.mark.parametrize("metric", [ACCURACY, Metric("auroc"), Metric("f1"), Metric("log_loss")])
def test_turning_it_round_changes_its_sign(metric):
    a, b = (
        Repeats.of([(str(s), random_predictions(s + 3 * i, skill=2.0 - i)) for s in range(2)])
        for i in range(2)
    )
    there, back = difference(a, b, metric), difference(b, a, metric)
    assert there.mean == pytest.approx(-back.mean)
    assert there.low == pytest.approx(-back.high, abs=0.02)


def test_equal_results_differ_by_nothing_without_an_interval():
    frame = random_predictions()
    found = difference(one(frame), one(frame), ACCURACY)
    assert (found.mean, found.low, found.method) == (0.0, None, "none")


def test_other_seeds_and_other_samples_are_no_hindrance():
    a = one(random_predictions(1, n=60), "0")
    b = one(random_predictions(2, n=60).iloc[:40], "7")
    found = difference(a, b, ACCURACY)
    assert found.values == ()
    assert found.low < found.mean < found.high
    assert found.samples == 60


def test_other_classes_have_no_difference():
    other = predictions(["ALL", "x"], [[1, 0], [0, 1]], classes=("ALL", "x"))
    with pytest.raises(LeukoBenchError, match="different classes"):
        difference(one(random_predictions()), one(other), ACCURACY)

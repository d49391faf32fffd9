"""Intervals over seeds and test set."""

import numpy as np
import pytest
from frames import predictions, random_predictions

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.intervals import Repeats, clopper_pearson
from leukobench.evaluation.metrics import Metric, compute

ACCURACY = Metric("accuracy")


def halves(frame, seed):
    """The frame as two folds."""
    return [(seed, frame.iloc[: len(frame) // 2]), (seed, frame.iloc[len(frame) // 2 :])]


def test_folds_of_a_seed_are_pooled_before_the_metric():
    frame = random_predictions()
    for metric in (ACCURACY, Metric("f1"), Metric("auroc")):
        value = Repeats.of(halves(frame, "0")).estimate(metric).mean
        assert value == pytest.approx(compute(frame, metric.name))


def test_mean_is_over_seeds():
    frames = [(str(s), random_predictions(s)) for s in range(3)]
    estimate = Repeats.of(frames).estimate(ACCURACY)
    assert estimate.mean == pytest.approx(np.mean([compute(f) for _, f in frames]))
    assert (estimate.seeds, estimate.samples, estimate.subjects) == (3, 60, None)
    assert estimate.low < estimate.mean < estimate.high
    assert estimate.method == "bootstrap"


@pytest.mark.parametrize("metric", [ACCURACY, Metric("f1"), Metric("auroc"), Metric("brier")])
def test_the_order_of_runs_changes_nothing(metric):
    frames = [
        piece for s in range(3) for piece in halves(random_predictions(s, subjects=7), str(s))
    ]
    assert Repeats.of(frames).estimate(metric) == Repeats.of(frames[::-1]).estimate(metric)


def test_one_seed_over_independent_samples_takes_the_exact_interval():
    frame = predictions(["ALL"] * 5 + ["AML"] * 9, [[1, 0]] * 5 + [[0, 1]] * 9)
    estimate = Repeats.of([("0", frame)]).estimate(ACCURACY)
    assert estimate.method == "clopper-pearson"
    assert estimate.low == pytest.approx(0.768, abs=5e-4)
    assert estimate.high == 1.0


def test_a_perfect_result_of_several_seeds_still_has_a_width():
    frame = predictions(["ALL"] * 5 + ["AML"] * 9, [[1, 0]] * 5 + [[0, 1]] * 9)
    estimate = Repeats.of([(str(s), frame) for s in range(4)]).estimate(ACCURACY)
    assert estimate.low == pytest.approx(0.768, abs=5e-4)


def test_subjects_widen_the_interval_where_their_samples_agree():
    n, m = 20, 15
    right = np.random.default_rng(0).random(n) < 0.7
    labels = np.repeat(np.where(np.arange(n) % 2, "ALL", "AML"), m)
    p = np.array(
        [
            [1.0, 0.0] if (c == "ALL") == ok else [0.0, 1.0]
            for c, ok in zip(labels, np.repeat(right, m))
        ]
    )
    with_subjects = predictions(labels, p, subjects=np.repeat([f"P{i}" for i in range(n)], m))
    without = predictions(labels, p)
    wide = Repeats.of([(s, with_subjects) for s in "01"]).estimate(ACCURACY)
    narrow = Repeats.of([(s, without) for s in "01"]).estimate(ACCURACY)
    assert wide.unit == "subjects"
    assert wide.subjects == n
    assert (wide.high - wide.low) > 2.5 * (narrow.high - narrow.low)


def test_equal_seeds_do_not_narrow_the_interval():
    frame = random_predictions(n=200)
    one = Repeats.of([("0", frame)]).estimate(Metric("balanced_accuracy"))
    many = Repeats.of([(str(s), frame) for s in range(8)]).estimate(Metric("balanced_accuracy"))
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.15)


def test_the_bootstrap_covers_the_truth():
    truth, covered = 0.8, 0
    rng = np.random.default_rng(5)
    for _ in range(60):
        right = rng.random((2, 150)) < truth
        frames = [
            (str(s), predictions(["ALL"] * 150, [[1.0, 0.0] if ok else [0.0, 1.0] for ok in row]))
            for s, row in enumerate(right)
        ]
        e = Repeats.of(frames).estimate(ACCURACY)
        covered += e.low <= truth <= e.high
    assert covered >= 53


def test_auroc_interval_is_the_bootstrap_of_scikit_learns_auroc():
    frame = random_predictions(n=120)
    repeats = Repeats.of([("0", frame)])
    estimate = repeats.estimate(Metric("auroc", "binary"))
    rng = np.random.default_rng(1)
    values = [compute(frame.iloc[rng.integers(0, 120, 120)], "auroc", "binary") for _ in range(300)]
    low, high = np.quantile(values, [0.025, 0.975])
    assert estimate.low == pytest.approx(low, abs=0.02)
    assert estimate.high == pytest.approx(high, abs=0.02)


def test_repeated_samples_within_a_seed_are_one_unit():
    frame = random_predictions(n=50)
    once = Repeats.of([("0", frame)]).estimate(Metric("balanced_accuracy"))
    thrice = Repeats.of([("0", frame)] * 3).estimate(Metric("balanced_accuracy"))
    assert thrice.samples == 50
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.15)


def test_many_samples_are_fast():
    import time

    rng = np.random.default_rng(0)
    y = np.array(["ALL", "AML"])[rng.integers(0, 2, 10_000)]
    frames = [(str(s), predictions(y, rng.dirichlet([1, 1], 10_000))) for s in range(5)]
    repeats = Repeats.of(frames)
    started = time.perf_counter()
    repeats.estimate(Metric("f1"))
    assert time.perf_counter() - started < 2.0


def test_clopper_pearson_of_nothing_is_everything():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_folds_with_other_classes_are_refused():
    with pytest.raises(LeukoBenchError, match="different classes"):
        Repeats.of([("0", random_predictions()), ("0", random_predictions(classes=("x", "y")))])

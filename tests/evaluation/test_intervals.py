"""Intervals of one configuration: what of, when there is none, and against other programs."""

import numpy as np
import pandas as pd
import pytest
from frames import predictions, random_predictions

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.estimates import Estimand
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.limits import Variance
from leukobench.evaluation.metrics import Metric, compute

ACCURACY = Metric("accuracy")
RECALL = Metric("recall", "binary")


def halves(frame, seed):
    """The frame as two folds."""
    middle = len(frame) // 2
    return [(seed, frame.iloc[:middle].assign(fold=0)), (seed, frame.iloc[middle:].assign(fold=1))]


def clustered(sizes, shares, label="ALL", start=0):
    """Predictions of subjects with these numbers of samples, these shares of which are right."""
    right = [
        [1.0, 0.0] if i < round(share * n) else [0.0, 1.0]
        for n, share in zip(sizes, shares)
        for i in range(n)
    ]
    p = np.array(right) if label == "ALL" else np.array(right)[:, ::-1]
    names = np.repeat([f"{label}{start + i}" for i in range(len(sizes))], sizes)
    samples = [f"{label}{start}s{i}" for i in range(sum(sizes))]
    return predictions([label] * sum(sizes), p, samples=samples, subjects=names)


def test_metrics_of_counts_pool_the_folds_of_a_seed():
    frame = random_predictions()
    for metric in (ACCURACY, Metric("f1")):
        value = Repeats.of(halves(frame, "0")).estimate(metric).mean
        assert value == pytest.approx(compute(frame, metric.name))


def test_mean_is_over_seeds():
    frames = [(str(s), random_predictions(s)) for s in range(3)]
    estimate = Repeats.of(frames).estimate(ACCURACY)
    assert estimate.mean == pytest.approx(np.mean([compute(f) for _, f in frames]))
    assert (estimate.seeds, estimate.samples, estimate.subjects) == (3, 60, None)
    assert estimate.low < estimate.mean < estimate.high


@pytest.mark.parametrize("metric", [ACCURACY, Metric("f1"), Metric("auroc"), Metric("brier")])
def test_the_order_of_runs_changes_nothing(metric):
    frames = [
        piece for s in range(3) for piece in halves(random_predictions(s, subjects=12), str(s))
    ]
    forward, backward = (Repeats.of(f).estimate(metric) for f in (frames, frames[::-1]))
    assert forward.low == pytest.approx(backward.low)
    assert forward.high == pytest.approx(backward.high)
    assert forward.mean == pytest.approx(backward.mean)


def test_one_seed_speaks_of_its_models_and_more_of_the_procedure():
    frames = [(str(s), random_predictions(s)) for s in range(2)]
    assert Repeats.of(frames[:1]).estimate(ACCURACY).estimand is Estimand.TRAINED
    assert Repeats.of(frames).estimate(ACCURACY).estimand is Estimand.PROCEDURE


def test_standard_error_of_a_share_is_that_of_statsmodels_with_cr3():
    import statsmodels.api as sm

    frame = clustered([4, 9, 2, 7, 12, 5, 8, 3], [0.5, 0.9, 0.5, 1, 0.75, 0.6, 0.9, 0.7])
    found = Repeats.of([("0", frame)]).estimate(ACCURACY)
    hits = np.asarray(frame["p_ALL"] > 0.5, dtype=float)
    n = frame["subject"].nunique()
    # Leaving out clusters is CR3, which statsmodels has not: fit without each.
    fit = sm.OLS(hits, np.ones(len(hits))).fit()
    left_out = [
        sm.OLS(hits[keep], np.ones(keep.sum())).fit().params[0]
        for keep in (np.asarray(frame["subject"] != s) for s in frame["subject"].unique())
    ]
    assert n == 8
    assert found.error == pytest.approx(np.sqrt(np.sum((np.array(left_out) - fit.params[0]) ** 2)))


def test_standard_error_of_equal_subjects_is_that_of_their_mean():
    shares = [0.5, 0.9, 0.7, 1.0, 0.8, 0.6]
    found = Repeats.of([("0", clustered([10] * 6, shares))]).estimate(ACCURACY)
    assert found.error == pytest.approx(np.std(shares, ddof=1) / np.sqrt(6 - 1))
    assert found.clusters == (("all", pytest.approx(6.0)),)


def test_standard_error_of_auroc_is_delongs_where_every_subject_has_one_sample():
    frame = random_predictions(n=80)
    found = Repeats.of([("0", frame)]).estimate(Metric("auroc", "binary"))
    positive = np.asarray(frame["label"] == "ALL")
    x, y = frame["p_ALL"].to_numpy()[positive], frame["p_ALL"].to_numpy()[~positive]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    delong = wins.mean(axis=1).var(ddof=1) / len(x) + wins.mean(axis=0).var(ddof=1) / len(y)
    m, n = len(x), len(y)
    without_factor = wins.mean(axis=1).var(ddof=1) / (m - 1) + wins.mean(axis=0).var(ddof=1) / (
        n - 1
    )
    assert found.error**2 == pytest.approx(without_factor)
    assert found.error**2 == pytest.approx(delong, rel=0.05)


@pytest.mark.parametrize("metric", [ACCURACY, Metric("f1"), Metric("mcc"), Metric("auroc")])
def test_standard_error_is_near_that_of_scipys_bootstrap(metric):
    from scipy.stats import bootstrap

    from leukobench.evaluation.metrics import Predicted, score

    frame = random_predictions(n=150).drop(columns="fold")
    predicted = Predicted.of(frame)

    def value(rows):
        return score(predicted.take(rows.astype(int)), metric)

    other = bootstrap(
        (np.arange(150),), value, n_resamples=400, vectorized=False, rng=np.random.default_rng(1)
    )
    found = Repeats.of([("0", frame)]).estimate(metric)
    assert found.error == pytest.approx(other.standard_error, rel=0.15)


def test_auroc_without_a_subject_of_both_classes_is_auroc_of_the_rest():
    from leukobench.evaluation.metrics import score

    repeats = Repeats.of(halves(random_predictions(n=60, subjects=6), "0"))
    metric = Metric("auroc", "binary")
    found = repeats.contributions(metric)
    predicted = repeats.predicted[0]
    for i, subject in enumerate(np.unique(predicted.subjects)):
        rest = predicted.take(np.flatnonzero(predicted.subjects != subject))
        assert found.values[0] + found.change[0, i] == pytest.approx(score(rest, metric))


def test_subjects_widen_the_interval_where_their_samples_agree():
    right = np.random.default_rng(0).random(20) < 0.7
    frame = clustered([15] * 20, right.astype(float))
    wide = Repeats.of([(s, frame) for s in "01"]).estimate(ACCURACY)
    narrow = Repeats.of([(s, frame.assign(subject=None)) for s in "01"]).estimate(ACCURACY)
    assert wide.unit == "subjects"
    assert wide.subjects == 20
    assert (wide.high - wide.low) > 2.5 * (narrow.high - narrow.low)


def test_equal_seeds_do_not_narrow_the_interval():
    frame = random_predictions(n=200)
    one, many = (
        Repeats.of([(str(s), frame) for s in range(n)]).estimate(Metric("balanced_accuracy"))
        for n in (1, 8)
    )
    assert many.high - many.low == pytest.approx(one.high - one.low)


def test_seeds_that_differ_widen_the_interval():
    frames = [clustered([10] * 30, np.clip([level] * 30, 0, 1)) for level in (0.6, 0.8, 1.0)]
    same = Repeats.of([(str(s), frames[1]) for s in range(3)]).estimate(ACCURACY)
    apart = Repeats.of([(str(s), f) for s, f in enumerate(frames)]).estimate(ACCURACY)
    assert same.low is None
    assert apart.low is not None
    assert apart.high - apart.low > 0.3


def test_few_subjects_of_a_needed_class_leave_a_range_and_a_reason():
    normal = clustered([200, 200, 200, 3, 2, 2, 1], [0.2, 0.9, 0.6, 1, 1, 1, 1], label="AML")
    frame = pd.concat([clustered([10] * 12, np.linspace(0.5, 1, 12)), normal])
    repeats = Repeats.of([("0", frame), ("1", frame)])
    specificity = repeats.estimate(Metric("specificity", "binary"))
    assert specificity.low is None
    assert specificity.spread == (pytest.approx(0.2), 1.0)
    assert "3.1 of AML" in specificity.reason
    assert repeats.estimate(Metric("auroc")).low is None
    assert repeats.estimate(RECALL).low is not None


def test_a_perfect_sensitivity_is_bounded_by_its_positives():
    labels = ["ALL"] * 6 + ["AML"] * 120
    frame = predictions(labels, [[1, 0]] * 6 + [[0, 1]] * 120)
    recall = Repeats.of([("0", frame)]).estimate(RECALL)
    assert recall.method == "exact"
    assert recall.low == pytest.approx(0.025 ** (1 / 6))
    assert recall.high == 1.0
    assert Repeats.of([("0", frame)]).estimate(Metric("auroc")).low == recall.low


def test_a_metric_without_bound_above_keeps_its_bound_below():
    frames = [(str(s), random_predictions(s)) for s in range(3)]
    found = Repeats.of(frames).estimate(Metric("log_loss"))
    assert 0 < found.low < found.mean < found.high


def test_a_count_is_its_rate_times_the_samples_tested():
    repeats = Repeats.of([(str(s), random_predictions(s, n=90)) for s in range(3)])
    count = repeats.estimate(Metric("fp", positive="ALL"))
    rate = repeats.estimate(Metric("specificity", "binary"))
    negatives = int((repeats.predicted[0].y == 1).sum())
    assert count.mean == pytest.approx((1 - rate.mean) * negatives)
    assert count.low == pytest.approx((1 - rate.high) * negatives)
    assert count.high == pytest.approx((1 - rate.low) * negatives)


def test_by_subject_every_subject_weighs_the_same():
    frame = clustered([50, 2, 2, 2, 2, 2, 2, 2], [1, 0, 1, 0, 1, 1, 1, 1])
    found = Repeats.of([("0", frame)]).estimate(Metric("accuracy", by="subject"))
    assert found.weight == "subject"
    assert found.mean == pytest.approx(6 / 8)
    assert found.clusters == (("all", pytest.approx(8.0)),)


def test_a_replicate_needs_two_seeds():
    found = Repeats.of([("0", random_predictions())]).replicate(ACCURACY)
    assert found.estimand is Estimand.REPLICATE
    assert found.low is None
    assert "one seed" in found.reason


def test_a_replicate_of_one_seed_takes_its_training_from_elsewhere():
    repeats = Repeats.of([("0", random_predictions(n=100))])
    known = Variance(((0.0004, 20.0),))
    found = repeats.replicate(ACCURACY, training=known)
    alone = repeats.estimate(ACCURACY)
    assert found.error == pytest.approx(np.sqrt(2 * (alone.error**2 + 0.0004)))
    assert repeats.replicate(ACCURACY, samples=25, training=known).error > 1.3 * found.error


def test_a_replicate_on_a_fixed_test_set_differs_by_training_only():
    frames = [clustered([10] * 30, [level] * 30) for level in (0.7, 0.8, 0.9)]
    found = Repeats.of([(str(s), f) for s, f in enumerate(frames)]).replicate(ACCURACY)
    between = np.var([0.7, 0.8, 0.9], ddof=1)
    assert found.error == pytest.approx(np.sqrt(between * (1 + 1 / 3)), rel=0.02)


def test_a_replicate_with_a_smaller_test_set_varies_more():
    whole = random_predictions(n=400)
    rng = np.random.default_rng(0)
    frames = [(str(s), whole.iloc[rng.permutation(400)[:80]]) for s in range(5)]
    repeats = Repeats.of(frames)
    assert repeats.split_anew
    same, smaller = (repeats.replicate(ACCURACY, samples=n, pool=400) for n in (80, 20))
    assert smaller.error > 1.5 * same.error


def test_repeated_samples_within_a_seed_are_one_unit():
    frame = random_predictions(n=50)
    once = Repeats.of([("0", frame)]).estimate(Metric("balanced_accuracy"))
    thrice = Repeats.of([("0", frame)] * 3).estimate(Metric("balanced_accuracy"))
    assert thrice.samples == 50
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low)


def test_many_samples_are_fast():
    import time

    rng = np.random.default_rng(0)
    y = np.array(["ALL", "AML"])[rng.integers(0, 2, 10_000)]
    frames = [(str(s), predictions(y, rng.dirichlet([1, 1], 10_000))) for s in range(5)]
    repeats = Repeats.of(frames)
    started = time.perf_counter()
    repeats.estimate(Metric("f1"))
    repeats.estimate(Metric("auroc"))
    assert time.perf_counter() - started < 2.0


def test_folds_with_other_classes_are_refused():
    with pytest.raises(LeukoBenchError, match="different classes"):
        Repeats.of([("0", random_predictions()), ("0", random_predictions(classes=("x", "y")))])

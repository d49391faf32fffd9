"""Paired tests and baselines."""

import numpy as np
import pandas as pd
import pytest
from frames import predictions, random_predictions
from scipy.stats import ttest_rel

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.baselines import majority, series_majority
from leukobench.evaluation.estimates import Estimand
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric, compute
from leukobench.evaluation.significance import Candidates, compare

ACCURACY = Metric("accuracy")


def with_hits(hits, **more):
    """Predictions of ALL samples, right where hits says so."""
    return predictions(["ALL"] * len(hits), [[0.9, 0.1] if h else [0.1, 0.9] for h in hits], **more)


def repeats_of(frame):
    return Repeats.of([("0", frame)])


def contest(best, **candidates):
    """The comparison of one group by accuracy; a candidate is one seed or a list of them."""
    repeats = {}
    for name, frames in candidates.items():
        seeds = frames if isinstance(frames, list) else [frames]
        repeats[name] = Repeats.of([(str(i), f) for i, f in enumerate(seeds)])
    (found,) = compare([Candidates(best, ACCURACY, repeats)])
    return found


def shuffled(hits, seed):
    return np.random.default_rng(seed).permutation(hits)


def test_two_models_of_one_seed_are_compared_by_a_paired_t_test():
    a, b = np.ones(40, bool), np.ones(40, bool)
    b[:8], a[8] = False, False
    found = contest("a", a=with_hits(a), b=with_hits(b))
    assert (found.estimand, found.unit, found.n) == (Estimand.TRAINED, "samples", 40)
    assert found.p["b"] == pytest.approx(
        ttest_rel(a.astype(float), b.astype(float)).pvalue, rel=0.15
    )
    assert "these two models" in found.words
    assert found.best_stands_out


def test_subjects_are_what_is_independent():
    subjects = [f"P{i // 4}" for i in range(48)]
    b = np.ones(48, bool)
    b[:8] = False  # all of two subjects of twelve
    found = contest(
        "a", a=with_hits(b | True, subjects=subjects), b=with_hits(b, subjects=subjects)
    )
    assert (found.unit, found.n) == ("subjects", 12)
    assert not found.differs("b")
    assert contest("a", a=with_hits(b | True), b=with_hits(b)).differs("b")


def test_seeds_that_differ_as_a_whole_widen_a_difference():
    right = np.arange(400) < 340
    steady = [with_hits(shuffled(right, 0)) for _ in range(3)]
    worse = np.arange(400) < 316
    moved = [np.arange(400) < 316 + shift for shift in (-30, 0, 30)]
    base = np.random.default_rng(1).permutation(400)
    same = [with_hits(worse[base]) for _ in range(3)]
    noisy = [with_hits(m[base]) for m in moved]
    assert contest("a", a=steady, b=same).p["b"] < contest("a", a=steady, b=noisy).p["b"]


def test_more_candidates_make_p_values_larger():
    a, b, c = np.ones(40, bool), np.ones(40, bool), np.ones(40, bool)
    b[:8], c[20:22] = False, False
    two = contest("a", a=with_hits(a), b=with_hits(b))
    three = contest("a", a=with_hits(a), b=with_hits(b), c=with_hits(c))
    assert three.family == 3
    assert two.p["b"] < three.p["b"]
    assert not three.differs("c")
    assert not three.best_stands_out


def test_groups_that_are_compared_together_share_one_error_rate():
    a, b = np.ones(40, bool), np.ones(40, bool)
    b[:6] = False
    groups = []
    for _ in range(4):
        repeats = {"a": repeats_of(with_hits(a)), "b": repeats_of(with_hits(b))}
        groups.append(Candidates("a", ACCURACY, repeats))
    (alone,) = compare(groups[:1])
    assert all(found.p["b"] > alone.p["b"] for found in compare(groups))


def test_equal_predictions_are_never_told_apart():
    same = random_predictions()
    found = contest("a", a=same, b=same, c=same)
    assert not any(found.differs(n) for n in "bc")


def test_configurations_of_different_data_are_not_compared():
    other = with_hits([True] * 10, samples=[f"t{i}" for i in range(10)])
    assert contest("a", a=with_hits([True] * 10), b=other) is None
    assert contest("a", a=other) is None


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

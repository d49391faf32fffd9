"""The search over confusion matrices finds what trying all of them finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef, precision_recall_fscore_support

from leukobench.papers.audit.folds import Deviation, possible_means
from leukobench.papers.audit.scores import Boxes, score_bounds
from leukobench.papers.audit.search import Demand, Sample, possible, possible_splits, reach


def point(positives: int, negatives: int, tp: int, tn: int, /) -> Boxes:
    share = np.array([positives / (positives + negatives)])
    recall, other = np.array([tp / positives]), np.array([tn / negatives])
    return Boxes(share, share, recall, recall, other, other)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_scores_are_those_of_scikit_learn(
    positives: int, negatives: int, data: st.DataObject
) -> None:
    tp, tn = data.draw(st.integers(1, positives)), data.draw(st.integers(1, negatives))
    truth = np.repeat([1, 0], [positives, negatives])
    called = np.repeat([1, 0, 1, 0], [tp, positives - tp, negatives - tn, tn])
    box = point(positives, negatives, tp, tn)
    for averaging in ("binary", "macro", "weighted", "micro"):
        expected = precision_recall_fscore_support(truth, called, average=averaging)[:3]
        for metric, value in zip(("precision", "recall", "f1"), expected, strict=True):
            low, high = score_bounds(metric, averaging, box)
            assert (low[0], high[0]) == pytest.approx((value, value))
    low, high = score_bounds("mcc", "binary", box)
    assert low[0] == pytest.approx(matthews_corrcoef(truth, called), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 14), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_an_answer_is_found_where_trying_all_matrices_finds_one(
    n: int, recall: int, specificity: int, accuracy: int
) -> None:
    wanted = {"recall": recall / 100, "specificity": specificity / 100, "accuracy": accuracy / 100}
    half = 0.03
    splits = set()
    for p in range(1, n):
        for tp in range(p + 1):
            for tn in range(n - p + 1):
                found = {
                    "recall": tp / p,
                    "specificity": tn / (n - p),
                    "accuracy": (tp + tn) / n,
                }
                if all(abs(found[k] - wanted[k]) <= half + 1e-9 for k in wanted):
                    splits.add(p)
    demands = [Demand(k, "binary", v - half, v + half) for k, v in wanted.items()]
    assert possible(Sample(n), demands) == bool(splits)
    assert possible_splits(Sample(n), demands) == splits


def test_the_reach_of_a_score_is_exact_where_few_matrices_are_left() -> None:
    demands = [Demand("tp", "binary", 0.3, 0.3), Demand("tn", "binary", 0.4, 0.4)]
    found = reach(Sample(10, (4, 4)), demands, Demand("recall", "binary", 0, 1))
    assert found == pytest.approx((0.75, 0.75))


def test_folds_of_one_size_have_the_deviations_that_their_matrices_allow() -> None:
    mean = Demand("accuracy", "binary", 0.8995, 0.9005)
    sample = Sample(20, (10, 10))

    def fits(deviation: float) -> bool:
        low, high = deviation - 0.0005, deviation + 0.0005
        spread = Deviation("accuracy", "binary", low, high, mean=0.9, half_step=0.0005)
        return possible_means(sample, 2, [mean], [spread])

    # 18 of 20 right in two folds of ten: 9 and 9, or 8 and 10.
    assert fits(0.0)
    assert fits(0.1)
    assert fits(0.141)
    assert not fits(0.05)

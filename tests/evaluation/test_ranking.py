"""Ranking metrics within folds."""

import numpy as np
import pytest
from frames import predictions, random_predictions
from sklearn.metrics import average_precision_score, roc_auc_score

from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric, compute
from leukobench.evaluation.ranking import placements

AUROC = Metric("auroc", "binary")


def in_folds(n=90, folds=3, shift=0.0):
    """Predictions whose scores are shifted from fold to fold, and which fold each row is of."""
    frame = random_predictions(n=n)
    fold = np.arange(n) % folds
    p = 1 / (1 + np.exp(-(np.log(frame["p_ALL"] / frame["p_AML"]) + shift * fold)))
    return frame.assign(fold=fold, p_ALL=p.astype(np.float32), p_AML=1 - p)


def test_auroc_is_concordant_pairs_within_folds_over_all_pairs_within_folds():
    frame = in_folds(shift=2.0)
    right = pairs = 0.0
    for _, part in frame.groupby("fold"):
        x = part["p_ALL"][part["label"] == "ALL"].to_numpy()
        y = part["p_ALL"][part["label"] == "AML"].to_numpy()
        right += ((x[:, None] > y) + 0.5 * (x[:, None] == y)).sum()
        pairs += len(x) * len(y)
    assert compute(frame, "auroc", "binary") == pytest.approx(right / pairs)


def test_a_shift_of_scores_between_folds_changes_pooled_auroc_only():
    still, shifted = in_folds(), in_folds(shift=3.0)
    assert compute(still, "auroc") == pytest.approx(compute(shifted, "auroc"), abs=1e-6)
    assert compute(shifted, "pooled_auroc") < compute(still, "pooled_auroc") - 0.02


def test_pooled_auroc_is_scikit_learns():
    frame = in_folds(shift=1.0)
    expected = roc_auc_score(frame["label"] == "ALL", frame["p_ALL"])
    assert compute(frame, "pooled_auroc", "binary") == pytest.approx(expected)


def test_auprc_is_that_of_the_folds_weighted_by_positives():
    frame = in_folds(shift=1.0)
    values, weights = [], []
    for _, part in frame.groupby("fold"):
        values.append(average_precision_score(part["label"] == "ALL", part["p_ALL"]))
        weights.append((part["label"] == "ALL").sum())
    assert compute(frame, "auprc", "binary") == pytest.approx(np.average(values, weights=weights))


def test_leave_one_out_has_no_auroc_but_a_pooled_one():
    frame = random_predictions(n=40).assign(fold=np.arange(40))
    repeats = Repeats.of([("0", frame)])
    assert np.isnan(repeats.estimate(AUROC).mean)
    assert "pooled_auroc" in repeats.estimate(AUROC).reason
    assert np.isfinite(repeats.estimate(Metric("pooled_auroc")).mean)


def test_folds_of_one_class_enter_no_pair():
    frame = predictions(
        ["ALL", "AML", "ALL", "AML", "ALL"],
        [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]],
    ).assign(fold=[0, 0, 1, 1, 2])
    assert compute(frame, "auroc", "binary") == pytest.approx(0.5)


def test_every_pair_is_seen_from_both_of_its_samples():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(60) < 0.4, np.round(rng.random(60), 1)
    placed, pairs = placements(positive, scores, rng.integers(0, 3, 60))
    assert placed[positive].sum() == pytest.approx(placed[~positive].sum())
    assert pairs[positive].sum() == pairs[~positive].sum()


def test_average_precision_of_one_fold_is_scikit_learns_with_ties():
    from leukobench.evaluation.ranking import average_precision

    rng = np.random.default_rng(3)
    positive, scores = rng.random(80) < 0.3, np.round(rng.random(80), 1)
    expected = average_precision_score(positive, scores)
    one_fold = np.zeros(80, dtype=np.int64)
    assert average_precision(positive, scores, one_fold) == pytest.approx(expected)

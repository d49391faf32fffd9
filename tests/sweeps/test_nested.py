"""Choosing among trials without the test rows having a say."""

from __future__ import annotations

import numpy as np
import pytest

from leukobench.sweeps.nested import choose_in_folds


def auroc(y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Concordant pairs over all pairs, of scores without ties, shape (trials, samples)."""
    higher = scores[:, y == 1][:, :, None] > scores[:, y == 0][:, None, :]
    return higher.mean(axis=(1, 2))


def test_each_test_part_has_the_trial_that_its_own_validation_rows_choose() -> None:
    validation = np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.6]])
    test = np.array([[0.5, 0.0, 0.0], [1.0, 0.7, 0.3]])
    found = choose_in_folds(validation, test, lower_is_better=False)
    assert found.chosen == (0, 1, 1)
    assert found.test == pytest.approx((0.5 + 0.7 + 0.3) / 3)
    assert choose_in_folds(validation, test, lower_is_better=True).chosen == (1, 0, 0)


@pytest.mark.slow
def test_a_search_on_noise_finds_half_where_the_mean_over_folds_finds_more() -> None:
    """500 sets of 40 samples, five folds, 20 trials whose scores of a sample are the same in every fold: the worst
    case, in which the validation rows of one fold say everything of the test rows of another."""
    nested, mean_over_folds = [], []
    for seed in range(500):
        rng = np.random.default_rng(seed)
        y = rng.permutation(np.arange(40) % 2)
        fold = rng.permutation(np.arange(40) % 5)
        scores = rng.normal(size=(20, 40))
        validation, test = np.empty((20, 5)), np.empty((20, 5))
        for k in range(5):
            tested, held = fold == k, fold == (k + 1) % 5
            if len(set(y[tested])) < 2 or len(set(y[held])) < 2:
                validation[:, k] = test[:, k] = 0.5
                continue
            validation[:, k] = auroc(y[held], scores[:, held])
            test[:, k] = auroc(y[tested], scores[:, tested])
        nested.append(choose_in_folds(validation, test, lower_is_better=False).test)
        mean_over_folds.append(test[validation.mean(axis=1).argmax()].mean())
    assert np.mean(nested) == pytest.approx(0.5, abs=0.01)
    assert np.mean(mean_over_folds) > 0.55

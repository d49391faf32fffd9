"""Sharing whole groups out to parts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from leukobench.data.balance import Balance, assign, imbalance

FIFTHS = np.full(5, 0.2)


def donors(sizes: list[int], classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Class and group of each sample where group i has `sizes[i]` samples of class `classes[i]`."""
    return np.repeat(classes, sizes), np.repeat(np.arange(len(sizes)), sizes)


def cost(y: np.ndarray, groups: np.ndarray, targets: np.ndarray, of_samples: np.ndarray) -> float:
    of_groups = np.zeros(groups.max() + 1, np.int64)
    of_groups[groups] = of_samples
    return imbalance(Balance.of(y, groups), targets, of_groups)


@pytest.mark.parametrize("seed", range(5))
def test_no_assignment_of_few_groups_is_much_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, groups = donors(list(rng.integers(1, 40, 8)), [0, 1] * 4)
    targets = np.array([0.7, 0.3])
    every = [np.array(part) for part in product([0, 1], repeat=8) if len(set(part)) == 2]
    best = min(cost(y, groups, targets, part[groups]) for part in every)
    assert cost(y, groups, targets, assign(y, groups, targets, seed)) <= best + 0.05 * 0.3


def test_equal_groups_are_shared_out_exactly() -> None:
    y, groups = donors([10] * 20, [0] * 10 + [1] * 10)
    part = assign(y, groups, FIFTHS, seed=0)
    for k in range(5):
        assert np.bincount(y[part == k]).tolist() == [20, 20]


def test_parts_of_unequal_groups_keep_size_and_class_share() -> None:
    rng = np.random.default_rng(1)
    y, groups = donors(list(rng.integers(20, 400, 70)), [0] * 47 + [1] * 23)
    for seed in range(3):
        part = assign(y, groups, FIFTHS, seed)
        for k in range(5):
            assert (part == k).mean() == pytest.approx(0.2, abs=0.01)
            assert y[part == k].mean() == pytest.approx(y.mean(), abs=0.03)


def test_subjects_of_each_class_are_spread_over_the_parts() -> None:
    y, groups = donors([100] * 5 + [1] * 15, [1] * 20)
    part = assign(y, groups, FIFTHS, seed=0)
    for k in range(5):
        assert len(np.unique(groups[part == k])) == 4


def test_a_seed_always_draws_the_same_and_other_seeds_draw_others() -> None:
    rng = np.random.default_rng(0)
    y, groups = donors(list(rng.integers(5, 60, 30)), [0, 1] * 15)
    drawn = [assign(y, groups, FIFTHS, seed) for seed in range(10)]
    again = [assign(y, groups, FIFTHS, seed) for seed in range(10)]
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))
    assert len({part.tobytes() for part in drawn}) == 10


def test_thousands_of_groups_are_balanced_too() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    groups = np.arange(3000)
    groups[1] = 0
    groups = np.unique(groups, return_inverse=True)[1]
    part = assign(y, groups, FIFTHS, seed=3)
    assert np.bincount(part) == pytest.approx(np.full(5, 600), abs=5)


@hypothesis_settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 50), min_size=5, max_size=25),
    seed=st.integers(0, 1000),
)
def test_every_group_stays_whole_and_no_part_is_empty(sizes: list[int], seed: int) -> None:
    y, groups = donors(sizes, [i % 3 for i in range(len(sizes))])
    part = assign(y, groups, FIFTHS, seed)
    assert set(part) == set(range(5))
    for group in range(len(sizes)):
        assert len(set(part[groups == group])) == 1

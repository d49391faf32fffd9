"""Whether intervals hold the truth as often as they say, on simulated test sets
(`benchmarks/inference.py`)."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from inference import of_cells, of_folds, of_replicates
from simulated_tests import CELLS, Folds, Holdout

BY_NAME = {design.name: design for design in CELLS}


def test_intervals_at_seven_subjects_a_class_and_three_seeds_cover_and_are_narrow():
    for row in of_cells(BY_NAME["7/7 equal"], 3, 300):
        assert row["refused"] == 0, row
        assert row["coverage"] >= 0.92, row  # .95 less two standard errors of 300 replications
        assert row["width"] <= 1.4, row


def test_three_normal_subjects_are_refused_what_needs_them():
    rows = {row["metric"]: row for row in of_cells(BY_NAME["8/3"], 1, 20)}
    assert rows["specificity"]["refused"] == rows["auroc"]["refused"] == 1
    assert rows["accuracy"]["refused"] < 0.1


def test_the_38_samples_of_quickstart_always_have_an_interval_that_covers():
    rows = of_folds(Folds("ridge", 0.8, new=200), (2,), 150)
    for row in rows:
        assert row["refused"] == 0, row
        assert row["coverage"] >= 0.91, row


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 5, 10])
@pytest.mark.parametrize("name", ["15/7", "8/3", "7/7 equal", "30/30"])
def test_intervals_over_subjects_and_seeds_cover(name, seeds):
    for row in of_cells(BY_NAME[name], seeds, 1000):
        if row["coverage"] is not None:
            assert row["coverage"] >= 0.93 - 0.014, row


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.006, 0.017])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_replicate_lies_in_its_interval(noise, seeds):
    assert of_replicates(Holdout(noise), seeds, 1000)["coverage"] >= 0.94 - 0.014

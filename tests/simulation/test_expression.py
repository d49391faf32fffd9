"""Simulated expression: what it is made of shows in it, and it is marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leukobench.data.simulated import is_simulated, mark_simulated
from leukobench.data.sources.cumida import Cumida
from leukobench.data.sources.expression_csv import ExpressionCsv
from leukobench.errors import LeukoBenchError
from leukobench.simulation import simulate
from leukobench.simulation.expression import Effects, log_expression
from leukobench.simulation.shares import share_out


def linear() -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


class TestMark:
    def test_a_marked_folder_and_its_files_are_simulated(self, tmp_path: Path) -> None:
        assert not is_simulated(tmp_path)
        mark_simulated(tmp_path, "made by a test, seed 1")
        (tmp_path / "table.csv").write_text("x\n")
        assert is_simulated(tmp_path)
        assert is_simulated(tmp_path / "table.csv")
        assert "seed 1" in (tmp_path / "SIMULATED").read_text()

    def test_nothing_is_not_simulated(self) -> None:
        assert not is_simulated(None)

    def test_every_simulation_says_its_seed(self, tmp_path: Path) -> None:
        simulate(ExpressionCsv(), tmp_path, samples=10, seed=7)
        assert "seed=7" in (tmp_path / "SIMULATED").read_text()


class TestSharingOut:
    def test_numbers_add_up_and_follow_the_weights(self) -> None:
        assert share_out(100, {"a": 50, "b": 30, "c": 20}) == {"a": 50, "b": 30, "c": 20}
        assert sum(share_out(17, {"a": 5, "b": 1, "c": 1}).values()) == 17

    def test_no_group_is_empty(self) -> None:
        assert min(share_out(5, {"a": 1000, "b": 1, "c": 1}).values()) == 1

    def test_too_few_are_refused(self) -> None:
        with pytest.raises(LeukoBenchError, match="too few"):
            share_out(2, {"a": 1, "b": 1, "c": 1})


class TestContent:
    def test_classes_can_be_learnt(self) -> None:
        labels = ["ALL", "AML"] * 40
        values = log_expression(np.random.default_rng(0), 500, labels)
        assert (
            cross_val_score(
                linear(), values, labels, cv=KFold(4, shuffle=True, random_state=0)
            ).mean()
            > 0.8
        )

    def test_without_class_effect_they_cannot(self) -> None:
        labels = ["ALL", "AML"] * 40
        values = log_expression(np.random.default_rng(0), 500, labels, effects=Effects(label=0))
        assert (
            cross_val_score(
                linear(), values, labels, cv=KFold(4, shuffle=True, random_state=0)
            ).mean()
            < 0.7
        )

    def test_the_series_can_be_read_from_the_values(self, tmp_path: Path) -> None:
        data = Cumida(simulate(Cumida(), tmp_path, samples=150, seed=1, genes=400)).load()
        series = data.samples["series"].astype(str).to_numpy()
        values = StandardScaler().fit_transform(data.values)
        assert (
            cross_val_score(
                KNeighborsClassifier(1), values, series, cv=KFold(4, shuffle=True, random_state=0)
            ).mean()
            > 0.95
        )

    def test_splitting_a_subjects_samples_pays(self, tmp_path: Path) -> None:
        data = ExpressionCsv(
            simulate(ExpressionCsv(), tmp_path, samples=160, subjects=40, seed=2),
            id="sample", subject="subject", series="series",
        ).load()  # fmt: skip
        groups = data.samples["subject"].to_numpy()
        assert len(set(groups)) == 40
        nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(1))
        leaking = cross_val_score(
            nearest, data.values, data.y, cv=KFold(4, shuffle=True, random_state=0)
        ).mean()
        clean = cross_val_score(
            nearest, data.values, data.y, cv=GroupKFold(4), groups=groups
        ).mean()
        assert leaking > 0.95
        assert clean < leaking - 0.1

    def test_more_subjects_than_samples_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LeukoBenchError, match="cannot be spread"):
            simulate(ExpressionCsv(), tmp_path, samples=4, subjects=9)

"""Preprocessing: a fitted object that has seen the rows it was given and no others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import f_classif

from leukobench.data.preprocess import (
    ExpressionPreprocess,
    ImagePreprocess,
    Resample,
    signal_to_noise,
)
from leukobench.errors import ConfigError

Y = np.array([0, 1] * 10)


@pytest.fixture
def values() -> np.ndarray:
    """20 samples x 30 genes; genes 3 and 7 follow the class."""
    values = np.random.default_rng(0).normal(100, 20, size=(20, 30)).astype(np.float32)
    values[:, 3] += 120 * Y
    values[:, 7] -= 60 * Y
    return values


def test_zscores_have_mean_zero_and_deviation_one_on_the_rows_fitted_on(values: np.ndarray) -> None:
    out = ExpressionPreprocess().fit(values[:12], Y[:12]).transform(values)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[:12].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out[:12].std(axis=0), 1, atol=1e-5)
    assert np.abs(out[12:].mean(axis=0)).max() > 0.05


@pytest.mark.parametrize(
    "preprocess",
    [
        ExpressionPreprocess(),
        ExpressionPreprocess(scale="minmax"),
        ExpressionPreprocess(log=True, genes=5),
        ExpressionPreprocess(genes=5, select_by="anova"),
    ],
)
def test_rows_that_are_not_handed_over_change_nothing(
    preprocess: ExpressionPreprocess, values: np.ndarray
) -> None:
    other = values.copy()
    other[12:] = np.random.default_rng(1).normal(500, 300, size=other[12:].shape)
    one, two = preprocess.fit(values[:12], Y[:12]), preprocess.fit(other[:12], Y[:12])
    np.testing.assert_array_equal(one.transform(values), two.transform(values))
    everything = preprocess.fit(other, Y)
    assert not np.array_equal(one.transform(values), everything.transform(values)), (
        "fitted on all: another result"
    )


def test_each_row_is_transformed_by_itself(values: np.ndarray) -> None:
    fitted = ExpressionPreprocess(log=True, genes=8).fit(values, Y)
    together = fitted.transform(values)
    alone = np.concatenate([fitted.transform(values[i : i + 1]) for i in range(len(values))])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("by", ["snr", "anova"])
def test_the_genes_that_follow_the_class_are_selected(by: str, values: np.ndarray) -> None:
    fitted = ExpressionPreprocess(genes=2, select_by=by).fit(values, Y)  # type: ignore[arg-type]
    assert fitted.selected().tolist() == [3, 7]
    assert fitted.transform(values).shape == (20, 2)


def test_anova_selects_by_the_f_value_of_scikit_learn(values: np.ndarray) -> None:
    best = np.argsort(f_classif(values.astype(float), Y)[0])[-6:]
    fitted = ExpressionPreprocess(genes=6, select_by="anova").fit(values, Y)
    assert fitted.selected().tolist() == sorted(best)


def test_signal_to_noise_is_the_mean_difference_over_the_sum_of_deviations() -> None:
    values = np.array([[1.0, 5.0], [3.0, 5.0], [10.0, 5.0], [14.0, 5.0]])
    y = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(signal_to_noise(values, y), [10 / 3, 0.0])
    np.testing.assert_allclose(signal_to_noise(values, 1 - y), [10 / 3, 0.0])


def test_signal_to_noise_of_several_classes_is_the_best_of_one_against_the_rest() -> None:
    values = np.array([[0.0], [1.0], [0.0], [1.0], [9.0], [10.0]])
    y = np.array([0, 0, 1, 1, 2, 2])
    assert signal_to_noise(values, y)[0] == pytest.approx(9 / 1.0)


def test_a_constant_gene_is_neither_selected_nor_a_division_by_zero(values: np.ndarray) -> None:
    values[:, 0] = 7
    for by in ("snr", "anova"):
        fitted = ExpressionPreprocess(genes=29, select_by=by).fit(values, Y)  # type: ignore[arg-type]
        assert 0 not in fitted.selected()
    assert np.isfinite(ExpressionPreprocess().fit(values, Y).transform(values)).all()
    assert np.isfinite(ExpressionPreprocess(scale="minmax").fit(values, Y).transform(values)).all()


def test_log_clips_to_floor_and_ceiling_first() -> None:
    values = np.array([[-28_400.0, 20.0], [71_369.0, 2_000.0]])
    out = (
        ExpressionPreprocess(log=True, scale="none").fit(values, np.array([0, 1])).transform(values)
    )
    np.testing.assert_allclose(out, np.log10([[20, 20], [16_000, 2_000]]), rtol=1e-6)


def test_minmax_scales_the_rows_fitted_on_to_the_unit_interval(values: np.ndarray) -> None:
    out = ExpressionPreprocess(scale="minmax").fit(values[:12], Y[:12]).transform(values)
    assert out[:12].min() == 0
    assert out[:12].max() == pytest.approx(1)
    assert out[12:].max() > 1


def test_no_step_at_all_hands_the_values_on(values: np.ndarray) -> None:
    np.testing.assert_array_equal(
        ExpressionPreprocess(scale="none").fit(values, Y).transform(values), values
    )


def test_another_number_of_genes_is_refused(values: np.ndarray) -> None:
    fitted = ExpressionPreprocess().fit(values, Y)
    with pytest.raises(ConfigError, match="fitted on 30 genes and is given 29"):
        fitted.transform(values[:, 1:])


@pytest.mark.parametrize("genes", [0, 31, -1])
def test_more_genes_than_there_are_cannot_be_kept(genes: int, values: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=f"preprocess.genes={genes}: the data set has 30 genes"):
        ExpressionPreprocess(genes=genes).fit(values, Y)


def test_unknown_switches_are_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"select_by knows snr and anova, not 'variance'"):
        ExpressionPreprocess(select_by="variance")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"scale knows zscore, minmax and none, not 'robust'"):
        ExpressionPreprocess(scale="robust")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"normalise knows auto, unit, imagenet and half, not 'max'"
    ):
        ImagePreprocess(normalise="max")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "preprocess",
    [
        ExpressionPreprocess(log=True, genes=9),
        ExpressionPreprocess(scale="minmax"),
        ExpressionPreprocess(scale="none"),
    ],
)
def test_plain_arrays_rebuild_the_fitted_object(
    preprocess: ExpressionPreprocess, values: np.ndarray
) -> None:
    fitted = preprocess.fit(values[:12], Y[:12])
    state = {k: np.asarray(v) for k, v in fitted.state().items()}
    low, high = state["log_limits"]
    x = values.astype(np.float64)
    x = x if np.isnan(low) else np.log10(np.clip(x, low, high))
    rebuilt = (x[:, state["columns"].astype(int)] - state["offset"].astype(float)) * state[
        "factor"
    ].astype(float)
    np.testing.assert_allclose(rebuilt, fitted.transform(values), rtol=1e-4, atol=1e-5)


class Mean:
    """An encoder that remembers what it was shown."""

    def fit(self, values: np.ndarray, validation: np.ndarray | None, seed: int) -> Mean:
        self.shown, self.validation, self.seed = values, validation, seed
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        return values.mean(axis=1, keepdims=True)


def test_an_encoder_sees_the_scaled_rows_fitted_on_and_the_validation_rows(
    values: np.ndarray,
) -> None:
    encoder = Mean()
    fitted = ExpressionPreprocess(encoder=encoder).fit(values[:10], Y[:10], values[10:15], seed=3)
    assert (len(encoder.shown), encoder.seed) == (10, 3)
    plain = ExpressionPreprocess().fit(values[:10], Y[:10]).transform(values)
    np.testing.assert_array_equal(encoder.shown, plain[:10])
    np.testing.assert_array_equal(encoder.validation, plain[10:15])
    assert fitted.transform(values).shape == (20, 1)


# --- resampling -------------------------------------------------------------------------------------------------------


def test_smote_levels_the_classes_after_the_rows_given(values: np.ndarray) -> None:
    y = np.array([0] * 14 + [1] * 6)
    out, labels = Resample("smote")(values, y, seed=0)
    np.testing.assert_array_equal(out[:20], values)
    np.testing.assert_array_equal(labels[:20], y)
    assert np.bincount(labels).tolist() == [14, 14]
    rare = values[y == 1]
    assert (out[20:] >= rare.min(axis=0) - 1e-4).all(), "between the rows of the rare class"
    assert (out[20:] <= rare.max(axis=0) + 1e-4).all()


def test_smote_follows_its_seed(values: np.ndarray) -> None:
    y = np.array([0] * 14 + [1] * 6)
    one, again, other = (Resample("smote")(values, y, seed=s)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_smote_takes_fewer_neighbours_where_a_class_is_small(values: np.ndarray) -> None:
    assert np.bincount(Resample("smote")(values, np.array([0] * 17 + [1] * 3), 0)[1]).tolist() == [
        17,
        17,
    ]


def test_smote_of_a_single_sample_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="at least two samples of each class"):
        Resample("smote")(values, np.array([0] * 19 + [1]), 0)


def test_no_resampling_hands_the_rows_on(values: np.ndarray) -> None:
    out, labels = Resample()(values, Y, 0)
    assert out is values
    assert labels is Y


def test_an_unknown_resampling_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="knows none and smote, not 'adasyn'"):
        Resample("adasyn")(values, Y, 0)  # type: ignore[arg-type]

"""Kandi's four networks and its autoencoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.models import autoencoder, kandi
from leukobench.models.autoencoder import Autoencoder, train_autoencoder

FACTORIES = [kandi.cnn, kandi.rnn, kandi.mlp, kandi.hybrid]


def gaussian(n: int, features: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


@pytest.mark.parametrize("factory", FACTORIES)
def test_one_logit_for_each_of_the_thirteen_classes(factory):
    assert factory((256,), 13).eval()(torch.randn(4, 256)).shape == (4, 13)


@pytest.mark.parametrize(
    ("factory", "weights"),
    [
        (kandi.cnn, (9 * 32 + 32) + (9 * 32 * 64 + 64) + (256 * 128 + 128) + (128 * 13 + 13)),
        # torch keeps two biases for each recurrent unit where Keras has one.
        (kandi.rnn, (16 * 128 + 128 * 128 + 2 * 128) + (128 * 13 + 13)),
        (kandi.mlp, (256 * 512 + 512) + (512 * 256 + 256) + (256 * 13 + 13)),
        (
            kandi.hybrid,
            (9 * 32 + 32)
            + 4 * (16 * 32 + 32 * 32 + 2 * 32)
            + 4 * (32 * 32 + 32 * 32 + 2 * 32)
            + (1600 * 64 + 64)
            + (64 * 32 + 32)
            + (32 * 13 + 13),
        ),
    ],
)
def test_the_layers_are_those_of_the_paper(factory, weights):
    assert sum(p.numel() for p in factory((256,), 13).parameters()) == weights


def test_dropout_is_as_printed_and_an_option():
    def rates(model):
        return [m.p for m in model.modules() if isinstance(m, nn.Dropout)]

    assert rates(kandi.cnn((256,), 13)) == [0.25, 0.25, 0.5]
    assert rates(kandi.mlp((256,), 13)) == [0.05, 0.05]
    assert rates(kandi.rnn((256,), 13, dropout=0.5)) == [0.5]
    with pytest.raises(ConfigError, match="three rates"):
        kandi.cnn((256,), 13, dropout=[0.5])


@pytest.mark.parametrize("factory", [kandi.rnn, kandi.hybrid])
def test_recurrent_networks_see_every_step(factory):
    x = torch.randn(1, 256, requires_grad=True)
    (gradient,) = torch.autograd.grad(factory((256,), 13).eval()(x).square().sum(), x)
    assert (gradient.reshape(16, 16).abs().sum(1) > 0).all()


@pytest.mark.parametrize("factory", FACTORIES)
def test_other_inputs_are_refused_with_a_way_out(factory):
    with pytest.raises(ConfigError, match="256 autoencoder features"):
        factory((7129,), 13)


def test_the_autoencoder_learns_and_records_both_losses():
    fitted = train_autoencoder(
        gaussian(64, 30), gaussian(16, 30, seed=1), units=8, epochs=30, lr=0.01, seed=1
    )
    assert len(fitted.train_losses) == len(fitted.validation_losses) == 30
    assert fitted.train_losses[-1] < fitted.train_losses[0]
    assert fitted.encode(gaussian(5, 30)).shape == (5, 8)
    assert fitted.encode(gaussian(5, 30)).min() >= 0


def test_reconstruction_errors_are_mean_squares_a_row_and_agree_with_the_loss():
    values = gaussian(16, 30, seed=1)
    fitted = train_autoencoder(gaussian(64, 30), values, units=8, epochs=3, seed=1)
    errors = fitted.reconstruction_errors(values)
    assert errors.shape == (16,)
    assert errors.mean() == pytest.approx(fitted.validation_losses[-1], rel=1e-5)


def test_the_sigmoid_cannot_follow_z_scores_below_their_floor():
    fitted = train_autoencoder(gaussian(500, 10), units=32, epochs=100, lr=0.01, seed=1)
    assert fitted.train_losses[-1] > 0.5


def test_the_seed_alone_decides_and_global_randomness_is_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = train_autoencoder(gaussian(40, 12), units=4, epochs=2, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(123)
    second = train_autoencoder(gaussian(40, 12), units=4, epochs=2, seed=7)
    other = train_autoencoder(gaussian(40, 12), units=4, epochs=2, seed=8)
    assert first.train_losses == second.train_losses
    assert np.array_equal(first.encode(gaussian(3, 12)), second.encode(gaussian(3, 12)))
    assert first.train_losses != other.train_losses


def test_validation_rows_change_nothing_but_their_own_loss():
    alone = train_autoencoder(gaussian(40, 12), units=4, epochs=2, seed=7)
    watched = train_autoencoder(
        gaussian(40, 12), gaussian(9, 12, seed=3), units=4, epochs=2, seed=7
    )
    assert alone.train_losses == watched.train_losses
    assert alone.validation_losses == ()


def test_as_a_step_of_preprocessing_it_is_fitted_before_use():
    step = Autoencoder(units=4, epochs=1)
    with pytest.raises(LeukoBenchError, match="before it is fitted"):
        step.transform(gaussian(3, 12))
    assert step.fit(gaussian(20, 12), None, seed=1).transform(gaussian(3, 12)).shape == (3, 4)


def test_the_same_rows_and_options_are_fitted_once_in_a_process(monkeypatch):
    fits = []

    def counted(*args, **options):
        fits.append(options)
        return train_autoencoder(*args, **options)

    monkeypatch.setattr(autoencoder, "train_autoencoder", counted)
    monkeypatch.setattr(autoencoder, "_kept", type(autoencoder._kept)())
    values, held = gaussian(20, 12), gaussian(5, 12, seed=3)
    first = Autoencoder(units=4, epochs=2).fit(values, held, seed=1)
    again = Autoencoder(units=4, epochs=2).fit(values.copy(), held.copy(), seed=1)
    assert len(fits) == 1
    np.testing.assert_array_equal(first.transform(values), again.transform(values))
    alone = train_autoencoder(values, held, units=4, epochs=2, seed=1)
    np.testing.assert_array_equal(first.transform(values), alone.encode(values))
    for step, rows, validation, seed in (
        (Autoencoder(units=4, epochs=2), values, held, 2),
        (Autoencoder(units=4, epochs=2), values[:19], held, 1),
        (Autoencoder(units=4, epochs=2), values, None, 1),
        (Autoencoder(units=4, epochs=2, lr=1e-2), values, held, 1),
        (Autoencoder(units=4, epochs=3), values, held, 1),
    ):
        step.fit(rows, validation, seed=seed)
    assert len(fits) == 6
    assert len(autoencoder._kept) == autoencoder.KEPT, "the oldest are forgotten"


def test_values_of_different_width_are_refused():
    with pytest.raises(ConfigError, match="one width"):
        train_autoencoder(gaussian(20, 12), gaussian(5, 11), seed=1)

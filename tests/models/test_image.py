"""LeNet-5 and the plain convolutional network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from leukobench.errors import ConfigError
from leukobench.models import image


def linear_sizes(model: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]


def test_lenet_at_its_own_size_is_lenet():
    assert linear_sizes(image.lenet5((3, 32, 32), 10)) == [(400, 120), (120, 84), (84, 10)]


def test_lenet_at_224_keeps_its_layers():
    assert linear_sizes(image.lenet5((3, 224, 224), 2))[0] == (44_944, 120)


@pytest.mark.parametrize("factory", [image.lenet5, image.plain_cnn])
def test_one_logit_a_class(factory):
    assert factory((3, 64, 64), 5)(torch.randn(2, 3, 64, 64)).shape == (2, 5)


def test_the_plain_networks_sizes_are_options():
    model = image.plain_cnn((3, 64, 64), 2, filters=[4, 8], dense=16, dropout=0.1)
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [4, 8]
    assert linear_sizes(model) == [(8 * 14 * 14, 16), (16, 2)]


@pytest.mark.parametrize("shape", [(7129,), (1, 64, 64), (3, 8, 8)])
@pytest.mark.parametrize("factory", [image.lenet5, image.plain_cnn])
def test_inputs_that_do_not_fit_are_refused(factory, shape):
    with pytest.raises(ConfigError, match="reads images"):
        factory(shape, 2)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ConfigError, match="tanh or relu"):
        image.lenet5((3, 64, 64), 2, activation="gelu")

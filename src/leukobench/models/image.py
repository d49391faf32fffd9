"""Image networks that neither timm nor torchvision has: LeNet-5 and a plain convolutional network.

Both are trained from scratch; no weights exist for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from leukobench.errors import ConfigError


def lenet5(
    input_shape: tuple[int, ...], num_classes: int, *, activation: Literal["tanh", "relu"] = "tanh"
) -> nn.Module:
    """LeNet-5 (LeCun et al., Proc. IEEE 86, 1998) on images (3, H, W), 16 pixels or more.

    Convolution 5x5 to 6 maps, average pooling 2, convolution 5x5 to 16 maps, average pooling 2,
    dense 120, dense 84, classes. Adapted: the original reads one channel of 32 x 32, pads nothing
    (so that 400 values reach the first dense layer) and ends in radial basis functions. Here the
    first convolution reads 3 channels, the layers are kept as they are at the image's own size (224
    x 224: 16 maps of 53 x 53, 44,944 values), and the end is linear. rai (section 3.2.3) names
    convolutions, average pooling and dense layers and gives no sizes.

    Args:
        activation: After each convolution and dense layer: `tanh` as the original, or `relu`.
    """
    _check("lenet5", input_shape, 16)
    act = {"tanh": nn.Tanh, "relu": nn.ReLU}.get(activation)
    if act is None:
        raise ConfigError(f"model.activation={activation} is unknown; choose tanh or relu")
    features = nn.Sequential(
        nn.Conv2d(3, 6, 5),
        act(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        act(),
        nn.AvgPool2d(2),
        nn.Flatten(),
    )
    head = nn.Sequential(
        nn.Linear(_width(features, input_shape), 120),
        act(),
        nn.Linear(120, 84),
        act(),
        nn.Linear(84, num_classes),
    )
    return nn.Sequential(features, head)


def plain_cnn(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    filters: Sequence[int] = (32, 64, 128),
    dense: int = 128,
    dropout: float = 0.5,
) -> nn.Module:
    """A plain convolutional network on images (3, H, W).

    For each entry of `filters` a convolution 3x3 without padding, ReLU and max pooling 2; then a
    dense ReLU layer, dropout, classes. Every size is an assumption: rai (section 3.2.5) names the
    kinds of layers and no number, kadhim (abstract) says only that the network is convolutional.

    Args:
        filters: Maps of each convolution, in order.
        dense: Units of the dense layer.
        dropout: Dropout after the dense layer.
    """
    _check("plain_cnn", input_shape, 2 ** len(filters) * 3)
    layers: list[nn.Module] = []
    channels = 3
    for maps in filters:
        layers += [nn.Conv2d(channels, maps, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels = maps
    features = nn.Sequential(*layers, nn.Flatten())
    head = nn.Sequential(
        nn.Linear(_width(features, input_shape), dense),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(dense, num_classes),
    )
    return nn.Sequential(features, head)


@torch.no_grad()
def _width(features: nn.Module, input_shape: tuple[int, ...]) -> int:
    return int(features(torch.zeros(1, *input_shape)).shape[1])


def _check(model: str, input_shape: tuple[int, ...], smallest: int) -> None:
    if len(input_shape) != 3 or input_shape[0] != 3 or min(input_shape[1:]) < smallest:
        raise ConfigError(
            f"model {model} reads images of shape (3, height, width) of {smallest} pixels or more, and the data have "
            f"shape {tuple(input_shape)}; choose an image data set (data=cnmc) or a larger size"
        )

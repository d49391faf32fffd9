"""Saliency lies where the decision is, attributions are what theory says, and shares are counted right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError
from leukobench.models import explain
from leukobench.models.explain import METHODS, Method
from leukobench.models.gene import logistic
from leukobench.models.image import lenet5
from leukobench.models.inputs import ExpressionInput, ImageInput

SIZE = 32


class LeftBrightness(nn.Module):
    """Class 1 is brightness of the left half; a convolution comes first, so that there are maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 3)
        self.pool = nn.AvgPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.pool(self.conv(x))
        left = maps[:, 0, :, : maps.shape[3] // 2].mean(dim=(1, 2))
        return torch.stack([-left, left], dim=1)


@pytest.mark.parametrize("method", METHODS)
def test_saliency_lies_in_the_half_that_decides(method: Method) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, SIZE, SIZE, generator=g)
    if method == "grad_cam":
        x[..., SIZE // 2 :] *= (
            0.2  # one channel: its weight is the same everywhere, only its values differ
        )
    maps = explain.saliency(LeftBrightness(), x, torch.tensor([1, 1, 1]), method)
    assert maps.shape == (3, SIZE, SIZE)
    assert maps.dtype == np.float32
    assert (maps >= 0).all()
    shares = maps[:, :, : SIZE // 2].sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    assert (shares > (0.6 if method == "grad_cam" else 0.85)).all()


def test_saliency_of_a_frozen_network_is_had_all_the_same() -> None:
    network = LeftBrightness().requires_grad_(False)
    for method in METHODS:
        assert explain.saliency(
            network, torch.rand(1, 3, SIZE, SIZE), torch.tensor([1]), method
        ).any()


def test_black_background_can_count_in_integrated_gradients() -> None:
    class Darkness(LeftBrightness):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    maps = explain.saliency(
        Darkness(), torch.zeros(1, 3, SIZE, SIZE), torch.tensor([1]), "integrated_gradients"
    )
    assert maps.sum() > 0


def test_grad_cam_takes_the_last_maps_and_refuses_networks_without() -> None:
    network = lenet5((3, SIZE, SIZE), 2)
    layer = explain.feature_layer(network, torch.zeros(1, 3, SIZE, SIZE))
    assert isinstance(layer, nn.AvgPool2d)
    tokens = nn.Sequential(
        nn.Conv2d(3, 4, 8, 8), nn.Flatten(2), nn.Linear(16, 16), nn.Flatten(), nn.Linear(64, 2)
    )
    with pytest.raises(ConfigError, match="no feature maps"):
        explain.feature_layer(tokens, torch.zeros(1, 3, SIZE, SIZE))


def test_the_share_outside_a_cell_is_counted_on_black_pixels() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, :6] = 150
    saliency = np.ones((10, 10), np.float32)
    found = explain.outside_cell(image, saliency)
    assert found is not None
    assert (found.saliency, found.area) == pytest.approx((0.4, 0.4))
    saliency[:, 6:] = 0
    inside = explain.outside_cell(image, saliency)
    assert inside is not None
    assert inside.saliency == 0
    assert explain.outside_cell(np.full((10, 10, 3), 150, np.uint8), saliency) is None, (
        "no black background"
    )
    assert explain.outside_cell(image, np.zeros((10, 10), np.float32)) is None, "no saliency"


def test_an_overlay_leaves_pixels_without_saliency_as_they_are() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    saliency = np.zeros((8, 8), np.float32)
    assert (explain.overlay(image, saliency) == image).all()
    saliency[2, 2] = 1
    changed = (explain.overlay(image, saliency) != image).any(axis=2)
    assert changed[2, 2]
    assert changed.sum() == 1


def test_every_image_counts_alike_in_a_mean_map() -> None:
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0, 0], maps[1, 1, 1], maps[2, 3, 3] = 1000, 1, 5
    means = explain.mean_maps(maps, np.array([0, 0, 1]))
    assert means[0][0, 0] == means[0][1, 1] == 0.5
    assert means[1][3, 3] == 1


def test_activation_maximisation_finds_what_a_class_answers_to_and_repeats_itself() -> None:
    class Loud(LeftBrightness):
        def forward(self, x: Tensor) -> Tensor:
            return 20 * super().forward(x)

    network, inputs = Loud(), ImageInput("unit")
    image, p = explain.activation_maximum(network, inputs, 1, SIZE, steps=60)
    dark, _ = explain.activation_maximum(network, inputs, 0, SIZE, steps=60)
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    assert image[:, :12].mean() > 138
    assert dark[:, :12].mean() < 118
    assert p > 0.99
    again, _ = explain.activation_maximum(network, inputs, 1, SIZE, steps=60)
    assert (again == image).all()


def test_attributions_of_a_linear_model_are_weight_times_distance_from_the_baseline() -> None:
    network = logistic((5,), 2)
    x, baseline = torch.randn(4, 5), torch.randn(1, 5)
    weights = network.linear.weight.detach().numpy()[0]  # type: ignore[union-attr, operator]
    found = explain.gene_attributions(network, x, torch.ones(4, dtype=torch.int64), baseline)
    assert found == pytest.approx((x - baseline).numpy() * weights / 2, abs=1e-5)


def test_attributions_sum_to_the_change_of_the_logit_also_through_an_encoder() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    state = {"offset": np.zeros(6), "factor": np.ones(6), "log_limits": np.array([np.nan, np.nan])}
    state |= {"encoder.weight": rng.normal(size=(8, 6)), "encoder.bias": rng.normal(size=8)}
    network = nn.Sequential(ExpressionInput(state).encoder, logistic((8,), 3))
    x, baseline = torch.randn(4, 6), torch.zeros(1, 6)
    found = explain.gene_attributions(network, x, torch.tensor([0, 1, 2, 0]), baseline, steps=400)
    with torch.no_grad():
        change = (network(x) - network(baseline))[range(4), [0, 1, 2, 0]].numpy()
    assert found.sum(axis=1) == pytest.approx(change, abs=0.02)

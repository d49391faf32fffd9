"""From raw values to network input, as modules: what a deployed model carries in front of its network.

`ExpressionInput` repeats a fitted expression preprocessing, `ImageInput` the normalisation of
decoded images. Both give what training computed, so that a network behind one of them predicts from
raw values, and can be exported and differentiated as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from leukobench.models.augment import NORMALISATIONS


class ExpressionInput(nn.Module):
    """Log, scaling and encoder of the genes that a model reads; gene selection is the order of its inputs.

    Args:
        state: `offset` and `factor`, shape (genes,); `log_limits`, two numbers, NaN for no
            logarithm; where there is an encoder `encoder.weight`, shape (units, genes), and
            `encoder.bias`.
    """

    offset: Tensor
    factor: Tensor

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.register_buffer(
            "offset", torch.tensor(np.asarray(state["offset"]), dtype=torch.float64)
        )
        self.register_buffer(
            "factor", torch.tensor(np.asarray(state["factor"]), dtype=torch.float64)
        )
        floor, ceiling = (float(x) for x in state["log_limits"])
        self.limits = None if np.isnan(floor) else (floor, ceiling)
        self.encoder: nn.Module = nn.Identity()
        if "encoder.weight" in state:
            weight = torch.tensor(np.asarray(state["encoder.weight"]), dtype=torch.float32)
            layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
            layer.weight.data.copy_(weight)  # type: ignore[operator, union-attr]
            layer.bias.data.copy_(torch.tensor(np.asarray(state["encoder.bias"])))  # type: ignore[operator, union-attr]
            self.encoder = nn.Sequential(layer, nn.ReLU()).requires_grad_(False)

    def scaled(self, values: Tensor) -> Tensor:
        """Values after log and scaling, before the encoder; float32, shape (n, genes)."""
        x = values.double()
        if self.limits is not None:
            x = torch.log10(x.clamp(*self.limits))
        return ((x - self.offset) * self.factor).float()

    def forward(self, values: Tensor) -> Tensor:
        """Network input, float32, of raw values (n, genes)."""
        return self.encoder(self.scaled(values))


class ImageInput(nn.Module):
    """Normalisation of decoded images.

    Args:
        normalise: A name of `leukobench.models.augment.NORMALISATIONS`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, normalise: str) -> None:
        super().__init__()
        mean, std = NORMALISATIONS[normalise]
        self.register_buffer("scale", torch.tensor([1 / (255 * s) for s in std]).view(1, 3, 1, 1))
        self.register_buffer(
            "shift", torch.tensor([-m / s for m, s in zip(mean, std)]).view(1, 3, 1, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Network input, float32, shape (n, 3, H, W), of pixels of 0 to 255, shape (n, H, W, 3)."""
        return images.permute(0, 3, 1, 2).float() * self.scale + self.shift


class WholeModel(nn.Module):
    """Raw values or pixels to class probabilities (n, num_classes): input module, network and softmax."""

    def __init__(self, inputs: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.network = network
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.inputs(x)).softmax(dim=1)

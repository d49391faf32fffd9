"""Networks as functions that can be batched over their weights: dropout by given masks, and what stands in the way.

Planning asks this module, so it does not import Lightning.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class Masked(nn.Module):
    """Stands where a network has `nn.Dropout` and multiplies by a mask that is drawn outside.

    Attributes:
        mask: Zeros and 1 / (1 - p), in the shape of one member's input.
    """

    mask: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask if self.training else x


def masked(network: nn.Module) -> nn.Module:
    """A copy of a network with `Masked` in place of `nn.Dropout`."""
    out = copy.deepcopy(network)
    if isinstance(out, nn.Dropout):
        return Masked(out.p)
    for parent in list(out.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Masked(child.p))
    return out


def stackable(network: nn.Module, loss: nn.Module, input_shape: Sequence[int]) -> str | None:
    """Why networks like this one cannot be trained stacked, or None.

    Tried on a batch of zeros: every operation must be known to `vmap`, and none may draw random numbers outside
    `nn.Dropout` or keep statistics of what it saw.
    """
    if any(isinstance(m, nn.modules.batchnorm._NormBase) for m in network.modules()):
        return "batch normalisation keeps statistics"
    try:
        template = masked(network).train()
        two = {k: torch.stack([v.detach(), v.detach()]) for k, v in _tensors(template).items()}
        x = torch.zeros(2, 4, *input_shape)
        y = torch.zeros(2, 4, dtype=torch.int64)
        logits = vmap(lambda t, rows: functional_call(template, t, (rows,)))(two, x)
        vmap(lambda z, labels: functional_call(loss, dict(loss.named_buffers()), (z, labels)))(
            logits, y
        )
    except Exception as e:
        return f"it cannot be batched ({type(e).__name__}: {str(e).splitlines()[0][:120] if str(e) else ''})"
    return None


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}

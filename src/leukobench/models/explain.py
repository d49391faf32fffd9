"""Why a network decided: saliency maps of images, attributions of genes, and the input a class looks like.

Attributions are captum's. Functions take a network, its input and where needed the input module
that normalises it; they know nothing of runs. Maps are float32, shape (n, H, W), non-negative, in
the scale of the method: divide by the maximum to draw, by the sum to compare shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leukobench.errors import ConfigError

Method = Literal["grad_cam", "integrated_gradients", "occlusion"]
METHODS: tuple[Method, ...] = ("grad_cam", "integrated_gradients", "occlusion")
BLACK = 12
"""A pixel whose channels are all at or below this is taken for black background: resizing leaves no exact zeros at the
border of a cell."""
SOFTNESS = 10.0
"""Divides the logits of activation maximisation: a class is certain to a network long before anything can be seen."""
MIN_BACKGROUND = 0.05
"""Share of black pixels from which an image counts as a cell cut out on black."""


def feature_layer(network: nn.Module, x: Tensor) -> nn.Module:
    """The last module that gives maps (n, channels, h, w) of more than one pixel: where Grad-CAM looks.

    Args:
        x: One network input, shape (1, 3, H, W).

    Raises:
        ConfigError: The network has none after which only vectors follow, as transformers.
    """
    order: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            order.append((module, tuple(output.shape)))

    leaves = [m for m in network.modules() if not list(m.children())]
    handles = [m.register_forward_hook(note) for m in leaves]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
    maps = [i for i, (_, shape) in enumerate(order) if len(shape) == 4 and min(shape[2:]) > 1]
    if not maps or any(len(shape) == 3 for _, shape in order[maps[-1] + 1 :]):
        raise ConfigError(
            f"{type(network).__name__} has no feature maps at its end, which Grad-CAM needs; choose another method "
            "(integrated_gradients, occlusion)"
        )
    return order[maps[-1]][0]


def saliency(
    network: nn.Module,
    x: Tensor,
    targets: Tensor,
    method: Method,
    *,
    ends: tuple[Tensor, Tensor] | None = None,
    steps: int = 16,
    patch: int | None = None,
) -> np.ndarray:
    """Saliency of the pixels for a class's logit, shape (n, H, W).

    Grad-CAM (Selvaraju et al. 2017) at the last feature maps, enlarged bilinearly. Integrated gradients (Sundararajan
    et al. 2017), absolute values summed over channels, from a black and from a white image: from black alone, black
    background could get nothing. Occlusion (Zeiler and Fergus 2014) by a patch of the image's mean colour, which also
    changes black background; the patch moves by half its edge, and counts the loss of the logit where it falls, 0 where
    it rises.

    Args:
        x: Network input, shape (n, 3, H, W).
        targets: Class index of each image, shape (n,), int64.
        ends: Network inputs of a black and of a white pixel, each of shape (1, 3, 1, 1); 0 and 1 by default.
        steps: Of each path of integrated gradients.
        patch: Edge of the occluding patch; an eighth of the image by default.
    """
    from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion

    network.eval()
    if method == "grad_cam":
        maps = LayerGradCam(network, feature_layer(network, x[:1])).attribute(
            x.detach().requires_grad_(), target=targets, relu_attributions=True
        )
        out = LayerAttribution.interpolate(maps, tuple(x.shape[2:]), interpolate_mode="bilinear")[
            :, 0
        ]
    elif method == "integrated_gradients":
        paths = [
            IntegratedGradients(network).attribute(
                x,
                baselines=end.to(x).expand(1, *x.shape[1:]),
                target=targets,
                n_steps=steps,
                internal_batch_size=max(8, len(x)),
            )
            for end in ends or (torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
        ]
        out = torch.stack(paths).abs().sum(dim=(0, 2))
    elif method == "occlusion":
        edge = patch or max(1, x.shape[2] // 8)
        with torch.no_grad():
            attributions = Occlusion(network).attribute(
                x,
                sliding_window_shapes=(x.shape[1], edge, edge),
                strides=(x.shape[1], max(1, edge // 2), max(1, edge // 2)),
                baselines=x.mean(dim=(2, 3), keepdim=True).expand_as(x),
                target=targets,
                perturbations_per_eval=8,
            )
        out = attributions.sum(dim=1).clamp(min=0)
    else:
        raise ConfigError(f"explanation {method!r} is unknown; choose of {', '.join(METHODS)}")
    return out.detach().float().cpu().numpy()


@dataclass(frozen=True)
class Outside:
    """Where saliency lies on a cell cut out on black.

    Attributes:
        saliency: Share of the saliency on black pixels.
        area: Share of the pixels that are black: what evenly spread saliency would give.
    """

    saliency: float
    area: float


def outside_cell(image: np.ndarray, saliency_map: np.ndarray) -> Outside | None:
    """The share of saliency outside the cell: a shortcut check for images of cells on black (C-NMC).

    A network that looks outside reads the size and outline of the cut-out, or its border, and not the cell's inside.

    Args:
        image: uint8, shape (H, W, 3).
        saliency_map: Shape (H, W).

    Returns:
        None where the image has no black background, or the map is empty.
    """
    background = (image <= BLACK).all(axis=2)
    total = float(saliency_map.sum())
    if background.mean() < MIN_BACKGROUND or background.all() or total <= 0:
        return None
    return Outside(float(saliency_map[background].sum()) / total, float(background.mean()))


def overlay(image: np.ndarray, saliency_map: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """The image under its map in colours, uint8, shape (H, W, 3): unchanged where the map is 0."""
    from matplotlib import colormaps

    top = np.quantile(saliency_map, 0.995)
    level = np.clip(saliency_map / top, 0, 1) if top > 0 else np.zeros_like(saliency_map)
    colour = colormaps["turbo"](level)[..., :3] * 255
    share = (strength * np.sqrt(level))[..., None]
    return np.round(image * (1 - share) + colour * share).astype(np.uint8)


def activation_maximum(
    network: nn.Module,
    inputs: nn.Module,
    target: int,
    size: int,
    *,
    steps: int = 120,
    lr: float = 3.0,
    roughness: float = 100.0,
    seed: int = 0,
) -> tuple[np.ndarray, float]:
    """An image that a class is probable for, by gradient ascent on the pixels.

    Starts from grey with a little noise; each step moves the image by a few pixels, which with a penalty on differences
    of neighbouring pixels holds down high frequencies (Olah et al. 2017). A softened log probability is maximised, not
    the logit, so that the penalty rules once the class is certain. What it shows is what the network answers to, not what a
    cell looks like.

    Args:
        network: Network input to logits.
        inputs: Pixels of 0 to 255, shape (n, H, W, 3), to network input.
        size: Edge of the image.
        lr: Step of Adam, in grey levels.
        roughness: Weight of the penalty, on values of 0 to 1.

    Returns:
        The image, uint8, shape (size, size, 3), and the class's probability for it.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = (128 + 8 * torch.randn(1, size, size, 3, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=lr)
    reach = max(1, size // 28)
    wanted = torch.tensor([target])
    network.eval()
    for _ in range(steps):
        dy, dx = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        logits = network(inputs(pixels.roll((dy, dx), dims=(1, 2))))
        rough = (pixels.diff(dim=1) / 255).square().mean() + (
            pixels.diff(dim=2) / 255
        ).square().mean()
        loss = F.cross_entropy(logits / SOFTNESS, wanted) + roughness * rough
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 255)
    image = pixels.detach().round().to(torch.uint8)
    with torch.no_grad():
        p = float(network(inputs(image)).softmax(dim=1)[0, target])
    return image[0].numpy(), p


def gene_attributions(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    targets: Tensor,
    baseline: Tensor,
    *,
    steps: int = 50,
) -> np.ndarray:
    """Integrated gradients of each sample's class logit, float64, shape (n, genes), signed.

    Attributions of a sample sum to how much the logit differs from the baseline's.

    Args:
        network: Scaled genes (n, genes) to logits; an encoder is part of it.
        x: Scaled values, shape (n, genes).
        targets: Class index of each sample.
        baseline: Scaled values of a typical sample, shape (1, genes).
    """
    from captum.attr import IntegratedGradients

    attributions = IntegratedGradients(network).attribute(
        x, baselines=baseline, target=targets, n_steps=steps, internal_batch_size=max(64, len(x))
    )
    return attributions.detach().double().numpy()


def mean_maps(maps: np.ndarray, groups: np.ndarray) -> dict[int, np.ndarray]:
    """Mean of the maps of each group, every map first divided by its sum, so that each image counts alike."""
    totals = maps.sum(axis=(1, 2), keepdims=True)
    shares = np.divide(maps, totals, out=np.zeros_like(maps), where=totals > 0)
    return {int(g): shares[groups == g].mean(axis=0) for g in np.unique(groups)}


def smoothed(saliency_map: np.ndarray, edge: int) -> np.ndarray:
    """A map averaged over squares of this edge, for drawing what is scattered over single pixels."""
    x = torch.from_numpy(np.ascontiguousarray(saliency_map, np.float32))[None, None]
    edge += 1 - edge % 2
    return F.avg_pool2d(x, edge, stride=1, padding=edge // 2, count_include_pad=False)[0, 0].numpy()

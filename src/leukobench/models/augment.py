"""From stored pixels to network input, in batches and on whatever device the batch is on.

`Augment` rotates, zooms and flips, all in one bilinear sampling; `Normalise` scales pixel values.
Both take a batch of stored images (uint8, NHWC) or of floats (NCHW) and give floats, NCHW. Pixels
keep their scale of 0 to 255 until `Normalise`, so the order is
`normalise(augment(images, table[rows]))`: what lies outside an image is then black in every
normalisation.

Random parameters are drawn beforehand, as one table an epoch with a row for each sample
(`Augment.draw`), on the CPU and from a generator that the caller addresses by seed and epoch. So an
image's parameters depend neither on batches, order and workers nor on the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leukobench.errors import ConfigError

NORMALISATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation by channel of pixels in [0, 1]: `unit` is min-max to [0, 1], `half` to [-1, 1]."""

ANGLE, ZOOM, FLIP = range(3)
"""Columns of a parameter table: degrees clockwise, magnification, and -1 (flipped) or 1."""


class Normalise(nn.Module):
    """(pixel / 255 - mean) / std by channel.

    Args:
        mean, std: Of pixels in [0, 1], one number a channel; or the name of one of `NORMALISATIONS` as `mean`.
        channels_last: Lay the result out with channels innermost in memory; its shape stays (n, 3, H, W).
    """

    def __init__(
        self,
        mean: str | Sequence[float] = "unit",
        std: Sequence[float] | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(mean, str):
            if mean not in NORMALISATIONS or std is not None:
                raise ConfigError(
                    f"normalisation {mean!r}: choose one of {sorted(NORMALISATIONS)}, or mean and std"
                )
            mean, std = NORMALISATIONS[mean]
        if std is None or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ConfigError(
                f"normalisation needs three means and three positive deviations, not {mean} and {std}"
            )
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        scale = torch.tensor([1 / (255 * s) for s in std]).view(1, 3, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(mean, std)]).view(1, 3, 1, 1)
        self.shifted = bool((shift != 0).any())
        # Not persistent: a checkpoint of a network that contains this stays loadable with another normalisation.
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """uint8 or float pixels of 0 to 255, (n, H, W, 3) or (n, 3, H, W), to float32 (n, 3, H, W)."""
        if self.scale.device != images.device:
            self.to(images.device)
        if images.is_floating_point():
            result = (_channels_first(images) * self.scale).contiguous(
                memory_format=self.memory_format
            )
        else:
            result = _floats(images, self.memory_format).mul_(self.scale)
        return result.add_(self.shift) if self.shifted else result


@dataclass(frozen=True)
class Augment:
    """Rotation, zoom and horizontal flip about the image's centre, each image by its own parameters, in one sampling.

    The zoom keeps the aspect ratio; more than 1 magnifies. (Keras' `zoom_range` draws height and width apart and
    magnifies below 1.) The sampling is bilinear without a filter, as in Keras and torchvision.

    Args:
        rotation: Largest angle in degrees, drawn uniformly from -rotation to rotation.
        zoom: Range of the magnification, drawn uniformly.
        flip: Whether each image is flipped left to right with probability one half.
        outside: What is seen beyond the image's border: `black`, right for cells cut out on black (C-NMC), or `edge`,
            its nearest pixel, the default of Keras, right for fields with a background (ALL-IDB, AML).
    """

    rotation: float = 0.0
    zoom: Sequence[float] = (1.0, 1.0)
    flip: bool = False
    outside: Literal["black", "edge"] = "black"

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 180:
            raise ConfigError(f"augment: rotation is {self.rotation}, expected 0 to 180 degrees")
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1]:
            raise ConfigError(
                f"augment: zoom is {list(self.zoom)}, expected [smallest, largest], both positive"
            )
        if self.outside not in ("black", "edge"):
            raise ConfigError(f"augment: outside is {self.outside!r}, expected black or edge")

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing: features of unaugmented images can then be computed once."""
        return not self.rotation and tuple(self.zoom) == (1, 1) and not self.flip

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Parameters of n images: float32, shape (n, 3), on the CPU, columns `ANGLE`, `ZOOM`, `FLIP`.

        The first rows are the same for any n; switching one part off leaves the draws of the others.
        """
        u = torch.rand(n, 3, generator=generator)
        low, high = self.zoom
        table = torch.empty(n, 3)
        table[:, ANGLE] = (2 * u[:, 0] - 1) * self.rotation
        table[:, ZOOM] = low + (high - low) * u[:, 1]
        table[:, FLIP] = torch.where(u[:, 2] < 0.5, -1.0, 1.0) if self.flip else 1.0
        return table

    def __call__(self, images: Tensor, table: Tensor | None) -> Tensor:
        """Sample a batch.

        Args:
            images: uint8 or float, (n, H, W, 3) or (n, 3, H, W).
            table: One row of `draw` for each image; None leaves the images as they are.

        Returns:
            float32, (n, 3, H, W), pixel values in the scale of the input.
        """
        pixels = (
            _channels_first(images)
            if images.is_floating_point()
            else _floats(images, torch.contiguous_format)
        )
        if table is None or self.is_identity:
            return pixels
        if table.shape != (len(pixels), 3):
            raise ValueError(
                f"augment: {len(pixels)} images with a parameter table of shape {tuple(table.shape)}"
            )
        grid = _grid(table.to(pixels.device, non_blocking=True), pixels.shape[2], pixels.shape[3])
        padding = "zeros" if self.outside == "black" else "border"
        return F.grid_sample(
            pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False
        )


def _grid(table: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of the result is taken from, shape (n, height, width, 2), in `grid_sample`'s coordinates.

    Rows and columns enter separately and are added once: half the time of `affine_grid`, which multiplies matrices.
    """
    angle = table[:, ANGLE, None] * (math.pi / 180)
    cos, sin = torch.cos(angle) / table[:, ZOOM, None], torch.sin(angle) / table[:, ZOOM, None]
    x = table[:, FLIP, None] * _centres(width, table.device)
    y = _centres(height, table.device)[None]
    grid = table.new_empty(len(table), height, width, 2)
    torch.add((cos * x)[:, None, :], (sin * y * (height / width))[:, :, None], out=grid[..., 0])
    torch.add((sin * x * (-width / height))[:, None, :], (cos * y)[:, :, None], out=grid[..., 1])
    return grid


def _centres(n: int, device: torch.device) -> Tensor:
    return (torch.arange(n, device=device, dtype=torch.float32) * 2 + (1 - n)) / n


def _channels_first(images: Tensor) -> Tensor:
    """A view of shape (n, 3, H, W)."""
    if images.ndim == 4 and images.shape[3] == 3:
        return images.permute(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] == 3:
        return images
    raise ValueError(
        f"images have shape {tuple(images.shape)}, expected (n, H, W, 3) or (n, 3, H, W)"
    )


def _floats(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    view = _channels_first(images)
    # One pass that converts and transposes; `.float().contiguous()` takes two.
    return torch.empty(view.shape, device=view.device, memory_format=memory_format).copy_(view)

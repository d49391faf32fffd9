"""Feeds: where a training's batches come from. Data stand on the device (or in memory) once and are gathered there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from leukobench.training.randomness import generator


class Feed(Protocol):
    """Hands out model inputs by row number.

    Attributes:
        input_shape: Of one sample, `(features,)` or `(3, H, W)`.
        augmented: Whether `training_batch` differs from `plain_batch`.
    """

    input_shape: tuple[int, ...]
    augmented: bool

    def start_epoch(self, epoch: int) -> None: ...

    def training_batch(self, rows: Tensor) -> Tensor: ...

    def plain_batch(self, rows: Tensor) -> Tensor: ...

    def to(self, device: torch.device) -> None: ...


class ArrayFeed:
    """Rows of a float32 array of shape (n, features)."""

    augmented = False

    def __init__(self, values: np.ndarray | Tensor) -> None:
        self.values = torch.as_tensor(values)
        self.input_shape = tuple(self.values.shape[1:])

    def start_epoch(self, epoch: int) -> None:
        """Nothing to draw."""

    def to(self, device: torch.device) -> None:
        self.values = self.values.to(device)

    def training_batch(self, rows: Tensor) -> Tensor:
        return self.values[rows.to(self.values.device)]

    plain_batch = training_batch


class ImageFeed:
    """Rows of a uint8 image store of shape (n, H, W, 3), normalised and augmented in batches on the device.

    Args:
        images: The store's memory map or an array.
        normalise: Pixels of 0 to 255, (b, H, W, 3) uint8 or (b, 3, H, W) float, to network input (b, 3, H, W).
        augment: Draws a table of parameters for all samples of an epoch and applies its rows to a batch; None for none.
        seed: Of the augmentation.
        device_share: Largest share of the device's free memory that the whole store may take.
    """

    def __init__(
        self,
        images: np.ndarray,
        normalise: Callable[[Tensor], Tensor],
        augment: Any | None,
        seed: int,
        device_share: float = 0.5,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.augment = augment
        self.augmented = augment is not None
        self.seed = seed
        self.device_share = device_share
        self.input_shape = (3, *images.shape[1:3])
        self.device = torch.device("cpu")
        self._resident: Tensor | None = None
        self._table: Tensor | None = None

    def to(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.images.nbytes <= free * self.device_share:
                self._resident = torch.from_numpy(np.ascontiguousarray(self.images)).to(device)

    def start_epoch(self, epoch: int) -> None:
        """Draw each sample's own parameters for this epoch; the same for any batch order and any device."""
        if self.augment is not None:
            self._table = self.augment.draw(len(self.images), generator(self.seed, "augment", epoch))

    def _gather(self, rows: Tensor) -> Tensor:
        if self._resident is not None:
            return self._resident[rows.to(self.device)]
        batch = torch.from_numpy(self.images[rows.cpu().numpy()])
        if self.device.type == "cuda":
            return batch.pin_memory().to(self.device, non_blocking=True)
        return batch

    def plain_batch(self, rows: Tensor) -> Tensor:
        return self.normalise(self._gather(rows))

    def training_batch(self, rows: Tensor) -> Tensor:
        images = self._gather(rows)
        if self.augment is None:
            return self.normalise(images)
        assert self._table is not None, "start_epoch draws the parameters"
        return self.normalise(self.augment(images, self._table[rows.cpu()]))

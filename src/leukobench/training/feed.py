"""Feeds: where a training's batches come from.

Data stand on the device (or in memory) once and are gathered there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from leukobench.training.randomness import generator


class Feed(Protocol):
    """Hands out model inputs by row number.

    Attributes:
        input_shape: Of one sample, `(features,)` or `(3, H, W)`.
        augmented: Whether `training_batch` differs from `plain_batch`.
        rows_on: Where row numbers are looked up: the device that holds the data, or the CPU.
    """

    input_shape: tuple[int, ...]
    augmented: bool

    @property
    def rows_on(self) -> torch.device: ...

    def start_epoch(self, epoch: int, batches: Sequence[Tensor] = ()) -> None:
        """Get ready for an epoch; `batches` are its row numbers in the order of their use, where that is known."""
        ...

    def training_batch(self, rows: Tensor) -> Tensor: ...

    def plain_batch(self, rows: Tensor) -> Tensor: ...

    def to(self, device: torch.device) -> None: ...


class ArrayFeed:
    """Rows of a float32 array of shape (n, features)."""

    augmented = False

    def __init__(self, values: np.ndarray | Tensor) -> None:
        self.values = torch.as_tensor(values)
        self.input_shape = tuple(self.values.shape[1:])

    def start_epoch(self, epoch: int, batches: Sequence[Tensor] = ()) -> None:
        """Nothing to draw, nothing to fetch."""

    def to(self, device: torch.device) -> None:
        self.values = self.values.to(device)

    @property
    def rows_on(self) -> torch.device:
        return self.values.device

    def training_batch(self, rows: Tensor) -> Tensor:
        return self.values[rows]

    plain_batch = training_batch


class ReadAhead:
    """Reads batches of a memory map in threads, a few ahead of their use, so that the network never waits for a disk.

    Args:
        images: Shape (n, H, W, 3), uint8.
        batches: Row numbers in the order of their use.
        pinned: Read into page-locked memory, from which copies to a GPU run beside its work.
        depth: Batches read ahead, each by a thread of its own.
    """

    def __init__(
        self, images: np.ndarray, batches: Sequence[Tensor], pinned: bool, depth: int = 4
    ) -> None:
        self.images, self.pinned = images, pinned
        self._threads = ThreadPoolExecutor(depth, thread_name_prefix="read-ahead")
        self._left: Iterator[Tensor] = iter(batches)
        self._ahead: deque[tuple[Tensor, Future[Tensor]]] = deque()
        for _ in range(depth):
            self._next()

    def _next(self) -> None:
        rows = next(self._left, None)
        if rows is not None:
            self._ahead.append((rows, self._threads.submit(self._read, rows)))

    def _read(self, rows: Tensor) -> Tensor:
        out = torch.empty(
            (len(rows), *self.images.shape[1:]), dtype=torch.uint8, pin_memory=self.pinned
        )
        np.take(self.images, rows.numpy(), axis=0, out=out.numpy(), mode="clip")
        return out

    def take(self, rows: Tensor) -> Tensor | None:
        """The batch that is next in the order, if it is this one; otherwise None."""
        if not self._ahead or not torch.equal(self._ahead[0][0], rows):
            return None
        _, batch = self._ahead.popleft()
        self._next()
        return batch.result()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


_resident: dict[tuple[Any, ...], Tensor] = {}
"""The one store that stands on a device: the next training on the same images finds it there."""


def resident(images: np.ndarray, device: torch.device, share: float) -> Tensor | None:
    """A whole store on a GPU, moved there once; None where it would take more than `share` of the free memory."""
    where = getattr(images, "filename", None), images.__array_interface__["data"][0], images.shape
    key = (*where, device)
    if key not in _resident:
        _resident.clear()
        free, _ = torch.cuda.mem_get_info(device)
        if images.nbytes > free * share:
            return None
        _resident[key] = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return _resident[key]


class ImageFeed:
    """Rows of a uint8 image store of shape (n, H, W, 3), normalised and augmented in batches on the device.

    Args:
        images: The store's memory map or an array.
        normalise: Pixels of 0 to 255, (b, H, W, 3) uint8 or (b, 3, H, W) float, to network input (b, 3, H, W).
        augment: Draws a table of parameters for all samples of an epoch and applies its rows to a batch; None for none.
        seed: Of the augmentation.
        device_share: Largest share of a GPU's free memory that the whole store may take. A store that is larger stays
            where it is, and its batches are read ahead of their use.
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
        self._ahead: ReadAhead | None = None
        self._table: Tensor | None = None

    def to(self, device: torch.device) -> None:
        self.device = device
        if isinstance(self.normalise, nn.Module):
            self.normalise.to(device)
        self._resident = (
            resident(self.images, device, self.device_share) if device.type == "cuda" else None
        )

    @property
    def rows_on(self) -> torch.device:
        return torch.device("cpu") if self._resident is None else self.device

    def start_epoch(self, epoch: int, batches: Sequence[Tensor] = ()) -> None:
        """Draw each sample's own parameters for this epoch; the same for any batch order and any device."""
        if self.augment is not None:
            table: Tensor = self.augment.draw(
                len(self.images), generator(self.seed, "augment", epoch)
            )
            self._table = table.to(self.rows_on)
        self.expect(batches)

    def expect(self, batches: Sequence[Tensor]) -> None:
        """Say which batches come next: on a GPU that cannot hold the store they are read ahead."""
        if self._ahead is not None:
            self._ahead.close()
        streams = self.device.type == "cuda" and self._resident is None
        self._ahead = (
            ReadAhead(self.images, batches, pinned=True) if streams and len(batches) else None
        )

    def gather(self, rows: Tensor) -> Tensor:
        """Images as they stand in the store, on the device: uint8, shape (len(rows), H, W, 3)."""
        if self._resident is not None:
            return self._resident[rows]
        batch = self._ahead.take(rows) if self._ahead is not None else None
        if batch is None:
            batch = torch.from_numpy(self.images[rows.numpy()])
        return batch.to(self.device, non_blocking=True)

    def plain_batch(self, rows: Tensor) -> Tensor:
        return self.normalise(self.gather(rows))

    def training_batch(self, rows: Tensor) -> Tensor:
        images = self.gather(rows)
        if self.augment is None:
            return self.normalise(images)
        assert self._table is not None, "start_epoch draws the parameters"
        return self.normalise(self.augment(images, self._table[rows]))

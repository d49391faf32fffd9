"""The feature store: what a frozen backbone makes of each image, computed once and memory-mapped.

Keyed by the images' content, the backbone with its weights, the normalisation and the arithmetic;
heads of any sweep then train from it. Backbones that read the same images are computed in one pass
over them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from leukobench.data.base import Dataset, digest
from leukobench.errors import FaultyDataError
from leukobench.files import atomic
from leukobench.integrity import BlockDigests, checked, seal, set_aside, warn
from leukobench.models.weights import weights_digest
from leukobench.progress import Progress
from leukobench.training.feed import ImageFeed
from leukobench.training.job import Job
from leukobench.training.module import quiet_trainer

FORMAT = 2
HEADER = "features.json"
ARITHMETIC = ("precision", "tf32", "channels_last")
"""Keys of the trainer that features depend on."""


@dataclass(frozen=True)
class Backbone:
    """A frozen network, the images that it reads, and the folder of what it makes of them."""

    job: Job
    network: nn.Module
    feed: ImageFeed
    folder: Path

    @classmethod
    def of(cls, job: Job, dataset: Dataset, network: nn.Module, feed: ImageFeed) -> Backbone:
        normalise: Any = feed.normalise
        key = digest(
            str(FORMAT),
            weights_digest(network),
            json.dumps(
                [
                    feed.input_shape,
                    normalise.scale.flatten().tolist(),
                    normalise.shift.flatten().tolist(),
                ]
            ),
            json.dumps([job.config["trainer"].get(k) for k in ARITHMETIC]),
            *dataset.samples["content"],
        )
        return cls(job, network, feed, job.settings.output / "features" / key)

    @property
    def there(self) -> bool:
        """Whether its features are stored, and are what was written."""
        return checked(self.folder / HEADER).sound

    def make_room(self) -> None:
        """Move what is stored and damaged out of the way, and say so; the lock is held."""
        damages = checked(self.folder / HEADER).damages
        if damages and any(self.folder.glob("[!.]*")):
            warn(damages, "the features are computed again")
            set_aside(self.folder)
            self.folder.mkdir()

    def lock(self) -> FileLock:
        """Held while the features are computed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(str(self.folder) + ".lock")

    @contextmanager
    def writing(self, n: int) -> Iterator[Callable[[np.ndarray], None]]:
        """Take the features of `n` images batch by batch; the store is there when all have been written.

        Written, not mapped: on a full disk a write fails, a mapped page kills the process.
        """
        shape: list[int] = []
        digests = BlockDigests()
        with atomic(self.folder / "features.npy") as temporary, open(temporary, "wb") as f:

            def keep(data: bytes) -> None:
                digests.update(data)
                f.write(data)

            def write(features: np.ndarray) -> None:
                if not shape:
                    shape.extend((n, features.shape[1]))
                    keep(_array_header(tuple(shape)))
                keep(features.astype("<f4", copy=False).tobytes())

            yield write
        facts = {
            "model": self.job.choices.get("model"),
            "data": self.job.choices.get("data"),
            "shape": shape,
        }
        seal(self.folder / HEADER, facts, self.folder / "features.npy", written=digests)


def _array_header(shape: tuple[int, ...]) -> bytes:
    """What an npy file of float32 begins with."""
    out = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, facts)
    return out.getvalue()


@dataclass(frozen=True)
class Features:
    """Features of all rows of a data set.

    Attributes:
        values: float32, shape (n, d), read-only.
        folder: Where they are stored.
        digest: Of what is stored.
    """

    values: np.ndarray
    folder: Path
    digest: str


def takes_features(job: Job, network: nn.Module, feed: ImageFeed) -> bool:
    """Whether only a head is trained, on what its frozen backbone makes of each image once."""
    frozen = bool(getattr(network, "frozen", False))
    return frozen and not feed.augmented and bool(job.config["planner"].get("features", True))


def shared_features(
    job: Job,
    dataset: Dataset,
    network: nn.Module,
    feed: ImageFeed,
    progress: Progress | None = None,
) -> Features:
    """Features of all rows; computed by the first that asks, also across processes."""
    backbone = Backbone.of(job, dataset, network, feed)
    with backbone.lock():
        if not backbone.there:
            compute([backbone], progress)
        digest = checked(backbone.folder / HEADER).digest
        values = np.load(backbone.folder / "features.npy", mmap_mode="c")
    if digest is None:
        raise FaultyDataError(
            f"features were just written to {backbone.folder} and read back otherwise; that disk "
            "is failing: choose another folder with LEUKOBENCH_OUTPUT (or settings.output=...)"
        )
    return Features(values, backbone.folder, digest)


def compute_together(backbones: Sequence[Backbone], progress: Progress | None = None) -> None:
    """Compute what is missing of several backbones that read the same images, in one pass over these."""
    ordered = sorted(
        {b.folder: b for b in backbones}.values(), key=lambda b: b.folder
    )  # two launches never deadlock
    with ExitStack() as locks:
        for backbone in ordered:
            locks.enter_context(backbone.lock())
        missing = [b for b in ordered if not b.there]
        if missing:
            compute(missing, progress)


class OnItsWay:
    """A tensor that is being copied to the host; from a GPU, beside what it does next."""

    def __init__(self, tensor: Tensor) -> None:
        self.host = tensor.float().to(
            "cpu", non_blocking=True
        )  # page-locked where it comes from a GPU
        self.copied = torch.cuda.Event() if tensor.is_cuda else None
        if self.copied is not None:
            self.copied.record()

    def arrived(self) -> np.ndarray:
        """Its values, once they are all there."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.host.numpy()


def compute(backbones: Sequence[Backbone], progress: Progress | None = None) -> None:
    """Push each image through each backbone once, in inference mode, and write what comes out.

    The locks of the backbones are held.
    """
    for backbone in backbones:
        backbone.make_room()
    node, feed = backbones[0].job.config["trainer"], backbones[0].feed
    torch.set_float32_matmul_precision("high" if node.get("tf32") else "highest")
    trainer = quiet_trainer(
        accelerator=node.get("accelerator", "auto"), precision=node.get("precision", "32-true")
    )
    device, layout = trainer.strategy.root_device, torch.contiguous_format
    if node.get("channels_last"):
        layout = torch.channels_last
    feed.to(device)
    n = len(feed.images)
    batches = list(
        torch.arange(n).split(
            int(node.get("inference_batch", 256)) if device.type == "cuda" else 32
        )
    )
    feed.expect(batches)
    training = [b.network.training for b in backbones]
    with ExitStack() as files, torch.inference_mode(), trainer.precision_plugin.forward_context():
        write = [files.enter_context(b.writing(n)) for b in backbones]
        networks: list[Any] = [
            b.network.to(device=device, memory_format=layout).eval()  # type: ignore[call-overload]
            for b in backbones
        ]
        left: list[OnItsWay] = []
        for number, rows in enumerate(batches):
            images = feed.gather(rows.to(feed.rows_on))
            made = [
                network.frozen_features(b.feed.normalise(images))
                for b, network in zip(backbones, networks)
            ]
            before, left = left, [OnItsWay(features) for features in made]
            # The batch before is written while a GPU is at this one.
            for batch in (before, left) if number == len(batches) - 1 else (before,):
                for keep, features in zip(write, batch):
                    keep(features.arrived())
            if progress is not None:
                progress("features", int(rows[-1]) + 1, n)
    for backbone, was_training in zip(
        backbones, training, strict=True
    ):  # their heads are trained next
        backbone.network.to(device="cpu", memory_format=torch.contiguous_format).train(was_training)  # type: ignore[call-overload]

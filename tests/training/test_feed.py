"""Feeds: batches that are read ahead, and images that stand on a device, are the images of the store."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from leukobench.models.augment import Augment, Normalise
from leukobench.training.feed import ImageFeed, ReadAhead


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    """A memory map of 50 images of 8 x 8."""
    values = np.random.default_rng(0).integers(0, 256, size=(50, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", values)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def test_batches_read_ahead_are_those_of_the_store_in_the_order_of_their_use(
    images: np.ndarray,
) -> None:
    batches = list(torch.randperm(50, generator=torch.Generator().manual_seed(1)).split(7))
    ahead = ReadAhead(images, batches, pinned=False)
    for rows in batches:
        read = ahead.take(rows)
        assert read is not None
        np.testing.assert_array_equal(read.numpy(), images[rows.numpy()])
    assert ahead.take(batches[0]) is None, "nothing is left"
    ahead.close()


def test_a_batch_out_of_order_is_not_handed_out_and_the_order_is_kept(images: np.ndarray) -> None:
    batches = list(torch.arange(50).split(10))
    ahead = ReadAhead(images, batches, pinned=False)
    assert ahead.take(torch.tensor([3, 1])) is None
    first = ahead.take(batches[0])
    assert first is not None
    np.testing.assert_array_equal(first.numpy(), images[:10])
    ahead.close()


def test_closing_in_the_middle_leaves_no_thread_waiting(images: np.ndarray) -> None:
    ahead = ReadAhead(images, list(torch.arange(50).split(5)), pinned=False)
    ahead.take(torch.arange(5))
    ahead.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("share", [1.0, 0.0], ids=["resident", "read ahead"])
def test_a_gpu_gets_the_batches_that_the_cpu_gets(images: np.ndarray, share: float) -> None:
    """Augmented within rounding: both devices sample the same places."""
    batches = list(torch.randperm(50).split(8))
    out = []
    for device in ("cpu", "cuda"):
        feed = ImageFeed(images, Normalise("unit"), Augment(rotation=20, flip=True), 0, share)
        feed.to(torch.device(device))
        feed.start_epoch(0, batches)
        out.append(torch.cat([feed.training_batch(rows).cpu() for rows in batches]))
    torch.testing.assert_close(out[1], out[0], rtol=0, atol=2e-3)

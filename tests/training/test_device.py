"""What training asks of a GPU, checked without one: fake tensors have a device and a shape, but no values."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.plugins.precision import Precision
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from leukobench.models.augment import Augment, Normalise
from leukobench.models.image import lenet5
from leukobench.training import feed as feeds
from leukobench.training import module
from leukobench.training.feed import Feed, ImageFeed
from leukobench.training.module import Classifier, Recipe
from leukobench.training.schedules import Constant

GPU = torch.device("cuda")


class Copies(TorchDispatchMode):
    """Notes every operation that has tensors on two devices, which is a copy, and what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
        # a CPU scalar is part of a GPU operation's arguments
        if len({x.device.type for x in tensors if x.ndim or x.device.type != "cpu"}) > 1:
            self.found.append(f"{func} {[tuple(x.shape) for x in tensors]}")
        return out


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Trainer on a GPU that is not there; gradients, which need a real device, are left out."""

    def resident(images: np.ndarray, device: torch.device, share: float) -> Tensor | None:
        return torch.empty(images.shape, dtype=torch.uint8, device=device) if share else None

    monkeypatch.setattr(feeds, "resident", resident)
    monkeypatch.setattr(Tensor, "backward", lambda self, *args, **kwargs: None)
    monkeypatch.setattr(module, "seed_device", lambda seed, device: None)
    strategy = SimpleNamespace(root_device=GPU)
    trainer = SimpleNamespace(
        precision_plugin=Precision(), world_size=1, strategy=strategy, callbacks=[]
    )
    trainer.normalise = Normalise("imagenet")  # looks at its values when it is made
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield trainer


def classifier(feed: Feed, network: nn.Module, trainer: Any, seed: int = 0) -> Classifier:
    parts = {"train": np.arange(40), "validation": np.arange(40, 50)}
    recipe = Recipe(
        lambda weights: torch.optim.SGD(weights, 0.1), Constant(), epochs=2, seed=seed, batch_size=8
    )
    made = Classifier(network, nn.CrossEntropyLoss(), feed, np.zeros(50, np.int64), parts, recipe)
    made._trainer = trainer
    return made


def steps(training: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The copies between host and device in the first five steps of an epoch."""
    optimizer = training.configure_optimizers()
    wrapped = SimpleNamespace(
        optimizer=optimizer, step=optimizer.step, param_groups=optimizer.param_groups
    )
    monkeypatch.setattr(training, "optimizers", lambda: wrapped)
    block = next(iter(training.train_dataloader()))
    assert len(block) == 5
    with Copies() as copies:
        training.training_step(block, 0)
    return copies.found


def test_images_on_a_gpu_are_trained_on_without_a_copy_within_a_step(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.zeros((50, 32, 32, 3), np.uint8)
    with GPU:
        network = lenet5((3, 32, 32), 2)
    for augment in (None, Augment(rotation=20, zoom=(0.8, 1.2), flip=True)):
        training = classifier(ImageFeed(images, gpu.normalise, augment, 0), network, gpu)
        training.setup("fit")
        assert not steps(training, monkeypatch)
        with Copies() as copies:
            assert training.logits(training.parts["validation"]).device.type == "cuda"
        assert len(copies.found) == 1, "the row numbers, once"


def test_images_that_do_not_fit_are_copied_once_a_step(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        feeds, "ReadAhead", lambda images, batches, pinned: SimpleNamespace(take=lambda rows: None)
    )
    images = np.zeros((50, 32, 32, 3), np.uint8)
    with GPU:
        network = lenet5((3, 32, 32), 2)
    feed = ImageFeed(images, gpu.normalise, None, 0, device_share=0.0)
    monkeypatch.setattr(
        feed, "gather", lambda rows: torch.empty(len(rows), 32, 32, 3, dtype=torch.uint8).to(GPU)
    )
    training = classifier(feed, network, gpu)
    training.setup("fit")
    assert len(steps(training, monkeypatch)) == 5

"""The feature store: what a frozen backbone makes of each image, computed once and memory-mapped.

Keyed by the images' content, the backbone with its weights, the normalisation and the precision; heads of any sweep
then train from it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from leukobench.data.base import Dataset, digest
from leukobench.models.weights import weights_digest
from leukobench.tracking.folder import atomic, read_json, write_json
from leukobench.training.feed import Feed, ImageFeed
from leukobench.training.job import Job
from leukobench.training.module import quiet_trainer

FORMAT = 1


def feature_key(job: Job, dataset: Dataset, network: nn.Module, feed: Feed) -> str:
    """Digest of everything the features depend on."""
    assert isinstance(feed, ImageFeed)
    normalise: Any = feed.normalise
    return digest(
        str(FORMAT),
        weights_digest(network),
        json.dumps([feed.input_shape, normalise.scale.flatten().tolist(), normalise.shift.flatten().tolist()]),
        str(job.config["trainer"].get("precision")),
        *dataset.samples["content"],
    )


def shared_features(job: Job, dataset: Dataset, network: nn.Module, feed: Feed) -> np.ndarray:
    """Features of all rows, float32, shape (n, d), read-only; computed by the first that asks, also across processes."""
    key = feature_key(job, dataset, network, feed)
    folder = job.settings.output / "features" / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        facts = read_json(folder / "features.json")
        if facts is None:
            features = _compute(job, network, feed, len(dataset))
            with atomic(folder / "features.npy") as temporary, open(temporary, "wb") as f:
                np.save(f, features)
            write_json(
                folder / "features.json",
                {
                    "model": job.choices.get("model"),
                    "data": job.choices.get("data"),
                    "shape": list(features.shape),
                },
            )
        return np.load(folder / "features.npy", mmap_mode="c")


def _compute(job: Job, network: nn.Module, feed: Feed, n: int) -> np.ndarray:
    node = job.config["trainer"]
    trainer = quiet_trainer(accelerator=node.get("accelerator", "auto"), precision=node.get("precision", "32-true"))
    device = trainer.strategy.root_device
    feed.to(device)
    was_training = network.training
    network = network.to(device).eval()
    frozen_features: Any = network.frozen_features
    batch = int(node.get("inference_batch", 256)) if device.type == "cuda" else 32
    out: list[Tensor] = []
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for rows in torch.arange(n).split(batch):
            out.append(frozen_features(feed.plain_batch(rows)).float().cpu())
    network.to("cpu").train(was_training)  # the head is trained next
    return torch.cat(out).numpy()

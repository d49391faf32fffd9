"""From an image data set to a feed: the decoded store, the normalisation that fits the weights, the augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from leukobench.data.families.image import ImageDataset
from leukobench.data.image_store import ImageStore, build_store
from leukobench.data.preprocess import ImagePreprocess
from leukobench.errors import ConfigError
from leukobench.models.augment import NORMALISATIONS, Augment, Normalise
from leukobench.progress import Progress
from leukobench.training.feed import ImageFeed
from leukobench.training.job import Job

_stores: dict[tuple[Path, str, int], ImageStore] = {}


def image_store(
    job: Job, dataset: ImageDataset, size: int, progress: Progress | None = None
) -> ImageStore:
    """The decoded images of a data set, built at the first use."""
    folder = job.settings.output / "images"
    key = (folder, dataset.fingerprint, size)
    if key not in _stores:
        _stores[key] = build_store(dataset, size, folder, progress)
    return _stores[key]


def image_feed(
    job: Job,
    dataset: ImageDataset,
    preprocess: ImagePreprocess,
    network: nn.Module,
    progress: Progress | None = None,
) -> tuple[ImageFeed, ImagePreprocess]:
    """The feed, and the preprocessing with its normalisation resolved.

    Raises:
        ConfigError: The normalisation asked for is not the one that the pretrained weights were trained with.
    """
    resolved = ImagePreprocess(
        preprocess.size,
        resolve_normalisation(preprocess.normalise, network),  # type: ignore[arg-type]
    )
    store = image_store(job, dataset, preprocess.size, progress)
    augment: Any = job.built("augment")
    if not isinstance(augment, Augment):
        raise ConfigError(f"augment={job.choices.get('augment')} does not name an augmentation")
    feed = ImageFeed(
        store.array,
        Normalise(
            resolved.normalise, channels_last=bool(job.config["trainer"].get("channels_last"))
        ),
        None if augment.is_identity else augment,
        int(job.config["seed"]),
    )
    return feed, resolved


def resolve_normalisation(asked: str, network: nn.Module) -> str:
    """Name of the normalisation; pretrained weights decide, and contradiction is an error."""
    required = getattr(network, "required_normalisation", None)
    if required is None:
        return "unit" if asked == "auto" else asked
    names = [
        n
        for n, (mean, std) in NORMALISATIONS.items()
        if (tuple(required[0]), tuple(required[1])) == (mean, std)
    ]
    if not names:
        raise ConfigError(
            f"the model's weights expect mean and deviation {required}, which no normalisation has"
        )
    if asked not in ("auto", names[0]):
        raise ConfigError(
            f"preprocess.normalise={asked}, but the model's pretrained weights were trained with {names[0]} "
            f"(mean {required[0]}, deviation {required[1]}); use preprocess.normalise=auto"
        )
    return names[0]

"""Images in training and in use: decoded once into a store, normalised in batches; files of new
images.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from torch import nn

from leukobench.data.families.image import ImageDataset
from leukobench.data.preprocess import ImagePreprocess
from leukobench.errors import FaultyDataError
from leukobench.models.inputs import ImageInput
from leukobench.training.families.base import (
    Family,
    ModelInput,
    NetworkInput,
    NetworkOf,
    Progress,
    ReadingOptions,
    prediction_rows,
)
from leukobench.training.features import Backbone, shared_features, takes_features
from leukobench.training.feed import ArrayFeed, Feed, ImageFeed
from leukobench.training.image_inputs import (
    ImageInputFile,
    entry_reader,
    image_files,
    read_images,
)
from leukobench.training.images import image_feed, image_store
from leukobench.training.job import Job, Prepared, build_preprocess, rows_of

if TYPE_CHECKING:
    from mlflow.types import Schema

    from leukobench.training.saved import SavedModel


class Images(Family):
    name: ClassVar[str] = "image"
    packages: ClassVar[tuple[str, ...]] = ("timm", "torchvision", "pillow")
    raw_kind: ClassVar[str] = "uint8 pixels"

    def network_input(
        self, job: Job, prepared: Prepared, network_of: NetworkOf, progress: Progress | None
    ) -> NetworkInput:
        network, images, fitted = _feed(job, prepared, network_of, progress)
        assert isinstance(prepared.dataset, ImageDataset)
        store = image_store(job, prepared.dataset, fitted.size)
        stores = {f"images/{store.key}": store.digest}
        feed: Feed = images
        trained = network
        if takes_features(job, network, images):
            features = shared_features(job, prepared.dataset, network, images, progress)
            stores[f"features/{features.folder.name}"] = features.digest
            feed = ArrayFeed(features.values)
            assert isinstance(network.head, nn.Module)
            trained = network.head
        return NetworkInput(
            feed=feed,
            network=network,
            trained=trained,
            preprocess=fitted,
            y=prepared.dataset.y,
            rows=rows_of(prepared),
            stores=stores,
        )

    def complete(
        self, reads: ModelInput, job: Job, prepared: Prepared, fitted: ImagePreprocess
    ) -> ModelInput:
        size = fitted.size
        return replace(reads, shape=(3, size, size), size=size, normalise=fitted.normalise)

    def backbone(
        self, job: Job, prepared: Prepared, network_of: NetworkOf, progress: Progress | None
    ) -> Backbone | None:
        network, feed, _ = _feed(job, prepared, network_of, progress)
        if not takes_features(job, network, feed):
            return None
        return Backbone.of(job, prepared.dataset, network, feed)

    def raw_shape(self, reads: ModelInput) -> tuple[int, ...]:
        size = int(reads.size or 0)
        return (size, size, 3)

    def module(self, reads: ModelInput) -> ImageInput:
        return ImageInput(str(reads.normalise))

    def check_raw(self, name: str, raw: np.ndarray) -> None:
        if raw.dtype != np.uint8:
            raise FaultyDataError(
                f"{name} reads images of 8 bits a channel (uint8), not {raw.dtype}"
            )

    def words(self, reads: ModelInput) -> str:
        return f"images of {reads.size} x {reads.size} pixels"

    def predict_files(
        self, model: SavedModel, paths: Sequence[Path], options: ReadingOptions
    ) -> tuple[pd.DataFrame, list[str]]:
        files, notes = image_files(paths)
        return _predicted(model, files, options.progress), notes

    def predict_table(self, model: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
        """The frame has a column `image`: paths, or files in base64."""
        if "image" not in table.columns:
            raise FaultyDataError(
                f"this model reads a column 'image'; found {list(map(str, table.columns))[:8]}"
            )
        files = [
            ImageInputFile("", str(i), entry_reader(str(e))) for i, e in enumerate(table["image"])
        ]
        return _predicted(model, files, None)

    def example(self, model: SavedModel) -> pd.DataFrame:
        """A grey image."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, "PNG")
        return pd.DataFrame({"image": [base64.b64encode(buffer.getvalue()).decode()]})

    def schema(self, model: SavedModel, example: pd.DataFrame) -> Schema:
        from mlflow.types import ColSpec, DataType, Schema

        return Schema([ColSpec(DataType.string, "image")])

    def random_raw(self, reads: ModelInput, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(0, 256, (n, *self.raw_shape(reads)), dtype=np.uint8)


FAMILY = Images()


def _feed(
    job: Job, prepared: Prepared, network_of: NetworkOf, progress: Progress | None
) -> tuple[nn.Module, ImageFeed, ImagePreprocess]:
    """Network, feed and preprocessing; the network first, whose weights decide on the
    normalisation.
    """
    dataset = prepared.dataset
    preprocess = build_preprocess(job, dataset.family)
    assert isinstance(dataset, ImageDataset)
    assert isinstance(preprocess, ImagePreprocess)
    network = network_of((3, preprocess.size, preprocess.size))
    feed, fitted = image_feed(job, dataset, preprocess, network, progress)
    return network, feed, fitted


def _predicted(
    model: SavedModel, files: Sequence[ImageInputFile], progress: Progress | None
) -> pd.DataFrame:
    rows: list[tuple[str, str, str]] = []
    parts = []
    for chunk, decoded in read_images(files, int(model.input.size or 0)):
        good = [d for d in decoded if not isinstance(d, str)]
        if good:
            parts.append(model.predict(np.stack(good)))
        for file, image in zip(chunk, decoded):
            rows.append((file.source, file.sample, image if isinstance(image, str) else ""))
        if progress is not None:
            progress("images", len(rows), len(files))
    p = np.concatenate(parts) if parts else np.empty((0, len(model.classes)))
    return prediction_rows(model.classes, rows, p)

"""What a family does in training and in use, and what passes between it and the rest:
`NetworkInput`, `ModelInput`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from leukobench.data.preprocess import FittedExpression, ImagePreprocess
from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.files import atomic
from leukobench.progress import Progress
from leukobench.schema.predictions import probability_columns
from leukobench.training.feed import Feed
from leukobench.training.job import Job, Prepared

if TYPE_CHECKING:
    from mlflow.types import Schema

    from leukobench.training.features import Backbone
    from leukobench.training.saved import SavedModel

FORMAT = 1
METADATA = "leukobench"

NetworkOf = Callable[[tuple[int, ...]], nn.Module]
"""Builds the job's network for inputs of a shape."""


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """Data ready for a network, and the network that reads them.

    Attributes:
        feed: Where the batches come from.
        network: The whole network, frozen parts included.
        trained: What is trained of it: all, or its head on features computed once.
        preprocess: The fitted preprocessing.
        y: Class index of each row of the feed, shape (n,), int64.
        rows: Row numbers by part.
        artifacts: What preprocessing left to be kept, by file name.
        stores: Digest of each store that it reads, by its folder in the output folder.
        fitted_on: By step that was fitted to data: how many rows of each part it saw.
    """

    feed: Feed
    network: nn.Module
    trained: nn.Module
    preprocess: FittedExpression | ImagePreprocess
    y: np.ndarray
    rows: Mapping[str, np.ndarray]
    artifacts: Mapping[str, Any] = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    fitted_on: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInput:
    """What a model reads, and how it becomes network input.

    Attributes:
        family: Name of the family of its data.
        classes: Class names, in the order of the probabilities.
        positive: The class that sensitivity refers to, or None.
        shape: Of one network input: `(features,)` or `(3, H, W)`.
        genes: Names of the genes that are read, in the order of the inputs; empty for images.
        gene_names: The same genes in words, where the data set has them.
        size: Edge of an image in pixels.
        normalise: Normalisation of an image's pixels.
        data: Facts of the training data: name, samples, subjects, subset, simulated.
        frozen: Digest of the network's frozen tensors, None where it has none.
        arrays: For expression `offset`, `factor`, `log_limits`, perhaps `encoder.weight` and
            `encoder.bias` (see `leukobench.models.inputs.ExpressionInput`); `centre`, the training
            median of each gene; and `spans`, shape (2, 2): smallest and largest median, then
            smallest and largest spread, of a training sample.
    """

    family: str
    classes: tuple[str, ...]
    positive: str | None
    shape: tuple[int, ...] = ()
    genes: tuple[str, ...] = ()
    gene_names: tuple[str, ...] | None = None
    size: int | None = None
    normalise: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    frozen: str | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def expect(self, family: str, name: str) -> None:
        """Raise ConfigError where the model, called `name`, reads data of another family."""
        if self.family != family:
            raise ConfigError(f"{name} reads {self.family} data, not {family} data")

    def save(self, path: Path) -> None:
        """Write to one file without pickle: arrays, and everything else as JSON in its header."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "arrays"}
        header = {METADATA: json.dumps({"format": FORMAT, **facts})}
        with atomic(path) as temporary:
            save_file(
                {k: np.ascontiguousarray(v) for k, v in self.arrays.items()}, str(temporary), header
            )

    @classmethod
    def load(cls, path: Path) -> ModelInput:
        try:
            with safe_open(str(path), framework="numpy") as file:
                facts = json.loads((file.metadata() or {})[METADATA])
                arrays = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as e:
            raise LeukoBenchError(
                f"{path} is damaged ({e}); run the training again with --force"
            ) from e
        if facts.pop("format") != FORMAT:
            raise LeukoBenchError(
                f"{path} was written by another version of LeukoBench; run the training again"
            )
        tuples = {k: tuple(facts[k]) for k in ("classes", "shape", "genes")}
        names = facts["gene_names"]
        return cls(
            **{
                **facts,
                **tuples,
                "gene_names": None if names is None else tuple(names),
                "arrays": arrays,
            }
        )


@dataclass(frozen=True)
class ReadingOptions:
    """How new samples are read.

    Attributes:
        id_column: Column of sample names in a table; None takes the first text column.
        any_scale: Predict values whatever their range.
    """

    id_column: str | None = None
    any_scale: bool = False
    progress: Progress | None = None


def prediction_rows(
    classes: Sequence[str], rows: Sequence[tuple[str, str, str]], p: np.ndarray
) -> pd.DataFrame:
    """The frame of (input, sample, error) rows with `p_<class>`; `p` has a row for each one without
    an error.
    """
    frame = pd.DataFrame(list(rows), columns=["input", "sample", "error"], dtype=object)
    good = (frame["error"] == "").to_numpy()
    for i, name in enumerate(probability_columns(classes)):
        column = np.full(len(frame), np.nan)
        column[good] = p[:, i]
        frame[name] = column
    return frame[["input", "sample", *probability_columns(classes), "error"]]


class Family(ABC):
    """One family of data, from its data sets to its models in use.

    Class attributes:
        name: As data sets, models and preprocessing name it.
        packages: Python packages that a registered model needs to read its input.
        raw_kind: What one raw input consists of, in words.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    raw_kind: ClassVar[str]

    @abstractmethod
    def network_input(
        self, job: Job, prepared: Prepared, network_of: NetworkOf, progress: Progress | None
    ) -> NetworkInput:
        """Fit the preprocessing and build feed and network."""

    @abstractmethod
    def complete(self, reads: ModelInput, job: Job, prepared: Prepared, fitted: Any) -> ModelInput:
        """`reads` with what a trained model must know of its raw input; `fitted` is
        `NetworkInput.preprocess`.
        """

    def backbone(
        self, job: Job, prepared: Prepared, network_of: NetworkOf, progress: Progress | None
    ) -> Backbone | None:
        """The job's frozen backbone, whose features are computed once; None where the family has
        none.
        """
        return None

    @abstractmethod
    def raw_shape(self, reads: ModelInput) -> tuple[int, ...]:
        """Shape of one raw input."""

    @abstractmethod
    def module(self, reads: ModelInput) -> nn.Module:
        """Raw input to network input."""

    @abstractmethod
    def check_raw(self, name: str, raw: np.ndarray) -> None:
        """Raise FaultyDataError where raw input of the right shape is of a wrong type."""

    @abstractmethod
    def words(self, reads: ModelInput) -> str:
        """What the model reads, in words."""

    @abstractmethod
    def predict_files(
        self, model: SavedModel, paths: Sequence[Path], options: ReadingOptions
    ) -> tuple[pd.DataFrame, list[str]]:
        """Rows as of `prediction_rows` for files, folders and zips, and notes for the reader."""

    @abstractmethod
    def predict_table(self, model: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
        """Rows as of `prediction_rows` for a frame as a registered model is given."""

    @abstractmethod
    def example(self, model: SavedModel) -> pd.DataFrame:
        """One input as the registered model takes it; no sample."""

    @abstractmethod
    def schema(self, model: SavedModel, example: pd.DataFrame) -> Schema | None:
        """Columns and types of the example for MLflow; None where there are too many to list."""

    @abstractmethod
    def random_raw(self, reads: ModelInput, rng: np.random.Generator, n: int) -> np.ndarray:
        """`n` raw inputs of no sample, to compare two forms of one model on."""

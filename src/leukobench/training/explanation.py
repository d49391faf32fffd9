"""What explaining a saved model needs of the run that it comes from: the data it was trained on, and their parts."""

from __future__ import annotations

from leukobench.data.base import Dataset
from leukobench.data.splits import Split
from leukobench.errors import ConfigError
from leukobench.training.job import load_dataset
from leukobench.training.saved import SavedModel


def own_data(model: SavedModel) -> Dataset:
    """The data set the run was trained on, from where the run found it."""
    return load_dataset(model.job)


def part_of(model: SavedModel, part: str) -> list[str]:
    """Sample ids of a part of the run's split."""
    path = model.files.file("split.json")
    if not path.is_file():
        raise ConfigError(f"{model.name} carries no split; name images or tables to explain")
    return list(Split.read(path).parts.get(part, ()))

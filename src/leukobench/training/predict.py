"""Predicting new samples with a saved model: images, folders and zips of images, tables of expression.

One input that cannot be read or does not fit costs that input alone: it is listed with the reason,
and the others are predicted. Where nothing can be predicted, the reason is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.errors import ConfigError, FaultyDataError, MissingDataError
from leukobench.progress import Progress
from leukobench.schema.predictions import probability_columns
from leukobench.training.families.base import ReadingOptions
from leukobench.training.saved import SavedModel


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of new samples.

    Attributes:
        frame: One row a sample, in the order of the inputs: `input` (file), `sample`, `predicted`
            (class), `p_<class>`, and `error`: why a sample has no prediction, empty for all others.
        notes: What a reader has to know: columns that were not used, files that were passed over.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> pd.DataFrame:
        """Rows without a prediction."""
        return self.frame[self.frame["error"] != ""]


def predict(
    model: SavedModel,
    inputs: Sequence[str | Path],
    *,
    id_column: str | None = None,
    temperature: float = 1.0,
    threshold: float | None = None,
    any_scale: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """Predict files, folders and zips.

    Args:
        inputs: Images or folders and zips of them for an image model; tables (csv, tsv, parquet;
            one row a sample), or folders and zips of them, for an expression model.
        id_column: Column of sample names in a table; by default the first text column.
        temperature: Of the probabilities (see `leukobench.evaluation.calibration`).
        threshold: Probability from which the positive class is called; the most probable class by
            default.
        any_scale: Predict expression values whatever their range.

    Raises:
        MissingDataError: An input does not exist, or holds nothing that can be read.
        FaultyDataError: No sample can be predicted.
        ConfigError: Inputs of the other kind.
    """
    paths = [Path(i).expanduser() for i in inputs]
    absent = [str(p) for p in paths if not p.exists()]
    if absent:
        raise MissingDataError(f"no such file or folder: {', '.join(absent[:5])}")
    if not paths:
        raise ConfigError("nothing to predict: name images, folders, zips or tables")
    options = ReadingOptions(id_column, any_scale, progress)
    frame, notes = model.family.predict_files(model, paths, options)
    faults = frame[frame["error"] != ""]
    if len(faults) == len(frame):
        some = "; ".join(f"{s}: {e}" for s, e in zip(faults["sample"][:3], faults["error"][:3]))
        raise FaultyDataError(f"none of {len(frame)} samples can be predicted: {some}")
    _decide(model, frame, temperature, threshold)
    return Predictions(frame, tuple(notes))


def _decide(
    model: SavedModel, frame: pd.DataFrame, temperature: float, threshold: float | None
) -> None:
    """Scale the probabilities and add the column `predicted`."""
    from leukobench.evaluation.calibration import scaled
    from leukobench.evaluation.metrics import Predicted

    columns = probability_columns(model.classes)
    good = (frame["error"] == "").to_numpy()
    p = frame.loc[good, columns].to_numpy(np.float64)
    if temperature != 1.0:
        p = scaled(p, temperature)
        frame.loc[good, columns] = p
    if threshold is not None and model.input.positive is None:
        raise ConfigError(f"{model.name} has no positive class, so that a threshold has no meaning")
    called = Predicted(
        model.classes, np.zeros(len(p), np.int64), p, np.zeros(len(p), np.uint64), None
    )
    predicted = np.full(len(frame), "", dtype=object)
    predicted[good] = [model.classes[i] for i in called.predicted(model.input.positive, threshold)]
    frame.insert(2, "predicted", predicted)


def predict_frame(model: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
    """Predict a frame: a column a gene, or a column `image` of paths or of files in base64.

    Returns:
        `predicted`, `p_<class>` and `error`, in the order of the rows.

    Raises:
        FaultyDataError: Columns are missing.
    """
    frame = model.family.predict_table(model, table)
    _decide(model, frame, 1.0, None)
    return frame.drop(columns=["input", "sample"]).set_axis(table.index, axis=0)

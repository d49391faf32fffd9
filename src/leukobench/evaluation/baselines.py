"""Predictions that need no model: what any result has to beat.

Each function takes a predictions frame of a run and returns one of the same rows and columns with other probabilities,
so that a baseline is measured on the same test rows, by the same code, as the model beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.metrics import classes_of

if TYPE_CHECKING:
    import pandas as pd


def majority(frame: pd.DataFrame) -> pd.DataFrame:
    """Predict every row as the most frequent class of the training part; the first class in class order on a tie.

    Raises:
        LeukoBenchError: The frame has no training rows.
    """
    classes = classes_of(frame)
    train = _training_labels(frame)
    counts = [int((train == c).sum()) for c in classes]
    return _certain(frame, np.full(len(frame), int(np.argmax(counts))))


def series_majority(frame: pd.DataFrame) -> pd.DataFrame:
    """The oracle that reads the experiment series and nothing else: predict each series' most frequent training class.

    A series without training rows (leave-one-series-out) falls back on the most frequent class of all training rows.

    Raises:
        LeukoBenchError: The frame has no column `series`, or no training rows.
    """
    if "series" not in frame.columns or frame["series"].isna().all():
        raise LeukoBenchError("predictions have no column 'series': the series oracle needs to know the series")
    classes = classes_of(frame)
    train = np.asarray(frame["part"]) == "train"
    labels = _training_labels(frame)
    series = np.asarray(frame["series"], dtype=object)
    guess = {}
    for name in set(series.tolist()):
        inside = labels[series[train] == name]
        pool = inside if len(inside) else labels
        guess[name] = int(np.argmax([int((pool == c).sum()) for c in classes]))
    return _certain(frame, np.array([guess[name] for name in series]))


def _training_labels(frame: pd.DataFrame) -> np.ndarray:
    labels = np.asarray(frame["label"], dtype=object)[np.asarray(frame["part"]) == "train"]
    if not len(labels):
        raise LeukoBenchError("predictions hold no training rows: no baseline can be learned from them")
    return labels


def _certain(frame: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    classes = classes_of(frame)
    certain = np.eye(len(classes), dtype=np.float32)[predicted]
    return frame.assign(**{f"p_{c}": certain[:, i] for i, c in enumerate(classes)})

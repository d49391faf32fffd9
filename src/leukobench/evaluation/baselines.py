"""Predictions that need no model: what any result has to beat.

Each function takes a predictions frame of a run and returns one of the same rows and columns with other probabilities,
so that a baseline is measured on the same test rows, by the same code, as the model beside it. A frame of several runs
comes with the run of each row: each learns from its own training rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.metrics import classes_of
from leukobench.schema.predictions import probability_columns

if TYPE_CHECKING:
    import pandas as pd


def majority(frame: pd.DataFrame, run: np.ndarray | None = None) -> pd.DataFrame:
    """Predict every row as the most frequent class of the training part; the first class in class order on a tie.

    Args:
        run: Which run each row is of, shape (rows,), any integers; None where all are of one.

    Raises:
        LeukoBenchError: A run has no training rows.
    """
    return _certain(frame, _majority(frame, run))


def series_majority(frame: pd.DataFrame, run: np.ndarray | None = None) -> pd.DataFrame:
    """The oracle that reads the experiment series and nothing else: predict each series' most frequent training class.

    A series without training rows (leave-one-series-out) falls back on the most frequent class of all training rows.

    Args:
        run: As for `majority`.

    Raises:
        LeukoBenchError: The frame has no column `series`, or a run has no training rows.
    """
    if "series" not in frame.columns or frame["series"].isna().all():
        raise LeukoBenchError(
            "predictions have no column 'series': the series oracle needs to know the series"
        )
    series, names = frame["series"].factorize(use_na_sentinel=False)
    group = series if run is None else run * len(names) + series
    counts = _training_counts(frame, group)[group]
    return _certain(
        frame, np.where(counts.any(axis=1), counts.argmax(axis=1), _majority(frame, run))
    )


def _majority(frame: pd.DataFrame, run: np.ndarray | None) -> np.ndarray:
    """Most frequent training class of each row's run, as class indices, shape (rows,)."""
    group = np.zeros(len(frame), dtype=np.int64) if run is None else run
    counts = _training_counts(frame, group)[group]
    if not counts.any(axis=1).all() or not len(frame):
        raise LeukoBenchError(
            "predictions hold no training rows: no baseline can be learned from them"
        )
    return counts.argmax(axis=1)


def _training_counts(frame: pd.DataFrame, group: np.ndarray) -> np.ndarray:
    """Training rows of each group and class, shape (highest group + 1, classes)."""
    classes = classes_of(frame)
    counts = np.zeros((int(group.max(initial=-1)) + 1, len(classes)), dtype=np.int64)
    train = np.asarray(frame["part"] == "train")
    for k, name in enumerate(classes):
        counts[:, k] = np.bincount(
            group[train & np.asarray(frame["label"] == name)], minlength=len(counts)
        )
    return counts


def _certain(frame: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    classes = classes_of(frame)
    certain = np.eye(len(classes), dtype=np.float32)[predicted]
    columns = probability_columns(classes)
    return frame.assign(**{name: certain[:, i] for i, name in enumerate(columns)})

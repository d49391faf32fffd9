"""What formulas may ask of a data set: its samples, their copies, genes that separate classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from leukobench.data.base import Dataset
    from leukobench.data.families.expression import ExpressionDataset


def usable(datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Those that can show anything about what was printed: real and complete ones."""
    return {k: d for k, d in datasets.items() if not d.simulated and not d.is_subset}


def _samples(dataset: Dataset, label: str | None = None) -> int:
    """Samples, of one class where it is named."""
    labels = dataset.samples["label"]
    return len(labels) if label is None else int((labels == label).sum())


def _copies(dataset: Dataset, label: str | None = None) -> np.ndarray:
    """How often each distinct sample occurs, the most frequent first."""
    samples = dataset.samples
    of_class = samples if label is None else samples[samples["label"] == label]
    return np.asarray(of_class["content"].value_counts().to_numpy())


def _separating(dataset: ExpressionDataset, part: str | None = None) -> np.ndarray:
    """1-based positions of the genes whose values of the two classes do not overlap."""
    rows = np.ones(len(dataset), dtype=bool)
    if part is not None:
        rows = (dataset.samples["official"] == part).to_numpy()
    positive = _positive(dataset)
    a, b = dataset.values[rows & positive], dataset.values[rows & ~positive]
    apart = (a.min(axis=0) > b.max(axis=0)) | (a.max(axis=0) < b.min(axis=0))
    return np.flatnonzero(apart) + 1


def _positive(dataset: Dataset) -> np.ndarray:
    name = dataset.positive or dataset.classes[0]
    return np.asarray((dataset.samples["label"] == name).to_numpy())


def _gene_auc(dataset: ExpressionDataset, gene: int) -> float:
    """AUC of a gene (1-based position), in whichever direction is better."""
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(_positive(dataset), dataset.values[:, gene - 1].astype(float)))
    return max(auc, 1 - auc)


def _scaled_within(dataset: ExpressionDataset, *sizes: int) -> bool:
    """Whether every gene that varies reaches both 0 and 1 within each of consecutive parts."""
    for part in np.split(dataset.values, np.cumsum(sizes)[:-1]):
        low, high = part.min(axis=0), part.max(axis=0)
        if not ((low == high) | ((low == 0) & (high == 1))).all():
            return False
    return sum(sizes) == len(dataset)


def _copy_distance(
    copy: ExpressionDataset, original: ExpressionDataset, /, *sizes: int
) -> float:  # fmt: skip
    """Largest difference between a copy and the rows of the original that its subjects name, these
    scaled to 0-1 within consecutive parts; infinite where the subjects are others."""
    row_of = {subject: i for i, subject in enumerate(original.samples["subject"])}
    subjects = copy.samples["subject"].tolist()
    if not set(subjects) <= set(row_of) or sum(sizes) != len(copy):
        return float("inf")
    rows = original.values[[row_of[s] for s in subjects]].astype(float)
    largest, ends = 0.0, np.cumsum(sizes)[:-1]
    for true, found in zip(np.split(rows, ends), np.split(copy.values, ends)):
        low, high = true.min(axis=0), true.max(axis=0)
        scaled = (true - low) / np.where(high > low, high - low, 1)
        largest = max(largest, float(np.abs(scaled - found).max()))
    return largest


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "samples": _samples,
    "copies": _copies,
    "separating": _separating,
    "gene_auc": _gene_auc,
    "scaled_within": _scaled_within,
    "copy_distance": _copy_distance,
}

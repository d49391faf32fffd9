"""Rules that read a data set where it is at hand: duplicates, perfectly separating genes, scaling by parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from leukobench.papers.audit.findings import AuditFinding, percent, rule, select
from leukobench.papers.spec import Paper

if TYPE_CHECKING:
    from leukobench.data.base import Dataset
    from leukobench.data.families.expression import ExpressionDataset


def separating_genes(values: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """1-based positions of the genes whose values of the two classes do not overlap.

    Args:
        values: Shape (samples, genes).
        positive: Boolean, shape (samples,).
    """
    a, b = values[positive], values[~positive]
    apart = (a.min(axis=0) > b.max(axis=0)) | (a.max(axis=0) < b.min(axis=0))
    return np.flatnonzero(apart) + 1


def _expression(datasets: Mapping[str, Dataset], name: str) -> ExpressionDataset | None:
    dataset = datasets.get(name)
    if dataset is None or dataset.matrix is None:
        return None
    return cast("ExpressionDataset", dataset)


@rule()
def duplicate_rows(
    paper: Paper, *, data: str, test: int, train: int, place: str, datasets: Mapping[str, Dataset]
) -> Iterator[AuditFinding]:
    """Samples that are exact copies of others, and what they do to a random split of `train` and `test` samples.

    A test sample leaks if a copy of it is in the training part; the expected share follows from the numbers of copies
    (drawing without replacement).
    """
    if data not in datasets:
        return
    samples = datasets[data].samples
    n = len(samples)
    sizes = samples["content"].value_counts()
    if len(sizes) == n:
        return
    # A test sample with m - 1 copies: none of them is among the `train` drawn from the other n - 1.
    leaked = sum(m * (1 - math.comb(n - m, train) / math.comb(n - 1, train)) for m in sizes) / n
    distinct = sum(1 - math.comb(n - m, test) / math.comb(n, test) for m in sizes)
    per_class = samples.drop_duplicates("content")["label"].value_counts()
    yield AuditFinding(
        "duplicate_rows",
        paper.key,
        place,
        f"The {n} samples are {len(sizes)} distinct ones: "
        + ", ".join(f"one occurs {m} times" for m in sizes[sizes > 1]),
        "distinct samples: "
        + ", ".join(f"{k} {c}" for c, k in per_class.items())
        + f"; in a random split with {train} training and {test} test samples {percent(leaked, 1)} of the test samples "
        f"are copies of a training sample, and a test holds {distinct:.1f} distinct ones on average",
        "contradiction",
        float(len(sizes)),
        "verified on data",
    )


@rule()
def perfect_genes(
    paper: Paper, *, cells: list[str], data: str, true_data: str, datasets: Mapping[str, Dataset]
) -> Iterator[AuditFinding]:
    """Genes said to separate the classes perfectly, looked up in the copy that was used and in the true data set.

    `cells` are rows named by the gene's 1-based position. A gene that separates the classes in the copy and not in the
    true data owes that to the copy.
    """
    found = select(paper, cells)
    claimed = [int(c.row) for c in found]
    texts, genuine = [], False
    for name in (data, true_data):
        dataset = _expression(datasets, name)
        if dataset is None:
            continue
        positive = (dataset.samples["label"] == (dataset.positive or dataset.classes[0])).to_numpy()
        perfect = separating_genes(dataset.values, positive)
        texts.append(f"{name} ({len(dataset)} samples): {_genes(perfect)}")
        if name == true_data:
            official = dataset.samples["official"].to_numpy()
            for part in dict.fromkeys(p for p in official if p is not None):
                rows = official == part
                apart = separating_genes(dataset.values[rows], positive[rows])
                texts.append(f"{part} part of {name} ({rows.sum()}): {_genes(apart)}")
            genuine = set(claimed) <= set(perfect.tolist())
            texts += [
                f"{g} in {name}: {_single_gene(dataset.values[:, g - 1], positive)}"
                for g in claimed
            ]
    if texts and not genuine:
        yield AuditFinding(
            "perfect_genes",
            paper.key,
            found[0].place,
            f"Genes {' and '.join(map(str, claimed))} do not separate the classes in the true data",
            "perfectly separating genes: " + "; ".join(texts),
            "contradiction",
            None,
            "verified on data",
        )


def _genes(positions: np.ndarray) -> str:
    shown = ", ".join(map(str, positions[:8]))
    return (shown + (f" and {len(positions) - 8} more" if len(positions) > 8 else "")) or "none"


def _single_gene(x: np.ndarray, positive: np.ndarray) -> str:
    """AUC and fewest errors of a cut of one gene, in whichever direction is better."""
    from sklearn.metrics import roc_auc_score, roc_curve

    x = x.astype(np.float64)
    auc = float(roc_auc_score(positive, x))
    sign = 1 if auc >= 0.5 else -1
    false_positive, true_positive, _ = roc_curve(positive, sign * x, drop_intermediate=False)
    errors = false_positive * (~positive).sum() + (1 - true_positive) * positive.sum()
    return f"AUC {max(auc, 1 - auc):.3f}, {round(float(errors.min()))} errors at the best cut"


@rule()
def scaled_by_parts(
    paper: Paper, *, data: str, parts: list[int], place: str, datasets: Mapping[str, Dataset]
) -> Iterator[AuditFinding]:
    """Values between 0 and 1 whose every gene reaches both 0 and 1 within each part were scaled part by part.

    Scaled together, each gene reaches 0 and 1 once over all samples. `parts` are the sizes of consecutive parts in file
    order.
    """
    dataset = _expression(datasets, data)
    if dataset is None or sum(parts) != len(dataset):
        return
    reaching, start = [], 0
    for size in parts:
        part = dataset.values[start : start + size]
        varies = part.max(axis=0) > part.min(axis=0)
        full = (part.min(axis=0) == 0) & (part.max(axis=0) == 1)
        reaching.append((int((full & varies).sum()), int(varies.sum())))
        start += size
    if all(k == n for k, n in reaching):
        yield AuditFinding(
            "scaled_by_parts",
            paper.key,
            place,
            f"The values were scaled to 0-1 in {len(parts)} parts separately, so equal expression has different values",
            "; ".join(
                f"rows of part {i + 1} ({size}): {k} of {n} varying genes reach both 0 and 1"
                for i, (size, (k, n)) in enumerate(zip(parts, reaching))
            ),
            "contradiction",
            None,
            "verified on data",
        )


@rule()
def copied_rows(
    paper: Paper,
    *,
    data: str,
    true_data: str,
    parts: list[int],
    place: str,
    datasets: Mapping[str, Dataset],
) -> Iterator[AuditFinding]:
    """Whether the rows of a copy are rows of the true data, scaled to 0-1 within consecutive parts.

    The copy's subjects say which true row each should be. Those rows of the true data are scaled gene by gene within
    each of `parts` and compared with the copy, values and class names.
    """
    copy, true = _expression(datasets, data), _expression(datasets, true_data)
    if (
        copy is None
        or true is None
        or sum(parts) != len(copy)
        or not (copy.has_subjects and true.has_subjects)
    ):
        return
    row_of = {s: i for i, s in enumerate(true.samples["subject"])}
    subjects = copy.samples["subject"].tolist()
    if not set(subjects) <= set(row_of):
        return
    rows = np.array([row_of[s] for s in subjects])
    difference, start = 0.0, 0
    for size in parts:
        part = true.values[rows[start : start + size]].astype(np.float64)
        low, high = part.min(axis=0), part.max(axis=0)
        scaled = (part - low) / np.where(high > low, high - low, 1)
        difference = max(
            difference, float(np.abs(scaled - copy.values[start : start + size]).max())
        )
        start += size
    if difference > 1e-5:
        return
    renamed = int(
        (copy.samples["label"].to_numpy() != true.samples["label"].to_numpy()[rows]).sum()
    )
    yield AuditFinding(
        "copied_rows",
        paper.key,
        place,
        f"The {len(copy)} rows are {len(set(subjects))} arrays of {true_data}, each block of rows scaled to 0-1 by itself",
        f"largest difference {difference:.1g} over all {copy.values.size} values; {renamed or 'no'} rows carry another class "
        "than their array",
        "contradiction",
        None,
        "verified on data",
    )

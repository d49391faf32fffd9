"""Gene expression: one row of values a sample, one column a gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from leukobench.data.base import Dataset, array_digest, digest, frame_digest, sample_frame
from leukobench.data.families.base import Family
from leukobench.data.preprocess import ExpressionPreprocess, Resample
from leukobench.errors import ConfigError, FaultyDataError

FAMILY = Family(
    name="expression",
    default_preprocess=ExpressionPreprocess,
    files=False,
    limits=(
        "Values must be of the same platform and scale as the training data; others are refused.",
    ),
)


@dataclass(frozen=True, eq=False)
class ExpressionDataset(Dataset):
    """Gene expression: `values` has shape (samples, genes), float32; `genes` names the columns
    (probe ids).
    """

    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    genes: tuple[str, ...] = ()
    gene_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.values.shape != (len(self.samples), len(self.genes)):
            raise FaultyDataError(
                f"{self.name}: values have shape {self.values.shape}, expected "
                f"({len(self.samples)}, {len(self.genes)})"
            )
        bad = ~np.isfinite(self.values)
        if bad.any():
            r, c = np.argwhere(bad)[0]
            raise FaultyDataError(
                f"{self.name}: {int(bad.sum())} values are missing or infinite, the first in "
                f"sample "
                f"{self.samples.index[r]!r}, gene {self.genes[c]!r}"
            )

    def _columns(self, rows: Sequence[int] | np.ndarray) -> dict[str, Any]:
        return {"values": self.values[list(rows)]}

    @property
    def matrix(self) -> np.ndarray:
        return self.values

    def resampled(
        self, preprocess: ExpressionPreprocess, resample: Resample, share: float, seed: int
    ) -> tuple[Self, frozenset[str]]:
        """All rows scaled together, then resampled, as a data set of its own: the leak of
        `before_split`.

        Args:
            preprocess: Fitted on all rows, without its encoder.
            share: Below 1, that share of the rows is drawn at random first and the others are
                forgotten (kandi's numbers fit 80 %: its classes have 79 rows after SMOTE, fewer
                than the largest class had before).
        """
        fitted = replace(preprocess, encoder=None).fit(self.values, self.y, seed=seed)
        rows = np.arange(len(self))
        if share < 1:
            order = np.random.default_rng(seed).permutation(rows)
            rows = np.sort(order[: round(share * len(rows))])
        values, y = resample(fitted.transform(self.values[rows]), self.y[rows], seed)
        extra = len(y) - len(rows)
        names = [f"smote-{i:05d}" for i in range(extra)]
        samples = self.samples.iloc[rows]
        blank = [None] * extra
        new = expression_dataset(
            name=self.name,
            values=values,
            genes=[self.genes[i] for i in fitted.selected()],
            ids=[*samples.index, *names],
            labels=[self.classes[c] for c in y],
            classes=self.classes,
            positive=self.positive,
            subjects=[*samples["subject"], *blank],
            series=[*samples["series"], *blank],
            official=[*samples["official"], *blank],
            simulated=self.simulated,
            expected_samples=self.expected_samples,
            faults=self.faults,
            root=self.root,
            same_patients=self.same_patients,
        )
        return new, frozenset(names)  # type: ignore[return-value]


def as_expression(dataset: Dataset) -> ExpressionDataset:
    """The data set, known to be of expression.

    Raises:
        ConfigError: It is of another family.
    """
    if not isinstance(dataset, ExpressionDataset):
        raise ConfigError(f"{dataset.name} holds {dataset.family} data, not {FAMILY.name} data")
    return dataset


def expression_dataset(
    name: str,
    values: np.ndarray,
    genes: Sequence[str],
    ids: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    positive: str | None = None,
    subjects: Sequence[str | None] | None = None,
    series: Sequence[str | None] | None = None,
    official: Sequence[str | None] | None = None,
    gene_names: Sequence[str] | None = None,
    **facts: Any,
) -> ExpressionDataset:
    """Build an `ExpressionDataset`, its content digests and its fingerprint.

    Args:
        values: Shape (samples, genes), any real dtype; kept as float32.
        facts: Further `Dataset` fields (`simulated`, `expected_samples`, `faults`, `root`,
            `same_patients`).
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    n = len(ids)
    blank: list[str | None] = [None] * n
    samples = sample_frame(
        ids=ids,
        labels=labels,
        subjects=subjects or blank,
        contents=[array_digest(row) for row in values],
        series=series or blank,
        official=official or blank,
    )
    return ExpressionDataset(
        name=name,
        family=FAMILY.name,
        samples=samples,
        classes=tuple(classes),
        positive=positive,
        fingerprint=digest(name, frame_digest(samples), *genes),
        values=values,
        genes=tuple(genes),
        gene_names=tuple(gene_names) if gene_names is not None else None,
        **facts,
    )

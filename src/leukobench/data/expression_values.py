"""Expression values as a source read them, faults included, and what becomes of them: a report or a
data set.

Loading and `leukobench data check` look at the same findings: `to_dataset` refuses a table with
errors, the report shows all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from leukobench.data.base import array_digest
from leukobench.data.check import Finding
from leukobench.data.facts import Counts


@dataclass(frozen=True, eq=False)
class ExpressionTable:
    """Expression values as read, faults included.

    Attributes:
        values: Shape (samples, genes), float32, raw; NaN where a value is missing or not a number.
        genes: Probe ids, one a column.
        ids: Sample ids, one a row.
        labels: Class names.
        classes: Class names in index order.
        subjects, series, official: As in `Dataset.samples`; None where the source has none.
        expected: Official counts: `what` (`sample`, `gene`, `class`, `part`, `series`,
            `subject`...) to name to count.
        further_counts: Counts that only this source can take (lineages); compared with `expected`
            like the others.
        findings: What reading already found (missing files, unknown labels).
        root: Folder or file that was read.
        same_patients: As in `Dataset`.
    """

    name: str
    values: np.ndarray
    genes: Sequence[str]
    ids: Sequence[str]
    labels: Sequence[str]
    classes: Sequence[str]
    positive: str | None = None
    subjects: Sequence[str | None] | None = None
    series: Sequence[str | None] | None = None
    official: Sequence[str | None] | None = None
    gene_names: Sequence[str] | None = None
    expected: Counts = field(default_factory=dict)
    further_counts: Counts = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    root: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    same_patients: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def contents(self) -> list[str]:
        """Digest of each row's values; equal digests are exact duplicates."""
        return [array_digest(row) for row in self.values]

    def counts(self) -> list[tuple[str, str, int, int | None]]:
        """Rows (what, name, found, expected) of samples, genes, classes, subjects, series and
        parts.
        """
        found: dict[str, dict[str, int]] = {
            "sample": {"all": len(self.ids)},
            "gene": {"all": len(self.genes)},
            "class": _count(self.labels),
        }
        if self.subjects is not None:
            found["subject"] = {"all": len(set(self.subjects) - {None})}
        if self.series is not None:
            found["series"] = _count(self.series)
        if self.official is not None:
            found["part"] = _count(self.official)
            both = [f"{part} {label}" for part, label in zip(self.official, self.labels)]
            found["part and class"] = _count(both)
        found.update({what: dict(names) for what, names in self.further_counts.items()})
        rows: list[tuple[str, str, int, int | None]] = []
        for what in dict.fromkeys([*found, *self.expected]):
            ours, official = found.get(what, {}), self.expected.get(what, {})
            for name in dict.fromkeys([*ours, *official]):
                rows.append((what, name, ours.get(name, 0), official.get(name)))
        return rows


def _count(names: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(str(name) for name in names)
    return dict(sorted(counts.items()))

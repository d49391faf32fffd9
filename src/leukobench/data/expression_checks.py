"""What can be wrong with a table of gene expression, and how it is found.

A source reads its files into an `ExpressionTable`, which may hold any fault; `findings_of` names the faults. Loading
and `leukobench data check` look at the same findings: `to_dataset` refuses a table with errors, the report shows all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from leukobench.data.base import ExpressionDataset, array_digest, expression_dataset
from leukobench.data.check import Finding, Report, count_frame
from leukobench.data.simulated import is_simulated
from leukobench.errors import FaultyDataError

SHOWN = 20
"""How many ids a finding lists at most."""


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
        expected: Official counts: `what` (`sample`, `gene`, `class`, `part`, `series`, `subject`...) to name to count.
        findings: What reading already found (missing files, unknown labels).
        further_counts: Counts that only this source can take (lineages); compared with `expected` like the others.
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
    expected: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    further_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    root: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def counts(self) -> list[tuple[str, str, int, int | None]]:
        """Rows (what, name, found, expected) of samples, genes, classes, subjects, series and parts."""
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
            found["part and class"] = _count([f"{part} {label}" for part, label in zip(self.official, self.labels)])
        found.update({what: dict(names) for what, names in self.further_counts.items()})
        rows: list[tuple[str, str, int, int | None]] = []
        for what in dict.fromkeys([*found, *self.expected]):
            ours, official = found.get(what, {}), self.expected.get(what, {})
            rows += [(what, name, ours.get(name, 0), official.get(name)) for name in dict.fromkeys([*ours, *official])]
        return rows


def _count(names: Sequence[str | None]) -> dict[str, int]:
    counts = Counter(str(name) for name in names)
    return dict(sorted(counts.items()))


def check_table(table: ExpressionTable) -> Report:
    """The report of one table: its counts beside the expected ones, and every finding."""
    return Report(table.name, count_frame(table.counts()), tuple(findings_of(table)), facts_of(table))


def to_dataset(table: ExpressionTable, allow_faulty: bool = False) -> ExpressionDataset:
    """The data set of a table.

    Raises:
        FaultyDataError: The table has findings of severity `error` and `allow_faulty` is not set.
    """
    errors = [f for f in findings_of(table) if f.severity == "error"]
    if errors and not allow_faulty:
        listed = "\n".join(f"  - {f.message}" for f in errors)
        where = f" in {table.root}" if table.root else ""
        raise FaultyDataError(
            f"{table.name}: the data{where} are not what they should be:\n{listed}\n"
            f"See `leukobench data check {table.name}`; to use them nevertheless, set data.allow_faulty=true."
        )
    return expression_dataset(
        table.name,
        table.values,
        table.genes,
        table.ids,
        table.labels,
        table.classes,
        positive=table.positive,
        subjects=table.subjects,
        series=table.series,
        official=table.official,
        gene_names=table.gene_names,
        simulated=is_simulated(table.root),
        expected_samples=table.expected.get("sample", {}).get("all"),
        faults=tuple(f.message for f in errors),
        root=table.root,
    )


def facts_of(table: ExpressionTable) -> dict[str, Any]:
    """Folder, sizes and the range of the values."""
    finite = table.values[np.isfinite(table.values)]
    return {
        "root": str(table.root) if table.root else None,
        "simulated": is_simulated(table.root),
        "samples": len(table.ids),
        "genes": len(table.genes),
        "smallest value": float(finite.min()) if finite.size else None,
        "largest value": float(finite.max()) if finite.size else None,
        "distinct rows": len({array_digest(row) for row in table.values}),
        **table.facts,
    }


def findings_of(table: ExpressionTable) -> list[Finding]:
    """Every finding of the table, those of reading first."""
    return [*table.findings, *count_findings(table)]


def count_findings(table: ExpressionTable) -> list[Finding]:
    """Counts that differ from the official ones."""
    wrong = [
        f"{what} {name}: {found} instead of {expected}"
        for what, name, found, expected in table.counts()
        if expected is not None and found != expected
    ]
    if not wrong:
        return []
    return [
        Finding(
            "unexpected_counts",
            "error",
            f"counts differ from the official ones ({'; '.join(wrong[:8])}{'; ...' if len(wrong) > 8 else ''}); "
            "get the files again",
            len(wrong),
            tuple(wrong[:SHOWN]),
        )
    ]

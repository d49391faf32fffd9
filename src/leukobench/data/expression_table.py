"""A table of expression as a report or as a data set: loading and `leukobench data check` look at
the same findings.

`to_dataset` refuses a table with errors, `check_table` shows all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leukobench.data.check import Finding, Report, count_frame
from leukobench.data.expression_checks import findings_of
from leukobench.data.expression_values import ExpressionTable
from leukobench.data.families.expression import ExpressionDataset, expression_dataset
from leukobench.data.simulated import is_simulated
from leukobench.errors import FaultyDataError

UNLOADABLE = frozenset({"missing_values", "non_numeric_values", "truncated_rows", "duplicate_ids"})
"""Errors that `allow_faulty` cannot help: there is no number to compute with, or no telling rows
apart."""


def check_table(table: ExpressionTable) -> Report:
    """The report of one table: its counts beside the expected ones, and every finding."""
    finite = table.values[np.isfinite(table.values)]
    facts = {
        "root": str(table.root) if table.root else None,
        "simulated": is_simulated(table.root),
        "samples": len(table.ids),
        "genes": len(table.genes),
        "distinct rows": len(set(table.contents)),
        "smallest value": float(finite.min()) if finite.size else None,
        "largest value": float(finite.max()) if finite.size else None,
        **table.facts,
    }
    findings = findings_of(table)
    if is_simulated(table.root):
        findings.append(
            Finding(
                "simulated", "note", "the folder is marked as simulated; nothing in it was measured"
            )
        )
    if not any(f.rule in UNLOADABLE for f in findings):
        facts["fingerprint"] = _dataset(table, ()).fingerprint
    return Report(table.name, count_frame(table.counts()), tuple(findings), facts)


def to_dataset(table: ExpressionTable, allow_faulty: bool = False) -> ExpressionDataset:
    """The data set of a table.

    Raises:
        FaultyDataError: The table has findings of severity `error` and `allow_faulty` is not set,
            or has faults that leave nothing to compute with.
    """
    errors = [f for f in findings_of(table) if f.severity == "error"]
    fatal = any(f.rule in UNLOADABLE for f in errors)
    if fatal or (errors and not allow_faulty):
        raise FaultyDataError(_refusal(table, errors, fatal))
    return _dataset(table, tuple(f.message for f in errors))


def _refusal(table: ExpressionTable, errors: Sequence[Finding], fatal: bool) -> str:
    """Why loading stops, for a reader."""
    listed = "\n".join(f"  - {f.message}" for f in errors)
    where = f" in {table.root}" if table.root else ""
    way_out = ""
    if not fatal:
        way_out = " To use them nevertheless, set data.allow_faulty=true; results are tagged so."
    return (
        f"{table.name}: the data{where} are not what they should be:\n{listed}\n"
        f"`leukobench data check` shows the whole report.{way_out}"
    )


def _dataset(table: ExpressionTable, faults: tuple[str, ...]) -> ExpressionDataset:
    return expression_dataset(
        name=table.name,
        values=table.values,
        genes=table.genes,
        ids=table.ids,
        labels=table.labels,
        classes=table.classes,
        positive=table.positive,
        subjects=table.subjects,
        series=table.series,
        official=table.official,
        gene_names=table.gene_names,
        simulated=is_simulated(table.root),
        expected_samples=table.expected.get("sample", {}).get("all"),
        faults=faults,
        root=table.root,
        same_patients=table.same_patients,
    )

"""What can be wrong with a table of gene expression, and how it is found.

A source reads its files into an `ExpressionTable`, which may hold any fault; `findings_of` names the faults. Loading
and `leukobench data check` look at the same findings: `to_dataset` refuses a table with errors, the report shows all.
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
from leukobench.data.check import Finding, Report, count_frame
from leukobench.data.families.expression import ExpressionDataset, expression_dataset
from leukobench.data.simulated import is_simulated
from leukobench.errors import FaultyDataError

SHOWN = 20
"""How many ids or genes a finding lists at most."""
UNIT_TOLERANCE = 1e-6
"""How far from 0 or 1 the smallest or largest value of a min-max scaled gene may be: files are rounded."""
SCALED_SHARE = 0.99
"""Share of the genes that must be scaled for a block of rows to be called scaled."""
UNLOADABLE = frozenset({"missing_values", "non_numeric_values", "truncated_rows", "duplicate_ids"})
"""Errors that `allow_faulty` cannot help: there is no number to compute with, or no telling rows apart."""


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
        further_counts: Counts that only this source can take (lineages); compared with `expected` like the others.
        findings: What reading already found (missing files, unknown labels).
        root: Folder or file that was read.
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

    @cached_property
    def contents(self) -> list[str]:
        """Digest of each row's values; equal digests are exact duplicates."""
        return [array_digest(row) for row in self.values]

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
            found["part and class"] = _count(
                [f"{part} {label}" for part, label in zip(self.official, self.labels)]
            )
        found.update({what: dict(names) for what, names in self.further_counts.items()})
        rows: list[tuple[str, str, int, int | None]] = []
        for what in dict.fromkeys([*found, *self.expected]):
            ours, official = found.get(what, {}), self.expected.get(what, {})
            rows += [
                (what, name, ours.get(name, 0), official.get(name))
                for name in dict.fromkeys([*ours, *official])
            ]
        return rows


def _count(names: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(str(name) for name in names)
    return dict(sorted(counts.items()))


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
        FaultyDataError: The table has findings of severity `error` and `allow_faulty` is not set, or has faults that
            leave nothing to compute with.
    """
    errors = [f for f in findings_of(table) if f.severity == "error"]
    fatal = any(f.rule in UNLOADABLE for f in errors)
    if fatal or (errors and not allow_faulty):
        listed = "\n".join(f"  - {f.message}" for f in errors)
        where = f" in {table.root}" if table.root else ""
        way_out = (
            ""
            if fatal
            else " To use them nevertheless, set data.allow_faulty=true; results are tagged so."
        )
        raise FaultyDataError(
            f"{table.name}: the data{where} are not what they should be:\n{listed}\n"
            f"`leukobench data check` shows the whole report.{way_out}"
        )
    return _dataset(table, tuple(f.message for f in errors))


def _dataset(table: ExpressionTable, faults: tuple[str, ...]) -> ExpressionDataset:
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
        faults=faults,
        root=table.root,
    )


def findings_of(table: ExpressionTable) -> list[Finding]:
    """Every finding of the table, those of reading first."""
    findings = [
        *table.findings,
        *count_findings(table),
        *id_findings(table),
        *value_findings(table),
    ]
    if table.values.size:
        findings += [
            *duplicate_row_findings(table),
            *gene_findings(table),
            *scaling_findings(table),
        ]
    return [*findings, *group_findings(table)]


def some(names: Iterable[object]) -> tuple[str, ...]:
    """The first names of many, for `Finding.where`."""
    return tuple(str(n) for _, n in zip(range(SHOWN), names))


def count_findings(table: ExpressionTable) -> list[Finding]:
    """Counts that differ from the official ones."""
    wrong = [
        f"{what} {name}: {found} instead of {expected}"
        for what, name, found, expected in table.counts()
        if expected is not None and found != expected
    ]
    if not wrong:
        return []
    listed = "; ".join(wrong[:8]) + ("; ..." if len(wrong) > 8 else "")
    message = f"counts differ from the official ones ({listed}); get the files again"
    return [Finding("unexpected_counts", "error", message, len(wrong), some(wrong))]


def id_findings(table: ExpressionTable) -> list[Finding]:
    """Sample ids and gene names that occur more than once."""
    findings = []
    twice = [i for i, n in Counter(table.ids).items() if n > 1]
    if twice:
        message = f"{len(twice)} sample ids occur more than once, for instance {twice[0]!r}; each row needs its own id"
        findings.append(Finding("duplicate_ids", "error", message, len(twice), some(twice)))
    genes = [g for g, n in Counter(table.genes).items() if n > 1]
    if genes:
        message = f"{len(genes)} gene names head more than one column, for instance {genes[0]!r}"
        findings.append(
            Finding("duplicate_gene_names", "warning", message, len(genes), some(genes))
        )
    return findings


def value_findings(table: ExpressionTable) -> list[Finding]:
    """Values that are missing or infinite, unless reading already said why."""
    if any(f.rule in {"non_numeric_values", "truncated_rows"} for f in table.findings):
        return []
    bad = np.argwhere(~np.isfinite(table.values))
    if not len(bad):
        return []
    places = [f"sample {table.ids[r]}, gene {table.genes[g]}" for r, g in bad[:SHOWN]]
    message = (
        f"{len(bad)} values are missing or infinite, the first in {places[0]}, in {len(set(bad[:, 0]))} samples and "
        f"{len(set(bad[:, 1]))} genes; impute them or drop these samples or genes"
    )
    return [Finding("missing_values", "error", message, len(bad), tuple(places))]


def duplicate_row_findings(table: ExpressionTable) -> list[Finding]:
    """Rows with exactly equal values: at all, and across classes, subjects, parts and series."""
    groups: dict[str, list[int]] = {}
    for row, content in enumerate(table.contents):
        groups.setdefault(content, []).append(row)
    copies = [rows for rows in groups.values() if len(rows) > 1]
    if not copies:
        return []
    n, most = len(table.ids), max(copies, key=len)

    def shown(several: list[list[int]]) -> tuple[str, ...]:
        return some(
            " = ".join(table.ids[r] for r in rows[:6]) + (" = ..." if len(rows) > 6 else "")
            for rows in several
        )

    findings = [
        Finding(
            "duplicate_rows",
            "warning",
            f"{n} rows hold only {len(groups)} distinct arrays: {n - len(groups)} rows are exact copies of another one "
            f"({table.ids[most[0]]!r} occurs {len(most)} times); splits keep copies together unless keep_together says "
            "otherwise",
            n - len(groups),
            shown(copies),
        )
    ]
    for kind, column, plural, severity, advice in (
        ("classes", table.labels, "classes", "error", "one of the labels is wrong"),
        (
            "subjects",
            table.subjects,
            "subjects",
            "warning",
            "splitting by subject alone leaks them",
        ),
        ("parts", table.official, "official parts", "warning", "the official split leaks them"),
        ("series", table.series, "series", "warning", "leaving a series out leaks them"),
    ):
        if column is None:
            continue
        across = [rows for rows in copies if len({column[r] for r in rows} - {None}) > 1]
        if across:
            message = (
                f"{len(across)} arrays occur identically in more than one of the {plural}: {advice}"
            )
            rule = f"duplicate_content_across_{kind}"
            findings.append(
                Finding(
                    rule,
                    "error" if severity == "error" else "warning",
                    message,
                    len(across),
                    shown(across),
                )
            )
    return findings


def gene_findings(table: ExpressionTable) -> list[Finding]:
    """Genes and samples that do not vary, and genes equal to another gene in every sample."""
    findings = []
    flat = np.ptp(table.values, axis=0) == 0
    if flat.any():
        genes = [table.genes[g] for g in np.flatnonzero(flat).tolist()]
        message = f"{len(genes)} genes have one value in all samples, for instance {genes[0]!r}; they carry nothing"
        findings.append(Finding("constant_genes", "note", message, len(genes), some(genes)))
    rows = (
        np.flatnonzero(np.ptp(table.values, axis=1) == 0)
        if table.values.shape[1] > 1
        else np.empty(0, np.int64)
    )
    if len(rows):
        ids = [table.ids[r] for r in rows.tolist()]
        message = f"{len(ids)} samples have one value in all genes, for instance {ids[0]!r}: no measurement"
        findings.append(Finding("constant_rows", "error", message, len(ids), some(ids)))
    first: dict[bytes, int] = {}
    columns = np.ascontiguousarray(table.values.T)
    pairs = []
    for g in np.flatnonzero(~flat).tolist():
        original = first.setdefault(columns[g].tobytes(), g)
        if original != g:
            pairs.append(f"{table.genes[g]} = {table.genes[original]}")
    if pairs:
        message = f"{len(pairs)} genes equal another gene in every sample, for instance {pairs[0]}"
        findings.append(Finding("duplicate_genes", "note", message, len(pairs), some(pairs)))
    return findings


def scaling_findings(table: ExpressionTable) -> list[Finding]:
    """Genes that were scaled before any split: over all rows, by part or series, or by blocks of the file order.

    Scaling each part by itself shifts the parts against each other and uses the test rows' own statistics.
    """
    values = table.values
    if min(values.shape) < 4 or not np.isfinite(values).all():
        return []
    for what, groups in (("official part", table.official), ("series", table.series)):
        blocks = [
            values[[i for i, g in enumerate(groups or ()) if g == name]]
            for name in sorted(set(groups or ()), key=str)
        ]
        if len(blocks) < 2:
            continue
        for how, scaled in (("to [0, 1]", _is_unit), ("to mean 0 and deviation 1", _is_standard)):
            if all(scaled(block) for block in blocks):
                message = (
                    f"each {what} is scaled {how} gene by gene by itself: the parts are no longer comparable, and test "
                    "rows were scaled with their own statistics; start from raw values"
                )
                return [
                    Finding(
                        "scaled_per_part",
                        "warning",
                        message,
                        len(blocks),
                        some(sorted(set(groups or ()), key=str)),
                    )
                ]
    if _is_unit(values):
        cut = _unit_blocks(values)
        if cut is not None:
            low, high = cut
            between = f"row {low}" if low == high else f"rows {low} and {high}"
            message = (
                "the rows up to a border and the rows after it are each scaled to [0, 1] gene by gene by themselves "
                f"(the border lies {'after' if low == high else 'between'} {between}): parts that are no longer "
                "comparable were put together; start from raw values"
            )
            return [
                Finding(
                    "scaled_per_part",
                    "warning",
                    message,
                    2,
                    (table.ids[low - 1], table.ids[high - 1]),
                )
            ]
    for how, scaled in (("to [0, 1]", _is_unit), ("to mean 0 and deviation 1", _is_standard)):
        if scaled(values):
            message = f"the genes were scaled {how} over all samples, before any split; start from raw values"
            return [Finding("scaled_before_split", "warning", message, len(table.ids))]
    return []


def _is_unit(values: np.ndarray) -> bool:
    """Whether nearly every varying gene spans exactly [0, 1], with values in between (not merely 0 or 1)."""
    low, high = values.min(axis=0), values.max(axis=0)
    varying = high > low
    if not varying.any():
        return False
    unit = (np.abs(low) <= UNIT_TOLERANCE) & (np.abs(high - 1) <= UNIT_TOLERANCE)
    inside = ((values > UNIT_TOLERANCE) & (values < 1 - UNIT_TOLERANCE)).any(axis=0)
    return bool((unit & inside)[varying].mean() >= SCALED_SHARE)


def _is_standard(values: np.ndarray) -> bool:
    """Whether nearly every varying gene has mean 0 and standard deviation 1 (of either degree of freedom)."""
    spread = values.std(axis=0)
    varying = spread > 0
    if not varying.any():
        return False
    n = len(values)
    mean, spread = values.mean(axis=0)[varying], spread[varying]
    one = (np.abs(spread - 1) < 1e-3) | (np.abs(spread * np.sqrt(n / max(n - 1, 1)) - 1) < 1e-3)
    return bool(((np.abs(mean) < 1e-3) & one).mean() >= SCALED_SHARE)


def _unit_blocks(values: np.ndarray) -> tuple[int, int] | None:
    """Between which rows (counted from 1) a border cuts [0, 1]-scaled rows into two [0, 1]-scaled blocks.

    In rows scaled together a gene's least value stands, ties apart, in one row only, so no border has it on both sides.
    """
    zero, one = values <= UNIT_TOLERANCE, values >= 1 - UNIT_TOLERANCE
    n, genes = values.shape
    complete = np.sort(np.maximum(zero.argmax(axis=0), one.argmax(axis=0)))
    begins = np.sort(
        np.minimum(n - 1 - zero[::-1].argmax(axis=0), n - 1 - one[::-1].argmax(axis=0))
    )
    needed = int(np.ceil(SCALED_SHARE * genes)) - 1
    low, high = int(complete[needed]) + 1, int(begins[genes - 1 - needed])
    return (low, high) if low <= high else None


def group_findings(table: ExpressionTable) -> list[Finding]:
    """What subjects, parts, series and classes share: that which a split by sample would leak."""
    findings = []
    if table.subjects is not None:
        unknown = [i for i, s in zip(table.ids, table.subjects) if s is None]
        if unknown and len(unknown) < len(table.ids):
            message = f"{len(unknown)} of {len(table.ids)} samples have no subject; fill the column or leave it out"
            findings.append(
                Finding("subjects_partly_unknown", "warning", message, len(unknown), some(unknown))
            )
        if table.official is not None:
            both = _spanning(table.subjects, table.official)
            if both:
                message = f"{len(both)} subjects are in more than one official part; the official split leaks them"
                findings.append(
                    Finding("subject_in_two_parts", "warning", message, len(both), some(both))
                )
        several = _spanning(table.subjects, table.labels)
        if several:
            message = f"{len(several)} subjects have samples of more than one class"
            findings.append(
                Finding("subject_in_two_classes", "note", message, len(several), some(several))
            )
    sizes = Counter(table.labels)
    small = [f"{c} ({sizes[c]})" for c in table.classes if sizes[c] < 5]
    if small:
        message = f"{len(small)} classes have fewer than 5 samples: {', '.join(small[:8])}; folds cannot hold them all"
        findings.append(Finding("small_classes", "note", message, len(small), some(small)))
    if table.series is not None and len(set(table.series)) > 1:
        home = {c: {s for s, k in zip(table.series, table.labels) if k == c} for c in sizes}
        alone = [
            f"{c} in {next(iter(home[c]))}"
            for c in table.classes
            if c in home and len(home[c]) == 1
        ]
        if alone:
            pairs = Counter(zip(table.series, table.labels))
            right = sum(
                max(n for (s, _), n in pairs.items() if s == series) for series in set(table.series)
            )
            message = (
                f"{len(alone)} of {len(sizes)} classes come from one series each, so that recognising the series "
                f"(platform, laboratory) is as good as recognising the class: guessing each series' most frequent class "
                f"is right for {right / len(table.ids):.1%}; compare with leaving series out"
            )
            findings.append(
                Finding("class_in_one_series", "warning", message, len(alone), some(alone))
            )
    return findings


def _spanning(names: Sequence[str | None], groups: Sequence[str | None]) -> list[str]:
    """Names that occur with more than one group."""
    seen: dict[str, set[str | None]] = {}
    for name, group in zip(names, groups):
        if name is not None:
            seen.setdefault(name, set()).add(group)
    return sorted(name for name, several in seen.items() if len(several) > 1)

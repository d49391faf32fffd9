"""What can be wrong with a table of gene expression, and how it is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from leukobench.data.check import Finding, Severity, some
from leukobench.data.expression_scaling import scaling_findings
from leukobench.data.expression_values import ExpressionTable

SHOWN = 20
"""How many places of missing values a finding lists at most."""


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
        message = (
            f"{len(twice)} sample ids occur more than once, for instance {twice[0]!r}; each row "
            f"needs its own id"
        )
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
        f"{len(bad)} values are missing or infinite, the first in {places[0]}, in "
        f"{len(set(bad[:, 0]))} samples and "
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
    message = (
        f"{n} rows hold only {len(groups)} distinct arrays: {n - len(groups)} rows are exact "
        f"copies of another one "
        f"({table.ids[most[0]]!r} occurs {len(most)} times); splits keep copies together unless "
        f"keep_together says "
        "otherwise"
    )
    findings = [
        Finding("duplicate_rows", "warning", message, n - len(groups), _copies_shown(table, copies))
    ]
    wrong: Severity = "error"
    leak: Severity = "warning"
    for kind, column, named, severity, advice in (
        ("classes", table.labels, "classes", wrong, "one of the labels is wrong"),
        ("subjects", table.subjects, "subjects", leak, "splitting by subject alone leaks them"),
        ("parts", table.official, "official parts", leak, "the official split leaks them"),
        ("series", table.series, "series", leak, "leaving a series out leaks them"),
    ):
        across = [rows for rows in copies if column is not None and _differ(column, rows)]
        if across:
            message = (
                f"{len(across)} arrays occur identically in more than one of the {named}: {advice}"
            )
            rule, where = f"duplicate_content_across_{kind}", _copies_shown(table, across)
            findings.append(Finding(rule, severity, message, len(across), where))
    return findings


def _differ(column: Sequence[str | None], rows: Sequence[int]) -> bool:
    return len({column[r] for r in rows} - {None}) > 1


def _copies_shown(table: ExpressionTable, copies: Sequence[Sequence[int]]) -> tuple[str, ...]:
    lines = []
    for rows in copies:
        more = " = ..." if len(rows) > 6 else ""
        lines.append(" = ".join(table.ids[r] for r in rows[:6]) + more)
    return some(lines)


def gene_findings(table: ExpressionTable) -> list[Finding]:
    """Genes and samples that do not vary, and genes equal to another gene in every sample."""
    findings = []
    flat = np.ptp(table.values, axis=0) == 0
    if flat.any():
        genes = [table.genes[g] for g in np.flatnonzero(flat).tolist()]
        message = (
            f"{len(genes)} genes have one value in all samples, for instance {genes[0]!r}; they "
            f"carry nothing"
        )
        findings.append(Finding("constant_genes", "note", message, len(genes), some(genes)))
    rows = (
        np.flatnonzero(np.ptp(table.values, axis=1) == 0)
        if table.values.shape[1] > 1
        else np.empty(0, np.int64)
    )
    if len(rows):
        ids = [table.ids[r] for r in rows.tolist()]
        message = (
            f"{len(ids)} samples have one value in all genes, for instance {ids[0]!r}: no "
            f"measurement"
        )
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


def group_findings(table: ExpressionTable) -> list[Finding]:
    """What subjects, parts, series and classes share: that which a split by sample would leak."""
    return [*_subject_findings(table), *_small_class_findings(table), *_series_findings(table)]


def _subject_findings(table: ExpressionTable) -> list[Finding]:
    if table.subjects is None:
        return []
    findings = []
    unknown = [i for i, s in zip(table.ids, table.subjects) if s is None]
    if 0 < len(unknown) < len(table.ids):
        message = (
            f"{len(unknown)} of {len(table.ids)} samples have no subject; fill the column or leave "
            f"it out"
        )
        findings.append(
            Finding("subjects_partly_unknown", "warning", message, len(unknown), some(unknown))
        )
    both = _spanning(table.subjects, table.official or [None] * len(table.ids))
    if both:
        message = (
            f"{len(both)} subjects are in more than one official part; the official split leaks "
            f"them"
        )
        findings.append(Finding("subject_in_two_parts", "warning", message, len(both), some(both)))
    several = _spanning(table.subjects, table.labels)
    if several:
        message = f"{len(several)} subjects have samples of more than one class"
        findings.append(
            Finding("subject_in_two_classes", "note", message, len(several), some(several))
        )
    return findings


def _small_class_findings(table: ExpressionTable) -> list[Finding]:
    sizes = Counter(table.labels)
    small = [f"{c} ({sizes[c]})" for c in table.classes if sizes[c] < 5]
    if not small:
        return []
    message = (
        f"{len(small)} classes have fewer than 5 samples: {', '.join(small[:8])}; folds cannot "
        f"hold them all"
    )
    return [Finding("small_classes", "note", message, len(small), some(small))]


def _series_findings(table: ExpressionTable) -> list[Finding]:
    """Classes that come from one series each."""
    if table.series is None or len(set(table.series)) < 2:
        return []
    pairs = Counter(zip(table.series, table.labels))
    home: dict[str, list[str | None]] = {}
    most: dict[str | None, int] = {}
    for (series, label), n in pairs.items():
        home.setdefault(label, []).append(series)
        most[series] = max(n, most.get(series, 0))
    alone = [f"{c} in {home[c][0]}" for c in table.classes if len(home.get(c, ())) == 1]
    if not alone:
        return []
    message = (
        f"{len(alone)} of {len(home)} classes come from one series each, so that recognising the "
        f"series "
        f"(platform, laboratory) is as good as recognising the class: guessing each series' most "
        f"frequent class "
        f"is right for {sum(most.values()) / len(table.ids):.1%}; compare with leaving series out"
    )
    return [Finding("class_in_one_series", "warning", message, len(alone), some(alone))]


def _spanning(names: Sequence[str | None], groups: Sequence[str | None]) -> list[str]:
    """Names that occur with more than one group."""
    seen: dict[str, set[str | None]] = {}
    for name, group in zip(names, groups):
        if name is not None:
            seen.setdefault(name, set()).add(group)
    return sorted(name for name, several in seen.items() if len(several) > 1)

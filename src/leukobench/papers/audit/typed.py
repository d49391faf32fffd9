"""The audit of numbers that somebody types: on the command line, or as a table in a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leukobench.errors import PaperError
from leukobench.papers.audit.findings import AuditFinding
from leukobench.papers.audit.scores import AVERAGED, AVERAGINGS, COUNTS, KNOWN
from leukobench.papers.audit.search import Sample
from leukobench.papers.audit.sheet import Aggregate, Line, Score, Sheet
from leukobench.papers.audit.solver import audit_sheet
from leukobench.papers.spec import printed_decimals, printed_number

Number = str | float | int

OTHER_NAMES = {
    "acc": "accuracy", "auc": "auroc", "roc_auc": "auroc", "f1_score": "f1", "f_score": "f1",
    "sens": "sensitivity", "tpr": "sensitivity", "spec": "specificity", "tnr": "specificity",
    "ppv": "precision", "error": "error_rate", "balanced_acc": "balanced_accuracy",
    "name": "model", "method": "model", "samples": "n", "size": "n", "average": "averaging",
}  # fmt: skip
FACTS = ("n", "positives", "folds", "classes", "averaging")
MEANS, TOTALS = ("mean", "average", "avg"), ("total", "totals", "sum")
DEVIATION = re.compile(r"^(.*?)_?(sd|std|stdev|deviation)$")


def audit_numbers(
    *,
    confusion: Sequence[int] | None = None,
    n: int | None = None,
    positives: int | None = None,
    folds: int | None = None,
    averaging: str | None = None,
    **scores: Number,
) -> list[AuditFinding]:
    """What numbers of one model on one test say about each other.

    Args:
        confusion: TP, FN, FP, TN; rows are the truth, the positive class first.
        n: Samples of the test.
        positives: Samples of its positive class.
        folds: Of how many folds the scores are means.
        averaging: Of precision, recall and F1; without it each is tried.
        scores: As printed, by metric. Text keeps its decimals (`"77.10"`); a number above 1, or
            text with `%`, is a percentage.

    Raises:
        PaperError: A number that cannot be read, or counts that are negative.
    """
    typed: dict[str, str] = {name: str(value) for name, value in scores.items()}
    if confusion is not None:
        if len(confusion) != 4 or min(confusion) < 0:
            raise PaperError(f"a confusion matrix is TP FN FP TN, four counts, not {confusion}")
        typed |= {name: str(count) for name, count in zip(COUNTS, confusion, strict=True)}
    facts = {"n": n, "positives": positives, "folds": folds, "averaging": averaging}
    typed |= {name: str(value) for name, value in facts.items() if value is not None}
    return audit_table([typed], "your numbers")


def audit_csv(path: Path) -> list[AuditFinding]:
    """What the lines of a table of scores say about themselves and each other.

    Raises:
        PaperError: The file is missing, empty, or has a column or value that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PaperError(f"cannot read {path} as a table of scores: {error}") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    if not rows:
        raise PaperError(f"{path}: no rows below the header; see docs/audit.md for the format")
    return audit_table(rows, path.name)


def audit_table(rows: Sequence[Mapping[str, str | None]], source: str) -> list[AuditFinding]:
    """Rows of text by column: `model`, what is known of the test, and scores as printed."""
    named = [_cells(row, source, i) for i, row in enumerate(rows, start=1)]
    percent = _percent_columns(named)
    read = [
        _line(row, source, i, percent=percent) for i, row in enumerate(named, start=1)
    ]  # fmt: skip
    read = list(_with_own_facts(read))
    findings: list[AuditFinding] = []
    for facts in dict.fromkeys(facts for facts, _ in read):
        lines = [line for own, line in read if own == facts]
        findings += audit_sheet(_sheet(lines, facts, source), source)
    return findings


@dataclass(frozen=True)
class Facts:
    """What a row says of its test."""

    n: int | None = None
    positives: int | None = None
    folds: int | None = None
    classes: int | None = None


def _with_own_facts(read: Sequence[tuple[Facts, Line]]) -> Iterator[tuple[Facts, Line]]:
    """A mean or total is of the lines above it, whatever is known of its own test."""
    above = Facts()
    for facts, line in read:
        above = above if _is_aggregate(line) else facts
        yield above, line


def _is_aggregate(line: Line) -> bool:
    return line.name.lower() in (*MEANS, *TOTALS)


def _cells(row: Mapping[str, str | None], source: str, number: int) -> dict[str, str]:
    """The row's cells that are not empty, by the audit's names of the columns."""
    cells: dict[str, str] = {}
    for column, value in row.items():
        if column is None or isinstance(value, list):
            raise PaperError(f"{source}, row {number}: more cells than the header has columns")
        name = _column(column)
        match = DEVIATION.match(name)
        if name not in (*KNOWN, *FACTS, "model") and not (match and match[1] in KNOWN):
            known = ", ".join(("model", *FACTS, *KNOWN))
            raise PaperError(
                f"{source}: unknown column {column!r}; columns are {known}, each score also as "
                "SCORE_sd (its standard deviation over folds)"
            )
        if value is None or value.strip() in ("", "-", "–"):
            continue
        mean, sign, deviation = value.replace("+/-", "±").partition("±")
        cells[name] = mean.strip() + ("%" if "%" in deviation and "%" not in mean else "")
        if sign:
            cells[f"{name}_sd"] = deviation.strip()
    return cells


def _column(text: str) -> str:
    name = re.sub(r"[\s-]+", "_", text.strip().lower().rstrip("%").strip())
    match = DEVIATION.match(name)
    if match and match[1]:
        return f"{OTHER_NAMES.get(match[1], match[1])}_sd"
    return OTHER_NAMES.get(name, name)


def _percent_columns(rows: Iterable[Mapping[str, str]]) -> set[str]:
    """Columns in which some score is above 1; a deviation is in the unit of its score."""
    found = set()
    for row in rows:
        for name, text in row.items():
            value = printed_number(text)
            above = value is not None and value > 1
            if name in KNOWN and name not in COUNTS and (above or "%" in text):
                found |= {name, f"{name}_sd"}
    return found


def _line(
    row: Mapping[str, str], source: str, number: int, *, percent: set[str]
) -> tuple[Facts, Line]:
    where = f"{source}, row {number}" if source.endswith("csv") else source
    whole = {name: _whole(row[name], name, where) for name in FACTS[:4] if name in row}
    facts = Facts(**whole)
    averaging = row.get("averaging")
    if averaging is not None and averaging not in AVERAGINGS:
        raise PaperError(f"{where}: averaging {averaging!r} is none of {', '.join(AVERAGINGS)}")
    scores = tuple(
        _score(name, text, where, percent=name in percent, averaging=averaging)
        for name, text in row.items()
        if name not in (*FACTS, "model")
    )
    name = row.get("model", f"row {number}" if source.endswith("csv") else "numbers")
    return facts, Line(name, where, scores)


def _whole(text: str, name: str, where: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise PaperError(f"{where}: {name} {text!r} is no whole number")
    return int(text)


def _score(
    column: str, text: str, where: str, *, percent: bool, averaging: str | None
) -> Score:  # fmt: skip
    deviation = column.endswith("_sd")
    metric = column.removesuffix("_sd")
    if metric in COUNTS:
        return Score(metric, text, _whole(text, metric.upper(), where), 1, place=where)
    value = printed_number(text)
    if value is None:
        raise PaperError(f"{where}: {column} {text!r} is no number; write 0.771, 77.1 or 77.1%")
    share = percent and not text.endswith("%")
    scale = 2 if percent else 0
    if share:
        value = float(f"{value}e-2")
    if not -1 <= value <= 1:
        raise PaperError(f"{where}: {column} {text}: a share lies between 0 and 1, or 0 and 100 %")
    return Score(
        metric,
        text + ("%" if share else ""),
        value,
        10.0 ** -(printed_decimals(text) + scale),
        averaging=averaging if metric in AVERAGED else None,
        deviation=deviation,
        place=where,
    )


def _sheet(lines: Sequence[Line], facts: Facts, source: str) -> Sheet:
    single = [line for line in lines if not _is_aggregate(line)]
    aggregates = tuple(
        Aggregate(line, tuple(single), called_total=line.name.lower() in TOTALS)
        for line in lines
        if line not in single
    )
    positives = None if facts.positives is None else (facts.positives, facts.positives)
    return Sheet(
        source,
        tuple(single),
        Sample(facts.n, positives),
        folds=facts.folds,
        classes=facts.classes,
        aggregates=aggregates,
    )

"""Tables with one row a sample and tens of thousands of columns, for which general csv readers are
slow.

What is wrong in a table is named instead of guessing column types.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from leukobench.data.check import Finding, some
from leukobench.errors import FaultyDataError, MissingDataError

MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", "?"})
"""What stands for a missing value, in lower case."""
SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".parquet")


@dataclass(frozen=True, eq=False)
class WideTable:
    """A table as read: numbers and text apart.

    Attributes:
        genes: Names of the numeric columns, in file order.
        values: Shape (rows, genes), float32; NaN where a value is missing or no number.
        text: The text columns asked for, by name, one entry a row.
        findings: What was wrong with values and rows.
    """

    genes: tuple[str, ...]
    values: np.ndarray
    text: dict[str, list[str]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Word:
    """A field that should be a number and is none."""

    row: int
    gene: int
    text: str


def header_of(path: Path) -> list[str]:
    """The column names of a table (csv, tsv, each also gzipped, or parquet)."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(path).names)
    with _open_text(path) as file:
        first = file.readline()
        return _fields(first, separator_of(first))


def separator_of(header: str) -> str:
    """The separator of a header line: the most frequent of comma, semicolon and tabulator."""
    return max(",;\t", key=header.count)


def read_wide(path: Path, text: Collection[str]) -> WideTable:
    """Read a table with one row a sample.

    Args:
        path: csv or tsv (also gzipped; comma, semicolon or tabulator) or parquet.
        text: Columns to be kept as text; all others are read as numbers.

    Raises:
        FaultyDataError: A text column is absent (the message lists those found), a column holds no
            number at all, or the file cannot be read to its end.
    """
    columns = header_of(path)
    absent = [name for name in text if name not in columns]
    if absent:
        raise FaultyDataError(_absent_columns(path, absent, columns))
    if path.suffix == ".parquet":
        return _read_parquet(path, columns, text)
    return _read_text(path, columns, text)


def _read_text(path: Path, columns: Sequence[str], text: Collection[str]) -> WideTable:
    texts = {name: columns.index(name) for name in text}
    numeric = [i for i in range(len(columns)) if i not in set(texts.values())]
    genes = tuple(columns[i] for i in numeric)
    kept: dict[str, list[str]] = {name: [] for name in text}
    rows: list[np.ndarray] = []
    words: list[Word] = []
    short: list[str] = []
    for line, fields in _rows(path):
        if len(fields) != len(columns):
            short.append(f"line {line} has {len(fields)} fields instead of {len(columns)}")
            fields = [*fields[: len(columns)], *[""] * (len(columns) - len(fields))]
        for name, i in texts.items():
            kept[name].append(fields[i].strip())
        row, wrong = _row_of([fields[i] for i in numeric], len(rows))
        rows.append(row)
        words += wrong
    # adding 0 turns -0 into 0, which would give equal arrays two digests
    values = np.stack(rows) + np.float32(0) if rows else np.empty((0, len(genes)), np.float32)
    findings = _word_findings(path, genes, values, words=words)
    if short:
        message = (
            f"{path.name}: {len(short)} lines are cut short or too long ({short[0]}); get the file "
            f"again"
        )
        findings.append(Finding("truncated_rows", "error", message, len(short), some(short)))
    return WideTable(genes, values, text=kept, findings=tuple(findings))


def _row_of(fields: Sequence[str], row: int) -> tuple[np.ndarray, list[Word]]:
    """Numbers of one row, float32, NaN where a field is none; and those fields."""
    try:
        return np.array(fields, dtype=np.float32), []
    except ValueError:
        values = np.array([_number(x) for x in fields], dtype=np.float32)
    return values, [Word(row, g, fields[g]) for g in np.flatnonzero(np.isnan(values)).tolist()]


def _read_parquet(path: Path, columns: Sequence[str], text: Collection[str]) -> WideTable:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    kept = {name: _as_text(table[name].to_pylist()) for name in text}
    genes = tuple(c for c in columns if c not in text)
    values = np.full((table.num_rows, len(genes)), np.nan, np.float32)
    words: list[Word] = []
    for g, gene in enumerate(genes):
        column = table[gene]
        try:
            values[:, g] = column.to_numpy().astype(np.float32)
        except (ValueError, TypeError):
            texts = _as_text(column.to_pylist())
            values[:, g] = [_number(x) for x in texts]
            words += [Word(r, g, texts[r]) for r in np.flatnonzero(np.isnan(values[:, g])).tolist()]
    values += np.float32(0)
    findings = _word_findings(path, genes, values, words=words)
    return WideTable(genes, values, text=kept, findings=tuple(findings))


def _as_text(values: Sequence[object]) -> list[str]:
    return ["" if v is None else str(v) for v in values]


def _word_findings(
    path: Path, genes: Sequence[str], values: np.ndarray, *, words: Sequence[Word]
) -> list[Finding]:
    """Findings on fields that are no number and do not stand for a missing one.

    Raises:
        FaultyDataError: A whole column holds words: it is no gene.
    """
    words = [w for w in words if w.text.strip().lower() not in MISSING]
    if not words:
        return []
    first: dict[int, str] = {}
    for word in words:
        first.setdefault(word.gene, word.text)
    whole = [g for g in first if np.isnan(values[:, g]).all()]
    if whole:
        named = ", ".join(f"{genes[g]!r} (for instance {first[g]!r})" for g in whole[:5])
        raise FaultyDataError(
            f"{path}: {len(whole)} columns that should be genes hold text and no number: {named}. "
            f"Name them in `ignore`, "
            "or as the label, id, subject, series or official column"
        )
    places = [f"row {w.row + 1}, gene {genes[w.gene]}: {w.text!r}" for w in words]
    hint = "; the decimal sign must be a point" if any("," in w.text for w in words) else ""
    message = f"{path.name}: {len(words)} values are not numbers, the first in {places[0]}{hint}"
    return [Finding("non_numeric_values", "error", message, len(words), some(places))]


def _absent_columns(path: Path, absent: Sequence[str], columns: Sequence[str]) -> str:
    close: list[str] = []
    for name in absent:
        close += difflib.get_close_matches(name, columns, n=2)
    listed = some_columns(columns)
    meant = f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
    return f"{path}: no column {' and no column '.join(map(repr, absent))}; found: {listed}.{meant}"


def some_columns(columns: Sequence[str], most: int = 200) -> str:
    """The first columns of a table for a message, in at most about `most` characters.

    One long column is a line that was not divided; the message then names the separators that are
    known.
    """
    text = ", ".join(columns[:12])
    if len(text) > most:
        text = text[:most] + "…"
    elif len(columns) > 12:
        text += ", ..."
    if len(columns) > 12:
        text += f" ({len(columns)} columns, the last {columns[-1][:40]})"
    if len(columns) == 1:
        text += " (one column: columns are divided by comma, semicolon or tabulator)"
    return text


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return math.nan


def _fields(line: str, separator: str) -> list[str]:
    line = line.rstrip("\r\n")
    return next(csv.reader([line], delimiter=separator)) if '"' in line else line.split(separator)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers (from 1) and fields of the lines below the header; blank lines are skipped."""
    with _open_text(path) as file:
        separator = separator_of(file.readline())
        for number, line in enumerate(file, start=2):
            if line.strip():
                yield number, _fields(line, separator)


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    """A table opened as text; faults of the file become errors that say so."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig") as file:
                yield file
        else:
            with open(path, encoding="utf-8-sig") as file:
                yield file
    except FileNotFoundError as error:
        raise MissingDataError(f"no file {path}") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise FaultyDataError(
            f"{path}: the compressed file is damaged or cut off ({error}); get it again"
        ) from error
    except UnicodeDecodeError as error:
        raise FaultyDataError(
            f"{path}: not a text file in UTF-8 ({error}); save it as UTF-8"
        ) from error

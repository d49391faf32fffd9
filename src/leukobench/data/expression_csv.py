"""Tables of expression with one row a sample: reading them, and a user's own table as a data set.

`read_wide` reads tables with tens of thousands of columns, for which general csv readers are slow, and names what is
wrong in them instead of guessing column types.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, Report
from leukobench.data.expression_checks import ExpressionTable, check_table, some, to_dataset
from leukobench.data.families.expression import ExpressionDataset
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError

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
        FaultyDataError: A text column is absent (the message lists those found), a column holds no number at all, or
            the file cannot be read to its end.
    """
    columns = header_of(path)
    absent = [name for name in text if name not in columns]
    if absent:
        raise FaultyDataError(_absent_columns(path, absent, columns))
    if path.suffix == ".parquet":
        return _read_parquet(path, columns, text)
    texts = {name: columns.index(name) for name in text}
    numeric = [i for i in range(len(columns)) if i not in set(texts.values())]
    genes = tuple(columns[i] for i in numeric)
    kept: dict[str, list[str]] = {name: [] for name in text}
    rows: list[np.ndarray] = []
    wrong: list[tuple[int, int, str]] = []
    short: list[str] = []
    for line, fields in _rows(path):
        if len(fields) != len(columns):
            short.append(f"line {line} has {len(fields)} fields instead of {len(columns)}")
            if len(fields) > len(columns):
                fields = fields[: len(columns)]
            else:
                fields += [""] * (len(columns) - len(fields))
        for name, i in texts.items():
            kept[name].append(fields[i].strip())
        numbers = [fields[i] for i in numeric]
        try:
            rows.append(np.array(numbers, dtype=np.float32))
        except ValueError:
            row = np.array([_number(x) for x in numbers], dtype=np.float32)
            wrong += [(len(rows), g, numbers[g]) for g in np.flatnonzero(np.isnan(row)).tolist()]
            rows.append(row)
    # adding 0 turns -0 into 0, which would give equal arrays two digests
    values = np.stack(rows) + np.float32(0) if rows else np.empty((0, len(genes)), np.float32)
    findings = _value_findings(path, genes, values, wrong)
    if short:
        message = f"{path.name}: {len(short)} lines are cut short or too long ({short[0]}); get the file again"
        findings.append(Finding("truncated_rows", "error", message, len(short), some(short)))
    return WideTable(genes, values, kept, tuple(findings))


def _read_parquet(path: Path, columns: Sequence[str], text: Collection[str]) -> WideTable:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    kept = {name: ["" if v is None else str(v) for v in table[name].to_pylist()] for name in text}
    genes = tuple(c for c in columns if c not in text)
    values = np.full((table.num_rows, len(genes)), np.nan, np.float32)
    wrong: list[tuple[int, int, str]] = []
    for g, gene in enumerate(genes):
        column = table[gene]
        try:
            values[:, g] = column.to_numpy().astype(np.float32)
        except (ValueError, TypeError):
            texts = ["" if v is None else str(v) for v in column.to_pylist()]
            values[:, g] = [_number(x) for x in texts]
            wrong += [(r, g, texts[r]) for r in np.flatnonzero(np.isnan(values[:, g])).tolist()]
    values += np.float32(0)
    return WideTable(genes, values, kept, tuple(_value_findings(path, genes, values, wrong)))


def _value_findings(
    path: Path, genes: Sequence[str], values: np.ndarray, wrong: Sequence[tuple[int, int, str]]
) -> list[Finding]:
    """Findings on fields that are no number; `wrong` holds (row, gene, field as written)."""
    words = [(r, g, x) for r, g, x in wrong if x.strip().lower() not in MISSING]
    if not words:
        return []
    per_gene: dict[int, list[str]] = {}
    for _, g, x in words:
        per_gene.setdefault(g, []).append(x)
    whole = [
        g for g, xs in per_gene.items() if len(xs) + int((~np.isnan(values[:, g])).sum()) == len(xs)
    ]
    if whole:
        named = ", ".join(f"{genes[g]!r} (for instance {per_gene[g][0]!r})" for g in whole[:5])
        raise FaultyDataError(
            f"{path}: {len(whole)} columns that should be genes hold text and no number: {named}. Name them in `ignore`, "
            "or as the label, id, subject, series or official column"
        )
    places = [f"row {r + 1}, gene {genes[g]}: {x!r}" for r, g, x in words]
    hint = "; the decimal sign must be a point" if any("," in x for _, _, x in words) else ""
    message = f"{path.name}: {len(words)} values are not numbers, the first in {places[0]}{hint}"
    return [Finding("non_numeric_values", "error", message, len(words), some(places))]


def _absent_columns(path: Path, absent: Sequence[str], columns: Sequence[str]) -> str:
    close = [c for name in absent for c in difflib.get_close_matches(name, columns, n=2)]
    listed = some_columns(columns)
    meant = f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
    return f"{path}: no column {' and no column '.join(map(repr, absent))}; found: {listed}.{meant}"


def some_columns(columns: Sequence[str], most: int = 200) -> str:
    """The first columns of a table for a message, in at most about `most` characters.

    One long column is a line that was not divided; the message then names the separators that are known.
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


class ExpressionCsv(DataSource):
    """A user's own table of expression: one row a sample, one column a gene, and a column of labels.

    Args:
        root: The table: .csv, .tsv or .txt (comma, semicolon or tabulator), gzipped or not, or .parquet.
        label: Column of class names.
        id: Column of sample ids; None numbers the rows from 1.
        subject: Column with the person each sample is of; None where unknown, then subject-level splits refuse.
        series: Column with the experiment series; None for one series.
        official: Column with a given part or fold (`train`, `test`) for the split `official`.
        ignore: Further columns that are not genes.
        classes: Class names in the order wanted; None sorts them.
        positive: The class that sensitivity refers to, for two classes.
    """

    name: ClassVar[str] = "expression_csv"
    family: ClassVar[str] = "expression"
    title: ClassVar[str] = "Expression table of your own"
    licence: ClassVar[str] = "Yours"
    citation: ClassVar[str] = "Your own data"

    def __init__(
        self,
        root: str | Path | None = None,
        label: str = "label",
        id: str | None = None,
        subject: str | None = None,
        series: str | None = None,
        official: str | None = None,
        ignore: Sequence[str] = (),
        classes: Sequence[str] | None = None,
        positive: str | None = None,
        allow_faulty: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        self.columns = {
            "id": id,
            "label": label,
            "subject": subject,
            "series": series,
            "official": official,
        }
        self.ignore = tuple(ignore)
        self.classes = tuple(str(c) for c in classes) if classes is not None else ()
        self.positive_class = positive

    def load(self) -> ExpressionDataset:
        return to_dataset(self._table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        if progress:
            progress("reading", 0, 1)
        table = self._table()
        if progress:
            progress("reading", 1, 1)
        return check_table(table)

    def get(self) -> Path | None:
        raise MissingDataError(
            "expression_csv reads a table of your own: set data.root to it, and data.label, data.id, data.subject, "
            "data.series to its columns"
        )

    def simulate(
        self,
        out: Path,
        samples: int | None = None,
        subjects: int | None = None,
        seed: int = 0,
        genes: int = 500,
    ) -> Path:
        """Write `expression.csv` with columns sample, subject, series, label and genes under `out`."""
        from leukobench.data.simulate_expression import simulate_table

        return simulate_table(out, samples or 120, subjects, seed, genes)

    def _table(self) -> ExpressionTable:
        path = self._path()
        named = [c for c in self.columns.values() if c is not None]
        if len(set(named)) < len(named):
            raise ConfigError(f"expression_csv: one column is given two roles: {self.columns}")
        wide = read_wide(path, [*named, *(c for c in self.ignore if c not in named)])
        if not len(wide.values):
            raise FaultyDataError(f"{path}: the table has a header and no row")
        if not wide.genes:
            raise FaultyDataError(f"{path}: no column is left for genes beside {named}")

        def column(role: str) -> list[str | None] | None:
            name = self.columns[role]
            return (
                None
                if name is None
                else [x if x.lower() not in MISSING else None for x in wide.text[name]]
            )

        labels = column("label") or []
        ids = column("id") or [str(i + 1) for i in range(len(wide.values))]
        for role, entries in (("label", labels), ("id", ids)):
            empty = [i + 1 for i, x in enumerate(entries) if x is None]
            if empty:
                raise FaultyDataError(
                    f"{path}: column {self.columns[role]!r} ({role}) is empty in {len(empty)} rows, the first row {empty[0]}"
                )
        found = sorted({str(x) for x in labels})
        classes = self.classes or tuple(found)
        unknown = sorted(set(found) - set(classes))
        if unknown:
            raise FaultyDataError(
                f"{path}: labels {unknown} in column {self.columns['label']!r} are not among classes {list(classes)}"
            )
        if len(classes) < 2:
            raise FaultyDataError(
                f"{path}: column {self.columns['label']!r} holds one class only, {found}"
            )
        if self.positive_class is not None and self.positive_class not in classes:
            raise ConfigError(
                f"expression_csv: positive={self.positive_class!r} is not among classes {list(classes)}"
            )
        return ExpressionTable(
            name=self.name,
            values=wide.values,
            genes=wide.genes,
            ids=[str(i) for i in ids],
            labels=[str(x) for x in labels],
            classes=classes,
            positive=self.positive_class,
            subjects=column("subject"),
            series=column("series"),
            official=column("official"),
            findings=wide.findings,
            root=path,
        )

    def _path(self) -> Path:
        if self.root is None:
            raise MissingDataError(
                "expression_csv: no table given; set data.root=PATH to a .csv, .tsv or .parquet file"
            )
        if self.root.is_dir():
            tables = sorted(p for p in self.root.iterdir() if p.name.endswith(SUFFIXES))
            if len(tables) != 1:
                raise MissingDataError(
                    f"expression_csv: folder {self.root} holds {len(tables)} tables "
                    f"({', '.join(p.name for p in tables[:5])}); set data.root to one of them"
                )
            return tables[0]
        if not self.root.is_file():
            raise MissingDataError(
                f"expression_csv: no file {self.root}; set data.root to your table"
            )
        if not self.root.name.endswith(SUFFIXES):
            raise ConfigError(
                f"expression_csv: {self.root.name} is of no kind that is read ({', '.join(SUFFIXES)})"
            )
        return self.root

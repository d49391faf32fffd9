"""A user's own table of expression: one row a sample, one column a gene, and a column of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from leukobench.data.base import DataSource
from leukobench.data.check import Report
from leukobench.data.expression_table import check_table, to_dataset
from leukobench.data.expression_values import ExpressionTable
from leukobench.data.facts import SourceFacts
from leukobench.data.families.expression import FAMILY, ExpressionDataset
from leukobench.data.wide_table import MISSING, SUFFIXES, WideTable, read_wide
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError


class ExpressionCsv(DataSource):
    """A user's own table of expression: one row a sample, one column a gene, and a column of
    labels.

    Args:
        root: The table: .csv, .tsv or .txt (comma, semicolon or tabulator), gzipped or not, or
            .parquet.
        label: Column of class names.
        id: Column of sample ids; None numbers the rows from 1.
        subject: Column with the person each sample is of; None where unknown, then subject-level
            splits refuse.
        series: Column with the experiment series; None for one series.
        official: Column with a given part or fold (`train`, `test`) for the split `official`.
        ignore: Further columns that are not genes.
        classes: Class names in the order wanted; None sorts them.
        positive: The class that sensitivity refers to, for two classes.
    """

    name: ClassVar[str] = "expression_csv"
    family: ClassVar[str] = FAMILY.name
    facts = SourceFacts("Expression table of your own", licence="Yours", citation="Your own data")
    simulates: ClassVar[str | None] = "expression_table"

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
            "expression_csv reads a table of your own: set data.root to it, and data.label, "
            "data.id, data.subject, "
            "data.series to its columns"
        )

    def _table(self) -> ExpressionTable:
        path = self._path()
        wide = self._read(path)
        labels = self._required(path, wide, "label")
        ids = [str(i + 1) for i in range(len(wide.values))]
        if self.columns["id"] is not None:
            ids = self._required(path, wide, "id")
        return ExpressionTable(
            name=self.name,
            values=wide.values,
            genes=wide.genes,
            ids=ids,
            labels=labels,
            classes=self._classes(path, labels),
            positive=self.positive_class,
            subjects=self._column(wide, "subject"),
            series=self._column(wide, "series"),
            official=self._column(wide, "official"),
            findings=wide.findings,
            root=path,
        )

    def _read(self, path: Path) -> WideTable:
        named = [c for c in self.columns.values() if c is not None]
        if len(set(named)) < len(named):
            raise ConfigError(f"expression_csv: one column is given two roles: {self.columns}")
        wide = read_wide(path, list(dict.fromkeys([*named, *self.ignore])))
        if not len(wide.values):
            raise FaultyDataError(f"{path}: the table has a header and no row")
        if not wide.genes:
            raise FaultyDataError(f"{path}: no column is left for genes beside {named}")
        return wide

    def _column(self, wide: WideTable, role: str) -> list[str | None] | None:
        """Entries of the column with this role, None where one is missing; None without such a
        column.
        """
        name = self.columns[role]
        if name is None:
            return None
        return [x if x.lower() not in MISSING else None for x in wide.text[name]]

    def _required(self, path: Path, wide: WideTable, role: str) -> list[str]:
        """Entries of a column in which none may be missing."""
        entries = self._column(wide, role) or []
        empty = [i for i, x in enumerate(entries, start=1) if x is None]
        if empty:
            raise FaultyDataError(
                f"{path}: column {self.columns[role]!r} ({role}) is empty in {len(empty)} rows, "
                f"the first row {empty[0]}"
            )
        return [str(x) for x in entries]

    def _classes(self, path: Path, labels: Sequence[str]) -> tuple[str, ...]:
        found = sorted(set(labels))
        classes = self.classes or tuple(found)
        column = self.columns["label"]
        unknown = sorted(set(found) - set(classes))
        if unknown:
            raise FaultyDataError(
                f"{path}: labels {unknown} in column {column!r} are not among classes "
                f"{list(classes)}"
            )
        if len(classes) < 2:
            raise FaultyDataError(f"{path}: column {column!r} holds one class only, {found}")
        if self.positive_class is not None and self.positive_class not in classes:
            raise ConfigError(
                f"expression_csv: positive={self.positive_class!r} is not among classes "
                f"{list(classes)}"
            )
        return classes

    def _path(self) -> Path:
        if self.root is None:
            raise MissingDataError(
                "expression_csv: no table given; set data.root=PATH to a .csv, .tsv or .parquet "
                "file"
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
                f"expression_csv: {self.root.name} is of no kind that is read "
                f"({', '.join(SUFFIXES)})"
            )
        return self.root

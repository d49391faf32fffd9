"""Data set `cumida`: one series or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, Report, some
from leukobench.data.expression_table import check_table, to_dataset
from leukobench.data.expression_values import ExpressionTable
from leukobench.data.facts import Counts
from leukobench.data.families.expression import FAMILY, ExpressionDataset
from leukobench.data.simulated import is_simulated
from leukobench.data.sources.cumida.series import (
    FACTS,
    SERIES,
    by_name,
    by_position,
    known_twins,
    mixed_column_findings,
    read_series,
    same_patient_findings,
    series_files,
)
from leukobench.data.wide_table import WideTable
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError

Merge = Literal["intersection", "position"]


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of several series in one order: names, types and series, one entry an array."""

    ids: list[str]
    types: list[str]
    series: list[str]

    def chosen(self, rows: Sequence[int]) -> Arrays:
        """The arrays of these rows."""
        return Arrays(
            ids=[self.ids[i] for i in rows],
            types=[self.types[i] for i in rows],
            series=[self.series[i] for i in rows],
        )


class Cumida(DataSource):
    """Series of CuMiDa, each a csv (or csv.gz) with columns `samples,type,probes`.

    Args:
        root: A folder of such files, or one file.
        merge: How several series become one table. `intersection` keeps the probes that all have,
            by name. `position`
            puts the first `n_columns` probes of each file under each other, whatever their names,
            as paper `kandi` did: column j is then another gene in another series.
        n_columns: Columns kept by `position`; 16382 is what a spreadsheet of 16384 columns leaves
            beside `samples` and `type`.
        series: The series to be merged, in this order; None takes all files of the folder, sorted
            by name.
        classes: The classes to be kept, all others are left out; None keeps all. Class order is
            alphabetical.
        positive: The class that sensitivity refers to, for two classes.
        target: What is to be predicted: the `type`, or, as a control, the `series` of an array. A
            model that names the series as well as the type may have learned the platform. `classes`
            chooses the arrays either way.

    Subjects are unknown: the files name arrays only. The patients of GSE22529 occur twice (two
    chips), and which two arrays are one patient's is not in the files: where both series are read,
    the data set names them in `same_patients`, and leak-free splits keep them in one part.
    """

    name: ClassVar[str] = "cumida"
    family: ClassVar[str] = FAMILY.name
    facts = FACTS
    simulates: ClassVar[str | None] = "cumida"

    def __init__(
        self,
        root: str | Path | None = None,
        merge: Merge = "intersection",
        n_columns: int = 16382,
        series: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        positive: str | None = None,
        target: Literal["type", "series"] = "type",
        allow_faulty: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        if target not in ("type", "series"):
            raise ConfigError(f"cumida: target={target!r} is neither 'type' nor 'series'")
        if merge not in ("intersection", "position"):
            raise ConfigError(f"cumida: merge={merge!r} is neither 'intersection' nor 'position'")
        if n_columns < 1:
            raise ConfigError(f"cumida: n_columns={n_columns} must be at least 1")
        self.merge = merge
        self.n_columns = n_columns
        self.series = tuple(series) if series is not None else None
        self.classes = tuple(sorted(classes)) if classes is not None else ()
        self.positive_class = positive
        self.target = target

    def load(self) -> ExpressionDataset:
        return to_dataset(self._table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self._table(progress))

    def get(self) -> Path | None:
        """Download the series from CuMiDa's server into `root`; files already there are kept.

        Raises:
            MissingDataError: The server cannot be reached; the message lists what to download by
                hand.
        """
        import pooch

        if self.root is None:
            raise MissingDataError(
                "cumida: no folder given; set data.root to the folder to download into"
            )
        urls = {s: FACTS.more["download"].format(series=s) for s in self.series or SERIES}
        for series, url in urls.items():
            target = self.root / f"Leukemia_{series}.csv"
            if target.exists():
                continue
            try:
                pooch.retrieve(url, known_hash=None, fname=target.name, path=self.root)
            except (OSError, ValueError) as error:
                listed = "\n".join(f"  {u}" for u in urls.values())
                raise MissingDataError(
                    f"cumida: {url} could not be downloaded ({type(error).__name__}). Download "
                    f"these files by hand, from "
                    f"there or from {FACTS.url}, into {self.root}:\n{listed}"
                ) from error
        return self.root

    def _table(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        files = series_files(self.root, self.series)
        tables = read_series(files.paths, progress)
        findings = list(files.findings)
        for table in tables.values():
            findings += table.findings
        values, genes = self._merged(tables)
        positional = self.merge == "position" and len(tables) > 1
        if positional:
            findings += mixed_column_findings(tables, self.n_columns)
        arrays = _arrays(tables)
        rows, left_out = self._chosen(arrays)
        findings += [*left_out, *same_patient_findings(tables)]
        chosen = arrays.chosen(rows)
        labels, classes = chosen.types, self.classes or tuple(sorted(set(arrays.types)))
        if self.target == "series":
            labels, classes = chosen.series, tuple(sorted(set(chosen.series)))
        return ExpressionTable(
            name="cumida_position" if positional else self.name,
            values=values if len(rows) == len(values) else values[rows],
            genes=genes,
            ids=chosen.ids,
            labels=labels,
            classes=classes,
            positive=self.positive_class,
            series=chosen.series,
            expected=self._expected(tables),
            further_counts={"series": {s: len(t.values) for s, t in tables.items()}},
            findings=tuple(findings),
            root=self.root,
            same_patients=known_twins(tables),
            facts={"merge": self.merge, "probes": {s: len(t.genes) for s, t in tables.items()}},
        )

    def _merged(self, tables: Mapping[str, WideTable]) -> tuple[np.ndarray, tuple[str, ...]]:
        """One value array and its gene names."""
        if len(tables) == 1:
            (table,) = tables.values()
            return table.values, table.genes
        return by_position(tables, self.n_columns) if self.merge == "position" else by_name(tables)

    def _chosen(self, arrays: Arrays) -> tuple[list[int], list[Finding]]:
        """Rows of the classes that are kept, and a note on the others.

        Raises:
            FaultyDataError: A class has no array.
        """
        if not self.classes:
            return list(range(len(arrays.types))), []
        found = sorted(set(arrays.types))
        absent = [c for c in self.classes if c not in found]
        if absent:
            raise FaultyDataError(
                f"cumida: no array of the classes {absent} in {self.root}; the types found are "
                f"{found}. Set "
                "data.classes to those wanted, or to null for all"
            )
        rows = [i for i, label in enumerate(arrays.types) if label in self.classes]
        others = [label for label in found if label not in self.classes]
        if not others:
            return rows, []
        n = len(arrays.types) - len(rows)
        message = (
            f"{n} arrays of other types ({', '.join(others)}) are left out, as data.classes says"
        )
        return rows, [Finding("classes_left_out", "note", message, n, some(others))]

    def _expected(self, tables: Mapping[str, WideTable]) -> Counts:
        """Official counts of the series that are read."""
        if is_simulated(self.root):
            return {}
        known = {s: SERIES[s] for s in tables if s in SERIES}
        if len(known) < len(tables) or self.classes:
            return {"series": known}
        return {"series": known, "sample": {"all": sum(known.values())}}


def _arrays(tables: Mapping[str, WideTable]) -> Arrays:
    """Names, types and series of the arrays of all series.

    Raises:
        FaultyDataError: An array has no type.
    """
    arrays = Arrays([], [], series=[])
    for series, table in tables.items():
        for name, label in zip(table.text["samples"], table.text["type"]):
            arrays.ids.append(f"{series}/{name}" if len(tables) > 1 else name)
            arrays.types.append(label)
            arrays.series.append(series)
    unlabelled = [i for i, label in zip(arrays.ids, arrays.types) if not label]
    if unlabelled:
        raise FaultyDataError(
            f"cumida: {len(unlabelled)} arrays have no type, for instance {unlabelled[0]!r}"
        )
    return arrays

"""CuMiDa's leukemia series: one of them, or several merged by probe name or by column position.

Source: B. C. Feltes et al., Journal of Computational Biology 26 (2019) 376-386, doi 10.1089/cmb.2018.0238. A series is
one csv `Leukemia_<GSE>[_chip].csv` with columns `samples`, `type` and one a probe. The seven series merged here are those
of table 2 of paper `kandi`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, Report
from leukobench.data.expression_checks import ExpressionTable, check_table, some, to_dataset
from leukobench.data.expression_csv import WideTable, header_of, read_wide, some_columns
from leukobench.data.families.expression import ExpressionDataset
from leukobench.data.simulated import is_simulated
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError, MissingDataError

Merge = Literal["intersection", "position"]
TEXT_COLUMNS = ("samples", "type")
SERIES: Mapping[str, int] = {
    "GSE14317": 25,
    "GSE71449": 45,
    "GSE33615": 71,
    "GSE63270": 101,
    "GSE28497": 281,
    "GSE22529_U133A": 52,
    "GSE22529_U133B": 52,
}
"""Arrays of each series: paper `kandi`, table 2, in its order."""
SAME_PATIENTS = ("GSE22529_U133A", "GSE22529_U133B")
"""Two chips of one study: each of its 52 patients has an array in both series."""
URL = "https://sbcb.inf.ufrgs.br/data/cumida/Genes/Leukemia/{series}/Leukemia_{series}.csv"


class Cumida(DataSource):
    """Series of CuMiDa, each a csv (or csv.gz) with columns `samples,type,probes`.

    Args:
        root: A folder of such files, or one file.
        merge: How several series become one table. `intersection` keeps the probes that all have, by name. `position`
            puts the first `n_columns` probes of each file under each other, whatever their names, as paper `kandi` did:
            column j is then another gene in another series.
        n_columns: Columns kept by `position`; 16382 is what a spreadsheet of 16384 columns leaves beside `samples` and
            `type`.
        series: The series to be merged, in this order; None takes all files of the folder, sorted by name.
        classes: The classes to be kept, all others are left out; None keeps all. Class order is alphabetical.
        positive: The class that sensitivity refers to, for two classes.
        target: What is to be predicted: the `type`, or, as a control, the `series` of an array. A model that names the
            series as well as the type may have learned the platform. `classes` chooses the arrays either way.

    Subjects are unknown: the files name arrays only. The patients of GSE22529 occur twice (two chips), and which two
    arrays are one patient's is not in the files.
    """

    name: ClassVar[str] = "cumida"
    family: ClassVar[str] = "expression"
    title: ClassVar[str] = "CuMiDa leukemia series"
    licence: ClassVar[str] = (
        "No licence stated by CuMiDa; the series are public in NCBI's Gene Expression Omnibus"
    )
    citation: ClassVar[str] = (
        "B. C. Feltes, E. B. Chandelier, B. I. Grisci, M. Dorn. CuMiDa: an extensively curated microarray database for "
        "benchmarking and testing of machine learning approaches in cancer research. Journal of Computational Biology 26, "
        "376-386 (2019). doi:10.1089/cmb.2018.0238"
    )
    url: ClassVar[str | None] = "https://sbcb.inf.ufrgs.br/cumida"
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {"series": SERIES}

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
            MissingDataError: The server cannot be reached; the message lists what to download by hand.
        """
        import pooch

        if self.root is None:
            raise MissingDataError(
                "cumida: no folder given; set data.root to the folder to download into"
            )
        for series in self.series or SERIES:
            url = URL.format(series=series)
            target = self.root / f"Leukemia_{series}.csv"
            if target.exists():
                continue
            try:
                pooch.retrieve(url, known_hash=None, fname=target.name, path=self.root)
            except (OSError, ValueError) as error:
                urls = "\n".join(f"  {URL.format(series=s)}" for s in self.series or SERIES)
                raise MissingDataError(
                    f"cumida: {url} could not be downloaded ({type(error).__name__}). Download these files by hand, from "
                    f"there or from {self.url}, into {self.root}:\n{urls}"
                ) from error
        return self.root

    def simulate(
        self,
        out: Path,
        samples: int | None = None,
        subjects: int | None = None,
        seed: int = 0,
        genes: int = 20000,
    ) -> Path:
        """Write seven simulated series under `out`; `genes` is the number of probes of which each platform has 17 in 20.

        Raises:
            LeukoBenchError: `subjects` is given: the files name no subjects.
        """
        from leukobench.data.simulate_expression import simulate_cumida

        if subjects is not None:
            raise LeukoBenchError("cumida names no subjects: give samples alone")
        return simulate_cumida(out, samples or sum(SERIES.values()), seed, genes)

    def _table(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        files, findings = self._files()
        tables: dict[str, WideTable] = {}
        for i, (series, path) in enumerate(files.items()):
            if progress:
                progress(f"reading {path.name}", i, len(files))
            tables[series] = read_wide(path, TEXT_COLUMNS)
            if not len(tables[series].values):
                raise FaultyDataError(f"{path}: the table has a header and no row; get it again")
            findings += tables[series].findings
        if progress:
            progress("reading", len(files), len(files))
        values, genes = self._merged(tables)
        if self.merge == "position" and len(tables) > 1:
            findings += _mixed_columns([t.genes[: self.n_columns] for t in tables.values()])
        labels = [label for t in tables.values() for label in t.text["type"]]
        of_series = [series for series, t in tables.items() for _ in t.text["type"]]
        names = [sample for t in tables.values() for sample in t.text["samples"]]
        ids = [f"{s}/{n}" for s, n in zip(of_series, names)] if len(tables) > 1 else names
        unlabelled = [i for i, label in zip(ids, labels) if not label]
        if unlabelled:
            raise FaultyDataError(
                f"cumida: {len(unlabelled)} arrays have no type, for instance {unlabelled[0]!r}"
            )
        found = sorted(set(labels))
        absent = [c for c in self.classes if c not in found]
        if absent:
            raise FaultyDataError(
                f"cumida: no array of the classes {absent} in {self.root}; the types found are {found}. Set data.classes to "
                "those wanted, or to null for all"
            )
        classes = self.classes or tuple(found)
        per_series = {series: len(t.values) for series, t in tables.items()}
        keep = [i for i, label in enumerate(labels) if label in classes]
        if len(keep) < len(labels):
            others = sorted(set(labels) - set(classes))
            message = f"{len(labels) - len(keep)} arrays of other types ({', '.join(others)}) are left out, as data.classes says"
            findings.append(
                Finding("classes_left_out", "note", message, len(labels) - len(keep), some(others))
            )
        if all(s in tables for s in SAME_PATIENTS):
            message = (
                f"{' and '.join(SAME_PATIENTS)} are two chips of the same patients; which arrays belong together is not in "
                "the files, so a split by sample may put one patient on both sides: leave one of the two out of "
                "data.series, or keep series together"
            )
            findings.append(
                Finding(
                    "patients_in_two_series",
                    "warning",
                    message,
                    SERIES[SAME_PATIENTS[0]],
                    SAME_PATIENTS,
                )
            )
        expected: dict[str, Mapping[str, int]] = {}
        if not is_simulated(self.root):
            known = {s: SERIES[s] for s in tables if s in SERIES}
            expected = {"series": known}
            if len(known) == len(tables) and not self.classes:
                expected["sample"] = {"all": sum(known.values())}
        return ExpressionTable(
            name="cumida_position" if self.merge == "position" and len(tables) > 1 else self.name,
            values=values[keep] if len(keep) < len(labels) else values,
            genes=genes,
            ids=[ids[i] for i in keep],
            labels=[(labels if self.target == "type" else of_series)[i] for i in keep],
            classes=classes
            if self.target == "type"
            else tuple(sorted({of_series[i] for i in keep})),
            positive=self.positive_class,
            series=[of_series[i] for i in keep],
            expected=expected,
            further_counts={"series": per_series},
            findings=tuple(findings),
            root=self.root,
            facts={"merge": self.merge, "probes": {s: len(t.genes) for s, t in tables.items()}},
        )

    def _files(self) -> tuple[dict[str, Path], list[Finding]]:
        """Path of each series, in the order asked for."""
        if self.root is None:
            raise MissingDataError(
                "cumida: no folder given; set data.root to a folder of CuMiDa csv files, or to one file"
            )
        if self.root.is_file():
            if list(header_of(self.root)[:2]) != list(TEXT_COLUMNS):
                raise FaultyDataError(
                    f"{self.root}: not a CuMiDa table: its columns are {some_columns(header_of(self.root))}; expected "
                    f"are {', '.join(TEXT_COLUMNS)} and probes"
                )
            return {series_name(self.root): self.root}, []
        found: dict[str, Path] = {}
        others: list[str] = []
        for path in sorted(self.root.glob("*")) if self.root.is_dir() else []:
            if not path.name.lower().endswith((".csv", ".csv.gz")):
                continue
            if header_of(path)[:2] != list(TEXT_COLUMNS):
                others.append(path.name)
                continue
            name = series_name(path)
            if name in found:
                raise FaultyDataError(
                    f"cumida: {found[name].name} and {path.name} are both series {name}; remove one"
                )
            found[name] = path
        if not found:
            raise MissingDataError(
                f"cumida: no table with columns samples,type,... in {self.root}. `leukobench data get cumida` downloads the "
                f"series, or take them from {self.url}"
            )
        findings = []
        if others:
            message = f"{len(others)} tables do not begin with the columns samples,type and are not read: {', '.join(others[:5])}"
            findings.append(Finding("surplus_files", "note", message, len(others), some(others)))
        if self.series is None:
            return found, findings
        absent = [s for s in self.series if s not in found]
        if absent:
            raise MissingDataError(
                f"cumida: {len(absent)} of {len(self.series)} series are missing in {self.root}: {', '.join(absent)} (found: "
                f"{', '.join(found)}). `leukobench data get cumida` downloads them; data.series=null takes what is there"
            )
        unused = [path.name for name, path in found.items() if name not in self.series]
        if unused:
            message = f"{len(unused)} further series lie in the folder and are not read: {', '.join(unused[:5])}"
            findings.append(Finding("surplus_files", "note", message, len(unused), some(unused)))
        return {s: found[s] for s in self.series}, findings

    def _merged(self, tables: Mapping[str, WideTable]) -> tuple[np.ndarray, tuple[str, ...]]:
        """One value array and its gene names."""
        if len(tables) == 1:
            (table,) = tables.values()
            return table.values, table.genes
        if self.merge == "position":
            narrow = {s: len(t.genes) for s, t in tables.items() if len(t.genes) < self.n_columns}
            if narrow:
                raise FaultyDataError(
                    f"cumida: merging by position wants the first {self.n_columns} probes of each series, but there are only "
                    f"{', '.join(f'{n} in {s}' for s, n in narrow.items())}; set data.n_columns={min(narrow.values())} or less"
                )
            genes = tuple(f"column_{j + 1}" for j in range(self.n_columns))
            return np.concatenate([t.values[:, : self.n_columns] for t in tables.values()]), genes
        sets = {s: set(t.genes) for s, t in tables.items()}
        shared = set.intersection(*sets.values())
        first = next(iter(tables.values()))
        genes = tuple(g for g in dict.fromkeys(first.genes) if g in shared)
        if not genes:
            pairs = ((len(sets[a] & sets[b]), a, b) for a, b in combinations(sets, 2))
            listed = "; ".join(f"{a} and {b} {n}" for n, a, b in sorted(pairs)[:8])
            raise FaultyDataError(
                f"cumida: no probe is in all {len(tables)} series; the pairs with the fewest in common: {listed}. Choose series "
                "of one kind of platform with data.series (data=cumida_affymetrix does), or merge=position, which mixes genes"
            )
        blocks = []
        for table in tables.values():
            at = {g: i for i, g in enumerate(table.genes)}
            blocks.append(table.values[:, [at[g] for g in genes]])
        return np.concatenate(blocks), genes


def series_name(path: Path) -> str:
    """Series of a file: `Leukemia_GSE22529_U133A.csv` is GSE22529_U133A; without a GSE number the file's name."""
    stem = re.sub(r"\.csv(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    found = re.search(r"GSE\d+(_[A-Za-z0-9]+)*", stem)
    return found.group() if found else stem


def _mixed_columns(probes: Sequence[Sequence[str]]) -> list[Finding]:
    """Columns that hold different probes in different series, when tables are merged by position."""
    mixed = [j for j, names in enumerate(zip(*probes)) if len(set(names)) > 1]
    if not mixed:
        return []
    message = (
        f"{len(mixed)} of {len(probes[0])} columns are different probes in different series, since the tables are merged by "
        "position: differences between series stand where differences between classes should; merge=intersection keeps "
        "probes apart"
    )
    return [
        Finding(
            "columns_mix_probes",
            "warning",
            message,
            len(mixed),
            some(f"column_{j + 1}" for j in mixed),
        )
    ]

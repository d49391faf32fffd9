"""The csv files of a folder, by series, and how several become one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from leukobench.data.check import Finding, some
from leukobench.data.facts import read_facts
from leukobench.data.wide_table import WideTable, header_of, read_wide, some_columns
from leukobench.errors import FaultyDataError, MissingDataError

FACTS = read_facts("leukobench.data.sources.cumida", "cumida")
SERIES: Mapping[str, int] = FACTS.counts["series"]
SAME_PATIENTS: tuple[str, ...] = tuple(FACTS.more["same_patients"])
TEXT_COLUMNS = ("samples", "type")


@dataclass(frozen=True)
class SeriesFiles:
    """File of each series, in the order asked for, and what was found beside them."""

    paths: Mapping[str, Path]
    findings: tuple[Finding, ...] = ()


def series_name(path: Path) -> str:
    """Series of a file: `Leukemia_GSE22529_U133A.csv` is GSE22529_U133A; without a GSE number the
    file's name.
    """
    stem = re.sub(r"\.csv(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    found = re.search(r"GSE\d+(_[A-Za-z0-9]+)*", stem)
    return found.group() if found else stem


def series_files(root: Path | None, wanted: Sequence[str] | None) -> SeriesFiles:
    """The files of the series that are wanted, or of all.

    Raises:
        MissingDataError: There is no such file; the message says which and how to get them.
        FaultyDataError: A file is no CuMiDa table, or two are of one series.
    """
    if root is None:
        raise MissingDataError(
            "cumida: no folder given; set data.root to a folder of CuMiDa csv files, or to one file"
        )
    if root.is_file():
        head = header_of(root)
        if tuple(head[:2]) != TEXT_COLUMNS:
            raise FaultyDataError(
                f"{root}: not a CuMiDa table: its columns are {some_columns(head)}; expected "
                f"are {', '.join(TEXT_COLUMNS)} and probes"
            )
        return SeriesFiles({series_name(root): root})
    found, others = _in_folder(root)
    if not found:
        raise MissingDataError(
            f"cumida: no table with columns samples,type,... in {root}. `leukobench data get "
            f"cumida` downloads the "
            f"series, or take them from {FACTS.url}"
        )
    findings = _surplus(
        "tables do not begin with the columns samples,type and are not read", others
    )
    if wanted is None:
        return SeriesFiles(found, tuple(findings))
    absent = [s for s in wanted if s not in found]
    if absent:
        raise MissingDataError(
            f"cumida: {len(absent)} of {len(wanted)} series are missing in {root}: "
            f"{', '.join(absent)} (found: "
            f"{', '.join(found)}). `leukobench data get cumida` downloads them; data.series=null "
            f"takes what is there"
        )
    unused = [path.name for name, path in found.items() if name not in wanted]
    findings += _surplus("further series lie in the folder and are not read", unused)
    return SeriesFiles({s: found[s] for s in wanted}, tuple(findings))


def _surplus(what: str, names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    message = f"{len(names)} {what}: {', '.join(names[:5])}"
    return [Finding("surplus_files", "note", message, len(names), some(names))]


def _in_folder(root: Path) -> tuple[dict[str, Path], list[str]]:
    """File of each series in a folder, and the names of other tables there."""
    found: dict[str, Path] = {}
    others: list[str] = []
    for path in sorted(root.glob("*")) if root.is_dir() else []:
        if not path.name.lower().endswith((".csv", ".csv.gz")):
            continue
        if tuple(header_of(path)[:2]) != TEXT_COLUMNS:
            others.append(path.name)
            continue
        name = series_name(path)
        if name in found:
            raise FaultyDataError(
                f"cumida: {found[name].name} and {path.name} are both series {name}; remove one"
            )
        found[name] = path
    return found, others


def read_series(
    paths: Mapping[str, Path], progress: Callable[[str, int, int], None] | None
) -> dict[str, WideTable]:
    """The table of each series.

    Raises:
        FaultyDataError: One has no row.
    """
    tables: dict[str, WideTable] = {}
    for i, (series, path) in enumerate(paths.items()):
        if progress:
            progress(f"reading {path.name}", i, len(paths))
        tables[series] = read_wide(path, TEXT_COLUMNS)
        if not len(tables[series].values):
            raise FaultyDataError(f"{path}: the table has a header and no row; get it again")
    if progress:
        progress("reading", len(paths), len(paths))
    return tables


def by_position(
    tables: Mapping[str, WideTable], n_columns: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The first columns of each series under each other, whatever their probes.

    Raises:
        FaultyDataError: A series has fewer.
    """
    narrow = {s: len(t.genes) for s, t in tables.items() if len(t.genes) < n_columns}
    if narrow:
        listed = ", ".join(f"{n} in {s}" for s, n in narrow.items())
        raise FaultyDataError(
            f"cumida: merging by position wants the first {n_columns} probes of each series, but "
            f"there are only "
            f"{listed}; set data.n_columns={min(narrow.values())} or less"
        )
    values = np.concatenate([t.values[:, :n_columns] for t in tables.values()])
    return values, tuple(f"column_{j + 1}" for j in range(n_columns))


def by_name(tables: Mapping[str, WideTable]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The probes that all series have, in the order of the first.

    Raises:
        FaultyDataError: There is none.
    """
    probes = {s: set(t.genes) for s, t in tables.items()}
    shared = set.intersection(*probes.values())
    first = next(iter(tables.values()))
    genes = tuple(g for g in dict.fromkeys(first.genes) if g in shared)
    if not genes:
        pairs = [(len(probes[a] & probes[b]), a, b) for a, b in combinations(probes, 2)]
        listed = "; ".join(f"{a} and {b} {n}" for n, a, b in sorted(pairs)[:8])
        raise FaultyDataError(
            f"cumida: no probe is in all {len(tables)} series; the pairs with the fewest in "
            f"common: {listed}. Choose "
            "series of one kind of platform with data.series (data=cumida_affymetrix does), or "
            "merge=position, which "
            "mixes genes"
        )
    blocks = []
    for table in tables.values():
        at = {g: i for i, g in enumerate(table.genes)}
        blocks.append(table.values[:, [at[g] for g in genes]])
    return np.concatenate(blocks), genes


def mixed_column_findings(tables: Mapping[str, WideTable], n_columns: int) -> list[Finding]:
    """Columns that hold different probes in different series, when tables are merged by
    position.
    """
    columns = zip(*(t.genes[:n_columns] for t in tables.values()))
    mixed = [j for j, names in enumerate(columns, start=1) if len(set(names)) > 1]
    if not mixed:
        return []
    message = (
        f"{len(mixed)} of {n_columns} columns are different probes in different series, since the "
        f"tables are merged by "
        "position: differences between series stand where differences between classes should; "
        "merge=intersection keeps "
        "probes apart"
    )
    where = some(f"column_{j}" for j in mixed)
    return [Finding("columns_mix_probes", "warning", message, len(mixed), where)]


def known_twins(series: Mapping[str, WideTable]) -> tuple[tuple[str, ...], ...]:
    """The groups of series that hold the same patients, of those that are read."""
    return (SAME_PATIENTS,) if all(s in series for s in SAME_PATIENTS) else ()


def same_patient_findings(series: Mapping[str, WideTable]) -> list[Finding]:
    """The two series that hold the same patients, where both are read."""
    if not known_twins(series):
        return []
    message = (
        f"{' and '.join(SAME_PATIENTS)} are two chips of the same patients; which arrays belong "
        "together is not in the files, so a split by sample may put one patient on both sides: "
        "keep_together=auto (protocol=leak_free) keeps both series in one part; or leave one of "
        "the two out of data.series"
    )
    count = SERIES[SAME_PATIENTS[0]]
    return [Finding("patients_in_two_series", "warning", message, count, SAME_PATIENTS)]

"""Tables of expression to predict or explain: files, folders and zips, a model's genes found by
name.
"""

from __future__ import annotations

import csv
import difflib
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from leukobench.data.image_files import find_files, unpack_zip
from leukobench.data.wide_table import MISSING, SUFFIXES, header_of, read_wide, separator_of
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError
from leukobench.training.image_inputs import IMAGE_SUFFIXES

ID_COLUMNS = ("sample", "samples", "sample_id", "id", "name", "patient", "array", "unnamed: 0", "")


def table_files(paths: Sequence[Path], scratch: Path) -> Iterator[tuple[str, Path]]:
    """Tables behind files, folders and zips: how each is called, and where it is."""
    for path in paths:
        if path.is_dir() or path.suffix.lower() == ".zip":
            folder = path
            if path.is_file():
                folder = unpack_zip(path.resolve(), scratch / f"{len(list(scratch.iterdir()))}")
            tables = [f for f in find_files(folder) if f.name.lower().endswith(SUFFIXES)]
            if not tables:
                raise MissingDataError(
                    f"{path} has no table of expression; read are {', '.join(SUFFIXES)}"
                )
            yield from ((str(path / f.relative_to(folder)), f) for f in tables)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            raise ConfigError(
                f"{path} is an image, and this model reads tables of expression "
                f"({', '.join(SUFFIXES)})"
            )
        elif not path.name.lower().endswith(SUFFIXES):
            raise ConfigError(
                f"{path} is of no kind that is read; a table ends in {', '.join(SUFFIXES)}"
            )
        else:
            yield str(path), path


def read_expression(
    path: Path, genes: Sequence[str], id_column: str | None = None
) -> tuple[list[str], np.ndarray, list[str]]:
    """Samples and values of a model's genes from a table with one row a sample.

    Columns are found by name: their order does not matter, and further ones are not used.

    Returns:
        Sample names; values in the order of `genes`, shape (n, genes), float32, NaN where one is
        missing; notes.

    Raises:
        FaultyDataError: Genes are missing, a column name stands twice, or the table cannot be read.
    """
    header = _header(path, genes)
    wanted = set(genes)
    extra = [name for name in header if name not in wanted]
    text = _text_columns(path, header, extra)
    id_column = _id_column(path, header, extra, text=text, asked=id_column)
    table = read_wide(path, list(dict.fromkeys([*text, *filter(None, [id_column])])))
    if not len(table.values):
        raise FaultyDataError(f"{path}: the table has a header and no row")
    column = {g: i for i, g in enumerate(table.genes)}
    values = np.ascontiguousarray(table.values[:, [column[g] for g in genes]])
    ids = [f"{path.name}:{i + 1}" for i in range(len(values))]
    if id_column is not None:
        ids = list(table.text[id_column])
    notes = []
    unused = [c for c in extra if c != id_column]
    if unused:
        notes.append(f"{len(unused)} columns are not read by the model, for instance {unused[0]!r}")
    if [n for n in header if n in wanted] != list(genes):
        notes.append("the genes stand in another order than in training; they are taken by name")
    return ids, values, notes


def _header(path: Path, genes: Sequence[str]) -> list[str]:
    """Column names of a table in which each gene stands once.

    Raises:
        FaultyDataError: It cannot be read, or a gene is missing or stands twice.
    """
    try:
        header = header_of(path)
    except (OSError, ValueError) as e:  # pyarrow's errors are of both
        raise FaultyDataError(f"{path} cannot be read as a table ({e})") from e
    times = Counter(header)
    twice = [g for g in genes if times[g] > 1]
    if twice:
        raise FaultyDataError(
            f"{path}: {len(twice)} genes stand in several columns, for instance {twice[0]!r}; "
            "keep one each"
        )
    missing = [g for g in genes if not times[g]]
    if missing:
        raise FaultyDataError(missing_genes(path, header, genes, missing))
    return header


def _id_column(
    path: Path,
    header: Sequence[str],
    extra: Sequence[str],
    *,
    text: Sequence[str],
    asked: str | None,
) -> str | None:
    """Column of sample names: that asked for, else one that is called so, else the first of text.

    Raises:
        FaultyDataError: There is no such column.
    """
    if asked is None:
        named = [c for c in extra if c.strip().lower() in ID_COLUMNS]
        return next(iter([*named, *text]), None)
    if asked not in header:
        near = difflib.get_close_matches(asked, header, n=2)
        hint = f"; near it: {near}" if near else ""
        raise FaultyDataError(f"{path}: no column {asked!r} of sample names{hint}")
    return asked


def _text_columns(path: Path, header: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Columns that are no genes of the model and whose first entry is no number."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pq.read_schema(path)
        return [
            c
            for c in extra
            if not (
                pa.types.is_floating(schema.field(c).type)
                or pa.types.is_integer(schema.field(c).type)
            )
        ]
    with (
        gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8-sig") as file
    ):
        separator = separator_of(file.readline())
        entries = next(csv.reader((line for line in file if line.strip()), delimiter=separator), [])
    entry = dict(zip(header, entries))
    return [c for c in extra if not _is_number(entry.get(c, ""))]


def _is_number(text: str) -> bool:
    if text.strip().lower() in MISSING:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def missing_genes(
    path: Path, header: Sequence[str], genes: Sequence[str], missing: Sequence[str]
) -> str:
    listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    count = f"{len(missing)} of the" if len(missing) < len(genes) else "all"
    what = f"{path}: {count} {len(genes)} genes that the model reads are missing: {listed}."
    lower = {h.lower(): h for h in header}
    cased = next((lower[g.lower()] for g in missing if g.lower() in lower), None)
    if cased is not None:
        return f"{what} {cased!r} is there in other letters: names must agree exactly."
    if len(missing) == len(genes):
        rows = _first_fields(path)
        if rows & set(genes):
            return f"{what} They stand in rows: transpose the table, so that each row is a sample."
        return (
            f"{what} None is there: the table is of another platform, or has no line of names "
            f"(its first columns: {', '.join(map(repr, header[:4]))})."
        )
    near = difflib.get_close_matches(missing[0], header, n=1)
    return f"{what} Other columns cannot stand for them" + (
        f" (near {missing[0]!r}: {near[0]!r})." if near else "."
    )


def _first_fields(path: Path, lines: int = 200) -> set[str]:
    """First two fields of the first lines of a text table."""
    if path.suffix in (".parquet", ".gz") or not path.is_file():
        return set()
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        separator = separator_of(file.readline())
        return {
            f.strip('"')
            for _, line in zip(range(lines), file)
            for f in line.split(separator, 2)[:2]
        }

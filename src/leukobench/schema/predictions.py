"""Predictions: the table that every number comes from, one row a sample and part of one result.

`predictions` makes one, `write` and `read` bring it to a Parquet file and back. A file is checked
when it is written and when it is read, so that whoever has the frame need not. Columns stand in
`COLUMNS`; behind them, one column a class in class order holds the class's probability
(`probability_column`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from leukobench.errors import LeukoBenchError, cut

if TYPE_CHECKING:
    from typing import BinaryIO

    import pandas as pd
    import pyarrow as pa

VERSION = 1
FILE = "predictions.parquet"
PROBABILITY = "p_"
"""Begins the name of a class's column."""
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
TOLERANCE = 0.01
"""How far from 1 the probabilities of a row may sum: float32, averaged or scaled."""

_VERSION_KEY = b"leukobench.schema_version"


@dataclass(frozen=True)
class Column:
    """A column of the file.

    Attributes:
        kind: `text`, or `whole` for whole numbers.
        known: Whether every row has a value.
        always: Whether every file has the column.
    """

    name: str
    kind: Literal["text", "whole"]
    known: bool = True
    always: bool = True


COLUMNS = (
    Column("sample", "text"),
    Column("subject", "text", known=False),
    Column("part", "text"),
    Column("fold", "whole"),
    Column("epoch", "whole"),
    Column("label", "text"),
    Column("series", "text", known=False, always=False),
)


class PredictionsError(LeukoBenchError):
    """Predictions that are not what every reader counts on; the message names file and column."""


def probability_column(class_name: str) -> str:
    """Name of the column that holds a class's probability."""
    return PROBABILITY + class_name


def probability_columns(classes: Iterable[str]) -> list[str]:
    """Names of the columns of these classes, in their order."""
    return [probability_column(name) for name in classes]


def classes_among(columns: Iterable[object]) -> tuple[str, ...]:
    """Names of the classes that have a column, in class order; empty where none has."""
    names = map(str, columns)
    return tuple(name.removeprefix(PROBABILITY) for name in names if name.startswith(PROBABILITY))


def predictions(
    samples: pd.DataFrame,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    part: str,
    fold: int,
    epoch: int,
) -> pd.DataFrame:
    """Predictions of one part.

    Args:
        samples: One row a sample, its id as index, with `subject`, `label` and `series`, as a data
            set describes them.
        probabilities: Shape (samples, classes).
        classes: In the order of the probabilities.
        epoch: Checkpoint epoch.
    """
    import pandas as pd

    frame = pd.DataFrame(
        {
            "sample": samples.index.to_numpy(),
            "subject": samples["subject"].to_numpy(),
            "part": part,
            "fold": np.int32(fold),
            "epoch": np.int32(epoch),
            "label": samples["label"].to_numpy(),
        }
    )
    if samples["series"].notna().any():
        frame["series"] = samples["series"].to_numpy()
    columns = {
        probability_column(name): probabilities[:, i].astype(np.float32)
        for i, name in enumerate(classes)
    }
    return frame.assign(**columns)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write predictions to a Parquet file.

    Raises:
        PredictionsError: The frame is no predictions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    check(table, f"predictions for {path}")
    metadata = {**(table.schema.metadata or {}), _VERSION_KEY: str(VERSION).encode()}
    pq.write_table(
        table.replace_schema_metadata(metadata), path, compression="zstd", write_page_checksum=True
    )


def read(source: Path | BinaryIO, name: str = "") -> pd.DataFrame:
    """Predictions of a Parquet file. Errors as in `read_table`."""
    # what pandas wrote of itself beside the columns may be damaged, and is not needed
    return read_table(source, name).replace_schema_metadata(None).to_pandas()


def read_table(source: Path | BinaryIO, name: str = "") -> pa.Table:
    """Predictions of a Parquet file, as Arrow's table.

    Args:
        name: What to call the source in errors; a path by default.

    Raises:
        PredictionsError: It is damaged, of a later version, or holds no predictions.
        FileNotFoundError
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = name or str(source)
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read()
        check(table, where)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        said = " ".join(str(e).split())
        raise PredictionsError(
            f"{where} is damaged ({cut(said, 200)}); `leukobench fsck --repair` takes a sound copy "
            "where there is one; else run it again with --force"
        ) from e
    return table


def check(table: pa.Table, where: str) -> None:
    """Whether a table holds predictions: its columns, their types, and values that can be.

    Raises:
        PredictionsError: The message names what was found, expected, and where.
    """
    version = int((table.schema.metadata or {}).get(_VERSION_KEY, VERSION))
    if version > VERSION:
        raise PredictionsError(
            f"{where} was written by a later LeukoBench (predictions of version {version}; this "
            f"one reads up to {VERSION}): update it (pip install -U leukobench)"
        )
    for column in COLUMNS:
        _check_column(table, column, where)
    classes = classes_among(table.column_names)
    if len(classes) < 2:
        raise PredictionsError(
            f"{where}: expected a column {PROBABILITY}<class> for each of at least two classes, "
            f"found the columns {table.column_names}"
        )
    _check_values(table, "part", PARTS, where)
    _check_values(table, "label", classes, where)
    _check_probabilities(table, classes, where)


def _check_column(table: pa.Table, column: Column, where: str) -> None:
    if column.name not in table.column_names:
        if not column.always:
            return
        raise PredictionsError(
            f"{where}: the column {column.name!r} is missing; found {table.column_names}"
        )
    values = table.column(column.name)
    # of a column without any value the type is not known
    if not _is_of(values.type, column.kind) and values.null_count < len(values):
        raise PredictionsError(
            f"{where}: the column {column.name!r} holds {values.type}, expected {column.kind}"
        )
    if column.known and values.null_count:
        raise PredictionsError(
            f"{where}: {values.null_count} of {len(values)} rows have no {column.name!r}"
        )


def _is_of(type: pa.DataType, kind: str) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(type):
        type = type.value_type
    if kind == "whole":
        return pa.types.is_integer(type)
    return pa.types.is_string(type) or pa.types.is_large_string(type)


def _check_values(table: pa.Table, column: str, allowed: Sequence[str], where: str) -> None:
    found = set(table.column(column).unique().to_pylist())
    strange = sorted(found - set(allowed))
    if strange:
        raise PredictionsError(
            f"{where}: the column {column!r} holds {strange[0]!r}, expected one of "
            f"{', '.join(allowed)}"
        )


def _check_probabilities(table: pa.Table, classes: Sequence[str], where: str) -> None:
    import pyarrow as pa

    sums = np.zeros(len(table))
    for name in probability_columns(classes):
        values = table.column(name)
        if not pa.types.is_floating(values.type):
            raise PredictionsError(
                f"{where}: the column {name!r} holds {values.type}, expected numbers"
            )
        p = values.to_numpy()
        # comparisons with NaN are false
        wrong = np.flatnonzero(~((p >= 0) & (p <= 1 + 1e-6)))
        if len(wrong):
            raise PredictionsError(
                f"{where}: the column {name!r} holds {p[wrong[0]]} in row {wrong[0] + 1}, "
                "expected probabilities from 0 to 1"
            )
        sums += p
    far = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if len(far):
        raise PredictionsError(
            f"{where}: the probabilities of row {far[0] + 1} sum to {sums[far[0]]:.4g}, expected 1"
        )

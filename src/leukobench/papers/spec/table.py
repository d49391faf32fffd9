"""Tables and figures of a paper file, and the arms under which they are reproduced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field, model_validator

from leukobench.evaluation.registry import find, known_names
from leukobench.papers.spec.base import Identifier, Strict, Text
from leukobench.papers.spec.facets import Entries, Facets, Part, Published
from leukobench.papers.spec.mistakes import Mistake, given_twice, refuse
from leukobench.papers.spec.overrides import Overrides

FigureType = Literal[
    "learning_curves",
    "test_accuracy_by_epoch",
    "confusion_matrix",
    "roc",
    "autoencoder_loss",
    "autoencoder_error_histogram",
    "reconstruction",
    "class_pie",
    "gene_correlations",
]
Baseline = Literal["majority", "series_oracle"]


class Arm(Strict):
    """One way to reproduce the paper: its own protocol, leak-free, ...

    Attributes:
        label: Heading of its columns.
        overrides: Config choices it adds to every cell.
        leak_free: Whether nothing of the test leaks into training under it.
        reason: Why the arm is impossible; it then has no overrides and its cells say the reason.
    """

    label: Text
    overrides: Overrides = ()
    leak_free: bool = False
    reason: Text | None = None

    @model_validator(mode="after")
    def _runs_or_reason(self) -> Arm:
        if self.reason is not None and self.overrides:
            raise ValueError("an arm with a `reason` cannot be run: it has no `overrides`")
        return self

    @property
    def possible(self) -> bool:
        return self.reason is None


class Column(Facets):
    """A column; `title` defaults to the id.

    Attributes:
        difference: Ids of two columns: the cells are those of the first minus those of the second,
            and need no runs.
    """

    id: Identifier
    title: Text | None = None
    note: Text | None = None
    difference: tuple[Text, Text] | None = None


class Row(Facets):
    """A row.

    Attributes:
        keys: Facts about the row that belong into the key of its cells (`{study: "[9]", images:
            260}`).
        mean_of: Ids of rows of the same table: the row's cells are the means of theirs, and no run
            fills them.
        difference: Ids of two rows, as for columns.
        cells: A list in the order of the columns, or a mapping from column id for sparse rows.
    """

    id: Identifier
    title: Text | None = None
    note: Text | None = None
    keys: dict[str, Text] = {}
    mean_of: tuple[Text, ...] = ()
    difference: tuple[Text, Text] | None = None
    cells: Entries = ()

    @property
    def entries(self) -> tuple[Published | None, ...]:
        """What is published in it, in the order of the file."""
        return tuple(self.cells.values() if isinstance(self.cells, dict) else self.cells)


class Table(Facets):
    """A table of the paper, or one of our own (no `cells`: nothing is published, runs fill it).

    Attributes:
        keys: Facts that hold for every cell and belong into its key (`{model: VGG16, optimizer:
            Adam}`).
        baselines: Shown beside the models.
        compare: What is compared with paired tests on the same samples.
        beside: Metrics that an honest reader wants beside the published ones.
        difference: Two arms: each cell also shows the first minus the second.
    """

    id: Identifier
    title: Text
    note: Text | None = None
    keys: dict[str, Text] = {}
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)
    baselines: tuple[Baseline, ...] = ()
    compare: Literal["rows", "columns", "none"] = "none"
    beside: tuple[str, ...] = ()
    difference: tuple[str, str] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Table:
        refuse(_mistakes(self))
        return self


class Series(Strict):
    """One line or panel of a figure."""

    label: Text
    overrides: Overrides = ()
    of: Text | None = None


class Figure(Strict):
    """A figure: what kind it is and which runs fill it. Without `series`, `overrides` alone name
    the one run."""

    id: Identifier
    title: Text
    type: FigureType
    place: Text
    note: Text | None = None
    part: Part = "test"
    arms: tuple[str, ...] | None = None
    overrides: Overrides = ()
    series: tuple[Series, ...] = ()


# --- what must fit together in a table ------------------------------------------------------------


def _mistakes(table: Table) -> Iterator[Mistake]:
    yield from given_twice(table.columns, ("columns",), "column")
    yield from given_twice(table.rows, ("rows",), "row")
    for metric in table.beside:
        if find(metric) is None:
            known = ", ".join(known_names())
            yield Mistake(("beside",), f"{metric!r} is none of the metrics {known}")
    for r, row in enumerate(table.rows):
        yield from _of_row(table, row, r)
    yield from _of_differences(table.columns, "column")
    yield from _of_differences(table.rows, "row")


def _of_row(table: Table, row: Row, r: int) -> Iterator[Mistake]:
    columns = [column.id for column in table.columns]
    plain = {other.id for other in table.rows if not other.mean_of}
    for other in row.mean_of:
        if other not in plain:
            yield Mistake(("rows", r, "mean_of"), f"there is no row {other!r} to average")
    if isinstance(row.cells, dict):
        for unknown in sorted(set(row.cells) - set(columns)):
            message = f"there is no column {unknown!r}, only {columns}"
            yield Mistake(("rows", r, "cells", unknown), message)
    elif row.cells and len(row.cells) != len(columns):
        message = f"{len(row.cells)} cells for the {len(columns)} columns {columns}"
        yield Mistake(("rows", r, "cells"), message)


def _of_differences(lines: Sequence[Column | Row], word: str) -> Iterator[Mistake]:
    plain = {line.id for line in lines if line.difference is None}
    for i, line in enumerate(lines):
        for other in line.difference or ():
            if other not in plain:
                message = f"there is no {word} {other!r} to subtract"
                yield Mistake((f"{word}s", i, "difference"), message)

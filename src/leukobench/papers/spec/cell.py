"""The cells that a table resolves to: each with everything that the levels above it say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from leukobench.errors import PaperError
from leukobench.evaluation.definition import Averaging
from leukobench.evaluation.registry import find
from leukobench.papers.spec.facets import (
    Choice,
    Facets,
    Kind,
    Part,
    Published,
    Relation,
    Rounding,
    Unit,
)
from leukobench.papers.spec.overrides import merge_overrides
from leukobench.papers.spec.printed import printed_decimals
from leukobench.papers.spec.table import Arm, Column, Row, Table


@dataclass(frozen=True)
class Cell:
    """A cell with everything that the levels above it say. See `Facets` and `Published` for the
    fields.

    `ref` is `TABLE/ROW/COLUMN`. `mean_of` holds the refs of the cells that this one averages,
    `difference` those of the two that it subtracts. `value` is None where nothing is published or
    it is no single number; `is_published` tells the two apart. `runs` are the overrides without an
    arm's; those of a `choose` stand for all its configurations.
    """

    paper: str
    table: str
    row: str
    column: str
    keys: Mapping[str, str]
    title: str
    metric: str | None
    averaging: Averaging | None
    part: Part
    epoch: Literal["last"] | int
    of: str | None
    unit: Unit
    decimals: int | None
    rounding: Rounding
    kind: Kind
    size: int | None
    positives: tuple[int, int] | None
    classes: int | None
    folds: int | None
    margin: float
    place: str
    printed: str | None
    value: float | None
    numbers: tuple[float, ...]
    words: str | None
    relation: Relation
    note: str | None
    mean_of: tuple[str, ...]
    difference: tuple[str, str] | None
    choose: Choice | None
    runs: tuple[str, ...]
    arms: Mapping[str, Arm]

    @property
    def ref(self) -> str:
        return f"{self.table}/{self.row}/{self.column}"

    @property
    def is_published(self) -> bool:
        return self.printed is not None or self.words is not None

    @property
    def has_runs(self) -> bool:
        """Whether runs of its own fill it: it is to be reproduced, and not computed from other
        cells."""
        return self.kind == "reproducible" and not self.mean_of and self.difference is None

    @property
    def measure(self) -> tuple[str | None, ...]:
        """What two cells must have in common to be subtracted."""
        return (self.metric, self.averaging, self.of, self.part, str(self.epoch))

    @property
    def step(self) -> float:
        """Distance of two neighbouring printed values, as a fraction: 0.01 for `0.76` and `76%`,
        0.001 for `96.6%`."""
        percent = self.printed is not None and "%" in self.printed
        return float(f"1e-{(self.decimals or 0) + (2 if percent else 0)}")

    def overrides(self, arm: str) -> tuple[str, ...]:
        """All config choices of the runs that fill the cell under an arm.

        Raises:
            PaperError: The cell has no such arm, or the arm is impossible.
        """
        if arm not in self.arms:
            raise PaperError(
                f"{self.paper} {self.ref} has no arm {arm!r}, only {', '.join(self.arms)}"
            )
        if not self.arms[arm].possible:
            raise PaperError(
                f"{self.paper} {self.ref}: arm {arm!r} is impossible: {self.arms[arm].reason}"
            )
        return merge_overrides(self.runs, self.arms[arm].overrides)


def resolve(
    paper: str, arms: Mapping[str, Arm], table: Table, *, margins: Mapping[str, float]
) -> Iterator[Cell]:
    """The cells of a table of the paper of this key, in reading order."""
    for row in table.rows:
        entries = _entries(table, row)
        for column in table.columns:
            yield _cell(
                paper,
                arms,
                table,
                row=row,
                column=column,
                entry=entries[column.id],
                margins=margins,
            )


def _entries(table: Table, row: Row) -> dict[str, Published | None]:
    """What is published in a row, by column."""
    if isinstance(row.cells, dict):
        return {c.id: row.cells.get(c.id) for c in table.columns}
    cells = row.cells or (None,) * len(table.columns)
    return {c.id: entry for c, entry in zip(table.columns, cells, strict=True)}


def _cell(
    paper: str,
    arms: Mapping[str, Arm],
    table: Table,
    *,
    row: Row,
    column: Column,
    entry: Published | None,
    margins: Mapping[str, float],
) -> Cell:
    said = _said([table, row, column] if entry is None else [table, row, column, entry])
    published = entry or NOTHING
    difference = _difference(table, row, column)
    return Cell(
        paper=paper,
        table=table.id,
        row=row.id,
        column=column.id,
        keys={
            **table.keys,
            **row.keys,
            "row": row.title or row.id,
            "column": column.title or column.id,
        },
        title=table.title,
        metric=said.metric,
        averaging=said.averaging,
        part=said.part or "test",
        epoch="last" if said.epoch is None else said.epoch,
        of=said.of,
        unit=said.unit or _unit(said.metric, published.printed),
        decimals=_decimals(said.decimals, published.printed),
        rounding=said.rounding or "rounded",
        kind=said.kind or "reproducible",
        size=said.size,
        positives=said.positives,
        classes=said.classes,
        folds=said.folds,
        margin=margins.get(said.metric or "", 0.0) if said.margin is None else said.margin,
        place=table.title if said.place is None else said.place,
        printed=published.printed,
        value=published.number,
        numbers=published.numbers,
        words=published.words,
        relation=published.relation,
        note=published.note or row.note or column.note,
        mean_of=tuple(f"{table.id}/{other}/{column.id}" for other in row.mean_of),
        difference=difference,
        choose=said.choose,
        runs=() if row.mean_of or difference else said.overrides,
        arms=dict(arms) if said.arms is None else {arm: arms[arm] for arm in said.arms},
    )


NOTHING = Published.model_construct()
"""What is published in an empty cell."""


def _said(levels: Sequence[Facets]) -> Facets:
    """What several levels say together: of each the last that says something, of overrides all."""
    said: dict[str, Any] = {}
    for level in levels:
        for name, value in level:
            if value is not None and name in Facets.model_fields:
                said[name] = value
    chosen = said["choose"].overrides if "choose" in said else ()
    said["overrides"] = merge_overrides(*(level.overrides for level in levels), chosen)
    return Facets.model_construct(**said)


def _decimals(said: int | None, printed: str | None) -> int | None:
    """As the file says, else as the published text has them."""
    return printed_decimals(printed) if said is None and printed is not None else said


def _unit(metric: str | None, printed: str | None) -> Unit:
    """The unit of a cell that names none: as printed; where nothing is, as its metric is shown."""
    if printed is not None:
        return "percent" if printed.rstrip().endswith("%") else "fraction"
    known = find(metric)
    return "fraction" if known is None or not known.computed else known.unit


def _difference(table: Table, row: Row, column: Column) -> tuple[str, str] | None:
    if row.difference is not None:
        first, second = row.difference
        return f"{table.id}/{first}/{column.id}", f"{table.id}/{second}/{column.id}"
    if column.difference is not None and not row.mean_of:
        first, second = column.difference
        return f"{table.id}/{row.id}/{first}", f"{table.id}/{row.id}/{second}"
    return None

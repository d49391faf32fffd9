"""A whole paper file, and what must fit together in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from leukobench.data.protocol import protocol_of
from leukobench.errors import PaperError
from leukobench.evaluation.registry import find, known_names
from leukobench.papers.spec.base import Identifier, Strict, SweepName, Text
from leukobench.papers.spec.cell import Cell, resolve
from leukobench.papers.spec.facets import Facets
from leukobench.papers.spec.fact import Fact
from leukobench.papers.spec.ladder import Ladder
from leukobench.papers.spec.lines import where
from leukobench.papers.spec.mistakes import Keys, Mistake, given_twice, refuse
from leukobench.papers.spec.table import Arm, Figure, Table
from leukobench.settings import config_folders


class Paper(Strict):
    """A paper file. `version` is raised when what the file asks for changes; it is printed under
    every table."""

    key: Identifier
    version: int = Field(ge=1)
    title: Text
    authors: Text | None = None
    year: int | None = None
    citation: Text
    doi: Text | None = None
    url: Text | None = None
    source: Text
    protocol: dict[str, Any] = {}
    sweep: SweepName | None = None
    data: tuple[str, ...] = ()
    margins: dict[str, Annotated[float, Field(ge=0)]] = {}
    arms: dict[str, Arm] = {}
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    findings: tuple[Fact, ...] = ()
    ladder: Ladder | None = None
    path: Path | None = Field(default=None, exclude=True)
    lines: dict[tuple[str | int, ...], int] = Field(default={}, exclude=True, repr=False)

    @model_validator(mode="after")
    def _fits_together(self) -> Paper:
        refuse(_names(self))
        refuse(_claims(self))
        refuse(_cells_of(self))
        return self

    @cached_property
    def _cells(self) -> dict[str, Cell]:
        cells = [
            cell
            for table in self.tables
            for cell in resolve(self.key, self.arms, table, margins=self.margins)
        ]
        return {cell.ref: cell for cell in cells}

    def cells(self, table: str | None = None) -> list[Cell]:
        """Every cell, published or not, in reading order; of one table where `table` is its id."""
        return [c for c in self._cells.values() if table is None or c.table == table]

    def published(self) -> list[Cell]:
        """The cells in which the paper says something."""
        return [c for c in self.cells() if c.is_published]

    def cell(self, ref: str) -> Cell:
        """The cell `TABLE/ROW/COLUMN`; raises PaperError where there is none."""
        try:
            return self._cells[ref]
        except KeyError:
            raise PaperError(
                f"{self.where()}: there is no cell {ref!r} (TABLE/ROW/COLUMN)"
            ) from None

    def table(self, id: str) -> Table:
        """A table by id; `3` also finds `table3`. Raises PaperError that lists what there is."""
        return _named(self, self.tables, id, "table")

    def figure(self, id: str) -> Figure:
        """A figure by id; `7` also finds `figure7`. Raises PaperError that lists what there is."""
        return _named(self, self.figures, id, "figure")

    def where(self, *keys: str | int) -> str:
        """`FILE, line N (KEY)` of a key in the paper's file, for messages."""
        return where(self.path, self.lines, keys) if self.path else f"paper {self.key}"


def _named(paper: Paper, things: Sequence[Any], id: str, word: str) -> Any:
    for thing in things:
        if thing.id in (id, f"{word}{id}"):
            return thing
    known = ", ".join(thing.id for thing in things) or "none"
    raise PaperError(f"paper {paper.key} has no {word} {id!r}; it has {known}")


# --- what must fit together -----------------------------------------------------------------------


def _names(paper: Paper) -> Iterator[Mistake]:
    """Ids and arms."""
    if paper.path is not None and paper.path.stem != paper.key:
        yield Mistake(
            ("key",), f"the key is {paper.key!r}, but the file is named {paper.path.name!r}"
        )
    yield from given_twice(paper.tables, ("tables",), "table")
    yield from given_twice(paper.figures, ("figures",), "figure")
    for f, figure in enumerate(paper.figures):
        yield from _unknown_arms(paper, figure.arms, ("figures", f, "arms"))
    for t, table in enumerate(paper.tables):
        yield from _unknown_arms(paper, table.difference, ("tables", t, "difference"))
        for keys, facets in _levels(table):
            yield from _unknown_arms(paper, facets.arms, ("tables", t, *keys))


def _claims(paper: Paper) -> Iterator[Mistake]:
    """Arms that are called leak-free and are not."""
    for name, arm in paper.arms.items():
        if not arm.leak_free or not arm.possible:
            continue
        keys = ("arms", name, "leak_free")
        if not any(override.startswith("protocol=") for override in arm.overrides):
            yield Mistake(keys, f"arm {name!r} is called leak-free and names no protocol")
            continue
        protocol = protocol_of(arm.overrides, config_folders("protocol"))
        if protocol is not None and protocol.leaks:
            leaks = ", ".join(protocol.leaks)
            yield Mistake(
                keys, f"arm {name!r} is called leak-free, but its protocol leaks: {leaks}"
            )


def _levels(table: Table) -> Iterator[tuple[Keys, Facets]]:
    """The table, its columns, its rows and their published cells; and the path of their arms within
    the table."""
    yield ("arms",), table
    for c, column in enumerate(table.columns):
        yield ("columns", c, "arms"), column
    for r, row in enumerate(table.rows):
        yield ("rows", r, "arms"), row
        for entry in row.entries:
            if entry is not None:
                yield ("rows", r, "cells"), entry


def _unknown_arms(paper: Paper, names: Sequence[str] | None, keys: Keys) -> Iterator[Mistake]:
    for name in names or ():
        if name not in paper.arms:
            known = list(paper.arms)
            yield Mistake(keys, f"arm {name!r} is not among the paper's arms {known}")


def _cells_of(paper: Paper) -> Iterator[Mistake]:
    """Cells with all that is said of them."""
    for t, table in enumerate(paper.tables):
        rows = {row.id: r for r, row in enumerate(table.rows)}
        for cell in paper.cells(table.id):
            keys = ("tables", t, "rows", rows[cell.row])
            for message in (*_of_difference(paper, cell), *_of_choice(cell), *_of_metric(cell)):
                yield Mistake(keys, f"cell {cell.ref} {message}")


def _of_difference(paper: Paper, cell: Cell) -> Iterator[str]:
    if cell.kind != "reproducible" or cell.difference is None:
        return
    first, second = (paper.cell(ref) for ref in cell.difference)
    if not (first.has_runs and second.has_runs and first.measure == second.measure):
        yield (
            f"subtracts {second.ref} from {first.ref}: both must be filled by runs and have the "
            "same metric, averaging, class and part"
        )


def _of_choice(cell: Cell) -> Iterator[str]:
    if cell.choose is None:
        return
    for name, arm in cell.arms.items():
        fixed = {override.partition("=")[0] for override in arm.overrides}
        for key in sorted(fixed & set(cell.choose.among)):
            yield f"chooses among values of {key!r}, which the arm {name!r} fixes"


def _of_metric(cell: Cell) -> Iterator[str]:
    if cell.kind == "reproducible" and find(cell.metric) is None:
        yield (
            f"is to be reproduced by runs, but its metric {cell.metric!r} is none of "
            f"{', '.join(known_names())}; name one, or give it kind cited or descriptive"
        )

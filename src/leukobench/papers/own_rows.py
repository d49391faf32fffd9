"""Rows that a paper's tables gain from runs of its sweep with values of the user's own.

`leukobench sweep fata model=resnet18` makes runs that no cell of the paper selects. Each stands
beside the row that it is like: equal in all but one key of the row, which has a value that no cell
of the paper has. What differs in two keys is shown by the sweep's own tables (`papers.grid`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leukobench.evaluation.registry import find
from leukobench.papers.grid import plain, words
from leukobench.papers.results import REPEATED, Result, ResultSet, normal
from leukobench.papers.selection import Selector
from leukobench.papers.spec import Cell, Paper, Row, Table, merge_overrides
from leukobench.schema.names import Tag


def with_own_rows(paper: Paper, results: ResultSet) -> Paper:
    """The paper, its tables longer by the rows of the user's own runs."""
    own = [r for r in results.results if r.tags.get(Tag.SWEEP) == paper.sweep]
    found = _Own(paper, results, own)
    tables = tuple(found.table(table) for table in paper.tables)
    if tables == paper.tables:
        return paper
    return Paper.model_validate({**dict(paper), "tables": tables})


class _Own:
    """Finds the rows of one paper."""

    def __init__(self, paper: Paper, results: ResultSet, runs: Sequence[Result]) -> None:
        self.paper, self.runs = paper, runs
        self.select = Selector(paper, results)
        self.known = _known_values(paper)

    def table(self, table: Table) -> Table:
        """The table with its further rows."""
        rows = {row.id: row for row in table.rows}
        seen: set[tuple[str, ...]] = set()
        for row in table.rows:
            cells = [c for c in self.paper.cells(table.id) if c.row == row.id]
            if not all(_can_be_filled(cell) for cell in cells):
                continue
            for more in self._beside(table, row, cells):
                wanted = merge_overrides(table.overrides, more.overrides)
                if wanted not in seen:
                    seen.add(wanted)
                    rows.setdefault(more.id, more)
        return table.model_copy(update={"rows": tuple(rows.values())})

    def _beside(self, table: Table, row: Row, cells: Sequence[Cell]) -> Iterator[Row]:
        """Rows like this one, with another value of one of its keys."""
        of_row = _keys(merge_overrides(table.overrides, row.overrides))
        of_columns = {key for column in table.columns for key in _keys(column.overrides)}
        for key in of_row:
            if key in of_columns or any(_chooses(cell, key) for cell in cells):
                continue
            for value in self._new_values(key):
                override = f"{key}={value}"
                if any(self._is_run(cell, override) for cell in cells):
                    yield _row(row, key, value)

    def _new_values(self, key: str) -> list[str]:
        values = {normal(r.params[key]) for r in self.runs if key in r.params}
        return sorted(plain(value) for value in values - self.known.get(key, set()))

    def _is_run(self, cell: Cell, override: str) -> bool:
        wanted = merge_overrides(cell.runs, (override,))
        arms = [name for name, arm in cell.arms.items() if arm.possible] or [""]
        return any(self.select.fitting(wanted, arm) for arm in arms)


def _row(row: Row, key: str, value: str) -> Row:
    """A row of the user's own beside a row of the paper, named by all that it was run with."""
    overrides = merge_overrides(row.overrides, (f"{key}={value}",))
    chosen = [override.partition("=") for override in overrides]
    named = words([k for k, _, _ in chosen], tuple(v for _, _, v in chosen))
    return row.model_copy(
        update={
            "id": re.sub(r"[^\w.-]+", "_", f"{row.id}-{key}-{value}"),
            "title": f"own run: {named}",
            "note": None,
            "keys": {},
            "cells": (),
            "overrides": overrides,
        }
    )


def _known_values(paper: Paper) -> dict[str, set[str]]:
    """Every value that a cell of the paper selects runs by, by key."""
    known: dict[str, set[str]] = {}
    overrides = [o for cell in paper.cells() for o in cell.runs]
    overrides += [o for arm in paper.arms.values() for o in arm.overrides]
    for override in overrides:
        key, _, value = override.partition("=")
        known.setdefault(key, set()).update(normal(v) for v in value.split(","))
    return known


def _can_be_filled(cell: Cell) -> bool:
    """Whether runs fill it, and another run could give another value: sizes are of the data."""
    metric = find(cell.metric)
    return cell.has_runs and (metric is None or metric.kind != "size")


def _chooses(cell: Cell, key: str) -> bool:
    return cell.choose is not None and key in cell.choose.among


def _keys(overrides: Sequence[str]) -> list[str]:
    keys = [override.partition("=")[0] for override in overrides]
    return [key for key in keys if key not in REPEATED]

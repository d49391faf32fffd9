"""Columns of metrics that are shown beside the published ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from leukobench.evaluation.registry import definition, title
from leukobench.papers.answers import unpublished
from leukobench.papers.spec import Cell, Table, Unit


def columns_beside(
    table: Table, grid: list[list[Cell]]
) -> tuple[list[list[Cell | None]], tuple[str, ...]]:
    """Cells of the metrics that are shown beside the published ones, a list a row, and the titles of their columns.

    Columns that are filled by the same runs in every row share them; where there are several such groups, the titles
    say which.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for c in range(len(table.columns)):
        column = [row[c] for row in grid]
        if any(cell.has_runs for cell in column):
            groups.setdefault(tuple((cell.runs, cell.has_runs) for cell in column), []).append(c)
    titles: list[str] = []
    rows: list[list[Cell | None]] = [[] for _ in grid]
    for members in groups.values():
        for metric in table.beside:
            first = table.columns[members[0]]
            heading = title(metric)
            titles.append(heading if len(groups) == 1 else f"{first.title or first.id}: {heading}")
            for row, out in zip(grid, rows):
                cell = row[members[0]]
                out.append(
                    replace(
                        unpublished(cell),
                        column=f"{cell.column}.{metric}",
                        keys={**cell.keys, "column": heading},
                        metric=metric,
                        averaging=None,
                        part="test",
                        of=None,
                        unit=_unit(metric, cell.unit),
                    )
                    if cell.has_runs
                    else None
                )
    return rows, tuple(titles)


def _unit(metric: str, unit: Unit) -> Unit:
    """The unit of a metric beside a cell: a share is shown as a percentage where the cell is."""
    own = definition(metric).unit
    return "percent" if own == "fraction" and unit == "percent" else own

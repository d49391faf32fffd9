"""Rows of baselines, which need no model."""

from __future__ import annotations

from collections.abc import Sequence

from leukobench.errors import LeukoBenchError
from leukobench.papers.answers import (
    Answer,
    FilledCell,
    FilledRow,
    Measured,
    measured,
    unpublished,
)
from leukobench.papers.footnotes import Notes
from leukobench.papers.selection import Selector
from leukobench.papers.spec import Cell, Table
from leukobench.papers.statistics import Statistics

BASELINES = {
    "majority": "Majority class",
    "series_oracle": "Series majority (reads the series only)",
}


class BaselineRows:
    """Baselines of one table, measured on the test rows of the first filled row of each column and arm."""

    def __init__(self, select: Selector, statistics: Statistics, notes: Notes) -> None:
        self.select = select
        self.statistics = statistics
        self.notes = notes

    def of(self, table: Table, rows: Sequence[FilledRow]) -> list[FilledRow]:
        """One row a baseline; where the rows of a table have different metrics, one for each of them."""
        groups: dict[tuple[Measured | None, ...], list[FilledRow]] = {}
        for row in rows:
            key = tuple(measured(c) for c in row.cells)
            if any(key):
                groups.setdefault(key, []).append(row)
        out = []
        for baseline in table.baselines:
            for n, members in enumerate(groups.values()):
                columns = zip(*(row.cells for row in members))
                cells = tuple(self._cell(column, baseline) for column in columns)
                if any(c is not None for c in cells):
                    of = f": {members[0].title}" if len(groups) > 1 else ""
                    id_ = f"baseline_{baseline}" + (f"_{n}" if n else "")
                    title = BASELINES[baseline] + of
                    out.append(FilledRow(id=id_, title=title, cells=cells, baseline=True))
        return out

    def _cell(self, column: Sequence[FilledCell | None], baseline: str) -> FilledCell | None:
        answers: dict[str, Answer] = {}
        shown: Cell | None = None
        for filled in column:
            if filled is None or measured(filled) is None:
                continue
            for arm, answer in filled.answers.items():
                if answer.estimate is not None and arm not in answers:
                    shown = shown or filled.cell
                    answers[arm] = self._answer(filled.cell, arm, baseline, answer)
        return None if shown is None else FilledCell(unpublished(shown), answers)

    def _answer(self, cell: Cell, arm: str, baseline: str, answer: Answer) -> Answer:
        chosen = self.select.cell(cell, arm).runs
        try:
            estimate = self.statistics.baseline(chosen, cell, baseline)
        except LeukoBenchError as error:
            mark = self.notes.mark(f"{BASELINES[baseline]}: {error}")
            return Answer(None, str(error), marks=(mark,))
        return Answer(
            None,
            estimate=estimate,
            simulated=answer.simulated,
            subset=answer.subset,
            runs=answer.runs,
        )

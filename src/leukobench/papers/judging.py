"""The second pass over a table: verdicts, for which each cell looks at the seeds of its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leukobench.evaluation.replicates import Reach, Replicates
from leukobench.papers.answers import Answer, FilledCell, FilledRow, Measured, measured
from leukobench.papers.footnotes import Notes
from leukobench.papers.selection import Selector
from leukobench.papers.spec import Cell
from leukobench.papers.statistics import Statistics
from leukobench.papers.verdicts import judge, stands_for

Kind = tuple[str, Measured | None]
"""An arm and what is measured."""


class Judging:
    """Judges the cells of one table.

    Siblings of a cell are the configurations of the same table, arm, metric and part.
    """

    def __init__(self, select: Selector, statistics: Statistics, notes: Notes) -> None:
        self.select = select
        self.statistics = statistics
        self.notes = notes
        self._siblings: dict[Kind, list[Replicates]] = {}

    def judged(self, rows: Sequence[FilledRow]) -> list[FilledRow]:
        """The rows with verdicts where something is published and runs fill it."""
        return [replace(row, cells=tuple(self._cell(c, rows) for c in row.cells)) for row in rows]

    def _cell(self, filled: FilledCell | None, rows: Sequence[FilledRow]) -> FilledCell | None:
        if filled is None or stands_for(filled.cell) is None or filled.cell.mean_of:
            return filled
        answers = {
            arm: self._answer(filled, arm, answer, rows) for arm, answer in filled.answers.items()
        }
        return replace(filled, answers=answers)

    def _answer(
        self, filled: FilledCell, arm: str, answer: Answer, rows: Sequence[FilledRow]
    ) -> Answer:
        if answer.estimate is None:
            return answer
        cell = filled.cell
        reach = self._reach(filled, arm, answer, rows)
        verdict = judge(cell, answer.estimate.mean, reach, bool(answer.reason))
        marks = answer.marks
        if reach.reason and not answer.reason:
            marks = (*marks, self.notes.mark(f"inconclusive: {reach.reason}"))
        return replace(answer, verdict=verdict, reach=reach, marks=marks)

    def _reach(
        self, filled: FilledCell, arm: str, answer: Answer, rows: Sequence[FilledRow]
    ) -> Reach:
        assert answer.estimate is not None
        cell = filled.cell
        if cell.difference is not None:
            a, b = (self.select.paper.cell(ref) for ref in cell.difference)
            first, second = self.select.cell(a, arm).runs, self.select.cell(b, arm).runs
            own = self.statistics.difference_replicates(a, first, (b, second))
            if own is None:
                return Reach(None, reason="its two sides have different seeds")
            return self.statistics.reach(own, answer.estimate, (), cell.size)
        own = self._replicates(cell, arm)
        siblings = [] if own is None else self._of_kind((arm, measured(filled)), rows)
        return self.statistics.reach(own, answer.estimate, siblings, cell.size)

    def _of_kind(self, kind: Kind, rows: Sequence[FilledRow]) -> list[Replicates]:
        """What every configuration of the table shows of replicates, each once."""
        if kind not in self._siblings:
            arm, what = kind
            found: dict[tuple[str, ...], Replicates] = {}
            for filled in (c for row in rows for c in row.cells):
                if filled is None or measured(filled) != what:
                    continue
                answer = filled.answers.get(arm)
                if answer is None or answer.estimate is None or answer.runs in found:
                    continue
                own = self._replicates(filled.cell, arm)
                if own is not None:
                    found[answer.runs] = own
            self._siblings[kind] = list(found.values())
        return self._siblings[kind]

    def _replicates(self, cell: Cell, arm: str) -> Replicates | None:
        return self.statistics.replicates(self.select.cell(cell, arm).runs, cell)

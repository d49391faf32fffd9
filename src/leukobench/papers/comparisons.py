"""Which cell of a row or column is the best, and which are not told apart from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import metric_of
from leukobench.evaluation.registry import definition
from leukobench.evaluation.significance import ALPHA, Candidates, Comparison, compare
from leukobench.papers.answers import Answer, FilledCell, FilledRow, Measured, measured
from leukobench.papers.footnotes import Notes
from leukobench.papers.selection import Selector
from leukobench.papers.spec import Cell, Table
from leukobench.papers.statistics import Statistics, facts_of, ids, metric_name

Place = tuple[int, int]
Answers = dict[Place, dict[str, Answer]]


@dataclass(frozen=True)
class Group:
    """Cells of a row or column that measure the same under one arm: places by their runs."""

    arm: str
    cell: Cell
    best: str
    places: dict[str, Place]


class Comparing:
    """Marks the best of each row or column of one table; one error rate holds for all its marks."""

    def __init__(self, select: Selector, statistics: Statistics, notes: Notes) -> None:
        self.select = select
        self.statistics = statistics
        self.notes = notes

    def compared(self, rows: Sequence[FilledRow], table: Table) -> list[FilledRow]:
        """The rows with marks in their answers."""
        answers: Answers = {}
        for r, row in enumerate(rows):
            for c, filled in enumerate(row.cells):
                if filled is not None:
                    answers[r, c] = dict(filled.answers)
        groups = self._groups(rows, table)
        found = self.statistics.memory.comparisons(
            [[group.best, *sorted(group.places)] for group in groups],
            [facts_of(group.cell) for group in groups],
            lambda: compare([self._candidates(group, rows) for group in groups]),
        )
        what = "row" if table.compare == "columns" else "column"
        honest = self._honest(answers, rows)
        for group, comparison in zip(groups, found):
            if comparison is not None:
                bold = not honest or group.arm in honest
                self._mark(answers, group, comparison, what=what, bold=bold)
        return [_with_answers(row, r, answers) for r, row in enumerate(rows)]

    def _groups(self, rows: Sequence[FilledRow], table: Table) -> list[Group]:
        width = len(table.columns)
        lines = [[(r, c) for r in range(len(rows))] for c in range(width)]
        if table.compare == "columns":
            lines = [[(r, c) for c in range(width)] for r in range(len(rows))]
        groups = []
        for line in lines:
            by_kind: dict[tuple[str, Measured], list[Place]] = {}
            for r, c in line:
                filled = rows[r].cells[c]
                what = measured(filled)
                if filled is None or what is None:
                    continue
                for arm, answer in filled.answers.items():
                    if answer.estimate is not None:
                        by_kind.setdefault((arm, what), []).append((r, c))
            for (arm, _), members in by_kind.items():
                group = _group(rows, arm, members)
                if group is not None:
                    groups.append(group)
        return groups

    def _candidates(self, group: Group, rows: Sequence[FilledRow]) -> Candidates:
        repeats: dict[str, Repeats] = {}
        for name, place in group.places.items():
            cell = _at(rows, place).cell
            repeats[name] = self.statistics.pooled(self.select.cell(cell, group.arm).runs, cell)
        cell, classes = group.cell, repeats[group.best].classes
        metric = metric_of(metric_name(cell), cell.averaging, cell.of, classes)
        return Candidates(group.best, metric, repeats)

    def _honest(self, answers: Answers, rows: Sequence[FilledRow]) -> set[str]:
        """Arms without a leak that runs fill: where there are any, no other arm's best is bold."""
        found = set()
        for place, of_arms in answers.items():
            for arm, answer in of_arms.items():
                known = _at(rows, place).cell.arms.get(arm)
                if answer.estimate is not None and known is not None and known.leak_free:
                    found.add(arm)
        return found

    def _mark(
        self, answers: Answers, group: Group, found: Comparison, *, what: str, bold: bool
    ) -> None:
        if found.best_stands_out:
            said = (
                f"the best of its {what}, told apart from all others (p < {ALPHA}; {found.words})"
            )
            note = f"bold: {said}" if bold else f"{said}; not bold, since its protocol leaks"
            self._add(answers, group, group.best, note=note, best=bold)
            return
        said = f"not told apart from the best of its {what} (p ≥ {ALPHA}; {found.words})"
        for name in group.places:
            if name != group.best and not found.differs(name):
                self._add(answers, group, name, note=said, best=False)

    def _add(self, answers: Answers, group: Group, name: str, *, note: str, best: bool) -> None:
        of_arms = answers[group.places[name]]
        answer = of_arms[group.arm]
        marks = (*answer.marks, self.notes.mark(note))
        of_arms[group.arm] = replace(answer, best=best, marks=marks)


def _group(rows: Sequence[FilledRow], arm: str, members: Sequence[Place]) -> Group | None:
    """Two cells filled by the same runs are one candidate; of equal ones the first is the best."""
    places: dict[str, Place] = {}
    means: dict[str, float] = {}
    cell = _at(rows, members[0]).cell
    sign = -1.0 if definition(metric_name(cell)).lower_is_better else 1.0
    for place in members:
        answer = _at(rows, place).answers[arm]
        name = ids(answer.runs)
        if answer.estimate is not None and name not in places:
            places[name] = place
            means[name] = sign * answer.estimate.mean
    if len(places) < 2:
        return None
    best = max(means, key=lambda name: means[name])
    return Group(arm, cell, best, places)


def _at(rows: Sequence[FilledRow], place: Place) -> FilledCell:
    filled = rows[place[0]].cells[place[1]]
    assert filled is not None
    return filled


def _with_answers(row: FilledRow, r: int, answers: Answers) -> FilledRow:
    cells = [
        None if filled is None else replace(filled, answers=answers[r, c])
        for c, filled in enumerate(row.cells)
    ]
    return replace(row, cells=tuple(cells))

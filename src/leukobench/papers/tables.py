"""The table engine: a paper's file and the results of a store in, filled tables out.

Each reproducible cell gets one answer an arm (`Answer`): mean and interval from the predictions of the runs that the
cell's override strings select, the difference from what is published, and a verdict. What a table looks like is not
decided here: `leukobench.report` turns filled tables into text.

A table is filled in passes: numbers (`filling`), verdicts (`judging`), means of rows (`means`), marks of the best
(`comparisons`), baselines (`baseline_rows`). It never depends on the order of runs, on several runs of one identity, or
on results that its cells do not select.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leukobench.papers.answers import FilledRow, FilledTable
from leukobench.papers.baseline_rows import BaselineRows
from leukobench.papers.beside import columns_beside
from leukobench.papers.commands import with_fewest_commands
from leukobench.papers.comparisons import Comparing
from leukobench.papers.filling import SINGLE_ARM, Filling
from leukobench.papers.footnotes import Notes, footer, letter, verdict_lines
from leukobench.papers.judging import Judging
from leukobench.papers.means import with_means
from leukobench.papers.memory import Memory
from leukobench.papers.proof import prove
from leukobench.papers.results import Result, ResultSet
from leukobench.papers.selection import Selector
from leukobench.papers.spec import Arm, Cell, Paper, Row, Table
from leukobench.papers.statistics import Statistics


def rebuild(
    paper: Paper, results: ResultSet, tables: Sequence[str] | None = None
) -> list[FilledTable]:
    """Fill a paper's tables from results.

    Args:
        tables: Ids of the tables wanted (`table3` or `3`); all for None.

    Raises:
        PaperError: A table that the paper does not have.
    """
    wanted = list(paper.tables) if not tables else [paper.table(t) for t in tables]
    with Memory.open(results.cache, paper.key) as memory:
        engine = _Engine(paper, results, memory)
        return [with_fewest_commands(engine.table(t)) for t in wanted]


class _Engine:
    """Fills tables of one paper; keeps what its tables have in common."""

    def __init__(self, paper: Paper, results: ResultSet, memory: Memory) -> None:
        self.paper = paper
        self.results = results
        self.memory = memory
        self.select = Selector(paper, results, memory)
        self.statistics = Statistics(results, memory)

    def table(self, table: Table) -> FilledTable:
        notes = Notes()
        filling = Filling(self.paper, self.select, self.statistics, notes)
        width = len(table.columns)
        given = self.paper.cells(table.id)
        grid = [given[i : i + width] for i in range(0, len(given), width)]
        extra, extra_titles = columns_beside(table, grid)
        arms = self._arms(given)
        rows = [
            FilledRow(row.id, _row_title(row), filling.row(cells, more, table.difference))
            for row, cells, more in zip(table.rows, grid, extra)
        ]
        rows = Judging(self.select, self.statistics, notes).judged(rows)
        rows = [with_means(row, rows) for row in rows]
        if table.compare != "none":
            rows = Comparing(self.select, self.statistics, notes).compared(rows, table)
        rows += BaselineRows(self.select, self.statistics, notes).of(table, rows)
        answers = [a for r in rows for c in r.cells if c is not None for a in c.answers.values()]
        used = list(filling.used.values())
        below = footer(self.paper, self.results.store, used, answers) if arms else ()
        self.statistics.forget()
        return FilledTable(
            paper=self.paper.key,
            id=table.id,
            title=table.title,
            note=table.note or "",
            columns=tuple(c.title or c.id for c in table.columns) + extra_titles,
            beside=len(extra_titles),
            arms={key: self._heading(key, arm, rows, filling.used) for key, arm in arms.items()},
            rows=tuple(rows),
            footnotes=tuple((letter(i), text) for i, text in enumerate(notes.texts)),
            commands=tuple(dict.fromkeys(a.command for a in answers if a.command)),
            footer=(*below, *verdict_lines(rows, arms)),
            difference=" − ".join(self.paper.arms[a].label for a in table.difference or ()),
        )

    def _heading(
        self, key: str, arm: Arm, rows: Sequence[FilledRow], used: Mapping[str, Result]
    ) -> str:
        """Label of an arm; of one that is called leak-free with what its runs prove of it."""
        cells = [c for row in rows if not row.baseline for c in row.cells if c is not None]
        runs = {r for c in cells if key in c.answers for r in c.answers[key].runs if r in used}
        if not arm.leak_free or not runs:
            return arm.label
        results = [used[r] for r in sorted(runs)]
        chosen = {
            r.params.get("protocol.choose_on", "validation")
            for c in cells
            if c.cell.choose is not None and key in c.answers
            for r in results
        }
        return f"{arm.label} ({prove(self.results, results, self.memory, sorted(chosen)).words})"

    def _arms(self, cells: Iterable[Cell]) -> dict[str, Arm]:
        found: dict[str, Arm] = {}
        for cell in cells:
            if cell.kind == "reproducible":
                found |= cell.arms or {"": SINGLE_ARM}
        return {key: found[key] for key in (*self.paper.arms, "") if key in found}


def _row_title(row: Row) -> str:
    """The row's title, else its keys (`[9] (model TL-VGG16, images 260)`), else its id."""
    if row.title or not row.keys:
        return row.title or row.id
    (_, first), *rest = row.keys.items()
    return first + (f" ({', '.join(f'{k} {v}' for k, v in rest)})" if rest else "")

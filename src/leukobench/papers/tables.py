"""The table engine: a paper's file and the results of a store in, filled tables out.

Each reproducible cell gets one answer an arm (`Answer`): mean and interval from the predictions of the runs that the
cell's override strings select, the difference from what is published, and a verdict. What a table looks like is not
decided here: `leukobench.report` turns filled tables into text.

A table never depends on the order of runs, on several runs of one identity, or on results that its cells do not select.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from leukobench import __version__
from leukobench.errors import LeukoBenchError
from leukobench.evaluation.baselines import majority, series_majority
from leukobench.evaluation.difference import difference
from leukobench.evaluation.estimates import Estimand, Estimate
from leukobench.evaluation.intervals import METHOD_VERSION, Repeats, natural
from leukobench.evaluation.kept import Place
from leukobench.evaluation.metrics import metric_of
from leukobench.evaluation.registry import definition, find, title
from leukobench.evaluation.significance import ALPHA, compare
from leukobench.papers.commands import fewest
from leukobench.papers.memory import Memory
from leukobench.papers.proof import prove
from leukobench.papers.results import Result, ResultSet, configuration, pooled
from leukobench.papers.selection import Selection, Selector, own_settings, thin_parts
from leukobench.papers.spec import Arm, Cell, Paper, Row, Table, Unit, printed_decimals
from leukobench.schema.documents import Json
from leukobench.schema.names import Tag

if TYPE_CHECKING:
    import pandas as pd

ReadArtifact = Callable[[Result, str], Json]
SINGLE_ARM = Arm(label="Mean [95 % interval]")
"""The one arm of a paper file that names none."""
SAME_SIZE = 0.05
"""Share by which two tests may differ in size for their counts to be compared."""
BASELINES = {
    "majority": "Majority class",
    "series_oracle": "Series majority (reads the series only)",
}
LEARNED = {"majority": majority, "series_oracle": series_majority}


class Verdict(StrEnum):
    """What a result says about a published value. The rule is in `judge`."""

    REPRODUCED = "reproduced"
    HIGHER = "higher"
    LOWER = "lower"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"
    IMPOSSIBLE = "no leak-free protocol possible"


@dataclass(frozen=True)
class Answer:
    """What the runs of one arm say about one cell.

    Attributes:
        verdict: None where nothing is published and the cell is filled.
        reason: Why it is not comparable or not possible.
        estimate: Mean and interval; None where no run fills the cell.
        delta: Mean minus published value.
        folds: Folds a seed, `5` or `3 to 5`; empty for baselines.
        simulated: Whether any of its runs used simulated data.
        subset: Sample and subject counts of the subset of the data that its runs used; empty for the whole.
        marks: Letters of the table's footnotes.
        best: The best of its comparison, and told apart from all others.
        command: The command that fills the cell, where no run does or some of its configurations are not run.
        runs: Ids of the runs that fill it.
        chosen: Where its configuration was chosen by its result: how often which one, by what.
    """

    verdict: Verdict | None
    reason: str = ""
    estimate: Estimate | None = None
    delta: float | None = None
    folds: str = ""
    simulated: bool = False
    subset: str = ""
    marks: tuple[str, ...] = ()
    best: bool = False
    command: str = ""
    runs: tuple[str, ...] = ()
    chosen: str = ""


@dataclass(frozen=True)
class FilledCell:
    """A cell of the paper's file with one answer an arm; none for cited and descriptive cells.

    Attributes:
        marks: Of the cell's note.
        difference: Between two arms, where the table asks for it and both are filled.
    """

    cell: Cell
    answers: Mapping[str, Answer]
    marks: tuple[str, ...] = ()
    difference: Answer | None = None


@dataclass(frozen=True)
class FilledRow:
    """A row of a filled table; `baseline` rows need no model."""

    id: str
    title: str
    cells: tuple[FilledCell | None, ...]
    baseline: bool = False


@dataclass(frozen=True)
class FilledTable:
    """A table, ready to be rendered.

    Attributes:
        columns: Titles, those of metrics shown beside the published ones last.
        beside: How many columns are shown beside.
        arms: Headings by arm.
        difference: Heading of the differences between two arms; empty where the table asks for none.
        footnotes: (letter, text).
        commands: The commands that fill the cells that are not run, each once.
        footer: Which runs count, data, versions.
    """

    paper: str
    id: str
    title: str
    note: str
    columns: tuple[str, ...]
    beside: int
    arms: Mapping[str, str]
    rows: tuple[FilledRow, ...]
    footnotes: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    footer: tuple[str, ...]
    difference: str = ""


def judge(cell: Cell, estimate: Estimate, not_comparable: bool) -> Verdict | None:
    """The verdict on a filled cell.

    The published value stands for every value that prints like it (0.76 for 0.755 to 0.765; truncated 77.1 % for 77.1
    to 77.2). It is `reproduced` if one of these lies within the interval, `higher` if our whole interval lies above
    them, `lower` if below. A printed bound (`> 98 %`) is reproduced unless the interval lies wholly on its other side.
    Without an interval our mean stands for it. Runs on other data, a subset, or simulated data, or with settings that the
    paper's sweep does not have, are `not comparable`.
    None where nothing is published.
    """
    values = cell.numbers or (() if cell.value is None else (cell.value,))
    if not values:
        return None
    if not_comparable:
        return Verdict.NOT_COMPARABLE
    slack = 1e-9
    low = estimate.mean if estimate.low is None else estimate.low
    high = estimate.mean if estimate.high is None else estimate.high
    if cell.rounding == "truncated":
        below, above = 0.0, cell.step
    else:
        below = above = cell.step * (1.0 if cell.relation == "~" else 0.5)
    if cell.unit == "count" and cell.step >= 1:
        below = above = 0.0
    smallest, largest = min(values) - below - slack, max(values) + above + slack
    if low > largest and cell.relation != ">":
        return Verdict.HIGHER
    if high < smallest and cell.relation != "<":
        return Verdict.LOWER
    return Verdict.REPRODUCED


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
        return [_with_fewest_commands(engine.table(t)) for t in wanted]


def _with_fewest_commands(table: FilledTable) -> FilledTable:
    """The table with commands that fill several cells at once."""
    joined = fewest(table.commands)
    if len(set(joined.values())) == len(joined):
        return table
    rows = [
        replace(row, cells=tuple(_with_command(cell, joined) for cell in row.cells))
        for row in table.rows
    ]
    commands = tuple(dict.fromkeys(joined.values()))
    return replace(table, rows=tuple(rows), commands=commands)


def _with_command(filled: FilledCell | None, joined: Mapping[str, str]) -> FilledCell | None:
    if filled is None:
        return None
    answers = {
        arm: replace(answer, command=joined.get(answer.command, ""))
        for arm, answer in filled.answers.items()
    }
    return replace(filled, answers=answers)


@dataclass
class _Notes:
    """Footnotes of a table, each text once, lettered in order of appearance."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return letter(self.texts.index(text))


def letter(i: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    return (letter(i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def in_ranges(names: Sequence[str]) -> str:
    """Names in one line, whole numbers that follow one another as a range: `0 to 9, 42`."""
    runs: list[list[str]] = []
    for name in names:
        follows = (
            runs
            and name.isdecimal()
            and runs[-1][-1].isdecimal()
            and int(name) == int(runs[-1][-1]) + 1
        )
        if follows:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 3 else ", ".join(r) for r in runs)


class _Engine:
    """Fills tables of one paper; keeps what its tables have in common."""

    def __init__(self, paper: Paper, results: ResultSet, memory: Memory) -> None:
        self.paper = paper
        self.results = results
        self.memory = memory
        self.select = Selector(paper, results, memory)
        self._repeats: dict[tuple[Any, ...], Repeats] = {}

    # --- one table ------------------------------------------------------------------------------------------------

    def table(self, table: Table) -> FilledTable:
        notes = _Notes()
        width = len(table.columns)
        given = self.paper.cells(table.id)
        grid = [given[i : i + width] for i in range(0, len(given), width)]
        extra, extra_titles = _beside(table, grid)
        arms = self._arms(given)
        rows: list[FilledRow] = []
        used: dict[str, Result] = {}
        for row, cells, more in zip(table.rows, grid, extra):
            filled: list[FilledCell | None] = [
                FilledCell(
                    c,
                    self._answers(c, notes, used),
                    (notes.mark(c.note),) if c.note and c.is_published else (),
                )
                for c in cells
            ]
            filled += [
                None if c is None else FilledCell(c, self._answers(c, notes, used)) for c in more
            ]
            if table.difference is not None:
                filled = [self._between_arms(c, table.difference) for c in filled]
            rows.append(FilledRow(row.id, _row_title(row), tuple(filled)))
        rows = [_with_means(row, rows) for row in rows]
        if table.compare != "none":
            rows = self._compared(rows, width, table.compare, notes)
        rows += self._baselines(table, rows, notes)
        answers = [a for r in rows for c in r.cells if c is not None for a in c.answers.values()]
        self._repeats.clear()  # predictions of one table at a time fit into memory
        return FilledTable(
            paper=self.paper.key,
            id=table.id,
            title=table.title,
            note=table.note or "",
            columns=tuple(c.title or c.id for c in table.columns) + extra_titles,
            beside=len(extra_titles),
            arms={key: self._heading(key, arm, rows, used) for key, arm in arms.items()},
            rows=tuple(rows),
            footnotes=tuple((letter(i), text) for i, text in enumerate(notes.texts)),
            commands=tuple(dict.fromkeys(a.command for a in answers if a.command)),
            footer=self._footer(list(used.values()), answers) if arms else (),
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

    def _footer(self, used: list[Result], answers: list[Answer]) -> tuple[str, ...]:
        lines = []
        if used:
            seeds = sorted({r.params.get("seed", "?") for r in used}, key=natural)
            n = len({configuration(r) for r in used})
            lines.append(
                f"Runs: {len(used)} ({n} configuration{'s' if n > 1 else ''}; seeds {in_ranges(seeds)}); the latest "
                "finished run of each identity, folds of a seed pooled."
            )
        else:
            lines.append("Runs: none yet.")
        lines += _interval_lines([a.estimate for a in answers if a.estimate is not None])
        if any(a.delta is not None for a in answers):
            lines.append("Verdict: the published value, within its rounding, against the interval.")
        data = sorted(
            {
                (r.params.get("data", "?"), r.tags.get(Tag.FINGERPRINT, "?")[:12])
                for r in used
                if used
            }
        )
        if data:
            lines.append("Data: " + ", ".join(f"{name} {print_}" for name, print_ in data) + ".")
        store = self.results.store
        file = f"paper file {self.paper.key} version {self.paper.version}, "
        lines.append(
            (f"Store: {store}. " if store else "")
            + f"leukobench {__version__}, {file if self.paper.path else ''}"
            f"statistics version {METHOD_VERSION}."
        )
        return tuple(lines)

    # --- one cell -------------------------------------------------------------------------------------------------

    def _answers(self, cell: Cell, notes: _Notes, used: dict[str, Result]) -> dict[str, Answer]:
        if cell.kind != "reproducible":
            return {}
        arms = tuple(cell.arms) or ("",)
        if cell.mean_of:
            return {key: Answer(Verdict.NOT_RUN) for key in arms}
        return {key: self._answer(cell, key, notes, used) for key in arms}

    def _answer(self, cell: Cell, arm: str, notes: _Notes, used: dict[str, Result]) -> Answer:
        choice = cell.arms.get(arm, SINGLE_ARM)
        if not choice.possible:
            reason = choice.reason or ""
            return Answer(
                Verdict.IMPOSSIBLE, reason, marks=(notes.mark(f"{choice.label}: {reason}"),)
            )
        try:
            if cell.difference is not None:
                return self._subtracted(cell, arm, notes, used)
            selection = self.select.cell(cell, arm)
            if not selection.runs:
                return Answer(Verdict.NOT_RUN, command=self.select.command(cell.runs, arm))
            estimate = self._estimate(selection.runs, cell)
        except LeukoBenchError as error:
            return Answer(Verdict.NOT_COMPARABLE, str(error), marks=(notes.mark(str(error)),))
        return self._filled(cell, estimate, selection, arm, notes, used)

    def _subtracted(self, cell: Cell, arm: str, notes: _Notes, used: dict[str, Result]) -> Answer:
        """A cell that is the difference of two others."""
        assert cell.difference is not None
        a, b = (self.paper.cell(ref) for ref in cell.difference)
        first, second = self.select.cell(a, arm), self.select.cell(b, arm)
        if not (first.runs and second.runs):
            return Answer(Verdict.NOT_RUN, "one of the cells it subtracts is not run")
        both = Selection((*first.runs, *second.runs))
        return self._filled(cell, self._difference(a, first, b, second), both, arm, notes, used)

    def _between_arms(self, filled: FilledCell | None, arms: tuple[str, str]) -> FilledCell | None:
        """The cell with the difference between two arms, where runs fill both."""
        if (
            filled is None
            or _measured(filled) is None
            or any(arm not in filled.answers for arm in arms)
        ):
            return filled
        cell = filled.cell
        if any(filled.answers[arm].estimate is None for arm in arms):
            return filled
        first, second = (self.select.cell(cell, arm) for arm in arms)
        try:
            estimate = self._difference(cell, first, cell, second)
        except LeukoBenchError:  # other classes in the two arms: each stands for itself
            return filled
        answers = [filled.answers[arm] for arm in arms]
        answer = Answer(
            None,
            estimate=estimate,
            folds=_folds(first.runs),
            simulated=any(a.simulated for a in answers),
            subset="; ".join(dict.fromkeys(a.subset for a in answers if a.subset)),
            runs=tuple(sorted({run for a in answers for run in a.runs})),
        )
        return replace(filled, difference=answer)

    def _difference(self, a: Cell, first: Selection, b: Cell, second: Selection) -> Estimate:
        facts = ["difference", *_facts(a)]

        def compute() -> Estimate:
            repeats = self._pooled(first.runs, a)
            metric = metric_of(_metric(a), a.averaging, a.of, repeats.classes)
            return difference(repeats, self._pooled(second.runs, b), metric)

        return self.memory.estimate(f"{_ids(first.runs)} - {_ids(second.runs)}", facts, compute)

    def _filled(
        self,
        cell: Cell,
        estimate: Estimate,
        selection: Selection,
        arm: str,
        notes: _Notes,
        used: dict[str, Result],
    ) -> Answer:
        chosen = selection.runs
        marks = []
        if estimate.reason:
            marks.append(notes.mark(estimate.reason + _range(estimate)))
        used |= {r.run_id: r for r in chosen}
        simulated = any(r.tags.get(Tag.SIMULATED) == "true" for r in chosen)
        subsets = sorted({s for r in chosen if (s := r.tags.get(Tag.SUBSET, ""))})
        other = sorted(
            {
                d
                for r in chosen
                if self.paper.data and (d := r.params.get("data", "")) not in self.paper.data
            }
        )
        reasons = []
        if selection.chosen:
            marks.append(notes.mark(selection.chosen))
        if selection.missing:
            reasons.append(f"only {selection.missing} are run")
            marks.append(notes.mark(reasons[-1]))
        if settings := own_settings(chosen, self._wanted(cell, arm)):
            reasons.append("settings of its own")
            marks.append(
                notes.mark(
                    "run with settings that the paper's sweep does not have: " + ", ".join(settings)
                )
            )
        if simulated:
            reasons.append("simulated data")
            marks.append(
                notes.mark(
                    "simulated data, not a measurement of patients" + _counts(estimate, cell.part)
                )
            )
        if subsets:
            reasons.append("a subset of the data")
            marks.append(notes.mark("subset of the data: " + "; ".join(subsets)))
        if thin := thin_parts(chosen):
            marks.append(notes.mark(thin))
        if other:
            reasons.append(f"other data ({', '.join(other)})")
            marks.append(notes.mark(f"other data than the paper's: {', '.join(other)}"))
        if cell.size is not None and definition(_metric(cell)).kind == "count":
            ours = self._test_size(cell, chosen)
            if abs(ours / cell.size - 1) > SAME_SIZE:
                reasons.append(
                    f"counts of a test of {ours:,.0f} samples, the paper's of {cell.size:,}"
                )
                marks.append(notes.mark(reasons[-1]))
        if selection.passed_over:
            marks.append(
                notes.mark(
                    f"{selection.passed_over} other configuration{'s' if selection.passed_over > 1 else ''} in the "
                    "store also fit this cell; the newest of the paper's own sweep is shown"
                )
            )
        values = cell.numbers or (() if cell.value is None else (cell.value,))
        nearest = min(values, key=lambda v: abs(v - estimate.mean)) if values else None
        return Answer(
            judge(cell, estimate, bool(reasons)),
            ", ".join(reasons),
            estimate,
            None if nearest is None or len(values) > 1 else estimate.mean - nearest,
            _folds(chosen),
            simulated,
            "; ".join(subsets),
            tuple(marks),
            command=self.select.command(cell.runs, arm) if selection.missing else "",
            runs=tuple(sorted(r.run_id for r in chosen)),
            chosen=selection.chosen,
        )

    def _wanted(self, cell: Cell, arm: str) -> tuple[str, ...]:
        """Every override that a run of this cell may have."""
        cells = [cell, *(self.paper.cell(ref) for ref in cell.difference or ())]
        chosen = [
            o
            for c in cells
            if c.choose is not None
            for candidate in c.choose.candidates
            for o in candidate
        ]
        return (*(o for c in cells for o in self.select.wanted(c.runs, arm)), *chosen)

    def _estimate(self, chosen: Sequence[Result], cell: Cell) -> Estimate:
        metric = definition(_metric(cell))

        def compute() -> Estimate:
            if metric.needs == "labels":
                return self._sizes(chosen, cell)
            if metric.needs == "artifact":
                return self._logged(chosen, cell)
            repeats = self._pooled(chosen, cell)
            return repeats.estimate(
                metric_of(metric.name, cell.averaging, cell.of, repeats.classes)
            )

        estimate = self.memory.estimate(_ids(chosen), _facts(cell), compute)
        if not np.isfinite(estimate.mean) and estimate.reason:
            raise LeukoBenchError(estimate.reason)
        return estimate

    def _pooled(self, chosen: Sequence[Result], cell: Cell, baseline: str = "") -> Repeats:
        key = (*(r.run_id for r in chosen), cell.part, cell.epoch, baseline)
        if key not in self._repeats:
            part = None if cell.part == "all" else cell.part

            def change(frame: pd.DataFrame, result: np.ndarray) -> pd.DataFrame:
                if cell.epoch != "last":
                    wanted = np.asarray(frame["epoch"] == cell.epoch)
                    frame, result = frame[wanted], result[wanted]
                return LEARNED[baseline](frame, result) if baseline else frame

            repeats = pooled(self.results, chosen, part, change)
            if not any(len(p) for p in repeats.predicted):
                raise LeukoBenchError(f"the runs hold no predictions of part {cell.part}")
            self._repeats[key] = repeats
        return self._repeats[key]

    def _test_size(self, cell: Cell, chosen: Sequence[Result]) -> float:
        """Mean number of scored samples a seed."""

        def compute() -> float:
            return float(np.mean([len(p) for p in self._pooled(chosen, cell).predicted]))

        return self.memory.value(_ids(chosen), ["size", cell.part, cell.epoch], compute)

    def _sizes(self, chosen: Sequence[Result], cell: Cell) -> Estimate:
        """Numbers of samples, a run each: folds are not pooled, since a size is that of one split."""
        size = definition(_metric(cell))
        values = []
        samples: set[str] = set()
        for result in chosen:
            frame = self.results.predictions(result)
            if cell.part != "all":
                frame = frame[frame["part"] == cell.part]
            frame = frame.drop_duplicates("sample")
            samples |= set(frame["sample"])
            values.append(size.function(np.asarray(frame["label"]), cell.of))
        seeds = len({r.params.get("seed", "0") for r in chosen})
        return Estimate(
            float(np.mean(values)),
            None,
            None,
            tuple(values),
            "none",
            "samples",
            seeds,
            len(samples),
            None,
        )

    def _logged(self, chosen: Sequence[Result], cell: Cell) -> Estimate:
        """Mean over runs of what each of them kept; only for what predictions cannot tell."""
        values = [kept_value(r, cell, self.results.artifact) for r in chosen]
        seeds = len({r.params.get("seed", "0") for r in chosen})
        return Estimate(
            float(np.mean(values)), None, None, tuple(values), "none", "runs", seeds, 0, None
        )

    # --- what a table adds to its cells ---------------------------------------------------------------------------

    def _compared(
        self, rows: list[FilledRow], width: int, along: str, notes: _Notes
    ) -> list[FilledRow]:
        """Paired tests among the rows of each column (or the columns of each row), marked in the answers."""
        places = [[(r, c) for r in range(len(rows))] for c in range(width)]
        if along == "columns":
            places = [[(r, c) for c in range(width)] for r in range(len(rows))]
        answers = {
            (r, c): dict(cell.answers)
            for r, row in enumerate(rows)
            for c, cell in enumerate(row.cells)
            if cell is not None
        }
        for group in places:
            by_kind: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
            for r, c in group:
                found = rows[r].cells[c]
                measured = _measured(found)
                if found is None or measured is None:
                    continue
                for arm, answer in found.answers.items():
                    if answer.estimate is not None:
                        by_kind.setdefault((arm, *measured), []).append((r, c))
            for kind, members in by_kind.items():
                self._mark_comparison(rows, answers, kind[0], members, along, notes)
        return [
            replace(
                row,
                cells=tuple(
                    None if cell is None else replace(cell, answers=answers[r, c])
                    for c, cell in enumerate(row.cells)
                ),
            )
            for r, row in enumerate(rows)
        ]

    def _mark_comparison(
        self,
        rows: list[FilledRow],
        answers: dict[tuple[int, int], dict[str, Answer]],
        arm: str,
        members: list[tuple[int, int]],
        along: str,
        notes: _Notes,
    ) -> None:
        # Two cells filled by the same runs are one candidate.
        candidates: dict[str, tuple[int, int]] = {}
        for place in members:
            candidates.setdefault(_ids(answers[place][arm].runs), place)
        if len(candidates) < 2:
            return
        cells = {name: rows[r].cells[c] for name, (r, c) in candidates.items()}
        first = next(iter(cells.values()))
        assert first is not None
        sign = -1.0 if definition(_metric(first.cell)).lower_is_better else 1.0
        means = {}
        for name, place in candidates.items():
            estimate = answers[place][arm].estimate
            assert estimate is not None
            means[name] = sign * estimate.mean
        best = max(
            means, key=lambda name: means[name]
        )  # of equal ones the first, whatever its runs are called

        def compute() -> Any:
            repeats = {}
            for name, cell in cells.items():
                assert cell is not None
                repeats[name] = self._pooled(self.select.cell(cell.cell, arm).runs, cell.cell)
            return compare(repeats, best)

        found = self.memory.comparison(
            sorted(candidates), [best, first.cell.part, first.cell.epoch], compute
        )
        if found is None:
            return
        test = f"{found.test} test on {found.n} {found.unit}"
        if found.overall is not None:
            test = f"Friedman test, then {test}, Holm-adjusted"
        what = "row" if along == "columns" else "column"
        if found.best_stands_out:
            place = candidates[best]
            mark = notes.mark(
                f"bold: the best of its {what}, told apart from all others (p < {ALPHA}; {test})"
            )
            answers[place][arm] = replace(
                answers[place][arm], best=True, marks=(*answers[place][arm].marks, mark)
            )
            return
        for name, place in candidates.items():
            if name != best and not found.differs(name):
                mark = notes.mark(
                    f"not told apart from the best of its {what} (p ≥ {ALPHA}; {test})"
                )
                answers[place][arm] = replace(
                    answers[place][arm], marks=(*answers[place][arm].marks, mark)
                )

    def _baselines(self, table: Table, rows: list[FilledRow], notes: _Notes) -> list[FilledRow]:
        """Baselines, measured on the test rows of the first filled row of each column and arm.

        One row a baseline; where the rows of a table have different metrics, one for each of them.
        """
        groups: dict[tuple[Any, ...], list[FilledRow]] = {}
        for row in rows:
            measured = tuple(_measured(c) for c in row.cells)
            if any(measured):
                groups.setdefault(measured, []).append(row)
        out = []
        for baseline in table.baselines:
            for n, members in enumerate(groups.values()):
                cells = tuple(
                    self._baseline_cell(column, baseline, notes)
                    for column in zip(*(row.cells for row in members))
                )
                if any(c is not None for c in cells):
                    of = f": {members[0].title}" if len(groups) > 1 else ""
                    id_ = f"baseline_{baseline}" + (f"_{n}" if n else "")
                    out.append(FilledRow(id_, BASELINES[baseline] + of, cells, baseline=True))
        return out

    def _baseline_cell(
        self, column: Sequence[FilledCell | None], baseline: str, notes: _Notes
    ) -> FilledCell | None:
        answers: dict[str, Answer] = {}
        shown: Cell | None = None
        for filled in column:
            if filled is None or _measured(filled) is None:
                continue
            for arm, answer in filled.answers.items():
                if answer.estimate is not None and arm not in answers:
                    shown = shown or filled.cell
                    answers[arm] = self._baseline(filled.cell, arm, baseline, answer, notes)
        return None if shown is None else FilledCell(_unpublished(shown), answers)

    def _baseline(
        self, cell: Cell, arm: str, baseline: str, answer: Answer, notes: _Notes
    ) -> Answer:
        chosen = self.select.cell(cell, arm).runs
        facts = [baseline, *_facts(cell)]

        def compute() -> Estimate:
            repeats = self._pooled(chosen, cell, baseline)
            # Without an interval: a baseline does not depend on seeds, and its test set is the one of the rows above.
            return repeats.estimate(
                metric_of(_metric(cell), cell.averaging, cell.of, repeats.classes),
                with_interval=False,
            )

        try:
            estimate = self.memory.estimate(_ids(chosen), facts, compute)
        except LeukoBenchError as error:
            return Answer(None, str(error), marks=(notes.mark(f"{BASELINES[baseline]}: {error}"),))
        return Answer(
            None,
            estimate=estimate,
            simulated=answer.simulated,
            subset=answer.subset,
            runs=answer.runs,
        )


def kept_value(result: Result, cell: Cell, read: ReadArtifact) -> float:
    """A metric of kind `kept`: a quantity of a run that its predictions cannot tell.

    Args:
        cell: Whose metric, part, class and epoch (`last`, or one of the training that the quantity belongs to) are wanted.
        read: Gives the content of a run's JSON artifact by name.

    Raises:
        LeukoBenchError: The run did not keep it.
    """
    metric = definition(cell.metric or "")
    epochs = str(result.params.get("epochs", ""))
    place = Place(part=cell.part, epoch=cell.epoch, epochs=epochs, of=cell.of)
    content = read(result, metric.artifact)
    value = metric.function(content, metric.key.format(part=cell.part), place)
    if value is not None:
        return float(value)
    for name in (f"{cell.part}_{metric.name}", metric.name):
        if name in result.metrics and cell.epoch == "last":
            return float(result.metrics[name])
    raise LeukoBenchError(f"the runs kept no {metric.title} of part {cell.part}")


def _beside(
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
                        _unpublished(cell),
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


def _measured(filled: FilledCell | None) -> tuple[Any, ...] | None:
    """What a cell measures from predictions; None where it does not."""
    if filled is None or not filled.cell.has_runs:
        return None
    cell = filled.cell
    metric = find(cell.metric)
    if metric is None or not metric.computed:
        return None
    return (cell.metric, cell.averaging, cell.of, cell.part, cell.epoch)


def _metric(cell: Cell) -> str:
    return cell.metric or "accuracy"


def _facts(cell: Cell) -> list[Any]:
    """What a statistic of a cell depends on beside its runs."""
    metric = definition(_metric(cell))
    return [metric.identity, cell.averaging, cell.of, cell.part, cell.epoch]


def _interval_lines(estimates: Sequence[Estimate]) -> list[str]:
    """What the table's intervals are of, and where some are missing."""
    estimands = dict.fromkeys(e.estimand for e in estimates if e.estimand is not None)
    if not estimands:
        return []
    of = "; ".join(f"of {e.words}" for e in sorted(estimands))
    seeds = " (one seed)" if list(estimands) == [Estimand.TRAINED] else ""
    lines = [f"Interval: 95 %, {of}{seeds} (docs/tables.md)."]
    weights = sorted({e.weight for e in estimates if e.estimand is not None})
    lines.append(f"Each {' or, by subject, each '.join(weights)} weighs the same.")
    return lines


def _range(estimate: Estimate) -> str:
    """`; over subjects 0.120 to 0.930`, where an interval is refused."""
    if estimate.spread is None:
        return ""
    low, high = estimate.spread
    return f"; over subjects {low:.3f} to {high:.3f}"


def _row_title(row: Row) -> str:
    """The row's title, else its keys (`[9] (model TL-VGG16, images 260)`), else its id."""
    if row.title or not row.keys:
        return row.title or row.id
    (_, first), *rest = row.keys.items()
    return first + (f" ({', '.join(f'{k} {v}' for k, v in rest)})" if rest else "")


def _unpublished(cell: Cell) -> Cell:
    """The cell with nothing published in it; decimals that only follow the printed text go with it."""
    follows = cell.printed is not None and cell.decimals == printed_decimals(cell.printed)
    decimals = None if follows else cell.decimals
    return replace(
        cell,
        printed=None,
        value=None,
        numbers=(),
        words=None,
        relation="=",
        note=None,
        decimals=decimals,
    )


def _with_means(row: FilledRow, rows: list[FilledRow]) -> FilledRow:
    """Fill a row of means from the rows it averages.

    Its limits are the means of their limits: the width it would have if all of them moved together, an upper bound.
    """
    by_ref = {cell.cell.ref: cell for r in rows for cell in r.cells if cell is not None}
    cells: list[FilledCell | None] = []
    for cell in row.cells:
        if cell is None or not cell.cell.mean_of:
            cells.append(cell)
            continue
        answers = {}
        for arm in cell.answers:
            parts = [by_ref[ref].answers.get(arm) for ref in cell.cell.mean_of]
            answers[arm] = _mean_answer(cell.cell, [p for p in parts if p is not None])
        cells.append(replace(cell, answers=answers))
    return replace(row, cells=tuple(cells))


def _mean_answer(cell: Cell, parts: list[Answer]) -> Answer:
    estimates = [p.estimate for p in parts if p.estimate is not None]
    if not estimates or len(estimates) < len(parts):
        impossible = next((p for p in parts if p.verdict is Verdict.IMPOSSIBLE), None)
        return impossible or Answer(Verdict.NOT_RUN, "some of the rows it averages are not run")
    lows = [e.low for e in estimates if e.low is not None]
    highs = [e.high for e in estimates if e.high is not None]
    whole = len(lows) == len(highs) == len(estimates)
    mean = float(np.mean([e.mean for e in estimates]))
    estimate = replace(
        estimates[0],
        mean=mean,
        low=float(np.mean(lows)) if whole else None,
        high=float(np.mean(highs)) if whole else None,
        values=tuple(e.mean for e in estimates),
        method="mean of limits" if whole else "none",
    )
    reasons = list(dict.fromkeys(p.reason for p in parts if p.reason))
    return Answer(
        judge(cell, estimate, bool(reasons)),
        ", ".join(reasons),
        estimate,
        None if cell.value is None else mean - cell.value,
        "",
        any(p.simulated for p in parts),
        "; ".join(dict.fromkeys(p.subset for p in parts if p.subset)),
        tuple(dict.fromkeys(m for p in parts for m in p.marks)),
        runs=tuple(sorted({r for p in parts for r in p.runs})),
    )


def _counts(estimate: Estimate, part: str) -> str:
    """`: 88 test samples of 9 subjects`; nothing where samples were not counted."""
    if not estimate.samples:
        return ""
    of = f" of {estimate.subjects:,} subjects" if estimate.subjects is not None else ""
    word = {"train": "training ", "all": ""}.get(part, f"{part} ")
    return f": {estimate.samples:,} {word}samples{of}"


def _folds(chosen: Sequence[Result]) -> str:
    by_seed: dict[str, set[str]] = {}
    for r in chosen:
        by_seed.setdefault(r.params.get("seed", "0"), set()).add(r.params.get("fold", "0"))
    counts = sorted({len(f) for f in by_seed.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _ids(chosen: Iterable[Result | str]) -> str:
    return " ".join(sorted(r if isinstance(r, str) else r.run_id for r in chosen))

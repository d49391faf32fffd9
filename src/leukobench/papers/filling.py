"""The first pass over a table: which runs fill each cell, their number, and whether it can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.registry import definition
from leukobench.evaluation.replicates import SAME_SIZE
from leukobench.papers.answers import Answer, FilledCell, measured
from leukobench.papers.footnotes import Notes, counts_text, range_text
from leukobench.papers.results import Result
from leukobench.papers.selection import Selection, Selector, own_settings, thin_parts
from leukobench.papers.spec import Arm, Cell, Paper
from leukobench.papers.statistics import Statistics, metric_name
from leukobench.papers.verdicts import Verdict
from leukobench.schema.names import Tag

SINGLE_ARM = Arm(label="Mean [95 % interval]")
"""The one arm of a paper file that names none."""
Obstacle = tuple[str, str]
"""Why a cell is not comparable, and the footnote that says so."""


class Filling:
    """Fills the cells of one table.

    Attributes:
        used: The results that fill them, by run id.
    """

    def __init__(
        self, paper: Paper, select: Selector, statistics: Statistics, notes: Notes
    ) -> None:
        self.paper = paper
        self.select = select
        self.statistics = statistics
        self.notes = notes
        self.used: dict[str, Result] = {}

    def row(
        self,
        cells: Sequence[Cell],
        beside: Sequence[Cell | None],
        difference: tuple[str, str] | None,
    ) -> tuple[FilledCell | None, ...]:
        """The cells of a row, those beside the published ones last."""
        filled: list[FilledCell | None] = []
        for cell in cells:
            answers = self._answers(cell)
            noted = cell.note is not None and cell.is_published
            marks = (self.notes.mark(cell.note or ""),) if noted else ()
            filled.append(FilledCell(cell, answers, marks))
        for more in beside:
            filled.append(None if more is None else FilledCell(more, self._answers(more)))
        if difference is not None:
            filled = [self._between_arms(cell, difference) for cell in filled]
        return tuple(filled)

    def _answers(self, cell: Cell) -> dict[str, Answer]:
        if cell.kind != "reproducible":
            return {}
        arms = tuple(cell.arms) or ("",)
        if cell.mean_of:
            return {key: Answer(Verdict.NOT_RUN) for key in arms}
        return {key: self._answer(cell, key) for key in arms}

    def _answer(self, cell: Cell, arm: str) -> Answer:
        choice = cell.arms.get(arm, SINGLE_ARM)
        if not choice.possible:
            reason = choice.reason or ""
            mark = self.notes.mark(f"{choice.label}: {reason}")
            return Answer(Verdict.IMPOSSIBLE, reason, marks=(mark,))
        try:
            if cell.difference is not None:
                return self._subtracted(cell, arm, cell.difference)
            selection = self.select.cell(cell, arm)
            if not selection.runs:
                return Answer(Verdict.NOT_RUN, command=self.select.command(cell.runs, arm))
            estimate = self.statistics.estimate(selection.runs, cell)
        except LeukoBenchError as error:
            mark = self.notes.mark(str(error))
            return Answer(Verdict.NOT_COMPARABLE, str(error), marks=(mark,))
        return self._filled(cell, estimate, selection, arm=arm)

    def _subtracted(self, cell: Cell, arm: str, refs: tuple[str, str]) -> Answer:
        """A cell that is the difference of two others."""
        a, b = (self.paper.cell(ref) for ref in refs)
        first, second = self.select.cell(a, arm), self.select.cell(b, arm)
        if not (first.runs and second.runs):
            return Answer(Verdict.NOT_RUN, "one of the cells it subtracts is not run")
        both = Selection((*first.runs, *second.runs))
        estimate = self.statistics.difference(a, first.runs, (b, second.runs))
        return self._filled(cell, estimate, both, arm=arm)

    def _between_arms(self, filled: FilledCell | None, arms: tuple[str, str]) -> FilledCell | None:
        """The cell with the difference between two arms, where runs fill both."""
        if filled is None or measured(filled) is None:
            return filled
        answers = [filled.answers[arm] for arm in arms if arm in filled.answers]
        if len(answers) < len(arms) or any(a.estimate is None for a in answers):
            return filled
        cell = filled.cell
        first, second = (self.select.cell(cell, arm) for arm in arms)
        try:
            estimate = self.statistics.difference(cell, first.runs, (cell, second.runs))
        except LeukoBenchError:  # other classes in the two arms: each stands for itself
            return filled
        answer = Answer(
            None,
            estimate=estimate,
            folds=_folds(first.runs),
            simulated=any(a.simulated for a in answers),
            subset="; ".join(dict.fromkeys(a.subset for a in answers if a.subset)),
            runs=tuple(sorted({run for a in answers for run in a.runs})),
        )
        return replace(filled, difference=answer)

    def _filled(self, cell: Cell, estimate: Estimate, selection: Selection, arm: str) -> Answer:
        chosen = selection.runs
        notes = []
        if estimate.reason:
            notes.append(estimate.reason + range_text(estimate))
        self.used |= {r.run_id: r for r in chosen}
        if selection.chosen:
            notes.append(selection.chosen)
        obstacles = [
            *self._of_choice(cell, selection, arm),
            *self._of_data(cell, estimate, chosen),
            *self._of_size(cell, chosen),
        ]
        notes += [note for _, note in obstacles]
        if thin := thin_parts(chosen):
            notes.append(thin)
        if selection.passed_over:
            many = "s" if selection.passed_over > 1 else ""
            notes.append(
                f"{selection.passed_over} other configuration{many} in the "
                "store also fit this cell; the newest of the paper's own sweep is shown"
            )
        return Answer(
            verdict=Verdict.NOT_COMPARABLE if obstacles and _has_number(cell) else None,
            reason=", ".join(reason for reason, _ in obstacles),
            estimate=estimate,
            delta=_delta(cell, estimate.mean),
            folds=_folds(chosen),
            simulated=_simulated(chosen),
            subset="; ".join(_subsets(chosen)),
            marks=tuple(self.notes.mark(note) for note in notes),
            command=self.select.command(cell.runs, arm) if selection.missing else "",
            runs=tuple(sorted(r.run_id for r in chosen)),
            chosen=selection.chosen,
        )

    def _of_choice(self, cell: Cell, selection: Selection, arm: str) -> list[Obstacle]:
        found = []
        if selection.missing:
            reason = f"only {selection.missing} are run"
            found.append((reason, reason))
        settings = own_settings(selection.runs, self._wanted(cell, arm))
        if settings and self.paper.path:
            note = "run with settings that the paper's sweep does not have: " + ", ".join(settings)
            found.append(("settings of its own", note))
        return found

    def _of_data(self, cell: Cell, estimate: Estimate, chosen: Sequence[Result]) -> list[Obstacle]:
        found = []
        if _simulated(chosen):
            counts = counts_text(estimate, cell.part)
            note = "simulated data, not a measurement of patients" + counts
            found.append(("simulated data", note))
        if subsets := _subsets(chosen):
            found.append(("a subset of the data", "subset of the data: " + "; ".join(subsets)))
        names = {r.params.get("data", "") for r in chosen}
        other = ", ".join(sorted(names - set(self.paper.data)))
        if self.paper.data and other:
            found.append((f"other data ({other})", f"other data than the paper's: {other}"))
        return found

    def _of_size(self, cell: Cell, chosen: Sequence[Result]) -> list[Obstacle]:
        """Counts of tests of different sizes; a share of another size has another reach instead."""
        if cell.size is None or definition(metric_name(cell)).kind != "count":
            return []
        ours = self.statistics.test_size(cell, chosen)
        if abs(ours / cell.size - 1) <= SAME_SIZE:
            return []
        reason = f"counts of a test of {ours:,.0f} samples, the paper's of {cell.size:,}"
        return [(reason, reason)]

    def _wanted(self, cell: Cell, arm: str) -> tuple[str, ...]:
        """Every override that a run of this cell may have."""
        wanted: list[str] = []
        for c in (cell, *(self.paper.cell(ref) for ref in cell.difference or ())):
            wanted += self.select.wanted(c.runs, arm)
            if c.choose is not None:
                for candidate in c.choose.candidates:
                    wanted += candidate
        return tuple(wanted)


def _has_number(cell: Cell) -> bool:
    return bool(cell.numbers) or cell.value is not None


def _delta(cell: Cell, mean: float) -> float | None:
    """Our mean minus the one published number."""
    values = cell.numbers or (() if cell.value is None else (cell.value,))
    return mean - values[0] if len(values) == 1 else None


def _simulated(chosen: Sequence[Result]) -> bool:
    return any(r.tags.get(Tag.SIMULATED) == "true" for r in chosen)


def _subsets(chosen: Sequence[Result]) -> list[str]:
    return sorted({r.tags.get(Tag.SUBSET, "") for r in chosen} - {""})


def _folds(chosen: Sequence[Result]) -> str:
    by_seed: dict[str, set[str]] = {}
    for r in chosen:
        by_seed.setdefault(r.params.get("seed", "0"), set()).add(r.params.get("fold", "0"))
    counts = sorted({len(f) for f in by_seed.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"

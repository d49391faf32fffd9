"""A leak taken apart: rungs from a paper's protocol to a leak-free one that differ in one switch each.

Every rung is filled by ordinary runs of the paper's sweep, selected by override strings. Steps are paired differences
(`leukobench.evaluation.difference`). Each switch is also turned alone: first, with all others as the paper has them, and
last, with all others clean; what the steps from the paper's end leave of the whole is the interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leukobench.errors import LeukoBenchError, PaperError
from leukobench.evaluation.baselines import majority
from leukobench.evaluation.difference import difference
from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric, metric_of
from leukobench.evaluation.registry import definition
from leukobench.papers.results import ResultSet, pooled
from leukobench.papers.selection import Selection, Selector, thin_parts
from leukobench.papers.spec import Choice, Paper, merge_overrides
from leukobench.papers.spec.ladder import Ladder
from leukobench.schema.names import Tag

State = tuple[bool, ...]
"""For each switch whether it is clean."""
OTHER_SAMPLES = "other test samples on the two rungs"
ONE_VOTE = ", one vote a subject"


@dataclass(frozen=True)
class Rung:
    """One configuration of the ladder.

    Attributes:
        estimates: One a measure; None where no run fills the rung.
        baseline: The majority class of the training rows, one a measure.
        command: Makes its runs; empty where they are there.
        notes: What is to be said of its runs.
    """

    title: str
    estimates: tuple[Estimate | None, ...]
    baseline: tuple[float | None, ...]
    command: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One switch turned, one value a measure.

    Attributes:
        climbed: The rung after it minus the rung before it.
        first: The same switch alone, all others as the paper has them.
        last: The same switch alone, all others clean.
        notes: Why the pairs are not what they seem.
    """

    title: str
    climbed: tuple[Estimate | None, ...]
    first: tuple[Estimate | None, ...]
    last: tuple[Estimate | None, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilledLadder:
    """A ladder with its numbers.

    Attributes:
        measures: Titles, one a measure.
        whole: The last rung minus the first, one a measure.
        interaction: `whole` minus the sum of the switches turned alone from the paper's end; None where one is missing.
    """

    paper: str
    title: str
    note: str
    measures: tuple[str, ...]
    rungs: tuple[Rung, ...]
    steps: tuple[Step, ...]
    whole: tuple[Estimate | None, ...]
    interaction: tuple[float | None, ...]

    @property
    def commands(self) -> tuple[str, ...]:
        """What fills the empty rungs, each once."""
        return tuple(dict.fromkeys(r.command for r in self.rungs if r.command))


def climb(paper: Paper, results: ResultSet) -> FilledLadder:
    """Fill the ladder of a paper.

    Raises:
        PaperError: The paper's file has none.
    """
    if paper.ladder is None:
        raise PaperError(
            f"{paper.where()}: the paper has no ladder; a section `ladder` names its switches "
            "(docs/add-a-paper.md)"
        )
    return _Climb(paper, paper.ladder, results).filled()


class _Climb:
    """One ladder being filled; keeps the runs of each state of the switches."""

    def __init__(self, paper: Paper, ladder: Ladder, results: ResultSet) -> None:
        self.paper, self.ladder, self.results = paper, ladder, results
        self.select = Selector(paper, results)
        self._selections: dict[tuple[str, ...], Selection] = {}
        self._repeats: dict[tuple[str, ...], Repeats] = {}
        names = [(name, False) for name in ladder.metrics]
        self.measures = [*names, *([(ladder.metrics[0], True)] if ladder.vote else [])]

    def filled(self) -> FilledLadder:
        n = len(self.ladder.switches)
        climbed = [tuple(i < k for i in range(n)) for k in range(n + 1)]
        rungs = [self._rung(state, k) for k, state in enumerate(climbed)]
        steps = [self._step(k, climbed[k], climbed[k + 1]) for k in range(n)]
        whole = self._between(climbed[0], climbed[-1])
        return FilledLadder(
            paper=self.paper.key,
            title=self.ladder.title,
            note=self.ladder.note or "",
            measures=tuple(
                definition(name).title_of(name) + ONE_VOTE * vote for name, vote in self.measures
            ),
            rungs=tuple(rungs),
            steps=tuple(steps),
            whole=whole,
            interaction=tuple(
                self._interaction(whole[m], [s.first[m] for s in steps])
                for m in range(len(self.measures))
            ),
        )

    def _overrides(self, state: State) -> tuple[str, ...]:
        levels = [
            switch.clean if clean else switch.leaky
            for switch, clean in zip(self.ladder.switches, state)
        ]
        return merge_overrides(self.ladder.overrides, *levels)

    def _selection(self, state: State) -> Selection:
        wanted = self._overrides(state)
        if wanted not in self._selections:
            choice = self.ladder.choose
            if choice is None:
                self._selections[wanted] = self.select.one(wanted, "")
            else:
                self._selections[wanted] = self.select.best(wanted, "", choice)
        return self._selections[wanted]

    def _pooled(self, state: State) -> Repeats | None:
        wanted = self._overrides(state)
        runs = self._selection(state).runs
        if not runs:
            return None
        if wanted not in self._repeats:
            self._repeats[wanted] = pooled(self.results, runs)
        return self._repeats[wanted]

    def _metric(self, measure: tuple[str, bool], repeats: Repeats) -> Metric:
        name, vote = measure
        metric = metric_of(name, None, None, repeats.classes)
        return replace(metric, by="subject") if vote else metric

    def _rung(self, state: State, k: int) -> Rung:
        title = "the paper's protocol" if k == 0 else f"+ {self.ladder.switches[k - 1].title}"
        blank = (None,) * len(self.measures)
        try:
            repeats = self._pooled(state)
        except LeukoBenchError as error:
            return Rung(title, blank, blank, notes=(str(error),))
        if repeats is None:
            return Rung(title, blank, blank, self._command(state))
        selection = self._selection(state)
        guessed = pooled(self.results, selection.runs, "test", majority)
        notes = [thin_parts(selection.runs), selection.chosen, *_marks(selection)]
        return Rung(
            title,
            tuple(_estimate(repeats, self._metric(m, repeats)) for m in self.measures),
            tuple(_mean(guessed, self._metric(m, guessed)) for m in self.measures),
            notes=tuple(dict.fromkeys(note for note in notes if note)),
        )

    def _command(self, state: State) -> str:
        own = merge_overrides(self.ladder.start, self._overrides(state))
        if self.ladder.choose is not None:
            own = (*own, *_candidates(self.ladder.choose))
        return " ".join((f"leukobench sweep {self.paper.sweep or self.paper.key}", *own))

    def _step(self, k: int, before: State, after: State) -> Step:
        n = len(self.ladder.switches)
        alone = tuple(i == k for i in range(n))
        without = tuple(i != k for i in range(n))
        none, every = (False,) * n, (True,) * n
        return Step(
            self.ladder.switches[k].title,
            self._between(before, after),
            self._between(none, alone),
            self._between(without, every),
            self._pairing(before, after),
        )

    def _between(self, a: State, b: State) -> tuple[Estimate | None, ...]:
        """The second state minus the first, one a measure; votes are not subtracted."""
        if self._overrides(a) == self._overrides(b):
            return (None,) * len(self.measures)
        try:
            first, second = self._pooled(a), self._pooled(b)
        except LeukoBenchError:
            first, second = None, None
        if first is None or second is None:
            return (None,) * len(self.measures)
        return tuple(
            None if vote else _difference(second, first, self._metric((name, vote), first))
            for name, vote in self.measures
        )

    def _interaction(
        self, whole: Estimate | None, alone: Sequence[Estimate | None]
    ) -> float | None:
        """None also where a switch is a part of another, so that the two cannot be turned apart."""
        n = len(self.ladder.switches)
        top = self._overrides((True,) * n)
        parts = [self._overrides(tuple(i != k for i in range(n))) == top for k in range(n)]
        if whole is None or any(parts) or any(a is None for a in alone):
            return None
        return whole.mean - sum(a.mean for a in alone if a is not None)

    def _pairing(self, a: State, b: State) -> tuple[str, ...]:
        try:
            first, second = self._pooled(a), self._pooled(b)
        except LeukoBenchError:
            return ()
        if first is None or second is None or _tested(first) == _tested(second):
            return ()
        return (OTHER_SAMPLES,)


def _tested(repeats: Repeats) -> list[frozenset[str]]:
    return [frozenset(map(str, p.samples)) for p in repeats.predicted]


def _estimate(repeats: Repeats, metric: Metric) -> Estimate | None:
    try:
        return repeats.estimate(metric)
    except LeukoBenchError:
        return None


def _mean(repeats: Repeats, metric: Metric) -> float | None:
    try:
        return repeats.estimate(metric, with_interval=False).mean
    except LeukoBenchError:
        return None


def _difference(a: Repeats, b: Repeats, metric: Metric) -> Estimate | None:
    try:
        return difference(a, b, metric)
    except LeukoBenchError:
        return None


def _candidates(choice: Choice) -> tuple[str, ...]:
    return tuple(f"{key}={','.join(values)}" for key, values in choice.among.items())


def _marks(selection: Selection) -> list[str]:
    runs = selection.runs
    notes = []
    if any(r.tags.get(Tag.SIMULATED) == "true" for r in runs):
        notes.append("simulated data, not a measurement of patients")
    subsets = sorted({s for r in runs if (s := r.tags.get(Tag.SUBSET, ""))})
    if subsets:
        notes.append(f"subset of the data: {'; '.join(subsets)}")
    return notes

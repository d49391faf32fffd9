"""Which runs fill a cell or a figure of a paper.

A cell names its runs by override strings, an arm adds its own. Only runs on the paper's data sets count, or on those that
the overrides themselves name; a run that a narrower arm of the paper selects is that arm's; and what fills a cell is of
one configuration. The exception is a cell with `choose`: each seed and fold then has the configuration that was best on
the part that its protocol chooses on.
"""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leukobench.data.composition import (
    FEWEST_TO_CHOOSE_ON,
    composition,
    too_thin_to_choose_on,
)
from leukobench.errors import LeukoBenchError
from leukobench.evaluation.metrics import Predicted, metric_of, score
from leukobench.evaluation.registry import definition
from leukobench.papers.memory import Memory
from leukobench.papers.results import REPEATED, Index, Result, ResultSet, one_configuration
from leukobench.papers.spec import Arm, Cell, Choice, Paper, merge_overrides
from leukobench.schema.names import Tag
from leukobench.schema.predictions import classes_among

MOST_NAMED = 4
"""Chosen configurations that a footnote names."""


@dataclass(frozen=True)
class Selection:
    """The runs that fill a cell under an arm.

    Attributes:
        runs: One a seed and fold; empty where the cell is not run.
        passed_over: Configurations of the store that fit as well.
        chosen: Of a cell with `choose`: how often which configuration was chosen, by what, among how many.
        missing: Of a cell with `choose`: which of its configurations are not run; empty where all are.
    """

    runs: tuple[Result, ...] = ()
    passed_over: int = 0
    chosen: str = ""
    missing: str = ""


class Selector:
    """Selects a paper's runs among the results of a store."""

    def __init__(self, paper: Paper, results: ResultSet, memory: Memory | None = None) -> None:
        self.paper = paper
        self.results = results
        self.memory = memory or Memory()
        self.index = Index(results.results)
        self._known: dict[tuple[str, ...], Selection] = {}

    def wanted(self, own: Sequence[str], arm: str) -> tuple[str, ...]:
        """Override strings of runs under an arm; `arm` is empty for a paper without arms."""
        return merge_overrides(own, self._arms[arm].overrides) if arm else tuple(own)

    def command(self, own: Sequence[str], arm: str) -> str:
        """The command that makes these runs."""
        sweep = self.paper.sweep
        base = f"leukobench sweep {shlex.quote(sweep)}" if sweep else "leukobench train"
        return f"{base} {shlex.join(self.wanted(own, arm))}".rstrip()

    def fitting(self, own: Sequence[str], arm: str) -> list[Result]:
        """Every result that agrees with the overrides, of any configuration."""
        wanted = self.wanted(own, arm)
        found = self.index.select(wanted)
        if self.paper.data and not any(o.startswith("data=") for o in wanted):
            found = [r for r in found if r.params.get("data") in self.paper.data]
        narrower = [
            overrides
            for other, choice in self._arms.items()
            if arm
            and other != arm
            and choice.possible
            and set(overrides := self.wanted(own, other)) > set(wanted)
        ]
        taken = {r.identity for overrides in narrower for r in self.index.select(overrides)}
        return [r for r in found if r.identity not in taken]

    def one(self, own: Sequence[str], arm: str) -> Selection:
        """The runs of one configuration; one without settings beyond those asked for, where there is one."""
        fitting = self.fitting(own, arm)
        wanted = self.wanted(own, arm)
        # a paper made from a sweep's own runs has no other settings to hold them to
        held = fitting if self.paper.path else []
        plain = [r for r in held if not own_settings([r], wanted)]
        runs, passed_over = one_configuration(plain or fitting, self.paper.sweep)
        return Selection(tuple(runs), passed_over)

    def cell(self, cell: Cell, arm: str) -> Selection:
        """The runs that fill a cell.

        Raises:
            LeukoBenchError: A configuration is to be chosen on a part that the runs do not have.
        """
        key = (
            arm,
            *cell.runs,
            "" if cell.choose is None else f"{cell.choose.metric} {cell.choose.averaging}",
        )
        if key not in self._known:
            self._known[key] = (
                self.one(cell.runs, arm)
                if cell.choose is None
                else self.best(cell.runs, arm, cell.choose)
            )
        return self._known[key]

    @property
    def _arms(self) -> Mapping[str, Arm]:
        return self.paper.arms

    def best(self, own: Sequence[str], arm: str, choice: Choice) -> Selection:
        """The best configuration of each seed and fold that all configurations were run with; of equals the first.

        Raises:
            LeukoBenchError: They are to be chosen on a part that the runs do not have, or that is too thin.
        """
        found = {c: self.one(merge_overrides(own, c), arm) for c in choice.candidates}
        there = {c: {_repeat(r): r for r in s.runs} for c, s in found.items() if s.runs}
        repeats = set.intersection(*(set(runs) for runs in there.values())) if there else set()
        if len(there) < 2 or not repeats:  # nothing to choose among
            return Selection()
        parts = {
            r.params.get("protocol.choose_on", "validation")
            for runs in there.values()
            for r in runs.values()
        }
        if len(parts) > 1:
            raise LeukoBenchError(
                f"some of the runs to choose among choose on {' and others on '.join(sorted(parts))}"
            )
        part = parts.pop()
        thin = self._thin([r for runs in there.values() for r in runs.values()], part)
        decides = definition(choice.metric)
        sign = -1.0 if decides.lower_is_better else 1.0
        chosen: list[Result] = []
        times: Counter[tuple[str, ...]] = Counter()
        for repeat in sorted(repeats):
            scores = {
                c: sign * self._score(runs[repeat], choice, part) for c, runs in there.items()
            }
            scores = {c: -math.inf if math.isnan(x) else x for c, x in scores.items()}
            best = max(
                scores, key=lambda c: scores[c]
            )  # of equals the first, in the order of the paper's file
            chosen.append(there[best][repeat])
            times[best] += 1
        return Selection(
            tuple(chosen),
            sum(s.passed_over for s in found.values()),
            f"chosen for each seed{' and fold' if len({f for _, f in repeats}) > 1 else ''} by "
            f"{decides.title_of(choice.metric)} on its {part} part, among {len(there)} configurations: {_named(times)}"
            + (f"; chosen on too little: {thin}" if thin else ""),
            f"{len(there)} of {len(found)} configurations to choose among"
            if len(there) < len(found)
            else "",
        )

    def _thin(self, results: Sequence[Result], part: str) -> str:
        """Why their part is too little to choose on, where the runs were allowed to; empty where it is enough.

        Raises:
            LeukoBenchError: It is too little, and was not allowed.
        """
        for result in results:
            if not self.memory.value(
                result.run_id,
                ["too thin to choose on", FEWEST_TO_CHOOSE_ON, part],
                lambda r=result: float(self._thin_reason(r, part) is not None),  # type: ignore[misc]
            ):
                continue
            reason = self._thin_reason(result, part) or ""
            if result.params.get("protocol.allow_thin_choice") != "true":
                raise LeukoBenchError(f"nothing is chosen on the {part} part: {reason}")
            return reason
        return ""

    def _thin_reason(self, result: Result, part: str) -> str | None:
        frame = self.results.predictions(result)
        rows = frame[frame["part"] == part].drop_duplicates("sample")
        if not len(rows):
            return None  # said where scores are read
        made_of = composition(rows["label"].to_numpy(), rows["subject"].to_numpy())
        return too_thin_to_choose_on(made_of, classes_among(frame.columns))

    def _score(self, result: Result, choice: Choice, part: str) -> float:
        def compute() -> float:
            predicted = Predicted.of(self.results.predictions(result), part)
            if not len(predicted):
                raise LeukoBenchError(
                    f"nothing to choose on: the runs have no {part} part (split.{part}=0.2 sets one aside)"
                    if part == "validation"
                    else f"nothing to choose on: the runs have no {part} part"
                )
            return score(
                predicted, metric_of(choice.metric, choice.averaging, None, predicted.classes)
            )

        return self.memory.value(
            result.run_id, [definition(choice.metric).identity, choice.averaging, part], compute
        )


RUNNING = (
    "settings",
    "trainer",
    "planner",
    "hydra",
    "save_model",
    "figures",
    "curves_on",
    "evaluate_at",
    "sweep",
)
"""Keys, with all below them, that say where and how a run is done, not what is done."""


def own_settings(results: Sequence[Result], wanted: Sequence[str]) -> list[str]:
    """Overrides with which results were made beyond those wanted, seed, fold and data: no part of the paper's sweep."""
    known = {o.lstrip("+").partition("=")[0] for o in wanted} | {
        *REPEATED,
        "data",
        "data.root",
        "data.allow_faulty",
    }
    found: set[str] = set()
    for text in {r.tags.get(Tag.OVERRIDES, "[]") for r in results}:
        try:
            overrides = json.loads(text)
        except ValueError:  # too long for a tag
            overrides = ["settings too many to list"]
        for override in overrides:
            key = override.lstrip("+~").partition("=")[0]
            if key not in known and key.split(".")[0].split("/")[0] not in RUNNING:
                found.add(override)
    return sorted(found)


def thin_parts(results: Sequence[Result]) -> str:
    """What is to be said of the parts that runs were trained and tested on; empty where nothing is."""
    said = Counter(text for r in results for text in json.loads(r.tags.get(Tag.CONCERNS, "[]")))
    if not said:
        return ""
    named = []
    for text, n in said.most_common(MOST_NAMED):
        named.append(text if n == len(results) else f"{text} ({n} of {len(results)} runs)")
    more = f"; {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else ""
    return f"thin parts: {'; '.join(named)}{more}"


def _repeat(result: Result) -> tuple[str, str]:
    return result.params.get("seed", "0"), result.params.get("fold", "0")


def _named(times: Counter[tuple[str, ...]]) -> str:
    total = sum(times.values())
    named = [f"{' '.join(c)} ({n} of {total})" for c, n in times.most_common(MOST_NAMED)]
    rest = len(times) - len(named)
    return "; ".join(named) + (f"; {rest} more" if rest else "")

"""Whether the runs of an arm leak, found out from what they left: nothing that a file says of itself counts.

Subjects and samples are compared in the runs' own predictions; contents and series of the same patients were compared
by the run in its own split members; what each step of the preprocessing was fitted on was counted in the rows it got.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leukobench.papers.memory import Memory
from leukobench.papers.results import Result, ResultSet
from leukobench.schema.names import Tag

UNKNOWN = -1.0
"""Kept in place of a number of subjects where the data name none."""
CHECKED_BY_RUN = {"content": "exact copies", "same_patients": "series of the same patients"}


@dataclass(frozen=True)
class Proof:
    """What was found out about the leaks of some runs.

    Attributes:
        leaks: What leaks, in words; empty where nothing was found.
        unchecked: What cannot be told from what the runs left: `subjects` (the data name none), `copies` (of samples),
            `fitted rows` (on which preprocessing was fitted).
    """

    leaks: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def words(self) -> str:
        """What stands behind the label of an arm that is called leak-free."""
        if self.leaks:
            return f"NOT leak-free: {'; '.join(self.leaks)}"
        if self.unchecked:
            return f"not checked: {', '.join(self.unchecked)}"
        return "proven"


def prove(
    source: ResultSet, runs: Sequence[Result], memory: Memory, chosen_on: Sequence[str] = ()
) -> Proof:
    """Look for leaks in what runs left.

    Args:
        chosen_on: Parts on which a configuration was chosen among several.
    """
    leaks: dict[str, None] = {}
    unchecked: dict[str, None] = {}
    for result in runs:
        for text in _shared_members(source, result, memory, unchecked):
            leaks[text] = None
        for text in (*_shared_by_tag(result, unchecked), *_fitted_on_test(result, unchecked)):
            leaks[text] = None
    if "test" in chosen_on:
        leaks["chosen on the test part"] = None
    return Proof(tuple(leaks), tuple(unchecked))


def _shared_members(
    source: ResultSet, result: Result, memory: Memory, unchecked: dict[str, None]
) -> list[str]:
    """Samples and subjects that stand in the test and in another part of a run."""
    found = []
    for name in ("sample", "subject"):
        count = memory.value(
            result.run_id, [f"{name}s in test and elsewhere"], _counter(source, result, name)
        )
        if count == UNKNOWN:
            unchecked["subjects"] = None
        elif count:
            found.append(f"{name}s stand in test and elsewhere")
    return found


def _counter(source: ResultSet, result: Result, name: str) -> Callable[[], float]:
    def compute() -> float:
        frame = source.predictions(result)
        if frame[name].isna().any():
            return UNKNOWN
        tested = set(frame.loc[frame["part"] == "test", name])
        return float(len(tested & set(frame.loc[frame["part"] != "test", name])))

    return compute


def _shared_by_tag(result: Result, unchecked: dict[str, None]) -> list[str]:
    shared = json.loads(result.tags.get(Tag.SHARED_PARTS, "null"))
    if shared is None or "content" not in shared:
        unchecked["copies"] = None
        return []
    return [
        f"{words} stand in several parts"
        for kind, words in CHECKED_BY_RUN.items()
        if shared.get(kind)
    ]


def _fitted_on_test(result: Result, unchecked: dict[str, None]) -> list[str]:
    fitted = json.loads(result.tags.get(Tag.FITTED, "null"))
    if fitted is None:
        unchecked["fitted rows"] = None
        return []
    return [f"{step} was fitted on test rows" for step, rows in fitted.items() if rows.get("test")]

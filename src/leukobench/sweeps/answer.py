"""What a launch ends with: the pooled result of each configuration, where to look, what to do next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from leukobench.papers.answers import Answer, FilledRow, FilledTable
from leukobench.papers.grid import configurations_paper
from leukobench.papers.tables import rebuild
from leukobench.report.layout import lay_out
from leukobench.settings import Settings
from leukobench.tracking.reading import Results
from leukobench.tracking.references import short
from leukobench.tracking.views import RESULTS, address

MOST = 5
"""Configurations that are named."""
UI = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class ConfigurationResult:
    """A configuration's result, as tables have it.

    Attributes:
        text: Mean and interval on the test part.
        validation: Mean on the validation part; None where there is none.
        runs: Ids of the runs that are pooled.
    """

    name: str
    text: str
    validation: float | None
    runs: tuple[str, ...]


def answer(
    settings: Settings, sweep: str, identities: Collection[str], experiment_id: str
) -> list[str]:
    """Lines that say how the configurations of these results did.

    Args:
        identities: Of the results that were asked for; each configuration counts with all of its
            runs in the sweep.

    Raises:
        LeukoBenchError: The store cannot be read, or the results cannot be pooled.
    """
    results = Results(settings, [sweep])
    paper = configurations_paper(sweep, results.results, identities)
    if paper is None:
        return []
    (table,) = rebuild(paper, results)
    results.close()
    found = configuration_results(table)
    return [*_ranked(found), _browse(settings, experiment_id), _next(sweep, found)]


def configuration_results(table: FilledTable) -> list[ConfigurationResult]:
    """A configuration a row of a table with a column of the test and one of the validation part."""
    lines = lay_out(table).lines
    found = []
    for row, line in zip(table.rows, lines, strict=True):
        test, validation = _answers(row)
        if test is not None and test.estimate is not None:
            chosen_on = None if validation is None else validation.estimate
            mean = None if chosen_on is None else chosen_on.mean
            found.append(ConfigurationResult(row.title, line.cells[0].main, mean, test.runs))
    return found


def _answers(row: FilledRow) -> list[Answer | None]:
    return [None if cell is None else cell.answers.get("") for cell in row.cells]


def _ranked(found: Sequence[ConfigurationResult]) -> list[str]:
    """The best few on validation; without validation, the first few, since test chooses nothing."""
    scores = [one.validation for one in found]
    chosen = len(found) > 1 and all(score is not None for score in scores)
    shown = sorted(found, key=lambda one: -(one.validation or 0.0)) if chosen else list(found)
    title = "accuracy on test, mean and 95 % interval over all runs of a configuration"
    if chosen:
        title += f"; best accuracy on validation first, {min(MOST, len(found))} of {len(found)}"
    elif len(found) > MOST:
        title += f"; {MOST} of {len(found)}, unranked: no validation part to choose on"
    width = max((len(one.name) for one in shown[:MOST]), default=0)
    lines = [f"  {one.name:<{width}}  {one.text}  {_runs(one)}" for one in shown[:MOST]]
    return [title, *lines]


def _runs(one: ConfigurationResult) -> str:
    if len(one.runs) == 1:
        return f"run {short(one.runs[0])}"
    return f"{len(one.runs)} runs, {short(one.runs[0])} …"


def _browse(settings: Settings, experiment_id: str) -> str:
    page = address(experiment_id, RESULTS)
    if settings.store.startswith("http"):
        return f"browse: {settings.shown_store.rstrip('/')}/{page}"
    return f"browse: leukobench ui, then {UI}/{page}"


def _next(sweep: str, found: Sequence[ConfigurationResult]) -> str:
    if len(found) == 1 and len(found[0].runs) == 1:
        return f"next: leukobench card --run {short(found[0].runs[0])} -o card.html"
    return f"next: leukobench tables {sweep}"

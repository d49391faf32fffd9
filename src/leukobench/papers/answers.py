"""A filled table: its rows and cells, and what the runs of each arm say about each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.registry import find
from leukobench.evaluation.replicates import Reach
from leukobench.papers.spec import Cell, printed_decimals
from leukobench.papers.verdicts import Verdict

Measured = tuple[str | None, str | None, str | None, str, str | int]
"""Metric, averaging, class, part and epoch."""


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
        reach: How far a replicate may be from our mean; None where nothing is published.
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
    reach: Reach | None = None


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


def measured(filled: FilledCell | None) -> Measured | None:
    """What a cell measures from predictions; None where it does not."""
    if filled is None or not filled.cell.has_runs:
        return None
    cell = filled.cell
    metric = find(cell.metric)
    if metric is None or not metric.computed:
        return None
    return (cell.metric, cell.averaging, cell.of, cell.part, cell.epoch)


def unpublished(cell: Cell) -> Cell:
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

"""A filled table laid out as lines of text, the same for every format.

Each row of a paper's table becomes a block of lines: what is published, then one line an arm. A table in which nothing
is published and that has one arm keeps one line a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.registry import find
from leukobench.papers.answers import Answer, FilledCell, FilledRow, FilledTable
from leukobench.papers.spec import Cell
from leukobench.papers.verdicts import JUDGED, Verdict

Kind = Literal["published", "arm", "baseline"]
NOTHING = "–"


@dataclass(frozen=True)
class Text:
    """One cell of a line.

    Attributes:
        main: `0.763 [0.741, 0.785]`, the published text, `not run`, ...
        detail: `+0.003 consistent, finds 0.021`; empty where there is nothing to compare with.
        marks: Letters of footnotes, and the number of the command that fills the cell.
        best: To be set in bold.
        verdict: For colours.
        sort: The number to sort by.
        hint: Sizes behind the number.
    """

    main: str = NOTHING
    detail: str = ""
    marks: tuple[str, ...] = ()
    best: bool = False
    verdict: Verdict | None = None
    sort: float | None = None
    hint: str = ""

    @property
    def pieces(self) -> list[str]:
        """The main text in pieces that may stand below each other where room is short: a number, its interval; the
        words of what is long."""
        if self.sort is None:
            return self.main.split(" ") if self.verdict is Verdict.IMPOSSIBLE else [self.main]
        number, bracket, interval = self.main.partition(" [")
        return [number, f"[{interval}"] if bracket else [number]


@dataclass(frozen=True)
class Line:
    """One line: `row` is empty on the further lines of a block; `n` says how many seeds, folds and samples."""

    row: str
    source: str
    cells: tuple[Text, ...]
    n: str
    kind: Kind


@dataclass(frozen=True)
class Layout:
    """A table as text.

    `with_sources` says whether the column that tells published from ours is needed, `with_n` whether sizes need one:
    where all are the same, the footer says them once.
    """

    id: str
    title: str
    note: str
    columns: tuple[str, ...]
    beside: int
    lines: tuple[Line, ...]
    with_sources: bool
    with_n: bool
    footnotes: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    footer: tuple[str, ...]

    @property
    def header(self) -> tuple[str, ...]:
        sources = ("Source",) if self.with_sources else ()
        return ("", *sources, *self.columns, *(("n",) if self.with_n else ()))

    @property
    def blocks(self) -> list[list[Line]]:
        """The lines of each row of the paper's table."""
        found: list[list[Line]] = []
        for line in self.lines:
            if line.row or not found or not self.with_sources:
                found.append([])
            found[-1].append(line)
        return found

    @property
    def names(self) -> int:
        """How many of the first columns of `header` name a line."""
        return 2 if self.with_sources else 1

    def side_by_side(self, widths: Sequence[int], room: int) -> list[list[int]]:
        """Columns of `header` in groups that fit side by side, each beginning with the names of the lines."""
        titles = list(range(self.names))
        groups: list[list[int]] = [[]]
        for i in range(self.names, len(self.header)):
            if groups[-1] and sum(widths[j] for j in (*titles, *groups[-1], i)) > room:
                groups.append([])
            groups[-1].append(i)
        return [[*titles, *group] for group in groups]

    def texts(self, line: Line) -> tuple[Text, ...]:
        """A line's cells under `header`, the row's name first."""
        sources = (Text(line.source),) if self.with_sources else ()
        return (Text(line.row), *sources, *line.cells, *((Text(line.n),) if self.with_n else ()))


def lay_out(table: FilledTable) -> Layout:
    """Lay out a filled table."""
    published = any(c is not None and c.cell.is_published for r in table.rows for c in r.cells)
    with_sources = published or len(table.arms) > 1
    styles = _styles(table)
    numbers = {command: str(i + 1) for i, command in enumerate(table.commands)}
    lines: list[Line] = []
    for row in table.rows:
        block: list[Line] = []
        if any(c is not None and c.cell.is_published for c in row.cells):
            block.append(
                Line("", "published", tuple(_published(c) for c in row.cells), "", "published")
            )
        for arm, label in table.arms.items():
            if any(c is not None and arm in c.answers for c in row.cells):
                texts = tuple(
                    _answered(c, arm, style, numbers) for c, style in zip(row.cells, styles)
                )
                block.append(
                    Line("", label, texts, _sizes(row, arm), "baseline" if row.baseline else "arm")
                )
        if any(c is not None and c.difference is not None for c in row.cells):
            texts = tuple(_difference(c, style) for c, style in zip(row.cells, styles))
            block.append(Line("", table.difference, texts, "", "arm"))
        lines += [
            Line(row.title if i == 0 else "", line.source, line.cells, line.n, line.kind)
            for i, line in enumerate(block)
        ]
    sizes = {line.n for line in lines if line.n}
    same = len(sizes) == 1 and ";" not in (n := next(iter(sizes)))
    return Layout(
        table.id,
        table.title,
        table.note,
        table.columns,
        table.beside,
        tuple(lines),
        with_sources,
        bool(sizes) and not same,
        table.footnotes,
        table.commands,
        ((f"n: {n} in every number.",) if same else ()) + table.footer,
    )


def number(value: float, cell: Cell, signed: bool = False) -> str:
    """A value in the cell's unit, with its decimals (one more than printed where few are), rounded half up."""
    scaled = value * 100 if cell.unit == "percent" else value
    decimals = _decimals(cell, scaled)
    exact = Decimal(repr(round(scaled, 12)))
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    if rounded == 0:
        return f"±{abs(rounded):f}" if signed else f"{abs(rounded):f}"
    return f"{rounded:+,f}" if signed else f"{rounded:,f}"


def interval_text(estimate: Estimate, cell: Cell, signed: bool = False) -> str:
    """`0.763 [0.741, 0.785]`, percentages with their sign once; `+0.119 [+0.036, +0.220]` for a difference."""
    sign = " %" if cell.unit == "percent" else ""
    text = number(estimate.mean, cell, signed)
    if estimate.low is None or estimate.high is None:
        return text + sign
    return f"{text} [{number(estimate.low, cell, signed)}, {number(estimate.high, cell, signed)}]{sign}"


def sizes_text(estimate: Estimate, folds: str) -> str:
    """`3 seeds × 5 folds, 60 samples, 12 subjects`; no subjects where each has one sample."""
    parts = _many(estimate.seeds, "seed")
    if folds and folds != "1":
        parts += f" × {folds} folds"
    if estimate.samples:
        parts += f", {estimate.samples:,} samples"
    if estimate.subjects is not None and estimate.subjects != estimate.samples:
        parts += f", {_many(estimate.subjects, 'subject')}"
    return parts


def published_text(cell: Cell) -> str:
    """What the paper prints, with the sense of a bound."""
    if cell.printed is None:
        return cell.words or NOTHING
    relation = {">": "> ", "<": "< ", "~": "≈ "}.get(cell.relation, "")
    return relation + cell.printed


def _decimals(cell: Cell, scaled: float) -> int:
    if cell.printed is None and cell.decimals is not None:
        return cell.decimals
    if cell.unit == "count":
        return 0 if float(scaled).is_integer() else 1
    least = 1 if cell.unit == "percent" else 3
    return max(cell.decimals or 0, least)


def _styles(table: FilledTable) -> list[Cell | None]:
    """For each column the cell whose unit its unpublished cells take: of the column, else of the table."""
    columns = range(len(table.columns))
    first = [
        next(
            (
                c.cell
                for r in table.rows
                if (c := r.cells[i]) is not None and c.cell.printed is not None
            ),
            None,
        )
        for i in columns
    ]
    shared = next(
        (cell for cell in first if cell is not None and cell.unit in ("fraction", "percent")), None
    )
    return [cell or shared for cell in first]


def _styled(cell: Cell, style: Cell | None) -> Cell:
    """The cell in the unit of its column, where it has none of its own because nothing is printed in it."""
    if (
        cell.printed is not None
        or cell.decimals is not None
        or style is None
        or cell.unit in ("count", "number")
    ):
        return cell
    return replace(cell, unit=style.unit)


def _published(filled: FilledCell | None) -> Text:
    if filled is None or not filled.cell.is_published:
        return Text("")
    return Text(published_text(filled.cell), marks=filled.marks, sort=filled.cell.value)


def _answered(
    filled: FilledCell | None, arm: str, style: Cell | None, numbers: dict[str, str]
) -> Text:
    answer = filled.answers.get(arm) if filled is not None else None
    if filled is None or answer is None:
        return Text("")
    cell = _styled(filled.cell, style)
    marks = (*answer.marks, *((numbers[answer.command],) if answer.command in numbers else ()))
    if answer.estimate is None:
        return Text(
            str(answer.verdict) if answer.verdict else NOTHING, marks=marks, verdict=answer.verdict
        )
    return Text(
        interval_text(answer.estimate, cell, signed=cell.difference is not None),
        _detail(answer, cell),
        marks,
        answer.best,
        answer.verdict,
        answer.estimate.mean,
        sizes_text(answer.estimate, answer.folds),
    )


def _difference(filled: FilledCell | None, style: Cell | None) -> Text:
    answer = filled.difference if filled is not None else None
    if filled is None or answer is None or answer.estimate is None:
        return Text("")
    return Text(interval_text(answer.estimate, _styled(filled.cell, style), signed=True))


def _detail(answer: Answer, cell: Cell) -> str:
    delta = "" if answer.delta is None else number(answer.delta, cell, signed=True)
    said = " ".join(part for part in (delta, str(answer.verdict or "")) if part)
    detectable = answer.reach.detectable if answer.reach is not None else None
    if detectable and answer.verdict in JUDGED:
        said += f", finds {number(detectable, cell)}"
    return said


def _sizes(row: FilledRow, arm: str) -> str:
    if row.baseline:
        return ""
    found: dict[str, bool] = {}
    for cell in row.cells:
        answer = cell.answers.get(arm) if cell is not None else None
        if (
            cell is not None
            and answer is not None
            and answer.estimate is not None
            and cell.cell.has_runs
        ):
            found.setdefault(sizes_text(answer.estimate, answer.folds), _is_size(cell.cell))
    # A column that itself counts samples says nothing of the others' test sets.
    return "; ".join(text for text, is_size in found.items() if not is_size or len(found) == 1)


def _is_size(cell: Cell) -> bool:
    metric = find(cell.metric)
    return metric is not None and metric.kind in ("size", "kept")


def _many(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"

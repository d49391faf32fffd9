"""Filled tables in the terminal, by rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text as Styled

from leukobench.papers.tables import FilledTable, Verdict
from leukobench.report.layout import Layout, Text, lay_out

COLOURS = {
    Verdict.REPRODUCED: "green",
    Verdict.HIGHER: "cyan",
    Verdict.LOWER: "red",
    Verdict.NOT_COMPARABLE: "yellow",
    Verdict.NOT_RUN: "dim",
    Verdict.IMPOSSIBLE: "dim",
}
MOST_COMMANDS = 12
"""Commands shown below a table; all formats but the terminal's list every one."""


def show(tables: Sequence[FilledTable], console: Console | None = None) -> None:
    """Print tables with their notes."""
    console = console or Console()
    for table in tables:
        _show(lay_out(table), console)


def _show(layout: Layout, console: Console) -> None:
    grid = Table(
        title=escape(layout.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    widths = _least_widths(layout, console.width)
    for i, title in enumerate(layout.header):
        grid.add_column(escape(title), overflow="fold", style="bold" if i == 0 else "", min_width=widths[i])
    for i, line in enumerate(layout.lines):
        ends = i + 1 == len(layout.lines) or bool(layout.lines[i + 1].row)
        style = "dim" if line.kind == "published" else ""
        grid.add_row(
            *(_styled(text) for text in layout.texts(line)), style=style, end_section=ends and layout.with_sources
        )
    console.print(grid)
    if layout.note:
        console.print(layout.note, style="italic", markup=False, highlight=False)
    for letter, text in layout.footnotes:
        console.print(f"  ({letter}) {text}", markup=False, highlight=False)
    if layout.commands:
        console.print("  Cells that are not run are filled by:", highlight=False)
        for i, command in enumerate(layout.commands[:MOST_COMMANDS], 1):
            console.print(f"  [{i}] {command}", markup=False, highlight=False, soft_wrap=True)
        if len(layout.commands) > MOST_COMMANDS:
            console.print(
                f"  ... and {len(layout.commands) - MOST_COMMANDS} more (--format md lists all)", highlight=False
            )
    for text in layout.footer:
        console.print(text, style="dim", markup=False, highlight=False)
    console.print()


def _least_widths(layout: Layout, width: int) -> list[int | None]:
    """Widths that keep numbers (and, where there is room, their marks and verdicts) on one line.

    Names and sizes are broken first; where even that does not do, everything may be broken.
    """
    columns = list(zip(*(layout.texts(line) for line in layout.lines)))
    first, last = (2 if layout.with_sources else 1), len(columns) - layout.with_n
    others = 12 * (len(columns) - (last - first)) + 2 * len(columns)
    whole = [max((max(len(t.main + _marks(t)), len(t.detail)) for t in column), default=0) for column in columns]
    numbers = [max((len(t.main) for t in column), default=0) for column in columns]
    for widths in (whole, numbers):
        if sum(widths[first:last]) + others <= width:
            return [w if first <= i < last else None for i, w in enumerate(widths)]
    return [None] * len(layout.header)


def _marks(text: Text) -> str:
    return " (" + ",".join(text.marks) + ")" if text.marks else ""


def _styled(text: Text) -> Styled:
    colour = COLOURS[text.verdict] if text.verdict is not None else ""
    out = Styled(text.main, style="bold" if text.best else (colour if not text.detail else ""))
    out.append(_marks(text), style="dim")
    if text.detail:
        out.append("\n" + text.detail, style=colour)
    return out

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
        show_layout(lay_out(table), console)


def show_layout(layout: Layout, console: Console) -> None:
    """Print a table that is laid out, with its notes."""
    grid = Table(
        title=escape(layout.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    widths = _widths(layout, console.width)
    for i, title in enumerate(layout.header):
        grid.add_column(escape(title), overflow="fold", style="bold" if i == 0 else "", width=widths[i])
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
        console.print("  What is not run is filled by:", highlight=False)
        for i, command in enumerate(layout.commands[:MOST_COMMANDS], 1):
            console.print(f"  [{i}] {command}", markup=False, highlight=False, soft_wrap=True)
        if len(layout.commands) > MOST_COMMANDS:
            console.print(
                f"  ... and {len(layout.commands) - MOST_COMMANDS} more (--format md lists all)", highlight=False
            )
    for text in layout.footer:
        console.print(text, style="dim", markup=False, highlight=False)
    console.print()


NARROWEST = 12
"""Characters to which names and sizes may be broken."""


def _widths(layout: Layout, width: int) -> list[int | None]:
    """Widths that keep numbers (and, where there is room, their marks and verdicts) on one line.

    Sizes are broken first, then names; where even that does not do, rich decides.
    """
    columns = list(zip(*(layout.texts(line) for line in layout.lines)))
    whole = [max((max(len(t.main + _marks(t)), len(t.detail)) for t in c), default=0) for c in columns]
    numbers = [max((len(t.main) for t in c if t.sort is not None), default=0) for c in columns]
    words = [max((len(word) for word in title.split()), default=0) for title in layout.header]
    whole, numbers = ([max(pair) for pair in zip(w, words)] for w in (whole, numbers))
    names = 2 if layout.with_sources else 1
    last = len(columns) - layout.with_n
    for least in (whole, numbers):
        room = width - 3 * len(columns) - sum(least[names:last])
        if room >= NARROWEST * (names + layout.with_n):
            sizes = min(whole[-1], max(NARROWEST, room - sum(whole[:names]))) if layout.with_n else 0
            titles = [min(w, max(NARROWEST, (room - sizes) // names)) for w in whole[:names]]
            return [*titles, *least[names:last], *([sizes] if layout.with_n else [])]
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

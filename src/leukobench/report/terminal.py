"""Filled tables in the terminal, by rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text as Styled

from leukobench.papers.answers import FilledTable
from leukobench.papers.verdicts import Verdict
from leukobench.report.layout import Layout, Text, lay_out

COLOURS = {
    Verdict.CONSISTENT: "green",
    Verdict.INCONCLUSIVE: "",
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
    for i, block in enumerate(_blocks(layout, console.width)):
        console.print(
            _grid(layout, block, layout.title if i == 0 else f"{layout.title} (continued)")
        )
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
                f"  ... and {len(layout.commands) - MOST_COMMANDS} more (--format md lists all)",
                highlight=False,
            )
    for text in layout.footer:
        console.print(text, style="dim", markup=False, highlight=False)
    console.print()


def _grid(layout: Layout, widths: Mapping[int, int | None], title: str) -> Table:
    """The columns of these positions in `header`, each as wide as said."""
    grid = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, width in widths.items():
        grid.add_column(
            escape(layout.header[i]), overflow="fold", style="bold" if i == 0 else "", width=width
        )
    for i, line in enumerate(layout.lines):
        ends = i + 1 == len(layout.lines) or bool(layout.lines[i + 1].row)
        texts = layout.texts(line)
        grid.add_row(
            *(_styled(texts[i]) for i in widths),
            style="dim" if line.kind == "published" else "",
            end_section=ends and layout.with_sources,
        )
    return grid


NARROWEST = 16
"""Characters to which names and sizes may be broken."""
GAP = 3
"""Characters between two columns."""


def _blocks(layout: Layout, width: int) -> list[dict[int, int | None]]:
    """Widths by column, in as many tables one below the other as it takes to keep numbers on one line.

    What follows a number (marks, verdicts) is broken first, then names and sizes; where even one column does not fit,
    rich decides.
    """
    columns = list(zip(*(layout.texts(line) for line in layout.lines)))
    words = [max((len(word) for word in title.split()), default=0) for title in layout.header]
    whole, least = [], []
    for i, texts in enumerate(columns):
        whole.append(max([words[i], *(max(len(t.main + _marks(t)), len(t.detail)) for t in texts)]))
        numbers = [len(t.main) for t in texts if t.sort is not None or t.verdict is not None]
        least.append(
            max([words[i], *numbers, *(len(word) for t in texts for word in t.detail.split())])
        )
    for i in (*range(layout.names), *([len(columns) - 1] if layout.with_n else [])):
        least[i] = min(whole[i], NARROWEST)
    groups = layout.side_by_side([w + GAP for w in least], width)
    return [_spread(columns, whole, least, width) for columns in groups]


def _spread(
    columns: list[int], whole: list[int], least: list[int], width: int
) -> dict[int, int | None]:
    """Least widths, and what room is left first to the sources, then to the values, then to the rows' names."""
    room = width - sum(least[i] + GAP for i in columns)
    if room < 0:
        return dict.fromkeys(columns)
    out: dict[int, int | None] = {}
    for i in (*columns[1:], columns[0]):
        more = min(room, whole[i] - least[i])
        out[i] = least[i] + more
        room -= more
    return {i: out[i] for i in columns}


def _marks(text: Text) -> str:
    return " (" + ",".join(text.marks) + ")" if text.marks else ""


def _styled(text: Text) -> Styled:
    colour = COLOURS[text.verdict] if text.verdict is not None else ""
    out = Styled(text.main, style="bold" if text.best else (colour if not text.detail else ""))
    out.append(_marks(text), style="dim")
    if text.detail:
        out.append("\n" + text.detail, style=colour)
    return out

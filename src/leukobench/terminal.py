"""Consoles and progress bars that are readable at 80 columns, the same for every command."""

from __future__ import annotations

import sys
import textwrap

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column


def console(stderr: bool = False, quiet: bool = False) -> Console:
    """A console whose lines break between words on a terminal, and nowhere in a file or pipe."""
    made = Console(stderr=stderr, quiet=quiet, highlight=False)
    made.soft_wrap = not made.is_terminal
    return made


def bars(on: Console) -> Progress:
    """Bars of tasks with a field `note`: counts and times keep their width, words give way.

    Left to right: what, bar, count, time spent, time left, note.
    """
    words = {"no_wrap": True, "overflow": "ellipsis"}
    return Progress(
        TextColumn("{task.description}", table_column=Column(ratio=2, **words)),  # type: ignore[arg-type]
        BarColumn(bar_width=10, table_column=Column(width=10)),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=7)),
        TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn("{task.fields[note]}", table_column=Column(ratio=3, **words)),  # type: ignore[arg-type]
        console=on,
        transient=True,
        expand=True,
    )


def wrapped(text: str, width: int | None = None) -> str:
    """A message with its lines broken between words where standard error is a terminal."""
    if width is None:
        if not sys.stderr.isatty():
            return text
        width = console(stderr=True).width
    lines = [
        textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.splitlines()
    ]
    return "\n".join("\n".join(parts) for parts in lines)

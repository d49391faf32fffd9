"""What commands print to. Rich is imported when something is printed, so that `--help` costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Where = Mapping[str, str | None]
"""Store, output folder and data folder as the command line names them."""


class Output:
    """Standard output or standard error, as a console of rich that is made when it is first needed."""

    def __init__(self, stderr: bool = False) -> None:
        self.stderr = stderr

    @cached_property
    def console(self) -> Console:
        from leukobench.terminal import console

        return console(stderr=self.stderr)

    def print(self, *what: Any) -> None:
        self.console.print(*what)


out = Output()
err = Output(stderr=True)


def escape(text: str) -> str:
    """Text in which rich sees no markup."""
    from rich import markup

    return markup.escape(text)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not err.console.is_terminal:
        yield None
        return
    from leukobench.terminal import bars

    with bars(err.console) as bar:
        tasks: dict[str, Any] = {}

        def update(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(text, total=total, note=label)
            bar.update(tasks[label], completed=done, total=total)

        yield update


def findings_counted(found: Sized) -> str:
    """`1 finding`, `3 findings`."""
    return f"{len(found)} finding{'' if len(found) == 1 else 's'}"

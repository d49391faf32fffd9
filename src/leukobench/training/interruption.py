"""Ctrl-C: once asks the current training to stop after its epoch, twice stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Ctrl-C once asks the current training to stop after its epoch; twice stops at once."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watching(self, say: str = "", say_again: str = "") -> Iterator[Interruption]:
        """Take Ctrl-C for as long as the block.

        A thread says it at once, also while the main thread computes and cannot run Python's own handler.

        Args:
            say: What the first Ctrl-C says on standard error.
            say_again: What the second says.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def handle(number: int, frame: Any) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        previous = signal.signal(signal.SIGINT, handle)
        try:
            with _saying((say, say_again)):
                yield self
        finally:
            signal.signal(signal.SIGINT, previous)


@contextmanager
def _saying(texts: Sequence[str]) -> Iterator[None]:
    """Say the k-th text on standard error at the k-th Ctrl-C."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    left = list(texts)

    def say() -> None:
        while received := os.read(reading, 1):
            if received[0] == signal.SIGINT and left:
                os.write(2, left.pop(0).encode())

    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)

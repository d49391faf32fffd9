"""Ctrl-C: once asks the current training to stop after its epoch, twice stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Ctrl-C once asks the current training to stop after its epoch; twice stops at once."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watching(self, say: str = "") -> Iterator[Interruption]:
        """Args:
        say: What the first Ctrl-C says on standard error.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def handle(number: int, frame: Any) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True
            os.write(2, say.encode())

        previous = signal.signal(signal.SIGINT, handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)

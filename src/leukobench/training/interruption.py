"""Ctrl-C and SIGTERM: once asks the current training to stop after its epoch, twice stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from leukobench.errors import ConfigError

GRACE = 8.0
"""Seconds after SIGTERM that an epoch may take to end: Docker kills after 10, Slurm after 30.
`LEUKOBENCH_GRACE` says another number."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Ctrl-C once asks the current training to stop after its epoch; twice stops at once.

    SIGTERM, by which a cluster or a container asks a process to end, does the same; as it will be
    followed by SIGKILL, a second one is taken as read after the grace time.

    Attributes:
        requested: Whether a stop was asked for.
        terminated: Whether by SIGTERM.
    """

    terminated = False

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watching(
        self,
        say: Sequence[str] = (),
        say_terminated: Sequence[str] = (),
    ) -> Iterator[Interruption]:
        """Take both signals for as long as the block.

        A thread says it at once, also while the main thread computes and cannot run Python's own handler.

        Args:
            say: What the first and the second Ctrl-C say on standard error.
            say_terminated: What SIGTERM and the end of its grace time say.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        seconds = grace()
        timer: threading.Timer | None = None

        def handle(number: int, frame: Any) -> None:
            nonlocal timer
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True
            if number == signal.SIGTERM:
                self.terminated = True
                timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
                timer.daemon = True
                timer.start()

        previous = {number: signal.signal(number, handle) for number in SIGNALS}
        try:
            with _saying({signal.SIGINT: say, signal.SIGTERM: say_terminated}):
                yield self
        finally:
            if timer is not None:
                timer.cancel()
            for number, before in previous.items():
                signal.signal(number, before)


def grace() -> float:
    """Seconds from SIGTERM to stopping at once.

    Raises:
        ConfigError: `LEUKOBENCH_GRACE` is no number of seconds.
    """
    said = os.environ.get("LEUKOBENCH_GRACE")
    try:
        seconds = GRACE if said is None else float(said)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ConfigError(f"LEUKOBENCH_GRACE={said}: a number of seconds from 0 is needed")
    return seconds


@contextmanager
def _saying(texts: Mapping[int, Sequence[str]]) -> Iterator[None]:
    """Say a signal's k-th text on standard error when it comes for the k-th time."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    left = {number: list(said) for number, said in texts.items()}

    def say() -> None:
        while received := os.read(reading, 1):
            waiting = left.get(received[0])
            if waiting:
                os.write(2, waiting.pop(0).encode())

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

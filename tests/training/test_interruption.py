"""Ctrl-C: acknowledged at once, twice stops."""

from __future__ import annotations

import os
import signal
import time

import pytest

from leukobench.training.interruption import Interruption


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def test_ctrl_c_is_acknowledged_and_the_second_says_how_to_go_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = ""

    def wait_for(text: str) -> str:
        found, end = said, time.monotonic() + 1
        while text not in found and time.monotonic() < end:
            found += capfd.readouterr().err
            time.sleep(0.01)
        return found

    with Interruption().watching("stopping\n", "go on with the same command\n") as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        said = wait_for("stopping")
        assert interruption.requested
        assert said == "stopping\n"
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert "go on with the same command" in wait_for("go on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_is_said_after_the_block(capfd: pytest.CaptureFixture[str]) -> None:
    with Interruption().watching("stopping\n"):
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert capfd.readouterr().err == ""

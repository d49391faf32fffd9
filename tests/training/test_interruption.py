"""Ctrl-C and SIGTERM: acknowledged at once, twice stops."""

from __future__ import annotations

import os
import signal
import time

import pytest

from leukobench.errors import ConfigError
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

    with Interruption().watching(("stopping\n", "go on with the same command\n")) as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        said = wait_for("stopping")
        assert interruption.requested
        assert said == "stopping\n"
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert "go on with the same command" in wait_for("go on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_is_said_after_the_block(capfd: pytest.CaptureFixture[str]) -> None:
    with Interruption().watching(("stopping\n",)):
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert capfd.readouterr().err == ""


def test_sigterm_asks_for_a_stop_and_stops_at_once_when_its_grace_time_is_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEUKOBENCH_GRACE", "0.3")
    with Interruption().watching((), ("asked to end\n", "at once\n")) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
        assert interruption.terminated
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
    assert capfd.readouterr().err == "asked to end\nat once\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_epoch_that_ends_within_the_grace_time_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEUKOBENCH_GRACE", "0.2")
    with Interruption().watching():
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.4)


def test_a_grace_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_GRACE", "soon")
    with pytest.raises(ConfigError, match="LEUKOBENCH_GRACE=soon"), Interruption().watching():
        pass

"""No connection is made without being asked for one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from leukobench.settings import Settings
from leukobench.sweeps.launch import run_jobs
from leukobench.tracking.reading import Results
from leukobench.training.job import Job


def test_a_sweep_from_its_launch_to_its_results_opens_no_connection(
    make_job: Callable[..., Job], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(*arguments: Any, **options: Any) -> Any:
        asked.append(str(arguments[-1]))
        raise OSError("the network is closed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert list(run_jobs([make_job("sweep=alone")], []).values()) == ["finished"]
    results = Results(local, ["alone"])
    assert len(results.predictions(results.results[0])) > 0
    assert asked == []


def test_mlflow_is_told_to_send_no_telemetry() -> None:
    import leukobench.tracking.connection  # noqa: F401

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

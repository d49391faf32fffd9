"""What a sweep says while it runs, where there is no terminal to draw on."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console as Rich

from leukobench.sweeps.console import Live


def test_long_stages_and_epochs_are_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = io.StringIO()
    live = Live(Rich(file=out), total=1, progress=None)
    live.on_stage("features", 32, 10_661)
    assert out.getvalue() == "", "what is over soon is not spoken of"
    now[0] = 31
    live.on_stage("features", 320, 10_661)
    live.on_stage("features", 352, 10_661)
    now[0] = 62
    live.on_epoch(3, 40, {})
    assert [line.strip() for line in out.getvalue().splitlines()] == [
        "features 320/10,661",
        "epoch 3/40",
    ]

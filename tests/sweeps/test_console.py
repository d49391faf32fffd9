"""What a sweep says while it runs, where there is no terminal to draw on."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console as Rich

from leukobench.sweeps.console import Live
from leukobench.terminal import bars, wrapped


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


def test_counts_and_time_left_are_whole_at_80_columns_beside_a_long_name() -> None:
    out = io.StringIO()
    with bars(Rich(file=out, width=80, force_terminal=True)) as progress:
        task = progress.add_task("trainings", total=1234, note="a long name " * 20)
        progress.update(task, completed=617)
        progress.refresh()
        (line,) = progress.get_renderables()
        rendered = Rich(file=io.StringIO(), width=80, record=True)
        rendered.print(line)
    text = rendered.export_text().rstrip("\n")
    assert len(text.splitlines()) == 1
    assert "617/1234" in text
    assert "0:00:00" in text
    assert "trainings" in text


def test_messages_break_between_words() -> None:
    text = wrapped("error: " + "word " * 30 + "/a/path/that/is/" + "long/" * 30, width=80)
    assert all(len(line) <= 80 or " " not in line for line in text.splitlines())
    assert text.split() == [*["error:"], *["word"] * 30, "/a/path/that/is/" + "long/" * 30]

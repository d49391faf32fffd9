"""What is loaded is data: mutated files import nothing, start nothing and open nothing elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leukobench.settings import conf_dir
from trained import Trained


def read_mutants(run: Path, count: int, seed: int) -> dict[str, Any]:
    script = Path(__file__).with_name("mutants.py")
    paper = conf_dir() / "paper" / "neuraldesigner.yaml"
    environment = {**os.environ, "PYTHONPATH": str(script.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(run), str(paper), str(count), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(found)
    return found


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_run_folders_bundles_and_papers_do_nothing_but_be_read_or_refused(
    train: Callable[..., Trained], count: int
) -> None:
    found = read_mutants(train("epochs=1").folder.path, count, seed=1)
    assert found["tried"] == count
    assert found["refused"] > count / 3
    assert found["seen"] == []
    assert found["odd"] == {}

"""What a room loads when it is used: looked at in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from leukobench.settings import Settings

TESTS = Path(__file__).parent
RUNS = ("torch", "pytorch_lightning", "hydra", "omegaconf")
IMPORT_ALL = """
import importlib, json, pkgutil, sys
from pathlib import Path

def import_all(room):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        importlib.import_module(module.name)
"""


def loaded(program: str, *watched: str) -> list[str]:
    """Which of these packages a program has loaded at its end."""
    end = f"\nprint('LOADED', json.dumps(sorted(set({watched!r}) & set(sys.modules))))"
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL + program + end],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    found: list[str] = json.loads(line.removeprefix("LOADED"))
    return found


def test_tracking_reads_and_delivers_without_torch_lightning_or_hydra(local: Settings) -> None:
    folder, store = str(local.output), local.store
    program = f"""
import_all("leukobench.tracking")
from leukobench.schema.delivery import DeliveryOrder, ResultOrder
from leukobench.schema.records import ResultRecord
from leukobench.settings import Settings
from leukobench.tracking.connection import Store
from leukobench.tracking.delivery import deliver
from leukobench.tracking.environment import environment
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.reading import Results
from leukobench.tracking.sweeps import open_sweep
sys.path.insert(0, "evaluation")
from frames import predictions

settings = Settings(Path({folder!r}), Path({folder!r}), {store!r})
store = Store(settings)
folder = RunFolder.of(settings.output, "t")
folder.update(state="finished", environment=environment(), seconds=1.0)
frame = predictions(["ALL", "AML"], [[0.9, 0.1], [0.2, 0.8]])
folder.write_result(ResultRecord("i", 3), frame, None)
order = DeliveryOrder("s", "t", "a name", (ResultOrder("i", 3),))
deliver(store, open_sweep(store, "s"), folder, order)
results = Results(settings)
assert len(results.predictions(results.results[0])) == 2
"""
    assert loaded(program, *RUNS) == []


def test_a_table_is_built_and_rendered_without_torch_lightning_or_hydra() -> None:
    program = """
import_all("leukobench.papers")
import_all("leukobench.report")
sys.path[:0] = ["papers"]
from kept import golden_paper, golden_results
from leukobench.papers.tables import rebuild
from leukobench.report.text import markdown
assert "large" in markdown(golden_paper(), rebuild(golden_paper(), golden_results()))
"""
    assert loaded(program, *RUNS) == []


@pytest.mark.parametrize("room", ["data", "evaluation"])
def test_data_and_evaluation_load_neither_torch_nor_mlflow_nor_hydra(room: str) -> None:
    assert loaded(f"import_all('leukobench.{room}')", *RUNS, "mlflow") == []


def test_training_loads_no_report() -> None:
    assert loaded("import_all('leukobench.training')", "leukobench.report") == []

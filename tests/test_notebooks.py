"""The notebooks run from an empty folder, on what is shipped and on simulated data, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SECONDS = 600
"""For one cell, on a busy machine."""


def read(name: str) -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Execute a notebook in a folder; returns everything its cells showed as text."""
    nbclient = pytest.importorskip("nbclient")
    for key in ("MLFLOW_TRACKING_URI", "LEUKOBENCH_CONF"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(folder / "outputs"))
    monkeypatch.setenv("LEUKOBENCH_DATA", str(folder / "data"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = read(name)
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
    ).execute()
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text", "") + output.get("data", {}).get("text/plain", ""))
    return "\n".join(texts)


@pytest.mark.parametrize("name", sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")))
def test_a_notebook_is_kept_without_outputs_and_names_no_machine(name: str) -> None:
    for cell in read(name).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not any(place in cell.source for place in ("/home/", "/tmp/", "/root/"))


@pytest.mark.slow
def test_results_are_read_into_frames_and_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("1_results", tmp_path, monkeypatch)
    assert "gene_mlp, 20 epochs" in shown
    assert "Comparison(" in shown


@pytest.mark.slow
def test_a_leak_makes_accuracy_out_of_shuffled_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("2_a_paper_and_its_leak", tmp_path, monkeypatch)
    means = [
        line.split() for line in shown.splitlines() if line.startswith(("paper ", "leak_free "))
    ]
    found = {name: float(value) for name, value in (m for m in means if len(m) == 2)}
    assert found["paper"] > 0.6
    assert 0.4 < found["leak_free"] < 0.6


def test_own_data_and_an_own_model_are_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("3_your_data_and_model", tmp_path, monkeypatch)
    for expected in ("bottleneck", "scikit-learn", "subjects"):
        assert expected in shown

"""Results in memory for the tests of tables and reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.papers.results import Kept, KeptResult
from leukobench.papers.spec import Paper, load_paper

GOLDEN = Path(__file__).parent / "golden"


def golden_paper() -> Paper:
    return load_paper(GOLDEN / "golden.yaml")


def golden_results() -> Kept:
    """The committed run records."""
    runs = [KeptResult(**r) for r in json.loads((GOLDEN / "runs.json").read_text(encoding="utf-8"))]
    table = pd.read_csv(GOLDEN / "predictions.csv")
    frames = {str(name): frame.drop(columns="run_id") for name, frame in table.groupby("run_id")}
    return Kept(runs, frames, store="store.db")


def frame(
    seed: int = 0, n: int = 40, skill: float = 1.0, classes: tuple[str, ...] = ("ALL", "normal")
) -> pd.DataFrame:
    """Predictions of one hold-out run: the first three quarters are the training part."""
    y = np.arange(n) % len(classes)
    logits = (
        np.random.default_rng(seed).normal(size=(n, len(classes))) + skill * np.eye(len(classes))[y]
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    out = pd.DataFrame(
        {
            "sample": [f"s{i}" for i in range(n)],
            "subject": None,
            "part": np.where(np.arange(n) < 3 * n // 4, "train", "test"),
            "fold": 0,
            "epoch": 5,
            "label": [classes[i] for i in y],
        }
    )
    for i, c in enumerate(classes):
        out[f"p_{c}"] = p[:, i]
    return out


def results(*runs: tuple[dict[str, str], pd.DataFrame], **more: object) -> Kept:
    """A result a (params, predictions) pair."""
    kept = [
        KeptResult(f"run{i}", f"id{i}", params, {}, float(i)) for i, (params, _) in enumerate(runs)
    ]
    return Kept(kept, {f"run{i}": f for i, (_, f) in enumerate(runs)}, **more)  # type: ignore[arg-type]

"""Makes the run records of the golden tables: `python tests/papers/golden/make.py`. Deterministic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
CLASSES = ("ALL", "normal")
SAMPLES, SUBJECTS = 60, 12
SKILL = {
    ("small", "paper"): 1.4,
    ("large", "paper"): 4.0,
    ("small", "leak_free"): 0.6,
    ("large", "leak_free"): 0.7,
    ("small", "other"): 1.0,
}


def fold_frame(
    rng: np.random.Generator, skill: float, fold: int, folds: int, by_subject: bool
) -> pd.DataFrame:
    i = np.arange(SAMPLES)
    y = (i % 2).astype(int)
    subject = 2 * (i // 10) + y
    held = (subject // 2 if by_subject else i // 2) % folds == fold
    logits = rng.normal(size=(SAMPLES, 2)) + skill * np.eye(2)[y]
    p = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    p = np.round(p, 3)
    return pd.DataFrame(
        {
            "sample": [f"c{k:02d}" for k in i],
            "subject": [f"P{s:02d}" for s in subject],
            "part": np.where(held, "test", "train"),
            "fold": fold,
            "epoch": 5,
            "label": [CLASSES[k] for k in y],
            "p_ALL": p,
            "p_normal": np.round(1 - p, 3),
        }
    )


def main() -> None:
    rng = np.random.default_rng(7)
    runs, frames = [], []
    for model, protocol in [
        ("small", "paper"),
        ("large", "paper"),
        ("small", "leak_free"),
        ("large", "leak_free"),
    ]:
        for seed in range(2):
            for fold in range(3):
                name = f"{model}-{protocol}-{seed}-{fold}"
                tags = {
                    "leukobench.fingerprint": "0123456789abcdef",
                    "leukobench.simulated": "false",
                }
                tags["leukobench.sweep"] = "golden"
                tags["leukobench.subset"] = (
                    "60 of 600 samples, 12 subjects" if protocol == "leak_free" else ""
                )
                params = {
                    "data": "cells",
                    "model": model,
                    "optimizer": "adam",
                    "protocol": protocol,
                }
                params |= {"split": "kfold", "epochs": "5", "seed": str(seed), "fold": str(fold)}
                runs.append(
                    {
                        "run_id": name,
                        "identity": f"id-{name}",
                        "params": params,
                        "tags": tags,
                        "start_time": 1.0,
                    }
                )
                frame = fold_frame(rng, SKILL[model, protocol], fold, 3, protocol == "leak_free")
                frames.append(frame.assign(run_id=name))
    # One run of the official test on simulated data, the small net alone.
    name = "small-official"
    params = {
        "data": "cells",
        "model": "small",
        "optimizer": "adam",
        "protocol": "leak_free",
        "split": "official",
    }
    params |= {"epochs": "5", "seed": "0", "fold": "0"}
    tags = {
        "leukobench.fingerprint": "fedcba9876543210",
        "leukobench.simulated": "true",
        "leukobench.subset": "",
    }
    runs.append(
        {
            "run_id": name,
            "identity": f"id-{name}",
            "params": params,
            "tags": tags,
            "start_time": 2.0,
        }
    )
    frames.append(fold_frame(rng, SKILL["small", "other"], 0, 2, True).assign(run_id=name))
    (HERE / "runs.json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    pd.concat(frames).to_csv(HERE / "predictions.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()

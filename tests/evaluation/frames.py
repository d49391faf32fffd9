"""Predictions frames for the tests of evaluation."""

import numpy as np
import pandas as pd


def predictions(
    labels,
    probabilities,
    classes=("ALL", "AML"),
    samples=None,
    subjects=None,
    parts="test",
    fold=0,
) -> pd.DataFrame:
    """A frame in the form in which runs keep their predictions."""
    p = np.asarray(probabilities, dtype=np.float32)
    n = len(labels)
    frame = pd.DataFrame(
        {
            "sample": [f"s{i}" for i in range(n)] if samples is None else list(samples),
            "subject": [None] * n if subjects is None else list(subjects),
            "part": [parts] * n if isinstance(parts, str) else list(parts),
            "fold": fold,
            "epoch": 10,
            "label": list(labels),
        }
    )
    for i, c in enumerate(classes):
        frame[f"p_{c}"] = p[:, i]
    return frame


def random_predictions(
    seed=0, n=60, classes=("ALL", "AML"), skill=1.0, subjects=None, **more
) -> pd.DataFrame:
    """Predictions of a classifier with some skill on n samples."""
    y = np.random.default_rng(99).integers(0, len(classes), n)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, len(classes))) + skill * np.eye(len(classes))[y]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = None if subjects is None else [f"P{i % subjects}" for i in range(n)]
    return predictions([classes[i] for i in y], p, classes, subjects=names, **more)

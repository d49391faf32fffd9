"""Data sets as inputs of runs, in MLflow's words: a name, a digest, where it comes from, what it holds.

The digest is the data set's own fingerprint, since `mlflow.data` looks at the first rows only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

DIGEST = 12
"""Hexadecimal digits of the fingerprint that are shown; the profile holds all of them."""
PROFILE = (
    "fingerprint",
    "samples",
    "subjects",
    "classes",
    "simulated",
    "subset",
    "split",
    "split_hash",
    "fold",
    "folds",
)


def dataset_input(data: Mapping[str, Any]) -> DatasetInput:
    """The data set of a run as MLflow's input entity.

    Args:
        data: Entry `data` of `run.json`.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = {"tags": {"mlflow.source.name": "leukobench", "leukobench.dataset": data["name"]}}
    profile = {key: data[key] for key in PROFILE if data.get(key) not in (None, "")}
    context = "simulated" if data["simulated"] else "subset" if data.get("subset") else "complete"
    return DatasetInput(
        dataset=Dataset(
            name=data["name"],
            digest=str(data["fingerprint"])[:DIGEST],
            source_type="code",
            source=json.dumps(source),
            profile=json.dumps(profile),
        ),
        tags=[InputTag("mlflow.data.context", context)],
    )

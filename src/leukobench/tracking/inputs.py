"""Data sets as inputs of runs, in MLflow's words: a name, a digest, where it comes from, what it
holds.

The digest is the data set's own fingerprint, since `mlflow.data` looks at the first rows only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from leukobench.schema.names import Tag
from leukobench.schema.records import DataRecord

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

DIGEST = 12
"""Hexadecimal digits of the fingerprint that are shown; the profile holds all of them."""


def dataset_input(data: DataRecord) -> DatasetInput:
    """The data set of a run as MLflow's input entity."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    facts = {
        "fingerprint": data.fingerprint,
        "samples": data.samples,
        "subjects": data.subjects,
        "classes": data.classes,
        "simulated": data.simulated,
        "subset": data.subset,
        "split": data.split,
        "split_hash": data.split_hash,
        "fold": data.fold,
        "folds": data.folds,
    }
    profile = {name: value for name, value in facts.items() if value not in (None, "")}
    context = "simulated" if data.simulated else "subset" if data.subset else "complete"
    return DatasetInput(
        dataset=Dataset(
            name=data.name,
            digest=data.fingerprint[:DIGEST],
            source_type="code",
            source=json.dumps({"tags": {Tag.SOURCE: "leukobench", Tag.DATASET: data.name}}),
            profile=json.dumps(profile),
        ),
        tags=[InputTag("mlflow.data.context", context)],
    )

"""Adding models to MLflow's registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from leukobench.tracking.connection import Store

FOLDER = "model"
"""Folder of a registered model among the artifacts of its run."""
LONGEST_DESCRIPTION = 90_000


def add_version(
    store: Store,
    name: str,
    *,
    run_id: str,
    folder: Path,
    tags: Mapping[str, str],
    description: str,
) -> str:
    """Attach a model to its run and register it as the next version of `name`; the version.

    Args:
        folder: In MLflow's format.
        description: Of the version, Markdown.

    Raises:
        StoreError
    """
    from mlflow.exceptions import MlflowException

    store.attach(run_id, folder, FOLDER)
    with store.errors("write"):
        try:
            store.client.create_registered_model(
                name, description=f"LeukoBench model {name}. Not for clinical use."
            )
        except MlflowException as e:
            if "exists" not in str(e):
                raise
        version = store.client.create_model_version(
            name,
            source=f"runs:/{run_id}/{FOLDER}",
            run_id=run_id,
            tags=dict(tags),
            description=description[:LONGEST_DESCRIPTION],
        )
    return str(version.version)

"""What a person finds with a sweep in the store: its note, a summary as CSV and as a picture, and
saved views.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from leukobench.schema.names import Tag
from leukobench.tracking.connection import Store
from leukobench.tracking.notes import sweep_note
from leukobench.tracking.reading import Results
from leukobench.tracking.run_content import CURVE
from leukobench.tracking.summary import keys_of, summary
from leukobench.tracking.sweeps import SweepRun, read_plan
from leukobench.tracking.views import TAG, TITLES, address, saved_views

if TYPE_CHECKING:
    import pandas as pd
PICTURE = "summary.png"
DRAWN = ("validation_balanced_accuracy", "test_balanced_accuracy")
"""Metrics that a picture shows."""
SHOWN = (*DRAWN, "test_auroc")
"""Metrics that saved views show."""
Draw = Callable[["pd.DataFrame", str, bool], bytes]
"""Draws a summary: the table, the sweep's name and whether its data are simulated give a PNG."""


def describe(store: Store, sweep: SweepRun, draw: Draw | None) -> None:
    """Write a sweep's note, `summary.csv` and `summary.png` to its parent run, from all its
    finished results.

    Args:
        draw: Draws the picture; None draws none.

    Raises:
        StoreError
    """
    source = Results(store.settings, [sweep.name])
    results = source.frame()
    if results.empty:
        return
    table = summary(results, source)
    source.close()
    views = saved_views(keys_of(table), [m for m in SHOWN if m in table], CURVE + "train_loss")
    drawn = draw is not None and any(m in table for m in DRAWN)
    note = sweep_note(
        sweep.name,
        results,
        table,
        links={TITLES[key]: address(sweep.experiment_id, key) for key in map(_view_name, views)},
        picture=f"get-artifact?path={PICTURE}&run_uuid={sweep.run_id}" if drawn else "",
        planned=len(read_plan(store, sweep).jobs),
    )
    simulated = bool((results["simulated"] == "true").any())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table.to_csv(folder / "summary.csv", index=False, float_format="%.6g")
        if draw is not None and drawn:
            (folder / PICTURE).write_bytes(draw(table, sweep.name, simulated))
        store.attach(sweep.run_id, folder)
    _tag(store, sweep, _tags(results, simulated, note), {**views, Tag.NOTE: note})


def _view_name(tag: str) -> str:
    return tag.removeprefix(TAG)


def _tags(results: pd.DataFrame, simulated: bool, note: str) -> dict[str, str]:
    """Tags of the sweep's run."""
    told = {Tag.DATASET: "dataset", Tag.PROTOCOL: "protocol", Tag.PAPER: "paper"}
    tags = {tag: ", ".join(sorted(set(results[column]))) for tag, column in told.items()}
    return {**tags, Tag.SIMULATED: str(simulated).lower(), Tag.NOTE: note}


def _tag(
    store: Store, sweep: SweepRun, of_run: Mapping[str, str], of_experiment: Mapping[str, str]
) -> None:
    from mlflow.entities import RunTag

    with store.errors("write"):
        store.client.log_batch(sweep.run_id, tags=[RunTag(k, v) for k, v in of_run.items()])
        for name, value in of_experiment.items():
            store.client.set_experiment_tag(sweep.experiment_id, name, value)

"""Running a job in a test and looking at what it left in its run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from leukobench.schema.records import ResultRecord
from leukobench.sweeps.pictures import train_and_draw
from leukobench.sweeps.plan import expand, make_plan
from leukobench.tracking.folder import RunFolder
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training
from leukobench.training.run import State


@dataclass
class Trained:
    """What a training left."""

    training: Training
    folder: RunFolder
    state: State
    curves: list[dict[str, float]]

    def predictions(self, epochs: int | None = None) -> pd.DataFrame:
        """Predictions of a checkpoint epoch, the last one by default."""
        identity = self.training.identities[epochs or self.training.epochs[-1]]
        return pd.read_parquet(self.folder.result(identity) / "predictions.parquet")

    def result(self, epochs: int | None = None) -> ResultRecord:
        wanted = self.training.identities[epochs or self.training.epochs[-1]]
        return next(r for r in self.folder.results() if r.identity == wanted)

    @property
    def error(self) -> str:
        return str(self.folder.run().error)


def planned(job: Job, merge: bool = True) -> list[Training]:
    """Trainings of one job, its folds and checkpoint epochs expanded."""
    return make_plan(expand([job]), {}, merge=merge).trainings


def train_job(job: Job, *, output: Path | None = None, stop_after: int | None = None) -> Trained:
    """Train one job.

    Args:
        output: Another output folder.
        stop_after: Ask for a stop (as Ctrl-C does) after this epoch.
    """
    if output is not None:
        job = job.with_values(settings={**job.config["settings"], "output": str(output)})
    (training,) = planned(job)
    interruption = Interruption()

    def on_epoch(epoch: int, total: int, row: Any) -> None:
        interruption.requested = interruption.requested or epoch == stop_after

    state = train_and_draw(training, on_epoch=on_epoch, interruption=interruption)
    folder = RunFolder.of(job.settings.output, training.id)
    return Trained(training, folder, state, folder.curves())

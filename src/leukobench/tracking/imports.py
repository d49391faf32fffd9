"""Importing an exported sweep into a store, once: a result that the store has finished is left
alone there.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from leukobench.progress import Progress
from leukobench.schema.delivery import PLAN, PlanEntry
from leukobench.schema.names import Tag
from leukobench.settings import Settings
from leukobench.tracking.archive import Archive, ArchiveRun, DataInput
from leukobench.tracking.connection import Store
from leukobench.tracking.description import Draw, describe
from leukobench.tracking.run_content import STATUS
from leukobench.tracking.sweeps import (
    SweepRun,
    add_to_plan,
    find_sweep,
    open_experiment,
    read_plan,
)

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run


@dataclass(frozen=True)
class ImportSummary:
    """Attributes:
    sweep: Name.
    new: Results that were brought in.
    there: Results that the store had finished already.
    """

    sweep: str
    new: int
    there: int


def import_sweep(
    settings: Settings,
    path: Path,
    progress: Progress | None = None,
    draw: Draw | None = None,
) -> ImportSummary:
    """Bring an exported sweep into the store at `settings.store`; what is there finished stays as
    it is.

    The whole archive is checked before anything is written. A result counts from when its run is
    ended, which comes last: an import that was killed has left none that looks complete, and the
    next one goes on in the same runs.

    Args:
        draw: Draws the picture of the sweep; None draws none.

    Raises:
        LeukoBenchError: The archive is not one, is damaged, was changed, or is of a later
            LeukoBench.
        StoreError: The store cannot be reached or written.
    """
    with Archive(path) as archive:
        archive.verify(progress)
        runs = archive.runs
        store = Store(settings)
        target = _TargetSweep.of(store, archive)
        wanted = [
            run for run in runs if run.kind == "result" and run.identity not in target.finished
        ]
        there = sum(run.kind == "result" for run in runs) - len(wanted)
        owners = {run.id: run for run in runs if run.kind == "trajectory"}
        with store.errors("write"):
            target.stamp()
            for i, run in enumerate(wanted):
                owner = owners.get(run.parent or "")
                parent = (
                    target.sweep.run_id
                    if owner is None
                    else target.bring(owner, target.sweep.run_id)
                )
                target.bring(run, parent)
                if progress is not None:
                    progress("runs", i + 1, len(wanted))
            target.close()
        if wanted or target.created:
            describe(store, target.sweep, draw)
        return ImportSummary(archive.sweep, len(wanted), there)


@dataclass
class _TargetSweep:
    """The sweep in the store that runs are brought into.

    Attributes:
        created: Whether this import (or an earlier one that was killed) made the sweep's own run.
        finished: Identities that need not be brought.
        brought: Runs of the store by the id they have in the archive, and whether nothing is to be
            added to them.
    """

    store: Store
    archive: Archive
    sweep: SweepRun
    created: bool
    finished: set[str] = field(default_factory=set)
    brought: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, archive: Archive) -> _TargetSweep:
        source = archive.runs[0]
        sweep, created = find_sweep(store, archive.sweep), True
        if sweep is None:
            experiment_id = open_experiment(store, archive.sweep)
            tags = {**_tags(source), Tag.IMPORTED: source.id}
            with store.errors("write"):
                run = store.client.create_run(experiment_id, source.start, tags, source.name)
            sweep = SweepRun(archive.sweep, experiment_id, run.info.run_id)
        else:
            with store.errors("write"):
                run = store.client.get_run(sweep.run_id)
            mine = run.data.tags.get(Tag.IMPORTED) == source.id
            created = mine and run.info.status == "RUNNING"
        target = cls(store, archive, sweep, created)
        for run in store.search(sweep.experiment_id, f"tags.`{Tag.KIND}` != 'sweep'"):
            target.note(run)
        return target

    def note(self, run: Run) -> None:
        """Take in a run that the store has."""
        tags, run_id, ended = run.data.tags, run.info.run_id, run.info.status != "RUNNING"
        kind, identity = tags[Tag.KIND], tags.get(Tag.IDENTITY)
        self.brought[run_id] = (run_id, True)
        if Tag.IMPORTED in tags:
            self.brought[tags[Tag.IMPORTED]] = (run_id, kind == "trajectory" and ended)
        if kind == "result" and run.info.status == "FINISHED" and identity is not None:
            self.finished.add(identity)

    def stamp(self) -> None:
        """Tell those who keep what they read that runs with earlier times have come."""
        self.store.client.set_experiment_tag(
            self.sweep.experiment_id, Tag.IMPORTED, str(time.time_ns())
        )

    def bring(self, run: ArchiveRun, parent: str) -> str:
        """Create a run, or go on with the one that a killed import left; its run id here."""
        from mlflow.entities import Metric, Param

        client = self.store.client
        id, complete = self.brought.get(run.id, (None, False))
        if id is not None and complete:
            return id
        if id is None:
            tags = {**_tags(run), Tag.PARENT: parent, Tag.IMPORTED: run.id}
            id = str(
                client.create_run(self.sweep.experiment_id, run.start, tags, run.name).info.run_id
            )
        metrics = [Metric(key, value, moment, step) for key, value, moment, step in run.metrics]
        params = [Param(key, value) for key, value in run.params.items()]
        self.store.log(id, metrics=metrics, params=params)
        if run.inputs:
            client.log_inputs(id, datasets=[_input(given) for given in run.inputs])
        self._log_artifacts(run, id)
        # what another machine runs would stay running for ever here
        client.set_terminated(
            id, run.status if run.status in STATUS.values() else "KILLED", run.end
        )
        self.brought[run.id] = (id, True)
        return id

    def _log_artifacts(self, run: ArchiveRun, id: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            self.archive.unpack(run.id, Path(scratch))
            if any(Path(scratch).iterdir()):
                self.store.client.log_artifacts(id, scratch)

    def close(self) -> None:
        """Complete the sweep's own run: its plan, and its end where it is new here."""
        source = self.archive.runs[0]
        if self.created:
            self._log_artifacts(source, self.sweep.run_id)
            self.store.client.set_terminated(self.sweep.run_id, "FINISHED", source.end)
        else:
            known = {job.identity for job in read_plan(self.store, self.sweep).jobs}
            missing = [job for job in self._planned(source) if job.identity not in known]
            if missing:
                add_to_plan(self.store, self.sweep, missing)
        self.stamp()

    def _planned(self, source: ArchiveRun) -> tuple[PlanEntry, ...]:
        text = self.archive.artifact(source.id, PLAN.file)
        if text is None:
            return ()
        return PLAN.parse(text, f"{self.archive.path} ({PLAN.file})").jobs


def _tags(run: ArchiveRun) -> dict[str, str]:
    """A run's tags without those that say where it stood in its store."""
    return {k: v for k, v in run.tags.items() if k not in (Tag.PARENT, Tag.IMPORTED)}


def _input(given: DataInput) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=given.name,
        digest=given.digest,
        source_type=given.source_type,
        source=given.source,
        schema=given.schema,
        profile=given.profile,
    )
    return DatasetInput(dataset=dataset, tags=[InputTag(k, v) for k, v in given.tags.items()])

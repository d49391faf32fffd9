"""Delivery: bringing what run folders hold to the store, once, by identity, whatever was there
before.

One idempotent function, `deliver`, is used while a sweep runs and afterwards (`sync`) alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leukobench.schema import predictions
from leukobench.schema.delivery import (
    DELIVERED,
    DELIVERY,
    DeliveryMarks,
    DeliveryOrder,
    ResultOrder,
)
from leukobench.schema.names import Param, Tag
from leukobench.schema.records import (
    AUTOENCODER_LOSSES,
    CURVES,
    JOB,
    RECONSTRUCTION,
    RECONSTRUCTION_ERRORS,
    RESAMPLED,
    RUN,
    SYSTEM_METRICS,
    Curves,
    ResultRecord,
)
from leukobench.settings import Settings
from leukobench.tracking.connection import Store, local_path, quoted
from leukobench.tracking.description import Draw, describe
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.inputs import dataset_input
from leukobench.tracking.notes import LONGEST_NOTE, run_note
from leukobench.tracking.run_content import (
    LONGEST_TAG,
    STATUS,
    curve_metrics,
    milliseconds,
    result_metrics,
    run_tags,
    training_metrics,
)
from leukobench.tracking.sweeps import SweepRun, close_sweep, open_sweep

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run, RunTag

TRAJECTORY = "trajectory-"
"""Begins the key of a training's own run among the marks of its folder."""
ARTIFACTS = (
    JOB.file,
    RUN.file,
    "split.json",
    CURVES.file,
    AUTOENCODER_LOSSES.file,
    RECONSTRUCTION_ERRORS.file,
    RECONSTRUCTION.file,
    RESAMPLED.file,
    "preprocess.safetensors",
    "fit-profile.txt",
)


def begin(store: Store, sweep: SweepRun, folder: RunFolder, order: DeliveryOrder) -> None:
    """Show a training as running. Raises StoreError."""
    _Delivery(store=store, sweep=sweep, folder=folder, order=order, running=True).carry_out()


def deliver(store: Store, sweep: SweepRun, folder: RunFolder, order: DeliveryOrder) -> None:
    """Bring what a run folder holds to the store; a second call changes nothing.

    A run that stands in the store unfinished (running, failed, killed) is continued, never doubled;
    a finished one stays as it is.

    Raises:
        StoreError
    """
    _Delivery(store=store, sweep=sweep, folder=folder, order=order, running=False).carry_out()


def sync(settings: Settings, name: str | None = None, draw: Draw | None = None) -> int:
    """Deliver every run folder (of one sweep, or of all); what the store holds already stays as it
    is.

    Args:
        draw: Draws the pictures of the sweeps; None draws none.

    Returns:
        How many folders are in the store now.

    Raises:
        StoreError
    """
    store = Store(settings)
    sweeps: dict[str, SweepRun] = {}
    delivered = 0
    for path in sorted((settings.output / "runs").glob(f"*/{DELIVERY.file}")):
        order = DELIVERY.read(path)
        if order is None or name not in (None, order.sweep):
            continue
        if order.sweep not in sweeps:
            sweeps[order.sweep] = open_sweep(store, order.sweep)
        # another launch may be delivering the same results
        with store.claims.holding(order.training):
            deliver(store, sweeps[order.sweep], RunFolder(path.parent), order)
        delivered += 1
    for sweep in sweeps.values():
        describe(store, sweep, draw)
        close_sweep(store, sweep, {})
    return delivered


@dataclass(frozen=True)
class _RunState:
    """A run of the store that is delivered to, as it stood before.

    Attributes:
        params: Names of those it has.
        epochs: Of its curves.
        failed: Whether it says why it failed.
    """

    run_id: str
    artifact_uri: str
    status: str
    params: frozenset[str]
    epochs: int
    failed: bool

    @classmethod
    def of(cls, run: Run) -> _RunState:
        tags = run.data.tags
        return cls(
            run_id=run.info.run_id,
            artifact_uri=run.info.artifact_uri,
            status=run.info.status,
            params=frozenset(run.data.params),
            epochs=int(tags.get(Tag.EPOCHS, 0)),
            failed=Tag.ERROR in tags,
        )


def _lacks_predictions(run: _RunState) -> bool:
    """Whether files of a finished run were deleted; of those behind a server it is not asked."""
    folder = local_path(run.artifact_uri)
    return folder is not None and not (folder / predictions.FILE).is_file()


@dataclass(frozen=True)
class _RunContent:
    """What a run of the store is to hold.

    Attributes:
        status: As MLflow names it.
        curves: Those that are its own; a result of a shared training has none.
        result: Its result, where it has one.
        training: Whether what the training left is its own, too.
    """

    status: str
    note: str
    params: Mapping[str, str]
    curves: Curves
    result: ResultRecord | None
    training: bool


class _Delivery:
    """One delivery of a run folder to a sweep."""

    def __init__(
        self,
        *,
        store: Store,
        sweep: SweepRun,
        folder: RunFolder,
        order: DeliveryOrder,
        running: bool,
    ) -> None:
        self.store, self.sweep, self.folder, self.order = store, sweep, folder, order
        self.running = running
        self.record = folder.run()
        self.curves = folder.curves()
        self.results = {} if running else {r.identity: r for r in folder.results()}
        self.marks = folder.read(DELIVERED) or DeliveryMarks()
        self.place = f"{store.uri}#{sweep.run_id}"
        self.runs = dict(self.marks.of(self.place))
        self.status = "RUNNING" if running else STATUS.get(self.record.state or "", "RUNNING")
        self.trajectory = TRAJECTORY + order.training
        self.together = len(order.jobs) > 1 or self.trajectory in self.runs
        self.epochs = [job.epochs for job in order.jobs]
        self.tags = {
            **run_tags(sweep.name, self.record),
            **order.tags,
            Tag.TRAINING: order.training,
        }

    def carry_out(self) -> None:
        before = dict(self.runs)
        with self.store.errors("write"):
            parent = self._deliver_trajectory() if self.together else self.sweep.run_id
            for job in self.order.jobs:
                self._deliver_result(job, parent)
            if self.order.replaces and self.status == "FINISHED":
                self._delete_empty_trajectories()
        if self.runs != before:
            self.folder.write(DELIVERED, self.marks.having(self.place, self.runs))

    def _deliver_trajectory(self) -> str:
        """The run of a training that several results share; its id."""
        tags = {**self.tags, Tag.KIND: "trajectory"}
        run = self._run(
            self.trajectory,
            name=self.order.name,
            parent=self.sweep.run_id,
            tags=tags,
            fresh=bool(self.order.replaces),
        )
        params = {k: v for k, v in self.order.jobs[-1].params.items() if k != Param.EPOCHS}
        content = _RunContent(
            status=self.status,
            note=run_note(params, self.record, epochs=self.epochs),
            params=params,
            curves=self.curves,
            result=None,
            training=True,
        )
        self._log(run, content)
        return run.run_id

    def _deliver_result(self, job: ResultOrder, parent: str) -> None:
        result = self.results.get(job.identity)
        # a trajectory stands for its results as long as they are not there
        if (self.running and self.together) or (result is None and self.status == "FINISHED"):
            return
        fresh = job.identity in self.order.replaces
        tags = {
            **self.tags,
            Tag.KIND: "result",
            Tag.IDENTITY: job.identity,
            Tag.OVERRIDES: json.dumps(job.overrides)[:LONGEST_NOTE],
        }
        run = self._run(job.identity, name=job.name, parent=parent, tags=tags, fresh=fresh)
        own = [] if self.together else [row for row in self.curves if row["epoch"] <= job.epochs]
        content = _RunContent(
            status="FINISHED" if result is not None else self.status,
            note=run_note(job.params, self.record, job=job, result=result, epochs=self.epochs),
            params=job.params,
            curves=own,
            result=result,
            training=not self.together,
        )
        self._log(run, content)
        if fresh and content.status == "FINISHED":
            self._delete_replaced(job.identity, run.run_id)

    def _delete_replaced(self, identity: str, run_id: str) -> None:
        replaced = self.order.replaces[identity]
        if replaced != run_id:
            self.store.client.delete_run(replaced)

    def _delete_empty_trajectories(self) -> None:
        """Delete trajectories of a training whose results have all been replaced."""
        experiment, client = self.sweep.experiment_id, self.store.client
        training = quoted(self.order.training)
        condition = f"tags.`{Tag.KIND}` = 'trajectory' and tags.`{Tag.TRAINING}` = {training}"
        for run in self.store.search(experiment, condition):
            children = f"tags.`{Tag.PARENT}` = {quoted(run.info.run_id)}"
            if not client.search_runs([experiment], children, max_results=1):
                client.delete_run(run.info.run_id)

    def _run(
        self, key: str, *, name: str, parent: str, tags: Mapping[str, str], fresh: bool
    ) -> _RunState:
        """The run of this key: the one delivered to before, one that another machine created, or a
        new one.

        Args:
            fresh: Not one that another delivery created: it is to be replaced.
        """
        if key in self.runs:
            known = self.store.client.get_run(self.runs[key])
            # a deleted run is forgotten
            if known.info.lifecycle_stage == "active":
                return _RunState.of(known)
        run = None if fresh else self._run_of_another(tags)
        if run is None:
            # a run's duration in the store is from its start to its delivery
            created = self.store.client.create_run(
                self.sweep.experiment_id,
                start_time=milliseconds(self.record.started),
                tags={**tags, Tag.PARENT: parent},
                run_name=name,
            )
            run = _RunState.of(created)
        self.runs[key] = run.run_id
        return run

    def _run_of_another(self, tags: Mapping[str, str]) -> _RunState | None:
        """A run with the same identity (or of the same training) that another delivery created, a
        finished one first.
        """
        kind = tags[Tag.KIND]
        tag = Tag.TRAINING if kind == "trajectory" else Tag.IDENTITY
        condition = f"tags.`{tag}` = {quoted(tags[tag])} and tags.`{Tag.KIND}` = '{kind}'"
        found = list(self.store.search(self.sweep.experiment_id, condition))
        finished = [run for run in found if run.info.status == "FINISHED"]
        if finished or not found:
            return _RunState.of(finished[0]) if finished else None
        # a later attempt: commit, versions and machine are those of now
        for name, value in tags.items():
            self.store.client.set_tag(found[0].info.run_id, name, value)
        return _RunState.of(found[0])

    def _log(self, run: _RunState, content: _RunContent) -> None:
        """Log what a run lacks, and end it."""
        from mlflow.entities import Param as LoggedParam

        longer = len(content.curves) > run.epochs
        if run.status == "FINISHED" and not longer:
            if content.result is not None and _lacks_predictions(run):
                self._attach(run, content)
            return
        # params never change in MLflow: a run that is continued keeps those it has
        missing = {k: v for k, v in content.params.items() if k not in run.params}
        self.store.log(
            run.run_id,
            metrics=self._metrics(content),
            params=[LoggedParam(k, v) for k, v in missing.items()],
            tags=self._content_tags(content),
        )
        if run.failed and content.status != "FAILED":
            self.store.client.delete_tag(run.run_id, Tag.ERROR)
        if self.record.data is not None:
            self.store.client.log_inputs(run.run_id, datasets=[dataset_input(self.record.data)])
        if content.status != "RUNNING":
            self._attach(run, content)
            self.store.client.set_terminated(run.run_id, content.status)
        elif run.status != "RUNNING":
            self.store.client.update_run(run.run_id, status="RUNNING")

    def _metrics(self, content: _RunContent) -> list[Metric]:
        """Every metric has a time of its own that follows from the folder, so that a second
        delivery logs the same.
        """
        metrics = curve_metrics(content.curves, self.record)
        if content.result is not None:
            metrics += result_metrics(content.result)
        if content.training and content.status != "RUNNING":
            metrics += training_metrics(self.record, self.folder.read(SYSTEM_METRICS) or [])
        return metrics

    def _content_tags(self, content: _RunContent) -> list[RunTag]:
        from mlflow.entities import RunTag

        tags = [RunTag(Tag.NOTE, content.note)]
        if self.record.seconds is not None:
            tags.append(RunTag(Tag.SECONDS, str(self.record.seconds)))
        if content.curves:
            tags.append(RunTag(Tag.EPOCHS, str(len(content.curves))))
        if content.status == "FAILED":
            tags.append(RunTag(Tag.ERROR, (self.record.error or "")[:LONGEST_TAG]))
        return tags

    def _attach(self, run: _RunState, content: _RunContent) -> None:
        if content.training:
            kept = [self.folder.path / name for name in ARTIFACTS]
            if content.status != "FINISHED":
                kept.append(self.folder.traceback)
            for path in kept:
                if path.is_file():
                    self.store.attach(run.run_id, path)
        if content.result is not None:
            self.store.attach(run.run_id, self.folder.result(content.result.identity))

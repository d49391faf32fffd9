"""Where results go: orders of delivery are written in run folders, and brought to the store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from leukobench.errors import StoreError
from leukobench.schema.delivery import (
    DELIVERED,
    DELIVERY,
    DeliveryMarks,
    DeliveryOrder,
    ResultOrder,
)
from leukobench.schema.names import Tag
from leukobench.sweeps.console import Console
from leukobench.sweeps.plan import run_name
from leukobench.tracking.connection import Store
from leukobench.tracking.delivery import begin, deliver
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.sweeps import SweepRun
from leukobench.training.job import Training


@dataclass(frozen=True)
class Outlet:
    """Where results go: a sweep in the store, or run folders alone while it is out of reach.

    Attributes:
        replaces: Run ids in the store, by identity, that new results take the place of.
        undelivered: Trainings that the store did not take, by id.
    """

    store: Store | None
    sweep: SweepRun | None
    console: Console
    replaces: Mapping[str, str]
    undelivered: dict[str, Training] = field(default_factory=dict)

    def order(self, training: Training) -> None:
        """Write down in the run folder what is to be delivered."""
        write_order(training, self.replaces)

    def begin(self, training: Training) -> None:
        """Show a training as running."""
        if self.store is None or self.sweep is None:
            return
        folder = folder_of(training)
        with suppress(StoreError):  # said when results are delivered
            begin(self.store, self.sweep, folder, delivery_order(training))

    def deliver(self, training: Training) -> None:
        """Bring what the run folder holds to the store; what it does not take stays there."""
        self.undelivered[training.id] = training
        if self.store is None or self.sweep is None:
            return
        folder = folder_of(training)
        try:
            deliver(self.store, self.sweep, folder, write_order(training, self.replaces))
        except StoreError as e:
            self.console.warn(f"{e}\nThe results of {training.id} are kept in {folder.path}.")
        else:
            del self.undelivered[training.id]

    def deliver_again(self) -> None:
        """Try once more what the store did not take, until it does not take one."""
        for training in list(self.undelivered.values()):
            self.deliver(training)
            if training.id in self.undelivered:
                return


def write_order(training: Training, replaces: Mapping[str, str] | None = None) -> DeliveryOrder:
    """Write down in a training's folder what is to be delivered of it, for `leukobench sync`.

    Results that were asked for earlier and have not been delivered stay in the order.
    """
    folder = folder_of(training)
    order = delivery_order(training, replaces)
    before = folder.read(DELIVERY)
    if before is not None and before.sweep == order.sweep:
        known = {job.identity for job in order.jobs}
        known |= (folder.read(DELIVERED) or DeliveryMarks()).keys
        order = order.with_jobs(tuple(job for job in before.jobs if job.identity not in known))
    folder.write(DELIVERY, order)
    return order


def delivery_order(training: Training, replaces: Mapping[str, str] | None = None) -> DeliveryOrder:
    """What is to be delivered of a training to its sweep.

    Args:
        replaces: Run ids in the store, by identity, that new results take the place of.
    """
    job, identities = training.job, training.identities
    tags = {Tag.PROTOCOL: job.protocol.name, Tag.PAPER: str(job.config.get("paper") or "")}
    if training.shared:
        tags[Tag.SHARED] = training.shared
    epochs = ", ".join(map(str, training.epochs))
    return DeliveryOrder(
        sweep=str(job.config["sweep"]),
        training=training.id,
        name=f"{run_name(job, with_epochs=False)} · epochs {epochs}",
        jobs=tuple(_result_order(training, epoch) for epoch in training.epochs),
        tags=tags,
        replaces={i: run for i, run in (replaces or {}).items() if i in identities.values()},
    )


def _result_order(training: Training, epoch: int) -> ResultOrder:
    job = training.jobs[epoch]
    return ResultOrder(
        identity=training.identities[epoch],
        epochs=epoch,
        params=job.params(),
        overrides=job.overrides,
        origin=job.origin,
        name=run_name(job),
    )


def folder_of(training: Training) -> RunFolder:
    """The folder of a training among the outputs."""
    return RunFolder.of(training.job.settings.output, training.id)

"""One launch at work: trainings from a queue, run here or in workers, delivered as they end."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from leukobench.sweeps.console import Live
from leukobench.sweeps.outlet import Outlet
from leukobench.sweeps.queue import Queue
from leukobench.sweeps.workers import Workers
from leukobench.training.interruption import Interruption
from leukobench.training.job import Training

log = logging.getLogger(__name__)
OnEpoch = Callable[[int, int, Mapping[str, float]], None]
OnStage = Callable[[str, int, int], None]
Launch = Callable[[Path, int], Any]


def collect_again(in_process: bool) -> None:
    """Let Python search for reference cycles, where that was put off, not among what is imported.

    Args:
        in_process: Whether this process trains, so that what trainings need is imported first.
    """
    if gc.isenabled():
        return
    if in_process:
        import leukobench.training.run  # noqa: F401
    gc.freeze()
    gc.enable()


@dataclass(frozen=True)
class Session:
    """What the trainings of one launch share.

    Attributes:
        queue: What is left to train.
        outlet: Where results go.
        live: What shows how far it is.
        interruption: Whether a stop was asked for.
        fail_fast: Whether the first failure ends the launch.
        states: State of each training that ended, by id.
    """

    queue: Queue
    outlet: Outlet
    live: Live
    interruption: Interruption
    fail_fast: bool = False
    states: dict[str, str] = field(default_factory=dict)

    def end(self, training: Training, state: str) -> None:
        """Take down how a training ended, and show it."""
        self.states[training.id] = state
        self.live.end(training, state)


def run_here(session: Session) -> None:
    """Run what the queue holds in this process."""
    queue, live, interruption = session.queue, session.live, session.interruption
    if not prepare_features(queue, live, interruption):
        return
    while queue.waiting:
        training = queue.take()
        if training is None and (interruption.requested or not queue.waiting):
            return
        if training is None:
            live.waiting(len(queue.waiting))
            time.sleep(0.2)
            continue
        live.start(training)
        try:
            state = execute(
                training,
                session.outlet,
                on_epoch=live.on_epoch,
                interruption=interruption,
                on_stage=live.on_stage,
            )
        finally:
            queue.release(training)
        session.end(training, state)
        if interruption.requested or (session.fail_fast and state == "failed"):
            return


def prepare_features(queue: Queue, live: Live, interruption: Interruption) -> bool:
    """Compute what several trainings read of frozen backbones; False where a stop was asked for.

    What fails here fails in its own training, with its traceback.
    """
    jobs = [training.job for training in queue.waiting if training.job.trains_head]
    if not jobs:
        return True
    from leukobench.training.ahead import features_ahead

    def preparing(what: str, done: int, total: int) -> None:
        live.on_stage(what, done, total)
        if interruption.requested:
            raise KeyboardInterrupt  # nothing on the way takes it for a failure of its own

    try:
        features_ahead(jobs, preparing)
    except KeyboardInterrupt:
        return False
    except Exception as e:
        log.debug("features are left to the trainings", exc_info=e)
    return True


def run_workers(session: Session, launch: Launch, count: int) -> None:
    """Run what the queue holds in at most `count` processes that a launcher starts."""
    queue, outlet = session.queue, session.outlet

    def ended(training: Training, state: str) -> None:
        outlet.deliver(training)
        queue.release(training)
        session.end(training, state)

    first = queue.waiting[0].job
    began = f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    workers = Workers(
        folder=first.settings.output / "plans" / f"{first.config['sweep']}-{began}",
        queue=queue,
        count=min(count, len(queue.waiting)),
        launch=launch,
        given=outlet.order,
        begun=outlet.begin,
        progress=session.live.at_work,
        ended=ended,
    )
    workers.run(session.interruption, session.fail_fast)
    if workers.reason and queue.waiting:
        outlet.console.warn(f"the workers ended before all was done: {workers.reason}")


def execute(
    training: Training,
    outlet: Outlet,
    *,
    on_epoch: OnEpoch | None = None,
    interruption: Interruption | None = None,
    on_stage: OnStage | None = None,
) -> str:
    """Run a training and deliver it; an unreachable store costs a warning, never a result."""
    from leukobench.sweeps.pictures import train_and_draw

    outlet.order(training)
    shown = showing(outlet, training, on_epoch)
    state = train_and_draw(training, on_epoch=shown, interruption=interruption, on_stage=on_stage)
    outlet.deliver(training)
    return state


def showing(
    outlet: Outlet, training: Training, on_epoch: OnEpoch | None, *, after: float = 10.0
) -> OnEpoch:
    """`on_epoch`, after which a training that has taken a while is shown as running in the store."""
    began = time.monotonic()
    shown = False

    def both(epoch: int, total: int, row: Mapping[str, float]) -> None:
        nonlocal shown
        if on_epoch is not None:
            on_epoch(epoch, total, row)
        if not shown and time.monotonic() - began > after:
            shown = True
            outlet.begin(training)

    return both

"""Launching: from Hydra's hands to a plan, from the plan to trainings, from run folders to the store."""

from __future__ import annotations

import copy
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from leukobench.credentials import redacted
from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.report.sweep_picture import picture
from leukobench.schema.delivery import (
    DELIVERED,
    DELIVERY,
    DeliveryMarks,
    DeliveryOrder,
    ResultOrder,
)
from leukobench.schema.names import Tag
from leukobench.settings import Settings
from leukobench.sweeps.compose import Composer, grid
from leukobench.sweeps.console import Console, Live
from leukobench.sweeps.messages import STACK_IS_GONE
from leukobench.sweeps.outcome import END_OF_GRACE, Terminated, ended
from leukobench.sweeps.plan import Plan, expand, make_plan, plan_entry, run_name
from leukobench.sweeps.queue import Queue
from leukobench.sweeps.workers import Workers, work
from leukobench.tracking.connection import Store, StoreRefused
from leukobench.tracking.delivery import begin, deliver
from leukobench.tracking.description import describe
from leukobench.tracking.entries import entries as read_entries
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.sweeps import SweepRun, add_to_plan, close_sweep, find_sweep, open_sweep
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training

log = logging.getLogger(__name__)
OnEpoch = Callable[[int, int, Mapping[str, float]], None]
OnStage = Callable[[str, int, int], None]
Launch = Callable[[Path, int], Any]
STOPPING = "\nstopping after this epoch; Ctrl-C again stops at once\n"
STOPPED = "\nstopped; the same command goes on from the last checkpoint, and runs nothing twice\n"
TERMINATING = (
    "\nasked to end (SIGTERM): stopping after this epoch, or when the grace time is over\n"
)
IN_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@dataclass(frozen=True)
class Multirun:
    """What Hydra hands a sweeper."""

    context: HydraContext
    config: DictConfig
    task: TaskFunction


def sweep(
    multirun: Multirun, params: Mapping[str, str], arguments: Sequence[str]
) -> dict[str, str]:
    """Plan and run a grid; called by the sweeper.

    Returns:
        State of each training by id.
    """
    composer, parser = composition(multirun)
    values = grid(params, arguments, parser)
    left_out: list[tuple[str, str]] = []
    jobs = expand(composer.jobs(values), left_out)
    if not jobs:
        raise LeukoBenchError(
            "no job is left: " + "; ".join(f"{o}: {why}" for o, why in left_out[:3])
        )
    return run_jobs(jobs, left_out, *workforce(multirun))


def composition(multirun: Multirun) -> tuple[Composer, OverridesParser]:
    """What composes the jobs of a sweep, and what reads its override strings."""
    loader = multirun.context.config_loader
    parser = OverridesParser.create(config_loader=loader)
    composer = Composer(
        lambda overrides: loader.load_sweep_config(multirun.config, overrides),
        lambda key: key.startswith("hydra/") or bool(loader.get_group_options(key)),
        parser,
    )
    return composer, parser


def workforce(multirun: Multirun) -> tuple[Launch | None, int]:
    """What starts workers and how many; None and one where everything runs in this process."""
    if str(multirun.config.hydra.launcher._target_) == IN_PROCESS:
        return None, 1
    workers = workers_of(multirun.config)
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=multirun.context,
        task_function=multirun.task,
        config=without_credentials(multirun.config),
    )
    return launch_with(launcher), workers


def without_credentials(config: DictConfig) -> DictConfig:
    """What a launcher may write down for its workers, who need no store."""
    copied = copy.deepcopy(config)
    with open_dict(copied), read_write(copied):
        copied.settings.store = redacted(str(copied.settings.store))
        copied.hydra.overrides.task = [redacted(o) for o in copied.hydra.overrides.task]
    return copied


def run_single(config: DictConfig) -> dict[str, str]:
    """Plan and run one composed config, without a sweeper (`leukobench train` without `-m`)."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {
        k: str(v) for k, v in hydra.runtime.choices.items() if v is not None and "/" not in str(k)
    }
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    if resolved["figures"] == "auto":
        resolved["figures"] = True
    job = Job(
        {str(k): v for k, v in resolved.items()},
        choices,
        tuple(hydra.overrides.task),
        str(hydra.job.config_name),
    )
    return run_jobs(expand([job]), [])


def run_jobs(
    jobs: Sequence[Job],
    left_out: list[tuple[str, str]],
    launch: Launch | None = None,
    workers: int = 1,
    *,
    answers: bool = True,
) -> dict[str, str]:
    """Plan jobs against the store, print the plan, run what is left, deliver, print the summary.

    Args:
        launch: Starts workers on a folder and returns when they have ended; None runs everything in this process.
        workers: How many.
        answers: Whether the results are printed; not where these jobs are one step of many.
    """
    first = jobs[0]
    settings, planner = first.settings, first.config["planner"]
    name = str(first.config["sweep"])
    if "stack" in planner:
        raise ConfigError(STACK_IS_GONE)
    console = Console()
    store, sweep_run, entries = None, None, {}
    try:
        store = Store(settings)
        found = find_sweep(store, name)
        entries = read_entries(settings, store, found) if found else {}
    except StoreRefused:
        raise
    except StoreError as e:
        if not (settings.output / "runs").is_dir() and not planner.get("dry_run"):
            raise
        console.warn(
            f"{e}\nRunning on: results stay in {settings.output} until they can be delivered."
        )
    with console.planning(len(jobs)) as progress:
        plan = make_plan(
            jobs,
            entries,
            merge=bool(planner["merge"]),
            force=bool(planner["force"]),
            left_out=left_out,
            progress=progress,
        )
    console.plan(name, plan, entries)
    if planner["dry_run"]:
        return {}
    replaces: dict[str, str] = {}
    if planner["force"]:
        finished = {i: e.run_id for i, e in entries.items() if e.status == "FINISHED"}
        replaces = {p.identity: finished[p.identity] for p in plan.jobs if p.identity in finished}
        forget_results(plan, settings)
    if store is not None:
        try:
            sweep_run = open_sweep(store, name)
            add_to_plan(store, sweep_run, [plan_entry(p) for p in plan.jobs])
        except StoreError as e:
            console.warn(
                f"{e}\nRunning on: results stay in {settings.output} until they can be delivered."
            )
            store = None
    incomplete = ""
    queue = Queue(plan.trainings, store, sweep_run, replaces.values())
    outlet = Outlet(store, sweep_run, console, replaces)
    states: dict[str, str] = {}
    stopped = False
    interruption = Interruption()
    if plan.trainings:
        collect_again(in_process=launch is None)
        with (
            closed_at_once(store, sweep_run, interruption),
            console.running(plan, entries) as live,
            interruption.watching((STOPPING, STOPPED), (TERMINATING, STOPPED)),
        ):
            if launch is None:
                run_here(queue, outlet, live, interruption, states, bool(planner["fail_fast"]))
            else:
                run_workers(
                    queue,
                    outlet,
                    live,
                    interruption,
                    states,
                    bool(planner["fail_fast"]),
                    launch,
                    workers,
                )
            stopped = interruption.requested and bool(queue.waiting)
    states |= dict.fromkeys(queue.elsewhere, "finished")
    if queue.elsewhere:
        console.elsewhere(len(queue.elsewhere))
    outlet.deliver_again()
    if store is not None and sweep_run is not None:
        facts = {"jobs": len(plan.jobs), "failed": sum(s == "failed" for s in states.values())}
        try:
            if plan.trainings and not interruption.terminated:
                describe(store, sweep_run, picture)
            close_sweep(store, sweep_run, facts)
            store.claims.tidy()
        except StoreError as e:
            incomplete = str(e)
            console.warn(incomplete)
    failures = {
        t.id: _folder(settings, t).run().error or ""
        for t in plan.trainings
        if states.get(t.id) == "failed"
    }
    outcome = ended(
        len(plan.trainings),
        interrupted=stopped or "interrupted" in states.values(),
        terminated=interruption.terminated,
        failed=len(failures),
        missing=len(plan.trainings) - len(states),
        undelivered=len(outlet.undelivered),
        incomplete=incomplete,
    )
    console.summary(name, plan, states, failures, settings, len(outlet.undelivered))
    whole = not (incomplete or outlet.undelivered or interruption.requested)
    if answers and whole and sweep_run is not None:
        say_answer(console, settings, sweep_run, plan)
    if outcome is not None:
        raise outcome
    return states


@contextmanager
def closed_at_once(
    store: Store | None, sweep_run: SweepRun | None, interruption: Interruption
) -> Iterator[None]:
    """Close the sweep's run where the block is stopped at once, whatever the trainings were at.

    Raises:
        Terminated: SIGTERM's grace time was over.
        KeyboardInterrupt: A second Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        if store is not None and sweep_run is not None:
            with suppress(StoreError):
                close_sweep(store, sweep_run, {})
        if interruption.terminated:
            raise Terminated(END_OF_GRACE) from None
        raise


def say_answer(console: Console, settings: Settings, sweep_run: SweepRun, plan: Plan) -> None:
    """Print how the jobs that were asked for did. The launch is over: what fails here is a warning."""
    from leukobench.sweeps.answer import answer

    identities = {planned.identity for planned in plan.jobs}
    try:
        lines = answer(settings, sweep_run.name, identities, sweep_run.experiment_id)
    except LeukoBenchError as e:
        console.warn(str(e))
        return
    for line in lines:
        console.rich.print(line, markup=False)


@dataclass(frozen=True)
class Outlet:
    """Where results go: a sweep in the store, or nowhere but their run folders while the store is out of reach.

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
        folder = _folder(training.job.settings, training)
        with suppress(StoreError):  # said when results are delivered
            begin(self.store, self.sweep, folder, delivery_order(training))

    def deliver(self, training: Training) -> None:
        """Bring what the run folder holds to the store; where it does not take it, it stays there."""
        self.undelivered[training.id] = training
        if self.store is None or self.sweep is None:
            return
        folder = _folder(training.job.settings, training)
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


def collect_again(in_process: bool) -> None:
    """Let Python search for reference cycles, where that was put off, but never among what has been imported.

    Args:
        in_process: Whether this process trains, so that what trainings need is imported first.
    """
    if gc.isenabled():
        return
    if in_process:
        import leukobench.training.run  # noqa: F401
    gc.freeze()
    gc.enable()


def run_here(
    queue: Queue,
    outlet: Outlet,
    live: Live,
    interruption: Interruption,
    states: dict[str, str],
    fail_fast: bool,
) -> None:
    """Run what a queue holds in this process; `states` takes the state of each training by id."""
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
            state = execute(training, outlet, live.on_epoch, interruption, live.on_stage)
        finally:
            queue.release(training)
        states[training.id] = state
        live.end(training, state)
        if interruption.requested or (fail_fast and state == "failed"):
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


def run_workers(
    queue: Queue,
    outlet: Outlet,
    live: Live,
    interruption: Interruption,
    states: dict[str, str],
    fail_fast: bool,
    launch: Launch,
    count: int,
) -> None:
    """Run what a queue holds in at most `count` processes that a launcher starts; otherwise as `run_here`."""

    def ended(training: Training, state: str) -> None:
        outlet.deliver(training)
        queue.release(training)
        states[training.id] = state
        live.end(training, state)

    first = queue.waiting[0].job
    folder = (
        first.settings.output
        / "plans"
        / f"{first.config['sweep']}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    )
    workers = Workers(
        folder,
        queue,
        min(count, len(queue.waiting)),
        launch,
        given=outlet.order,
        begun=outlet.begin,
        progress=live.at_work,
        ended=ended,
    )
    workers.run(interruption, fail_fast)
    if workers.reason and queue.waiting:
        outlet.console.warn(f"the workers ended before all was done: {workers.reason}")


def execute(
    training: Training,
    outlet: Outlet,
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
    outlet: Outlet, training: Training, on_epoch: OnEpoch | None, after: float = 10.0
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


def write_order(training: Training, replaces: Mapping[str, str] | None = None) -> DeliveryOrder:
    """Write down in a training's folder what is to be delivered of it, so that `leukobench sync` can.

    Results that were asked for earlier and have not been delivered stay in the order.
    """
    folder = _folder(training.job.settings, training)
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


def _folder(settings: Settings, training: Training) -> RunFolder:
    return RunFolder.of(settings.output, training.id)


def forget_results(plan: Plan, settings: Settings) -> None:
    """With `--force`: remove what is run again from the run folders; other results of the same training stay."""
    import shutil

    for training in plan.trainings:
        folder = _folder(settings, training)
        for identity in training.identities.values():
            shutil.rmtree(folder.result(identity), ignore_errors=True)
        for path in folder.path.glob("[!.]*"):
            if path.is_file():
                path.unlink()


def task(config: DictConfig) -> Any:
    """Hydra's task function: a worker, or one run."""
    from leukobench.sweeps.pictures import train_and_draw

    planned = config.get("planned")
    if planned is None:
        return run_single(config)
    return work(Path(planned.folder), int(planned.worker), train_and_draw)


def launch_with(launcher: Any) -> Launch:
    """What starts workers with one of Hydra's launchers."""

    def launch(folder: Path, count: int) -> None:
        quoted = "'" + str(folder).replace("\\", "\\\\").replace("'", "\\'") + "'"
        jobs = [[f"+planned.folder={quoted}", f"+planned.worker={k}"] for k in range(count)]
        for returned in launcher.launch(jobs, initial_job_idx=0) or ():
            _ = returned.return_value  # raises what the worker raised

    return launch


def workers_of(config: DictConfig) -> int:
    """How many workers to ask a launcher for: `planner.workers`, else the launcher's own limit, else one a GPU or core.

    The limits of launchers that have one follow `planner.workers`.
    """
    launcher = config.hydra.launcher
    asked = config.planner.workers
    if asked is not None and asked < 1:
        raise ConfigError(
            f"planner.workers={asked}: at least one worker is needed; null leaves it to the launcher"
        )
    for key in ("n_jobs", "array_parallelism"):
        if launcher.get(key) is not None:
            if asked is not None:
                launcher[key] = asked
            elif launcher[key] > 0:
                return int(launcher[key])
    if asked is not None:
        return int(asked)
    import torch

    return torch.cuda.device_count() or os.cpu_count() or 1

"""Launching: from Hydra's hands to a plan, and from the plan to trainings that are delivered."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from leukobench.credentials import redacted
from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.report.sweep_picture import picture
from leukobench.settings import Settings
from leukobench.sweeps.compose import Composer, grid
from leukobench.sweeps.console import Console
from leukobench.sweeps.messages import STACK_IS_GONE
from leukobench.sweeps.outcome import END_OF_GRACE, Terminated, ended
from leukobench.sweeps.outlet import Outlet, folder_of
from leukobench.sweeps.plan import Plan, expand, make_plan, plan_entry
from leukobench.sweeps.queue import Queue
from leukobench.sweeps.session import Launch, Session, collect_again, run_here, run_workers
from leukobench.sweeps.workers import work
from leukobench.tracking.connection import Store, StoreRefused
from leukobench.tracking.description import describe
from leukobench.tracking.entries import Entry
from leukobench.tracking.entries import entries as read_entries
from leukobench.tracking.sweeps import SweepRun, add_to_plan, close_sweep, find_sweep, open_sweep
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job

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
    launch, workers = workforce(multirun)
    return run_jobs(jobs, left_out, launch, workers=workers)


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
    *,
    workers: int = 1,
    answers: bool = True,
) -> dict[str, str]:
    """Plan jobs against the store, print the plan, run what is left, deliver, print the summary.

    Args:
        launch: Starts workers on a folder and returns when they have ended; None runs everything
            in this process.
        workers: How many.
        answers: Whether the results are printed; not where these jobs are one step of many.
    """
    first = jobs[0]
    settings, planner = first.settings, first.config["planner"]
    name = str(first.config["sweep"])
    if "stack" in planner:
        raise ConfigError(STACK_IS_GONE)
    console = Console()
    store, entries = results_so_far(first, console)
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
        replaces = finished_runs(plan, entries)
        forget_results(plan)
    store, sweep_run = sweep_in_store(store, first, plan, console=console)
    queue = Queue(plan.trainings, store, sweep=sweep_run, replaced=replaces.values())
    outlet = Outlet(store, sweep_run, console=console, replaces=replaces)
    interruption = Interruption()
    states: dict[str, str] = {}
    if plan.trainings:
        collect_again(in_process=launch is None)
        with (
            closed_at_once(store, sweep_run, interruption),
            console.running(plan, entries) as live,
            interruption.watching((STOPPING, STOPPED), (TERMINATING, STOPPED)),
        ):
            session = Session(
                queue=queue,
                outlet=outlet,
                live=live,
                interruption=interruption,
                fail_fast=bool(planner["fail_fast"]),
                states=states,
            )
            if launch is None:
                run_here(session)
            else:
                run_workers(session, launch, workers)
    stopped = interruption.requested and bool(queue.waiting)
    states |= dict.fromkeys(queue.elsewhere, "finished")
    if queue.elsewhere:
        console.elsewhere(len(queue.elsewhere))
    outlet.deliver_again()
    described = bool(plan.trainings) and not interruption.terminated
    incomplete = complete_sweep(outlet, plan, states, described=described)
    failures = errors_of(plan, states)
    outcome = ended(
        len(plan.trainings),
        interrupted=stopped or "interrupted" in states.values(),
        terminated=interruption.terminated,
        failed=len(failures),
        missing=len(plan.trainings) - len(states),
        undelivered=len(outlet.undelivered),
        incomplete=incomplete,
    )
    console.summary(
        name,
        plan,
        states,
        failures=failures,
        settings=settings,
        undelivered=len(outlet.undelivered),
    )
    whole = not (incomplete or outlet.undelivered or interruption.requested)
    if answers and whole and sweep_run is not None:
        say_answer(console, settings, sweep_run, plan=plan)
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


def say_answer(console: Console, settings: Settings, sweep_run: SweepRun, *, plan: Plan) -> None:
    """Print how the jobs that were asked for did.

    The launch is over: what fails here is a warning.
    """
    from leukobench.sweeps.answer import answer

    identities = {planned.identity for planned in plan.jobs}
    try:
        lines = answer(settings, sweep_run.name, identities, sweep_run.experiment_id)
    except LeukoBenchError as e:
        console.warn(str(e))
        return
    for line in lines:
        console.rich.print(line, markup=False)


def results_so_far(job: Job, console: Console) -> tuple[Store | None, dict[str, Entry]]:
    """The store, and what it holds of a job's sweep by identity; None and nothing out of reach.

    Raises:
        StoreRefused: The store can never work.
        StoreError: It is out of reach, and nothing has run here yet.
    """
    settings, planner = job.settings, job.config["planner"]
    store = None
    try:
        store = Store(settings)
        found = find_sweep(store, str(job.config["sweep"]))
        return store, read_entries(settings, store, found) if found else {}
    except StoreRefused:
        raise
    except StoreError as e:
        if not (settings.output / "runs").is_dir() and not planner.get("dry_run"):
            raise
        warn_of_store(e, settings, console)
    return store, {}


def sweep_in_store(
    store: Store | None, job: Job, plan: Plan, *, console: Console
) -> tuple[Store | None, SweepRun | None]:
    """The store and a job's sweep in it, the plan added; None twice where it is out of reach."""
    if store is None:
        return None, None
    try:
        sweep_run = open_sweep(store, str(job.config["sweep"]))
        add_to_plan(store, sweep_run, [plan_entry(p) for p in plan.jobs])
    except StoreError as e:
        warn_of_store(e, job.settings, console)
        return None, None
    return store, sweep_run


def warn_of_store(error: StoreError, settings: Settings, console: Console) -> None:
    """Say that trainings go on without the store."""
    console.warn(
        f"{error}\nRunning on: results stay in {settings.output} until they can be delivered."
    )


def finished_runs(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Run ids in the store, by identity, of the results that are asked for and finished."""
    finished = {i: e.run_id for i, e in entries.items() if e.status == "FINISHED"}
    return {p.identity: finished[p.identity] for p in plan.jobs if p.identity in finished}


def complete_sweep(
    outlet: Outlet, plan: Plan, states: Mapping[str, str], *, described: bool
) -> str:
    """Describe and close the sweep's own run; why it could not be done, empty where it was.

    Args:
        described: Whether notes and pictures are made anew.
    """
    store, sweep_run = outlet.store, outlet.sweep
    if store is None or sweep_run is None:
        return ""
    facts = {"jobs": len(plan.jobs), "failed": sum(s == "failed" for s in states.values())}
    try:
        if described:
            describe(store, sweep_run, picture)
        close_sweep(store, sweep_run, facts)
        store.claims.tidy()
    except StoreError as e:
        outlet.console.warn(str(e))
        return str(e)
    return ""


def errors_of(plan: Plan, states: Mapping[str, str]) -> dict[str, str]:
    """Error messages of the trainings that failed, by id."""
    failed = [t for t in plan.trainings if states.get(t.id) == "failed"]
    return {t.id: folder_of(t).run().error or "" for t in failed}


def forget_results(plan: Plan) -> None:
    """With `--force`: remove what is run again from the run folders.

    Other results of the same training stay.
    """
    import shutil

    for training in plan.trainings:
        folder = folder_of(training)
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
    """How many workers to ask a launcher for.

    That is `planner.workers`, else the launcher's own limit, else one a GPU or core. The limits of
    launchers that have one follow `planner.workers`.
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

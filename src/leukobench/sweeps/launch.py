"""Launching: from Hydra's hands to a plan, from the plan to trainings, from run folders to the store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from leukobench.errors import LeukoBenchError, StoreError
from leukobench.settings import Settings
from leukobench.sweeps.compose import Composer, grid
from leukobench.sweeps.console import Console
from leukobench.sweeps.plan import Plan, expand, make_plan, record, run_name
from leukobench.tracking.description import describe
from leukobench.tracking.entries import entries as read_entries
from leukobench.tracking.folder import RunFolder, read_json, write_json
from leukobench.tracking.store import Store, StoreRefused, SweepRun
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training

OnEpoch = Callable[[int, int, Mapping[str, float]], None]
IN_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class Outcome(LeukoBenchError):
    """A sweep that ended with failures, after its summary was printed."""


def sweep(
    context: HydraContext, config: DictConfig, task: TaskFunction, params: dict[str, str], arguments: list[str]
) -> dict[str, str]:
    """Plan and run a grid; called by the sweeper.

    Returns:
        State of each training by id.
    """
    loader = context.config_loader
    parser = OverridesParser.create(config_loader=loader)
    composer = Composer(
        lambda overrides: loader.load_sweep_config(config, overrides),
        lambda key: key.startswith("hydra/") or bool(loader.get_group_options(key)),
        parser,
    )
    values = grid(params, arguments, parser)
    launcher_target = str(config.hydra.launcher._target_)
    left_out: list[tuple[str, str]] = []
    jobs = expand(composer.jobs(values), left_out)
    if not jobs:
        raise LeukoBenchError("no job is left: " + "; ".join(f"{o}: {why}" for o, why in left_out[:3]))
    launcher = None
    if launcher_target != IN_PROCESS:
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    return run_jobs(jobs, left_out, launcher)


def run_single(config: DictConfig) -> dict[str, str]:
    """Plan and run one composed config, without a sweeper (`leukobench train` without `-m`)."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {k: str(v) for k, v in hydra.runtime.choices.items() if v is not None and "/" not in str(k)}
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    if resolved["figures"] == "auto":
        resolved["figures"] = True
    job = Job({str(k): v for k, v in resolved.items()}, choices, tuple(hydra.overrides.task))
    return run_jobs(expand([job]), [], None)


def run_jobs(jobs: Sequence[Job], left_out: list[tuple[str, str]], launcher: Any | None) -> dict[str, str]:
    """Plan jobs against the store, print the plan, run what is left, deliver, print the summary."""
    first = jobs[0]
    settings, planner = first.settings, first.config["planner"]
    name = str(first.config["sweep"])
    console = Console()
    store, sweep_run, entries = None, None, {}
    try:
        store = Store(settings)
        found = store.find_sweep(name)
        entries = read_entries(settings, store, found) if found else {}
    except StoreRefused:
        raise
    except StoreError as e:
        if not (settings.output / "runs").is_dir() and not planner.get("dry_run"):
            raise
        console.warn(f"{e}\nRunning on: results stay in {settings.output} until they can be delivered.")
    with console.planning(len(jobs)) as progress:
        plan = make_plan(
            jobs,
            entries,
            merge=bool(planner["merge"]),
            stack=bool(planner["stack"]),
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
            sweep_run = store.open_sweep(name)
            store.write_plan(sweep_run, [record(p) for p in plan.jobs])
        except StoreError as e:
            console.warn(f"{e}\nRunning on: results stay in {settings.output} until they can be delivered.")
            store = None
    states: dict[str, str] = {}
    stopped = False
    if launcher is not None and plan.trainings:
        folder = save_plan(plan, settings, name)
        launches = [[f"+planned.folder={folder}", f"+planned.index={i}"] for i in range(len(plan.stacks))]
        for training in plan.trainings:
            write_order(training, replaces)
        launcher.launch(launches, initial_job_idx=0)
        states = {t.id: _folder(settings, t).run().get("state", "unfinished") for t in plan.trainings}
        if store is not None and sweep_run is not None:
            for training in plan.trainings:
                deliver(store, sweep_run, training, console, replaces)
    else:
        import leukobench.training.run  # noqa: F401  # before the clock starts

        with console.running(plan, entries) as live, Interruption().watching() as interruption:
            for stack in plan.stacks:
                new = execute(stack, store, sweep_run, console, live, interruption, replaces)
                states |= new
                if interruption.requested or (planner["fail_fast"] and "failed" in new.values()):
                    break
            stopped = interruption.requested and len(states) < len(plan.trainings)
    if store is not None and sweep_run is not None:
        facts = {"jobs": len(plan.jobs), "failed": sum(s == "failed" for s in states.values())}
        try:
            if plan.trainings:
                describe(store, sweep_run)
            store.close_sweep(sweep_run, facts)
        except StoreError as e:
            console.warn(str(e))
    failures = {
        t.id: _folder(settings, t).run().get("error", "") for t in plan.trainings if states.get(t.id) == "failed"
    }
    console.summary(name, plan, states, failures, settings)
    if failures:
        raise Outcome(f"{len(failures)} of {len(plan.trainings)} trainings failed; they run again at the next launch")
    if stopped or "interrupted" in states.values():
        raise Outcome(f"interrupted; the same command goes on where it stopped: leukobench sweep {name}")
    return states


def execute(
    trainings: Sequence[Training],
    store: Store | None,
    sweep_run: SweepRun | None,
    console: Console,
    live: Any = None,
    interruption: Interruption | None = None,
    replaces: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Run what trains together and deliver it; an unreachable store costs a warning, never a result.

    Args:
        replaces: Run ids in the store, by identity, that new results take the place of.
    """
    from leukobench.training.run import run_training

    on_epoch = None if live is None else live.on_epoch
    if store is not None and sweep_run is not None:
        for training in trainings:
            write_order(training, replaces)
        on_epoch = showing(store, sweep_run, trainings, on_epoch)
    if live is not None:
        live.start(trainings[0])
    if len(trainings) == 1:
        states: dict[str, str] = {
            trainings[0].id: run_training(trainings[0], on_epoch=on_epoch, interruption=interruption)
        }
    else:
        from leukobench.training.stacked import run_stack

        states = dict(run_stack(trainings, on_epoch=on_epoch, interruption=interruption))
    for training in trainings:
        if live is not None:
            live.end(training, states[training.id])
        if store is not None and sweep_run is not None:
            deliver(store, sweep_run, training, console, replaces)
    return states


def showing(
    store: Store, sweep_run: SweepRun, trainings: Sequence[Training], on_epoch: OnEpoch | None, after: float = 10.0
) -> OnEpoch:
    """`on_epoch`, after which trainings that have taken a while are shown as running in the store."""
    began = time.monotonic()
    shown = False

    def both(epoch: int, total: int, row: Mapping[str, float]) -> None:
        nonlocal shown
        if on_epoch is not None:
            on_epoch(epoch, total, row)
        if not shown and time.monotonic() - began > after:
            shown = True
            try:
                for training in trainings:
                    store.begin(sweep_run, _folder(training.job.settings, training), delivery_record(training))
            except StoreError:
                pass  # said when results are delivered

    return both


def write_order(training: Training, replaces: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Write down in a training's folder what is to be delivered of it, so that `leukobench sync` can.

    Results that were asked for earlier and have not been delivered stay in the order.
    """
    folder = _folder(training.job.settings, training)
    path, sweep_name = folder.path / "delivery.json", str(training.job.config["sweep"])
    order = {"sweep": sweep_name, **delivery_record(training, replaces)}
    before = read_json(path, {})
    if before.get("sweep") == sweep_name:
        known = {job["identity"] for job in order["jobs"]}
        known |= {key for marks in read_json(folder.path / "delivered.json", {}).values() for key in marks}
        order["jobs"] = sorted(
            [*(job for job in before["jobs"] if job["identity"] not in known), *order["jobs"]],
            key=lambda job: int(job["epochs"]),
        )
    write_json(path, order)
    return order


def deliver(
    store: Store,
    sweep_run: SweepRun,
    training: Training,
    console: Console,
    replaces: Mapping[str, str] | None = None,
) -> None:
    """Deliver one training's folder; warn where the store does not take it."""
    folder = _folder(training.job.settings, training)
    try:
        store.deliver(sweep_run, folder, write_order(training, replaces))
    except StoreError as e:
        console.warn(f"{e}\nThe results of {training.id} are kept in {folder.path}.")


def delivery_record(training: Training, replaces: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `Store.deliver` needs to know beside the folder."""
    job = training.job
    tags = {"leukobench.protocol": job.protocol.name, "leukobench.paper": str(job.config.get("paper") or "")}
    members = int(_folder(job.settings, training).run().get("stacked") or 1)
    shared = [training.shared] if training.shared else []
    if members > 1:
        shared.append(f"stacked with {members - 1} other{'s' if members > 2 else ''}")
    if shared:
        tags["leukobench.shared"] = ", ".join(shared)
    return {
        "training": training.id,
        "name": run_name(job, with_epochs=False) + f" · epochs {', '.join(map(str, training.epochs))}",
        "tags": tags,
        "replaces": {i: run for i, run in (replaces or {}).items() if i in training.identities.values()},
        "jobs": [
            {
                "identity": training.identities[e],
                "epochs": e,
                "params": training.jobs[e].params(),
                "overrides": list(training.jobs[e].overrides),
                "name": run_name(training.jobs[e]),
            }
            for e in training.epochs
        ],
    }


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


def save_plan(plan: Plan, settings: Settings, name: str) -> Path:
    """Save all composed trainings, from which launched processes run: an edit of a config file reaches none of them."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S") + f"-{os.getpid()}"
    folder = settings.output / "plans" / f"{name}-{stamp}"
    for i, stack in enumerate(plan.stacks):
        body = [
            {
                "id": training.id,
                "shared": training.shared,
                "identities": training.identities,
                "jobs": {e: asdict(j) for e, j in training.jobs.items()},
            }
            for training in stack
        ]
        write_json(folder / f"{i:05d}.json", body)
    return folder


def load_planned(folder: str | Path, index: int) -> list[Training]:
    """What trains together, from a saved plan."""
    body = read_json(Path(folder) / f"{index:05d}.json")
    if body is None:
        raise LeukoBenchError(f"no training {index} in the saved plan {folder}")
    out = []
    for saved in body:
        jobs = {int(e): Job(j["config"], j["choices"], tuple(j["overrides"])) for e, j in saved["jobs"].items()}
        identities = {int(e): i for e, i in saved["identities"].items()}
        out.append(Training(saved["id"], jobs, identities, saved["shared"]))
    return out


def task(config: DictConfig) -> Any:
    """Hydra's task function: a training of a saved plan, or one run."""
    planned = config.get("planned")
    if planned is None:
        return run_single(config)
    return execute(load_planned(planned.folder, int(planned.index)), None, None, Console(quiet=True))

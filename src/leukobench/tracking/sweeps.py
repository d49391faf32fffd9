"""A sweep in the store: one experiment, one parent run, and the plan that is kept with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leukobench.schema.delivery import PLAN, PlanEntry, SweepPlan
from leukobench.schema.names import PREFIX, Tag
from leukobench.tracking.connection import Store, StoreRefused, quoted


@dataclass(frozen=True)
class SweepRun:
    """A sweep's experiment and parent run."""

    name: str
    experiment_id: str
    run_id: str


def find_experiment(store: Store, name: str) -> str | None:
    """Id of the experiment of a sweep, None where there is none.

    Raises:
        StoreRefused: It was deleted.
        StoreError
    """
    with store.errors("read"):
        found = store.client.get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise StoreRefused(
            f"experiment {name!r} was deleted in {store.uri}; restore it (mlflow experiments "
            f"restore) or "
            "choose another name with sweep=NAME"
        )
    return str(found.experiment_id)


def open_experiment(store: Store, name: str) -> str:
    """Id of a sweep's experiment, created where there is none. Errors as in `find_experiment`."""
    found = find_experiment(store, name)
    if found is not None:
        return found
    location = None
    if store.uri.startswith("sqlite:"):
        location = (store.settings.artifacts / name).absolute().as_uri()
    # without its kind, the UI takes an experiment for one about language models and hides the
    # metrics
    tags = {"mlflow.experimentKind": "custom_model_development"}
    with store.errors("read"):
        try:
            return str(store.client.create_experiment(name, artifact_location=location, tags=tags))
        except Exception:
            created = store.client.get_experiment_by_name(name)  # another process was first
            if created is None:
                raise
            return str(created.experiment_id)


def sweep_names(store: Store) -> list[str]:
    """Names of the store's experiments, the latest used first; a sweep's is one of them."""
    with store.errors("read"):
        found = store.client.search_experiments(order_by=["last_update_time DESC"])
    return [e.name for e in found if e.experiment_id != "0"]


def open_sweep(store: Store, name: str, description: str = "") -> SweepRun:
    """The sweep's experiment and parent run, created at the first call."""
    found = find_sweep(store, name)
    if found is None:
        with store.claims.holding(f"sweep {name}"):
            found = find_sweep(store, name) or _create_sweep(store, name, description)
    with store.errors("write"):
        store.client.update_run(found.run_id, status="RUNNING")
    return found


def _create_sweep(store: Store, name: str, description: str) -> SweepRun:
    experiment_id = open_experiment(store, name)
    tags = {Tag.KIND: "sweep", Tag.SWEEP: name, Tag.RUN_NAME: f"sweep {name}"}
    if description:
        tags[Tag.NOTE] = description
    with store.errors("write"):
        run = store.client.create_run(experiment_id, tags=tags, run_name=f"sweep {name}")
    return SweepRun(name, experiment_id, run.info.run_id)


def find_sweep(store: Store, name: str) -> SweepRun | None:
    """The sweep's parent run, if the store has one."""
    experiment_id = find_experiment(store, name)
    if experiment_id is None:
        return None
    with store.errors("read"):
        found = store.client.search_runs(
            [experiment_id],
            f"tags.`{Tag.KIND}` = 'sweep'",
            max_results=1,
            order_by=["attributes.start_time ASC"],
        )
    return SweepRun(name, experiment_id, found[0].info.run_id) if found else None


def close_sweep(store: Store, sweep: SweepRun, facts: Mapping[str, int | str]) -> None:
    """Log a sweep's summary, a tag a fact, and end its parent run."""
    from mlflow.entities import RunTag

    tags = [RunTag(PREFIX + name, str(value)) for name, value in facts.items()]
    with store.errors("write"):
        store.client.log_batch(sweep.run_id, tags=tags)
        store.client.set_terminated(sweep.run_id, "FINISHED")


def read_plan(store: Store, sweep: SweepRun) -> SweepPlan:
    """Jobs of the sweep as planned so far."""
    text = store.artifact(sweep.run_id, PLAN.file)
    if text is None:
        return SweepPlan()
    return PLAN.parse(text, f"{PLAN.file} of sweep {sweep.name!r} in {store.uri}")


def add_to_plan(store: Store, sweep: SweepRun, jobs: Iterable[PlanEntry]) -> None:
    """Add jobs to the plan that is kept with the parent run; a job planned before is replaced."""
    with store.claims.holding(f"plan {sweep.run_id}"):
        plan = read_plan(store, sweep).merged(tuple(jobs))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PLAN.file
            path.write_text(PLAN.text(plan), encoding="utf-8")
            store.attach(sweep.run_id, path)


def finished_results(store: Store, sweep: SweepRun, training: str) -> dict[str, str]:
    """Run ids of a training's finished results by identity."""
    condition = (
        f"tags.`{Tag.TRAINING}` = {quoted(training)} and tags.`{Tag.KIND}` = 'result' "
        "and attributes.status = 'FINISHED'"
    )
    found = store.search(sweep.experiment_id, condition)
    return {run.data.tags[Tag.IDENTITY]: run.info.run_id for run in found}

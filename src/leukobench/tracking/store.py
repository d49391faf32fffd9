"""The MLflow store: one experiment a sweep, one parent run, and delivery of run folders by identity.

Delivery is one idempotent function (`Store.deliver`), used while a sweep runs and afterwards alike. Only MLflow's public
client is used, so that SQLite files and servers work the same.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from leukobench.errors import StoreError
from leukobench.settings import Settings
from leukobench.tracking.claims import Claims
from leukobench.tracking.description import LONGEST_NOTE, NOTE, run_note
from leukobench.tracking.folder import SYSTEM_METRICS, RunFolder, read_json, write_json
from leukobench.tracking.inputs import dataset_input
from leukobench.tracking.pace import FinishedWork

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# of a server, MLflow would announce every run and file
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

if TYPE_CHECKING:
    from mlflow import MlflowClient

Progress = Callable[[str, int, int], None]
"""Told what is read, how many are read, and how many are known to be there."""

PREFIX = "leukobench."
PAGE = 1000
METRICS_A_BATCH, PARAMS_A_BATCH = 1000, 100
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""MLflow's status of a run folder's state."""
PLAN = "plan.json"
CURVE = "curve/"
"""Prefix of the metrics of epochs; those without it are final, one value a result."""
POINTS = 100
"""About the most points of a learning curve that are logged as metrics: enough to draw, and each takes 0.2 ms or more.
The artifact `curves.json` has every epoch."""


@dataclass(frozen=True)
class Entry:
    """What a planner needs to know of a run in the store.

    Attributes:
        work: What was trained and how long it took; None where the run is not finished or does not say it.
    """

    run_id: str
    status: str
    name: str
    seconds: float | None
    error: str | None = None
    work: FinishedWork | None = None


@dataclass(frozen=True)
class SweepRun:
    """A sweep's experiment and parent run."""

    name: str
    experiment_id: str
    run_id: str


def thinned(curves: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The first and last row of a curve and, between them, every k-th epoch, so that at most about `POINTS` remain."""
    every = -(-len(curves) // POINTS)
    return [
        row
        for i, row in enumerate(curves)
        if i in (0, len(curves) - 1) or int(row["epoch"]) % every == 0
    ]


def escape(text: str) -> str:
    """A value for an MLflow filter string."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def without_collecting() -> Iterator[None]:
    """Without Python's search for reference cycles, whose time grows with all objects that live."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class StoreRefused(StoreError):
    """A store that waiting does not mend: its address, its file or what was deleted in it must be seen to first."""


class Store:
    """A connection to the MLflow store at `settings.store`.

    Raises:
        StoreError: The store cannot be reached or written; the message names it.
        StoreRefused: And will not be, whatever one waits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.uri = settings.store
        _fail_fast()
        try:
            self._open()
        except StoreError as e:
            if self.uri.startswith("sqlite:") and not re.search(r"locked|busy|full", str(e)):
                raise StoreRefused(str(e)) from e
            raise

    def _open(self) -> None:
        with self.errors("open"):
            import logging

            for name in ("mlflow", "alembic", "mlflow.store.db.utils"):
                logging.getLogger(name).setLevel(logging.ERROR)
            if self.uri.startswith("sqlite:///"):
                path = Path(self.uri.removeprefix("sqlite:///"))
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists() and not os.access(path, os.W_OK):
                    raise StoreError(
                        f"the MLflow store {self.uri} is not writable: change the file's permissions"
                    )
                if not path.exists():
                    create_database(path)
            elif "://" not in self.uri or self.uri.startswith("file:"):
                raise StoreRefused(
                    f"MLFLOW_TRACKING_URI={self.uri}: MLflow keeps runs no longer in plain files; use an SQLite file "
                    "(sqlite:////absolute/path/mlflow.db) or a server (http://host:port)"
                )
            from mlflow import MlflowClient

            self.client: MlflowClient = MlflowClient(tracking_uri=self.uri)
            self.client.search_experiments(max_results=1)

    @cached_property
    def claims(self) -> Claims:
        """What this process holds, so that no other launch is at it."""
        return Claims(self)

    @contextmanager
    def errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as e:
            first = str(e).strip().splitlines()[0][:300] if str(e).strip() else type(e).__name__
            raise StoreError(
                f"cannot {verb} the MLflow store {self.uri}: {first}. Check the address (MLFLOW_TRACKING_URI, or "
                "settings.store=...), that its server runs, and that its folder can be written. Results already "
                "computed stay in the output folder; `leukobench sync` delivers them"
            ) from e

    # --- sweeps ---------------------------------------------------------------------------------------------------

    def experiment(self, name: str, create: bool = True) -> str | None:
        """Id of the experiment of a sweep."""
        with self.errors("read"):
            found = self.client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage == "active":
                return str(found.experiment_id)
            if found is not None:
                raise StoreRefused(
                    f"experiment {name!r} was deleted in {self.uri}; restore it (mlflow experiments restore) or "
                    "choose another name with sweep=NAME"
                )
            if not create:
                return None
            location = None
            if self.uri.startswith("sqlite:"):
                location = (self.settings.artifacts / name).absolute().as_uri()
            try:
                # without its kind, the UI takes an experiment for one about language models and hides the metrics
                tags = {"mlflow.experimentKind": "custom_model_development"}
                return str(
                    self.client.create_experiment(name, artifact_location=location, tags=tags)
                )
            except Exception:
                found = self.client.get_experiment_by_name(name)  # another process was first
                if found is None:
                    raise
                return str(found.experiment_id)

    def open_sweep(self, name: str, description: str = "") -> SweepRun:
        """The sweep's experiment and parent run, created at the first call."""
        found = self.find_sweep(name)
        if found is None:
            with self.claims.holding(f"sweep {name}"):
                found = self.find_sweep(name) or self._create_sweep(name, description)
        with self.errors("write"):
            self.client.update_run(found.run_id, status="RUNNING")
        return found

    def _create_sweep(self, name: str, description: str) -> SweepRun:
        experiment_id = self.experiment(name)
        assert experiment_id is not None
        tags = {PREFIX + "kind": "sweep", PREFIX + "sweep": name, "mlflow.runName": f"sweep {name}"}
        if description:
            tags["mlflow.note.content"] = description
        with self.errors("write"):
            run = self.client.create_run(experiment_id, tags=tags, run_name=f"sweep {name}")
        return SweepRun(name, experiment_id, run.info.run_id)

    def sweep_names(self) -> list[str]:
        """Names of the store's experiments, the latest used first; a sweep's is one of them."""
        with self.errors("read"):
            found = self.client.search_experiments(order_by=["last_update_time DESC"])
        return [e.name for e in found if e.experiment_id != "0"]

    def find_sweep(self, name: str) -> SweepRun | None:
        """The sweep's parent run, if the store has one."""
        experiment_id = self.experiment(name, create=False)
        if experiment_id is None:
            return None
        with self.errors("read"):
            found = self.client.search_runs(
                [experiment_id],
                f"tags.`{PREFIX}kind` = 'sweep'",
                max_results=1,
                order_by=["attributes.start_time ASC"],
            )
        return SweepRun(name, experiment_id, found[0].info.run_id) if found else None

    def close_sweep(self, sweep: SweepRun, facts: Mapping[str, Any]) -> None:
        """Log a sweep's summary and end its parent run."""
        from mlflow.entities import RunTag

        with self.errors("write"):
            self.client.log_batch(
                sweep.run_id, tags=[RunTag(PREFIX + k, str(v)) for k, v in facts.items()]
            )
            self.client.set_terminated(sweep.run_id, "FINISHED")

    def read_plan(self, sweep: SweepRun) -> list[dict[str, Any]]:
        """Jobs of the sweep as planned so far: identity, training, overrides."""
        return self._read_json_artifact(sweep.run_id, PLAN, [])

    def write_plan(self, sweep: SweepRun, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Add jobs to the plan that is kept with the parent run; a job planned before is replaced."""
        with self.claims.holding(f"plan {sweep.run_id}"):
            merged = {job["identity"]: dict(job) for job in self.read_plan(sweep)}
            merged |= {job["identity"]: dict(job) for job in jobs}
            with self.errors("write"), tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / PLAN
                path.write_text(json.dumps(list(merged.values())), encoding="utf-8")
                self.client.log_artifact(sweep.run_id, str(path))

    def _read_json_artifact(self, run_id: str, name: str, default: Any) -> Any:
        with self.errors("read"):
            uri = self.client.get_run(run_id).info.artifact_uri
        local = local_path(uri)
        if local is not None:
            return read_json(local / name, default)
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            return read_json(
                Path(download_artifacts(artifact_uri=f"{uri}/{name}", tracking_uri=self.uri)),
                default,
            )
        except (MlflowException, OSError):
            return default

    def entries(self, sweep: SweepRun) -> dict[str, Entry]:
        """Every result of the sweep by identity: the latest finished one, else the latest."""
        out: dict[str, Entry] = {}
        for run in self.search(sweep.experiment_id, f"tags.`{PREFIX}kind` = 'result'"):
            tags, info = run.data.tags, run.info
            identity = tags.get(PREFIX + "identity")
            if identity is None or (identity in out and out[identity].status == "FINISHED"):
                continue
            if identity in out and info.status != "FINISHED":
                continue
            seconds = tags.get(PREFIX + "seconds")
            out[identity] = Entry(
                info.run_id,
                info.status,
                info.run_name or info.run_id,
                float(seconds) if seconds else None,
                tags.get(PREFIX + "error"),
            )
        return out

    def search(
        self,
        experiment_id: str,
        condition: str,
        deleted: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Any]:
        """All runs of an experiment that meet a condition, newest first; `deleted` for those in the bin."""
        from mlflow.entities import ViewType

        token, read = None, 0
        while True:
            # A page of 1,000 runs is 100,000 objects that all stay: looking for cycles among them doubles the time.
            with self.errors("read"), without_collecting():
                page = self.client.search_runs(
                    [experiment_id],
                    condition,
                    run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
                    max_results=PAGE,
                    page_token=token,
                    order_by=["attributes.start_time DESC"],
                )
            yield from page
            token, read = page.token, read + len(page)
            if progress is not None and read:
                progress("runs", read, read + (PAGE if token else 0))
            if not token:
                return

    def finished(self, sweep: SweepRun, training: str) -> dict[str, str]:
        """Run ids of a training's finished results by identity."""
        condition = (
            f"tags.`{PREFIX}training` = {escape(training)} and tags.`{PREFIX}kind` = 'result' "
            "and attributes.status = 'FINISHED'"
        )
        return {
            run.data.tags[PREFIX + "identity"]: run.info.run_id
            for run in self.search(sweep.experiment_id, condition)
        }

    # --- delivery -------------------------------------------------------------------------------------------------

    def begin(self, sweep: SweepRun, folder: RunFolder, plan: Mapping[str, Any]) -> None:
        """Show a training as running. `plan` is the record that `deliver` takes, see there."""
        self._deliver(sweep, folder, plan, running=True)

    def deliver(self, sweep: SweepRun, folder: RunFolder, plan: Mapping[str, Any]) -> None:
        """Bring what a run folder holds to the store; a second call changes nothing.

        A run that stands in the store unfinished (running, failed, killed) is continued, never doubled; a finished one
        stays as it is.

        Args:
            plan: `training` (id), `name`, `jobs`: a list of `identity`, `epochs`, `params`, `overrides`, `name`;
                `tags` for all of them; and, where finished runs are to be replaced, `replaces`: run id by identity.

        Raises:
            StoreError
        """
        self._deliver(sweep, folder, plan, running=False)

    def _deliver(
        self, sweep: SweepRun, folder: RunFolder, plan: Mapping[str, Any], running: bool
    ) -> None:
        marks_path = folder.path / "delivered.json"
        marks: dict[str, dict[str, str]] = read_json(marks_path, {})
        mine = marks.setdefault(f"{self.uri}#{sweep.run_id}", {})
        before = dict(mine)
        facts = folder.run()
        jobs: Sequence[Mapping[str, Any]] = plan["jobs"]
        results = {} if running else {r["identity"]: r for r in folder.results()}
        replaced: Mapping[str, str] = plan.get("replaces") or {}
        tags = {
            **self._tags(sweep, facts),
            **plan.get("tags", {}),
            PREFIX + "training": plan["training"],
        }
        state = STATUS.get(facts.get("state", ""), "RUNNING")
        if running:
            state = "RUNNING"
        curves, parent = folder.curves(), sweep.run_id
        started = _milliseconds(facts.get("started"))
        trajectory = "trajectory-" + plan["training"]
        together = len(jobs) > 1 or trajectory in mine
        epochs = [job["epochs"] for job in jobs]
        with self.errors("write"):
            if together:
                run_tags = {**tags, PREFIX + "kind": "trajectory"}
                run = self._run(
                    sweep, mine, trajectory, plan["name"], parent, run_tags, started, bool(replaced)
                )
                parent = run.run_id
                params = {k: v for k, v in jobs[-1]["params"].items() if k != "epochs"}
                note = run_note(params, facts, epochs=epochs)
                self._fill(run, folder, params, curves, None, state, facts, note)
            for job in jobs:
                identity, result = job["identity"], results.get(job["identity"])
                if (running and together) or (result is None and state == "FINISHED"):
                    continue
                run_tags = {**tags, PREFIX + "kind": "result", PREFIX + "identity": identity}
                run_tags[PREFIX + "overrides"] = json.dumps(job["overrides"])[:LONGEST_NOTE]
                fresh = identity in replaced
                run = self._run(
                    sweep, mine, identity, job["name"], parent, run_tags, started, fresh
                )
                status = "FINISHED" if result is not None else state
                own = [] if together else [row for row in curves if row["epoch"] <= job["epochs"]]
                kept = None if result is None else (folder.result(identity), result)
                note = run_note(job["params"], facts, job, result, epochs)
                self._fill(
                    run, None if together else folder, job["params"], own, kept, status, facts, note
                )
                if fresh and status == "FINISHED" and replaced[identity] != run.run_id:
                    self.client.delete_run(replaced[identity])
            if replaced and state == "FINISHED":
                self._delete_empty_trajectories(sweep, plan["training"])
        if mine != before:
            write_json(marks_path, marks)

    def _delete_empty_trajectories(self, sweep: SweepRun, training: str) -> None:
        """Delete trajectories of a training whose results have all been replaced."""
        condition = (
            f"tags.`{PREFIX}kind` = 'trajectory' and tags.`{PREFIX}training` = {escape(training)}"
        )
        for run in self.search(sweep.experiment_id, condition):
            children = f"tags.`mlflow.parentRunId` = {escape(run.info.run_id)}"
            if not self.client.search_runs([sweep.experiment_id], children, max_results=1):
                self.client.delete_run(run.info.run_id)

    def _tags(self, sweep: SweepRun, facts: Mapping[str, Any]) -> dict[str, str]:
        data, machine = facts.get("data") or {}, facts.get("environment") or {}
        tags = {
            PREFIX + "sweep": sweep.name,
            PREFIX + "commit": machine.get("commit") or "unknown",
            PREFIX + "dirty": str(machine.get("dirty")).lower(),
            PREFIX + "hardware": f"{machine.get('processor')}, {machine.get('cores')} cores",
            "mlflow.source.name": "leukobench",
        }
        if facts.get("seconds") is not None:
            tags[PREFIX + "seconds"] = str(facts["seconds"])
        if machine.get("commit"):
            tags["mlflow.source.git.commit"] = machine["commit"]
        for package, version in (machine.get("packages") or {}).items():
            if version:
                tags[f"{PREFIX}version.{package}"] = version
        if data:
            tags |= {
                PREFIX + "dataset": data["name"],
                PREFIX + "family": data["family"],
                PREFIX + "fingerprint": data["fingerprint"],
                PREFIX + "split_hash": data["split_hash"],
                PREFIX + "simulated": str(data["simulated"]).lower(),
                PREFIX + "subset": data["subset"],
                PREFIX + "samples": str(data["samples"]),
                PREFIX + "shared_parts": json.dumps(data["shared"]),
                PREFIX + "leaks": json.dumps(facts.get("leaks", [])),
                PREFIX + "positive": data.get("positive") or "",
            }
            if data.get("faults"):
                tags[PREFIX + "faulty"] = "; ".join(data["faults"])[:4000]
        return tags

    def _run(
        self,
        sweep: SweepRun,
        mine: dict[str, str],
        key: str,
        name: str,
        parent: str,
        tags: Mapping[str, str],
        started: int,
        fresh: bool = False,
    ) -> _Target:
        """The run of this key: the one delivered to before, one that another machine created, or a new one.

        Args:
            mine: Run ids by key, as this folder remembers them; a deleted run is forgotten.
            started: Unix milliseconds; a run's duration in the store is from then to its delivery.
            fresh: Not one that another delivery created: it is to be replaced.
        """
        if key in mine:
            known = self.client.get_run(mine[key])
            if known.info.lifecycle_stage == "active":
                return _Target.of(known)
        tag = "training" if key.startswith("trajectory-") else "identity"
        kind, value = tags[PREFIX + "kind"], tags[PREFIX + tag]
        condition = f"tags.`{PREFIX}{tag}` = {escape(value)} and tags.`{PREFIX}kind` = '{kind}'"
        found = [] if fresh else list(self.search(sweep.experiment_id, condition))
        if found:
            finished = [run for run in found if run.info.status == "FINISHED"]
            target = _Target.of((finished or found)[0])
            if not finished:
                # a later attempt: commit, versions and machine are those of now
                for k, v in tags.items():
                    self.client.set_tag(target.run_id, k, v)
        else:
            everything = {**tags, "mlflow.parentRunId": parent}
            run = self.client.create_run(
                sweep.experiment_id, start_time=started, tags=everything, run_name=name
            )
            target = _Target.of(run)
        mine[key] = target.run_id
        return target

    def _fill(
        self,
        run: _Target,
        folder: RunFolder | None,
        params: Mapping[str, str],
        curves: Sequence[Mapping[str, float]],
        result: tuple[Path, Mapping[str, Any]] | None,
        status: str,
        facts: Mapping[str, Any],
        note: str,
    ) -> None:
        """Log what a run lacks, and end it.

        Every metric has a time of its own that follows from the folder, so that the store takes a second delivery for
        the same values.
        """
        from mlflow.entities import Metric, Param, RunTag

        longer = len(curves) > run.epochs
        if run.status == "FINISHED" and not longer:
            return
        began = _milliseconds(facts.get("created") or facts.get("started"))
        metrics = [
            Metric(CURVE + k, float(v), began + int(row["epoch"]), int(row["epoch"]))
            for row in thinned(curves)
            for k, v in row.items()
            if k != "epoch"
        ]
        tags = [RunTag(NOTE, note)]
        if facts.get("seconds") is not None:
            tags.append(RunTag(PREFIX + "seconds", str(facts["seconds"])))
        if curves:
            tags.append(RunTag(PREFIX + "epochs", str(len(curves))))
        if result is not None:
            ended = _milliseconds(result[1].get("finished"))
            metrics += [
                Metric(k, float(v), ended, int(result[1]["epoch"]))
                for k, v in result[1]["metrics"].items()
            ]
        if status != "RUNNING" and facts.get("seconds") is not None and folder is not None:
            ended = _milliseconds(facts.get("ended"))
            metrics.append(Metric("seconds", float(facts["seconds"]), ended, 0))
            metrics += [
                Metric(k, float(v), ended, 0) for k, v in (facts.get("speed") or {}).items()
            ]
            metrics += [
                Metric(f"system/{k}", float(v), int(row["time"]), i)
                for i, row in enumerate(read_json(folder.path / SYSTEM_METRICS, []))
                for k, v in row.items()
                if k != "time"
            ]
        if status == "FAILED":
            tags.append(RunTag(PREFIX + "error", str(facts.get("error", ""))[:4000]))
        elif run.failed:
            self.client.delete_tag(run.run_id, PREFIX + "error")
        # params never change in MLflow: a run that is continued keeps those it has
        pairs = [Param(k, v) for k, v in params.items() if k not in run.params]
        batches = max(-(-len(metrics) // METRICS_A_BATCH), -(-len(pairs) // PARAMS_A_BATCH), 1)
        for i in range(batches):
            self.client.log_batch(
                run.run_id,
                metrics=metrics[i * METRICS_A_BATCH : (i + 1) * METRICS_A_BATCH],
                params=pairs[i * PARAMS_A_BATCH : (i + 1) * PARAMS_A_BATCH],
                tags=tags if i == 0 else [],
            )
        if facts.get("data"):
            self.client.log_inputs(run.run_id, datasets=[dataset_input(facts["data"])])
        if status == "RUNNING":
            if run.status != "RUNNING":
                self.client.update_run(run.run_id, status="RUNNING")
            return
        if folder is not None:
            for name in _ARTIFACTS if status == "FINISHED" else (*_ARTIFACTS, "traceback.txt"):
                if (folder.path / name).is_file():
                    self.client.log_artifact(run.run_id, str(folder.path / name))
        if result is not None:
            self.client.log_artifacts(run.run_id, str(result[0]))
        self.client.set_terminated(run.run_id, status)


@dataclass(frozen=True)
class _Target:
    """A run of the store that is delivered to, as it stood before."""

    run_id: str
    status: str
    params: frozenset[str]
    epochs: int
    failed: bool

    @classmethod
    def of(cls, run: Any) -> _Target:
        tags = run.data.tags
        return cls(
            run.info.run_id,
            run.info.status,
            frozenset(run.data.params),
            int(tags.get(PREFIX + "epochs", 0)),
            PREFIX + "error" in tags,
        )


def create_database(path: Path) -> None:
    """Make an SQLite store whole or not at all, whoever else is at it: MLflow cannot open one that it half made."""
    from mlflow import MlflowClient

    with FileLock(str(path.with_name(f".{path.name}.lock"))):
        if path.exists():
            return
        folder = path.with_name(f".{path.name}.new")
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed here
        folder.mkdir()
        try:
            MlflowClient(tracking_uri=f"sqlite:///{folder / 'made.db'}").search_experiments(
                max_results=1
            )
            with closing(sqlite3.connect(folder / "made.db")) as made:
                made.execute(
                    "VACUUM INTO ?", [str(folder / "whole.db")]
                )  # a file that no connection is open to
            os.replace(folder / "whole.db", path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _milliseconds(moment: str | None) -> int:
    """Unix time of an ISO time; now where there is none."""
    return int((datetime.fromisoformat(moment).timestamp() if moment else time.time()) * 1000)


_ARTIFACTS = (
    "job.json",
    "run.json",
    "split.json",
    "curves.json",
    "autoencoder_losses.json",
    "reconstruction_errors.json",
    "reconstruction.json",
    "resampled.json",
    "preprocess.safetensors",
    "fit-profile.txt",
)


def local_path(uri: str) -> Path | None:
    """The folder behind a local artifact URI, None for a remote one."""
    if uri.startswith("file:"):
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(uri).path))
    return Path(uri) if "://" not in uri and not uri.startswith("mlflow-artifacts:") else None


def _fail_fast() -> None:
    """MLflow retries an unreachable server for minutes; a person waits for none."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

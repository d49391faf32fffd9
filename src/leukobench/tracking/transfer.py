"""Moving a sweep between stores: `export_sweep` writes one archive, `import_sweep` brings it into another store.

The archive is a zip file without pickles:

```
runs/<run id>/run.json        kind, parent, name, status, times, tags, params, metrics with steps and times, data sets
runs/<run id>/artifacts/...   as in the store: config, split, curves, predictions, weights
manifest.json                 format, LeukoBench's version, sweep, runs in order, size and SHA-256 of every file
```

The digest of the manifest stands in the zip's comment. What is moved are finished results, the trajectories they come
from, and the sweep's parent run. Everything is read and written through MLflow's public client, so that SQLite files and
servers mix. A result is known by its identity: one that the other store has finished is left alone there.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leukobench import __version__
from leukobench.archives import fault_of
from leukobench.credentials import redacted
from leukobench.errors import LeukoBenchError, StoreError
from leukobench.names import check_name
from leukobench.schema import predictions
from leukobench.schema.documents import Document
from leukobench.settings import Settings
from leukobench.tracking.description import describe
from leukobench.tracking.folder import atomic, read_json
from leukobench.tracking.reading import IMPORTED, Named, StoredResult
from leukobench.tracking.store import (
    METRICS_A_BATCH,
    PARAMS_A_BATCH,
    PLAN,
    PREFIX,
    STATUS,
    Progress,
    Store,
    SweepRun,
    local_path,
)

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Raised when an older LeukoBench could not read the archive."""
MANIFEST = "manifest.json"
PARENT = "mlflow.parentRunId"
STORED = (".safetensors", ".parquet", ".png", ".npz")
"""Files that compressing again makes no smaller."""
CHUNK = 1 << 20
MEMBER = re.compile(r"runs/([0-9a-f]{32})/(run\.json|artifacts/[^\\:\0]+)")


@dataclass(frozen=True)
class Run:
    """A run on its way.

    Attributes:
        id: Run id in the store it comes from.
        kind: `sweep`, `trajectory` or `result`.
        parent: Run id of its parent there; None for the sweep.
        start, end: Unix milliseconds; `end` is None for a run that had not ended.
        metrics: Key, value, Unix milliseconds and step of every logged value.
        inputs: Data sets: the entity's fields, with its tags under `tags`.
    """

    id: str
    kind: str
    parent: str | None
    name: str
    status: str
    start: int
    end: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int, int]] = ()
    inputs: Sequence[Mapping[str, Any]] = ()

    @property
    def identity(self) -> str | None:
        return self.tags.get(PREFIX + "identity")


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        leukobench: Version that wrote it.
        runs: Run ids, the sweep's own first.
        files: Size and SHA-256 of each file.
    """

    leukobench: str
    format: int
    sweep: str
    runs: tuple[str, ...]
    files: Mapping[str, tuple[int, str]]


CONTENTS = Document(MANIFEST, Manifest)
RUN = Document("run.json", Run)


@dataclass(frozen=True)
class Exported:
    """Attributes:
    results, trajectories: How many runs of each kind are in the archive.
    size: Bytes.
    undelivered: Finished results of the sweep in run folders of this machine that the store does not have.
    """

    results: int
    trajectories: int
    size: int
    undelivered: int


@dataclass(frozen=True)
class Imported:
    """Attributes:
    sweep: Name.
    new: Results that were brought in.
    there: Results that the store had finished already.
    """

    sweep: str
    new: int
    there: int


# --- export -----------------------------------------------------------------------------------------------------------


def export_sweep(
    settings: Settings, name: str, path: Path, progress: Progress | None = None
) -> Exported:
    """Write a sweep's finished results, with what belongs to them, to an archive.

    Args:
        path: File to write; an earlier export of LeukoBench is replaced, anything else is not.

    Raises:
        StoreError: The store cannot be read, or has no finished result of this sweep.
        LeukoBenchError: The file cannot be written.
    """
    if path.exists() and not _is_archive(path):
        raise LeukoBenchError(
            f"{path} exists and is no export of LeukoBench: it is left as it is, name another file"
        )
    store = Store(settings)
    sweep = store.find_sweep(name)
    if sweep is None:
        raise StoreError(
            f"the store {settings.store} has no sweep {name!r}; `leukobench ui` shows those it has"
        )
    runs = _finished(store, sweep)
    if len(runs) == 1:
        raise StoreError(
            f"the sweep {name!r} in {settings.store} has no finished result yet; there is nothing to export"
        )
    files: dict[str, tuple[int, str]] = {}
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        for i, run in enumerate(runs):
            folder = f"runs/{run.info.run_id}"
            record = json.dumps(asdict(_record(store, run)))
            files[f"{folder}/run.json"] = _write(
                archive, f"{folder}/run.json", redacted(record).encode()
            )
            with _artifacts(store, run) as artifacts:
                for file in _files(artifacts):
                    member = f"{folder}/artifacts/{file.relative_to(artifacts).as_posix()}"
                    files[member] = _write(archive, member, _shareable(file))
            if progress is not None:
                progress("runs", i + 1, len(runs))
        manifest = json.dumps(
            {
                "format": FORMAT,
                "leukobench": __version__,
                "sweep": name,
                "written": datetime.now(UTC).isoformat(timespec="seconds"),
                "runs": [run.info.run_id for run in runs],
                "files": files,
            },
            indent=1,
        ).encode()
        _write(archive, MANIFEST, manifest)
        archive.comment = _comment(manifest)
    kinds = [run.data.tags[PREFIX + "kind"] for run in runs]
    known = {run.data.tags.get(PREFIX + "identity") for run in runs}
    return Exported(
        kinds.count("result"),
        kinds.count("trajectory"),
        path.stat().st_size,
        _undelivered(settings, name, known),
    )


def _finished(store: Store, sweep: SweepRun) -> list[Any]:
    """The sweep's run, then each trajectory with a finished result, then one finished result an identity: the latest."""
    results: dict[str, Any] = {}
    for run in store.search(
        sweep.experiment_id, f"tags.`{PREFIX}kind` = 'result' and attributes.status = 'FINISHED'"
    ):
        identity = run.data.tags.get(PREFIX + "identity")
        if identity is not None:
            results.setdefault(identity, run)
    parents = {run.data.tags.get(PARENT) for run in results.values()}
    trajectories = [
        run
        for run in store.search(sweep.experiment_id, f"tags.`{PREFIX}kind` = 'trajectory'")
        if run.info.run_id in parents
    ]
    with store.errors("read"):
        return [store.client.get_run(sweep.run_id), *trajectories, *results.values()]


def _record(store: Store, run: Any) -> Run:
    info, tags = run.info, dict(run.data.tags)
    metrics: list[tuple[str, float, int, int]] = []
    with store.errors("read"):
        for key in sorted(run.data.metrics):
            history = store.client.get_metric_history(info.run_id, key)
            metrics += [(m.key, m.value, m.timestamp, m.step) for m in history]
    inputs = [
        {**dict(given.dataset), "tags": {tag.key: tag.value for tag in given.tags}}
        for given in (run.inputs.dataset_inputs if run.inputs else [])
    ]
    return Run(
        info.run_id,
        tags[PREFIX + "kind"],
        tags.get(PARENT),
        info.run_name or "",
        info.status,
        int(info.start_time),
        None if info.end_time is None else int(info.end_time),
        tags,
        dict(run.data.params),
        metrics,
        inputs,
    )


@contextmanager
def _artifacts(store: Store, run: Any) -> Iterator[Path]:
    """A folder with the run's artifacts: the store's own where that is a local one, else a copy."""
    local = local_path(run.info.artifact_uri)
    if local is not None:
        yield local
        return
    with tempfile.TemporaryDirectory() as scratch:
        with store.errors("read"):
            if store.client.list_artifacts(run.info.run_id):
                store.client.download_artifacts(run.info.run_id, "", scratch)
        yield Path(scratch)


def _files(folder: Path) -> list[Path]:
    """Plain files below a folder, sorted; links are not followed."""
    found = (p for p in folder.rglob("*") if stat.S_ISREG(p.lstat().st_mode))
    return sorted(found) if folder.is_dir() and not folder.is_symlink() else []


def _shareable(file: Path) -> bytes | Path:
    """A file, or its text without credentials: earlier versions logged configs with them."""
    if file.suffix not in (".json", ".txt"):
        return file
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    shown = redacted(text)
    return file if shown == text else shown.encode("utf-8", "surrogateescape")


def _write(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> tuple[int, str]:
    """Add a file; its size and SHA-256."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
    digest, size = hashlib.sha256(), 0
    if isinstance(content, bytes):
        archive.writestr(entry, content)
        return len(content), hashlib.sha256(content).hexdigest()
    entry.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(entry, "w") as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    return size, digest.hexdigest()


def _comment(manifest: bytes) -> bytes:
    return f"leukobench export {hashlib.sha256(manifest).hexdigest()}".encode()


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.startswith(b"leukobench export ")
    except (OSError, zipfile.BadZipFile):
        return False


def _undelivered(settings: Settings, name: str, known: set[str | None]) -> int:
    found = set()
    for path in (settings.output / "runs").glob("*/delivery.json"):
        if read_json(path)["sweep"] == name:
            found |= {result.parent.name for result in path.parent.glob("results/*/result.json")}
    return len(found - known)


# --- archive ----------------------------------------------------------------------------------------------------------


class Archive:
    """An exported sweep, opened for reading; `verify` reads everything and compares it with the manifest.

    Raises:
        LeukoBenchError: No archive, one that is cut off or was changed, or one of a later LeukoBench.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except OSError as e:
            raise LeukoBenchError(f"cannot read {path}: {e.strerror or e}") from e
        except zipfile.BadZipFile as e:
            with path.open("rb") as f:
                begun = f.read(2) == b"PK"
            what = (
                "is cut off or damaged: copy or export it again"
                if begun
                else "is no export of LeukoBench"
            )
            raise LeukoBenchError(
                f"{path} {what} (`leukobench export SWEEP FILE` writes one)"
            ) from e
        try:
            self._read_manifest()
        except BaseException:
            self.close()
            raise

    def _read_manifest(self) -> None:
        fault = fault_of(self.zip)
        if fault is not None:
            raise LeukoBenchError(f"{self.path} {fault}: it is not imported")
        names = self.zip.namelist()
        with self._reading():
            text = self.zip.read(MANIFEST) if MANIFEST in names else b"{}"
            content = json.loads(text)
        if not isinstance(content, dict) or "leukobench" not in content:
            raise LeukoBenchError(
                f"{self.path} is no export of LeukoBench (`leukobench export SWEEP FILE` writes one)"
            )
        found = content.get("format")
        if isinstance(found, int) and found > FORMAT:
            raise LeukoBenchError(
                f"{self.path} was written by LeukoBench {content['leukobench']} in format {found}; this is "
                f"{__version__}, which reads formats up to {FORMAT}: update it (pip install -U leukobench)"
            )
        self._take(text, names)

    def _take(self, text: bytes, names: Sequence[str]) -> None:
        if _comment(text) != self.zip.comment:
            raise self._changed(MANIFEST)
        manifest = CONTENTS.parse(text, f"{self.path}: {MANIFEST}")
        self.sweep = check_name(f"{self.path}: sweep", manifest.sweep)
        self.ids = manifest.runs
        self.files = manifest.files
        differing = set(names) ^ {*self.files, MANIFEST}
        if differing:
            raise self._changed(min(differing))
        for name in self.files:
            self._check_name(name)
        self._artifacts: dict[str, list[str]] = {}
        for name in self.files:
            self._artifacts.setdefault(name.split("/")[1], []).append(name)

    def _check_name(self, name: str) -> None:
        """No member may be written anywhere but into the folder of its run."""
        if not MEMBER.fullmatch(name) or any(part in ("", ".", "..") for part in name.split("/")):
            raise LeukoBenchError(
                f"{self.path} holds {name!r}, which no export of LeukoBench holds: it is not imported"
            )

    def _changed(self, name: str) -> LeukoBenchError:
        return LeukoBenchError(
            f"{self.path} was changed or cut off after it was written ({name}): copy or export it again"
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RuntimeError,
        ) as e:
            raise LeukoBenchError(f"{self.path} is damaged ({e}): copy or export it again") from e

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.zip.close()

    def verify(self, progress: Progress | None = None) -> None:
        """Compare every file with its size and checksum."""
        for i, name in enumerate(self.files):
            for _ in self._chunks(name):
                pass
            if progress is not None:
                progress("checking files", i + 1, len(self.files))

    def _chunks(self, name: str) -> Iterator[bytes]:
        """Content of a file; ends with an error where it is not what the manifest says."""
        expected, checksum = self.files[name]
        digest, size = hashlib.sha256(), 0
        with self._reading(), self.zip.open(name) as source:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > expected:
                    break
                digest.update(chunk)
                yield chunk
        if size != expected or digest.hexdigest() != checksum:
            raise self._changed(name)

    def read(self, name: str) -> bytes:
        return b"".join(self._chunks(name))

    @cached_property
    def runs(self) -> list[Run]:
        """The sweep's run, then its trajectories, then its results."""
        out = []
        for id in self.ids:
            name = f"runs/{id}/run.json"
            if name not in self.files:
                raise self._changed(name)
            out.append(RUN.parse(self.read(name), f"{self.path}: {name}"))
        if not out or out[0].kind != "sweep":
            raise self._changed("the sweep's own run")
        return out

    def artifact(self, id: str, name: str) -> bytes | None:
        """Content of a run's artifact, None where it has none of that name."""
        member = f"runs/{id}/artifacts/{name}"
        return self.read(member) if member in self.files else None

    def unpack(self, id: str, folder: Path) -> None:
        """Write a run's artifacts below a folder."""
        start = f"runs/{id}/artifacts/"
        for member in self._artifacts.get(id, []):
            if not member.startswith(start):
                continue
            target = folder / member.removeprefix(start)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                for chunk in self._chunks(member):
                    out.write(chunk)


class ExportedResults:
    """The results of an archive, read like those of a store (a `ResultSet` of `leukobench.papers.results`)."""

    def __init__(self, path: Path) -> None:
        self.archive = Archive(path)
        self.store = str(path)
        self.results = [
            StoredResult(
                run_id=run.id,
                identity=run.identity or run.id,
                params=run.params,
                tags=run.tags,
                start_time=run.start / 1000,
                artifact_uri="",
                experiment_id="",
            )
            for run in self.archive.runs
            if run.kind == "result"
        ]

    def predictions(self, result: Named) -> pd.DataFrame:
        """Predictions of a result, as logged."""
        import io

        content = self.archive.artifact(result.run_id, predictions.FILE)
        if content is None:
            raise LeukoBenchError(f"{self.store}: the run {result.run_id} has no predictions")
        return predictions.read(io.BytesIO(content), f"{self.store}: run {result.run_id}")

    def close(self) -> None:
        self.archive.close()


# --- import -----------------------------------------------------------------------------------------------------------


def import_sweep(settings: Settings, path: Path, progress: Progress | None = None) -> Imported:
    """Bring an exported sweep into the store at `settings.store`; what is there finished stays as it is.

    The whole archive is checked before anything is written. A result counts from when its run is ended, which comes
    last: an import that was killed has left none that looks complete, and the next one goes on in the same runs.

    Raises:
        LeukoBenchError: The archive is not one, is damaged, was changed, or is of a later LeukoBench.
        StoreError: The store cannot be reached or written.
    """
    with Archive(path) as archive:
        archive.verify(progress)
        runs = archive.runs
        store = Store(settings)
        target = _Target.of(store, archive)
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
            describe(store, target.sweep)
        return Imported(archive.sweep, len(wanted), there)


@dataclass
class _Target:
    """The sweep in the store that runs are brought into.

    Attributes:
        created: Whether this import (or an earlier one that was killed) made the sweep's own run.
        finished: Identities that need not be brought.
        brought: Runs of the store by the id they have in the archive, and whether nothing is to be added to them.
    """

    store: Store
    archive: Archive
    sweep: SweepRun
    created: bool
    finished: set[str] = field(default_factory=set)
    brought: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, archive: Archive) -> _Target:
        source = archive.runs[0]
        found, created = store.find_sweep(archive.sweep), True
        with store.errors("write"):
            if found is None:
                experiment_id = store.experiment(archive.sweep)
                assert experiment_id is not None
                tags = {**_tags(source), IMPORTED: source.id}
                run = store.client.create_run(experiment_id, source.start, tags, source.name)
                found = SweepRun(archive.sweep, experiment_id, run.info.run_id)
            else:
                run = store.client.get_run(found.run_id)
                created = run.info.status == "RUNNING" and run.data.tags.get(IMPORTED) == source.id
        target = cls(store, archive, found, created)
        for run in store.search(found.experiment_id, f"tags.`{PREFIX}kind` != 'sweep'"):
            tags, status = run.data.tags, run.info.status
            kind, identity = tags[PREFIX + "kind"], tags.get(PREFIX + "identity")
            target.brought[run.info.run_id] = (run.info.run_id, True)
            if IMPORTED in tags:
                target.brought[tags[IMPORTED]] = (
                    run.info.run_id,
                    kind == "trajectory" and status != "RUNNING",
                )
            if kind == "result" and status == "FINISHED" and identity is not None:
                target.finished.add(identity)
        return target

    def stamp(self) -> None:
        """Tell those who keep what they read of this sweep that runs with earlier times have come."""
        self.store.client.set_experiment_tag(
            self.sweep.experiment_id, IMPORTED, str(time.time_ns())
        )

    def bring(self, run: Run, parent: str) -> str:
        """Create a run, or go on with the one that a killed import left; its run id here."""
        from mlflow.entities import Metric, Param

        client = self.store.client
        id, complete = self.brought.get(run.id, (None, False))
        if id is not None and complete:
            return id
        if id is None:
            tags = {**_tags(run), PARENT: parent, IMPORTED: run.id}
            id = str(
                client.create_run(self.sweep.experiment_id, run.start, tags, run.name).info.run_id
            )
        metrics = [Metric(key, value, moment, step) for key, value, moment, step in run.metrics]
        params = [Param(key, value) for key, value in run.params.items()]
        for i in range(max(-(-len(metrics) // METRICS_A_BATCH), -(-len(params) // PARAMS_A_BATCH))):
            client.log_batch(
                id,
                metrics=metrics[i * METRICS_A_BATCH : (i + 1) * METRICS_A_BATCH],
                params=params[i * PARAMS_A_BATCH : (i + 1) * PARAMS_A_BATCH],
            )
        if run.inputs:
            client.log_inputs(id, datasets=[_input(given) for given in run.inputs])
        self._log_artifacts(run, id)
        # what another machine runs would stay running for ever here
        client.set_terminated(
            id, run.status if run.status in STATUS.values() else "KILLED", run.end
        )
        self.brought[run.id] = (id, True)
        return id

    def _log_artifacts(self, run: Run, id: str) -> None:
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
            known = {job["identity"] for job in self.store.read_plan(self.sweep)}
            planned = json.loads(self.archive.artifact(source.id, PLAN) or b"[]")
            missing = [job for job in planned if job["identity"] not in known]
            if missing:
                self.store.write_plan(self.sweep, missing)
        self.stamp()


def _tags(run: Run) -> dict[str, str]:
    """A run's tags without those that say where it stood in its store."""
    return {k: v for k, v in run.tags.items() if k not in (PARENT, IMPORTED)}


def _input(given: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    body = dict(given)
    tags = [InputTag(k, v) for k, v in body.pop("tags").items()]
    return DatasetInput(dataset=Dataset(**body), tags=tags)

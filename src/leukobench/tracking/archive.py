"""The archive of an exported sweep: one zip file, from which the sweep can be read and imported
into another store.

It holds no pickles:

```
runs/<run id>/run.json        kind, parent, name, status, times, tags, params, data sets, and
                              metrics with steps and times
runs/<run id>/artifacts/...   as in the store: config, split, curves, predictions, weights
manifest.json                 format, LeukoBench's version, sweep, runs in order, size and SHA-256
                              of every file
```

The digest of the manifest stands in the zip's comment.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leukobench import __version__
from leukobench.archives import fault_of
from leukobench.errors import LeukoBenchError
from leukobench.names import check_name
from leukobench.progress import Progress
from leukobench.schema import predictions
from leukobench.schema.documents import Document, Json
from leukobench.schema.names import Tag
from leukobench.tracking.result_cache import RunReference, StoredResult, up_to_own_epoch

if TYPE_CHECKING:
    import pandas as pd

    from leukobench.data.base import Dataset

FORMAT = 1
"""Raised when an older LeukoBench could not read the archive."""
STORED = (".safetensors", ".parquet", ".png", ".npz")
"""Files that compressing again makes no smaller."""
CHUNK = 1 << 20
MEMBER = re.compile(r"runs/([0-9a-f]{32})/(run\.json|artifacts/[^\\:\0]+)")
COMMENT = b"leukobench export "


@dataclass(frozen=True)
class ManifestHead:
    """What every LeukoBench reads of a manifest: its format, and the version that wrote it."""

    format: int
    leukobench: str


@dataclass(frozen=True)
class Manifest(ManifestHead):
    """What an archive holds.

    Attributes:
        written: ISO time.
        runs: Run ids: the sweep's run, then its trajectories, then its results.
        files: Size and SHA-256 by name.
    """

    sweep: str
    written: str
    runs: tuple[str, ...]
    files: Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class DataInput:
    """A data set as input of a run, as MLflow describes it."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ArchiveRun:
    """A run on its way.

    Attributes:
        id: Run id in the store it comes from.
        kind: `sweep`, `trajectory` or `result`.
        parent: Run id of its parent there; None for the sweep.
        start, end: Unix milliseconds; `end` is None for a run that had not ended.
        metrics: Key, value, Unix milliseconds and step of every logged value.
        inputs: Its data sets.
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
    metrics: tuple[tuple[str, float, int, int], ...] = ()
    inputs: tuple[DataInput, ...] = ()

    @property
    def identity(self) -> str | None:
        return self.tags.get(Tag.IDENTITY)


HEAD = Document("manifest.json", ManifestHead)
MANIFEST = Document("manifest.json", Manifest)
RUN = Document("run.json", ArchiveRun, indent=None)


class Archive:
    """An exported sweep, opened for reading; `verify` reads everything and compares it with the
    manifest.

    Raises:
        LeukoBenchError: No archive, one that is cut off or was changed, or one of a later
            LeukoBench.
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
        if MANIFEST.file not in names:
            raise LeukoBenchError(
                f"{self.path} is no export of LeukoBench (`leukobench export SWEEP FILE` writes "
                f"one)"
            )
        with self._reading():
            text = self.zip.read(MANIFEST.file)
        self._take(text, names)

    def _take(self, text: bytes, names: Sequence[str]) -> None:
        where = f"{self.path} ({MANIFEST.file})"
        head = HEAD.parse(text, where)
        if head.format > FORMAT:
            raise LeukoBenchError(
                f"{self.path} was written by LeukoBench {head.leukobench} in format "
                f"{head.format}; this is "
                f"{__version__}, which reads formats up to {FORMAT}: update it (pip install -U "
                f"leukobench)"
            )
        if comment_of(text) != self.zip.comment:
            raise self.changed(MANIFEST.file)
        manifest = MANIFEST.parse(text, where)
        self.sweep = check_name(f"{self.path}: sweep", manifest.sweep)
        self.ids, self.files = manifest.runs, manifest.files
        differing = set(names) ^ {*self.files, MANIFEST.file}
        if differing:
            raise self.changed(min(differing))
        for name in self.files:
            self._check_name(name)
        self._artifacts: dict[str, list[str]] = {}
        for name in self.files:
            self._artifacts.setdefault(name.split("/")[1], []).append(name)

    def _check_name(self, name: str) -> None:
        """No member may be written anywhere but into the folder of its run."""
        if not MEMBER.fullmatch(name) or any(part in ("", ".", "..") for part in name.split("/")):
            raise LeukoBenchError(
                f"{self.path} holds {name!r}, which no export of LeukoBench holds: it is not "
                f"imported"
            )

    def changed(self, name: str) -> LeukoBenchError:
        """The error that says that a member is not what was written."""
        return LeukoBenchError(
            f"{self.path} was changed or cut off after it was written ({name}): copy or export it "
            f"again"
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
            raise self.changed(name)

    def read(self, name: str) -> bytes:
        return b"".join(self._chunks(name))

    @cached_property
    def runs(self) -> list[ArchiveRun]:
        """The sweep's run, then its trajectories, then its results."""
        names = [f"runs/{id}/{RUN.file}" for id in self.ids]
        missing = [name for name in names if name not in self.files]
        if missing:
            raise self.changed(missing[0])
        out = [RUN.parse(self.read(name), f"{self.path} ({name})") for name in names]
        if not out or out[0].kind != "sweep":
            raise self.changed("the sweep's own run")
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


class ArchiveResults:
    """The results of an archive, read like those of a store (a `ResultSet` of
    `leukobench.papers.results`).
    """

    def __init__(self, path: Path) -> None:
        self.archive = Archive(path)
        self.store = str(path)
        self.cache: Path | None = None
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

    def predictions(self, result: RunReference) -> pd.DataFrame:
        """Predictions of a result, as logged."""
        content = self.archive.artifact(result.run_id, predictions.FILE)
        if content is None:
            raise LeukoBenchError(f"{self.store}: the run {result.run_id} has no predictions")
        return predictions.read(io.BytesIO(content), f"{self.store}: run {result.run_id}")

    def pieces(self, results: Sequence[RunReference]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        """The predictions of many results, and the place in `results` of each row's."""
        frames = [self.predictions(result) for result in results]
        return [(frame, np.full(len(frame), i)) for i, frame in enumerate(frames)]

    def artifact(self, result: RunReference, name: str) -> Json:
        """Content of a run's JSON artifact, its own or its trajectory's, None where it has none."""
        run = self._runs[result.run_id]
        for owner in (run.id, run.parent):
            content = None if owner is None else self.archive.artifact(owner, f"{name}.json")
            if content is not None:
                return up_to_own_epoch(name, json.loads(content), run.params)
        return None

    def dataset(self, name: str) -> Dataset | None:
        """None: an archive holds no data set."""
        return None

    @cached_property
    def _runs(self) -> dict[str, ArchiveRun]:
        return {run.id: run for run in self.archive.runs}

    def close(self) -> None:
        self.archive.close()


def write_member(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> tuple[int, str]:
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


def comment_of(manifest: bytes) -> bytes:
    return COMMENT + hashlib.sha256(manifest).hexdigest().encode()


def is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.startswith(COMMENT)
    except (OSError, zipfile.BadZipFile):
        return False

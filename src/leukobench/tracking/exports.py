"""Exporting a sweep: its finished results, with the trajectories they come from and its own run, to
one archive.
"""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from leukobench import __version__
from leukobench.credentials import redacted
from leukobench.errors import LeukoBenchError, StoreError
from leukobench.files import atomic
from leukobench.progress import Progress
from leukobench.schema.delivery import DELIVERY
from leukobench.schema.names import Tag
from leukobench.schema.records import RESULT
from leukobench.settings import Settings
from leukobench.tracking.archive import (
    FORMAT,
    MANIFEST,
    RUN,
    ArchiveRun,
    DataInput,
    Manifest,
    comment_of,
    is_archive,
    write_member,
)
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.sweeps import SweepRun, find_sweep

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class ExportSummary:
    """Attributes:
    results, trajectories: How many runs of each kind are in the archive.
    size: Bytes.
    undelivered: Finished results of the sweep in run folders of this machine that the store does
    not have.
    """

    results: int
    trajectories: int
    size: int
    undelivered: int


def export_sweep(
    settings: Settings, name: str, path: Path, progress: Progress | None = None
) -> ExportSummary:
    """Write a sweep's finished results, with what belongs to them, to an archive.

    Args:
        path: File to write; an earlier export of LeukoBench is replaced, anything else is not.

    Raises:
        StoreError: The store cannot be read, or has no finished result of this sweep.
        LeukoBenchError: The file cannot be written.
    """
    if path.exists() and not is_archive(path):
        raise LeukoBenchError(
            f"{path} exists and is no export of LeukoBench: it is left as it is, name another file"
        )
    store = Store(settings)
    sweep = find_sweep(store, name)
    if sweep is None:
        raise StoreError(
            f"the store {settings.store} has no sweep {name!r}; `leukobench ui` shows those it has"
        )
    runs = _finished(store, sweep)
    if len(runs) == 1:
        raise StoreError(
            f"the sweep {name!r} in {settings.store} has no finished result yet; there is nothing "
            f"to export"
        )
    _write(store, runs, sweep=name, path=path, progress=progress)
    kinds = [run.data.tags[Tag.KIND] for run in runs]
    known = {run.data.tags.get(Tag.IDENTITY) for run in runs}
    return ExportSummary(
        results=kinds.count("result"),
        trajectories=kinds.count("trajectory"),
        size=path.stat().st_size,
        undelivered=_undelivered(settings, name, known),
    )


def _write(
    store: Store, runs: list[Run], *, sweep: str, path: Path, progress: Progress | None
) -> None:
    files: dict[str, tuple[int, str]] = {}
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        for i, run in enumerate(runs):
            folder = f"runs/{run.info.run_id}"
            member = f"{folder}/{RUN.file}"
            record = redacted(RUN.text(_record(store, run)))
            files[member] = write_member(archive, member, record.encode())
            with _artifacts(store, run) as artifacts:
                for file in _files(artifacts):
                    member = f"{folder}/artifacts/{file.relative_to(artifacts).as_posix()}"
                    files[member] = write_member(archive, member, _shareable(file))
            if progress is not None:
                progress("runs", i + 1, len(runs))
        manifest = Manifest(
            format=FORMAT,
            leukobench=__version__,
            sweep=sweep,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            runs=tuple(run.info.run_id for run in runs),
            files=files,
        )
        text = MANIFEST.text(manifest).encode()
        write_member(archive, MANIFEST.file, text)
        archive.comment = comment_of(text)


def _finished(store: Store, sweep: SweepRun) -> list[Run]:
    """The sweep's run, then each trajectory with a finished result, then one finished result an
    identity: the latest.
    """
    results: dict[str, Run] = {}
    for run in store.search(
        sweep.experiment_id, f"tags.`{Tag.KIND}` = 'result' and attributes.status = 'FINISHED'"
    ):
        identity = run.data.tags.get(Tag.IDENTITY)
        if identity is not None:
            results.setdefault(identity, run)
    parents = {run.data.tags.get(Tag.PARENT) for run in results.values()}
    trajectories = [
        run
        for run in store.search(sweep.experiment_id, f"tags.`{Tag.KIND}` = 'trajectory'")
        if run.info.run_id in parents
    ]
    with store.errors("read"):
        return [store.client.get_run(sweep.run_id), *trajectories, *results.values()]


def _record(store: Store, run: Run) -> ArchiveRun:
    info, tags = run.info, dict(run.data.tags)
    metrics: list[tuple[str, float, int, int]] = []
    with store.errors("read"):
        for key in sorted(run.data.metrics):
            history = store.client.get_metric_history(info.run_id, key)
            metrics += [(m.key, m.value, m.timestamp, m.step) for m in history]
    return ArchiveRun(
        id=info.run_id,
        kind=tags[Tag.KIND],
        parent=tags.get(Tag.PARENT),
        name=info.run_name or "",
        status=info.status,
        start=int(info.start_time),
        end=None if info.end_time is None else int(info.end_time),
        tags=tags,
        params=dict(run.data.params),
        metrics=tuple(metrics),
        inputs=_inputs(run),
    )


def _inputs(run: Run) -> tuple[DataInput, ...]:
    given = run.inputs.dataset_inputs if run.inputs else []
    return tuple(
        DataInput(
            name=one.dataset.name,
            digest=one.dataset.digest,
            source_type=one.dataset.source_type,
            source=one.dataset.source,
            schema=one.dataset.schema,
            profile=one.dataset.profile,
            tags={tag.key: tag.value for tag in one.tags},
        )
        for one in given
    )


@contextmanager
def _artifacts(store: Store, run: Run) -> Iterator[Path]:
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


def _undelivered(settings: Settings, name: str, known: set[str | None]) -> int:
    """Finished results of a sweep in run folders that are not among the `known` identities."""
    found: set[str] = set()
    for path in (settings.output / "runs").glob(f"*/{DELIVERY.file}"):
        order = DELIVERY.read(path)
        if order is not None and order.sweep == name:
            results = path.parent.glob(f"results/*/{RESULT.file}")
            found |= {result.parent.name for result in results}
    return len(found - known)


def _shareable(file: Path) -> bytes | Path:
    """A file, or its text without credentials: earlier versions logged configs with them."""
    if file.suffix not in (".json", ".txt"):
        return file
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    shown = redacted(text)
    return file if shown == text else shown.encode("utf-8", "surrogateescape")

"""What of an output folder is no longer needed, and removing it: `leukobench gc`.

Nothing that changed within the last hour (`QUIET`) and nothing whose lock another process holds is
ever listed. The rest, where `days` is the retention rule:

- leftovers of killed writes: temporary files, feature stores that were never completed;
- saved plans of launches that have ended (a launch that lives touches its plan every few seconds);
- checkpoints of finished trainings, after `days`; those of unfinished ones stay, they are where it
  goes on;
- run folders after `days`: those without a result or a checkpoint, and finished ones of which the
  store holds every file of every result. A folder with anything that was not delivered is the
  record, and stays;
- feature and image stores that nobody has opened for `days` and that no unfinished run folder is of
  the data (and model) of, while no training runs in this output folder. They are rebuilt at the
  next use.

The MLflow store, its artifacts and the copies of what was read from it are not touched. Links are
neither followed nor removed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from filelock import Timeout

from leukobench.errors import LeukoBenchError, StoreError
from leukobench.integrity import DAMAGED
from leukobench.progress import Progress
from leukobench.schema.delivery import DELIVERY
from leukobench.schema.documents import Document
from leukobench.schema.names import Tag
from leukobench.schema.records import JOB, ResultRecord
from leukobench.settings import Settings
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.locate import RESULT_FILES, TRAINING_FILES
from leukobench.tracking.reading import Results
from leukobench.tracking.removal import GONE, Removable, folders_in, held, measure, plain_files
from leukobench.tracking.result_cache import StoredResult

DAYS = 14.0
QUIET = 3600.0
"""Seconds without a change before anything is listed."""
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Names of files that `leukobench.tracking.folder.atomic` writes before it renames them."""
HOLDING = ("runs", "features", "images", "plans", "cache")
"""Folders of the output folder that are looked into."""
DAY = 86400.0


@dataclass(frozen=True)
class StoreHeader:
    """What the header of a feature or image store says of its origin; None where it says nothing.

    Attributes:
        model, data: Choices that a feature store was made with.
        dataset: Name of the data set of an image store.
        shape: Of the whole array.
    """

    model: str | None = None
    data: str | None = None
    dataset: str | None = None
    shape: tuple[int, ...] = ()


HEADER = Document("header", StoreHeader)


@dataclass
class Garbage:
    """What of an output folder is no longer needed.

    Attributes:
        removable: In the order of kinds.
        notes: What could not be judged, and why.
    """

    removable: list[Removable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(item.size for item in self.removable)


def find(settings: Settings, days: float = DAYS, progress: Progress | None = None) -> Garbage:
    """What of the output folder is no longer needed.

    Args:
        days: The retention rule.
    """
    if days < 0:
        raise LeukoBenchError(f"--keep-days {days:g}: a number of days from 0 is needed")
    return _Search(settings, days, progress).garbage()


class _Search:
    def __init__(self, settings: Settings, days: float, progress: Progress | None) -> None:
        self.settings, self.days, self.progress = settings, days, progress
        self.output = settings.output.resolve()
        self.now = time.time()
        self.notes: list[str] = []
        self.busy = False
        self.unfinished: list[Mapping[str, str]] = []

    def garbage(self) -> Garbage:
        for name in HOLDING:
            if (self.output / name).is_symlink():
                self.notes.append(
                    f"{self.output / name} is a link: what is behind it is not looked at"
                )
        # what runs and what is unfinished is known before stores and plans are judged
        runs = list(self._runs())
        stores = [*self._damaged(), *self._features(), *self._images()]
        removable = [*self._leftovers(), *runs, *stores, *self._plans()]
        if self.busy:
            self.notes.append(
                "a training runs in this output folder: feature and image stores and plans stay"
            )
        whole = {item.path for item in removable}
        inner = (item for item in removable if whole.isdisjoint(item.path.parents))
        return Garbage(sorted(inner, key=lambda item: item.kind), self.notes)

    def _old(self, changed: float, days: float = 0.0) -> bool:
        return self.now - changed > max(QUIET, days * DAY)

    def _item(self, path: Path, kind: str, reason: str, lock: Path | None = None) -> Removable:
        size, changed = measure(path)
        return Removable(path, kind, reason, size, changed, lock)

    def _age(self, changed: float) -> str:
        days = (self.now - changed) / DAY
        return f"{days:.0f} days" if days >= 1.5 else f"{days * 24:.0f} hours"

    # killed writes

    def _leftovers(self) -> Iterator[Removable]:
        for name in HOLDING:
            top = self.output / name
            for path in folders_in(top):
                if path.name.startswith(GONE):
                    yield self._item(path, "killed writes", "its removal was killed")
            for path, status in plain_files(top):
                if TEMPORARY.fullmatch(path.name) and self._old(status.st_mtime):
                    yield self._item(path, "killed writes", "a file whose writing was killed")

    # runs

    def _runs(self) -> Iterator[Removable]:
        folders = [f for f in folders_in(self.output / "runs") if not f.name.startswith(GONE)]
        for i, path in enumerate(folders):
            if self.progress is not None:
                self.progress("run folders", i + 1, len(folders))
            lock = path / ".lock"
            try:
                with held(lock):
                    item = self._run(path, lock)
            except Timeout:
                self.busy = True
                self._note_unfinished(RunFolder(path))
            except LeukoBenchError as e:
                self.notes.append(str(e))
            else:
                if item is not None:
                    yield item

    def _run(self, path: Path, lock: Path) -> Removable | None:
        folder = RunFolder(path)
        changed = measure(path)[1]
        record, results = folder.run(), folder.results()
        finished = record.state == "finished"
        if not finished:
            self._note_unfinished(folder)
        checkpoint = folder.checkpoint.is_file() and not folder.checkpoint.is_symlink()
        if (
            finished
            and results
            and self._old(changed, self.days)
            and self._delivered(folder, results)
        ):
            n = "its result is" if len(results) == 1 else f"its {len(results)} results are"
            reason = f"{n} in the store, and it was not changed for {self._age(changed)}"
            return self._item(path, "run folders", reason, lock)
        if not results and not checkpoint and self._old(changed, self.days):
            age = self._age(changed)
            reason = f"it holds neither a result nor a checkpoint, and was not changed for {age}"
            return self._item(path, "run folders", reason, lock)
        if finished and checkpoint and self._old(folder.checkpoint.lstat().st_mtime, self.days):
            return self._item(folder.checkpoint, "checkpoints", "its training is finished", lock)
        return None

    def _note_unfinished(self, folder: RunFolder) -> None:
        """Remember the data and model of an unfinished training: it goes on with their stores."""
        job, data = folder.read(JOB), folder.run().data
        choices = {} if job is None else dict(job.choices)
        if data is not None:
            choices["name"] = data.name
        self.unfinished.append(choices)

    def _delivered(self, folder: RunFolder, results: Sequence[ResultRecord]) -> bool:
        """Whether the store holds every file of every result, in its size."""
        order = folder.read(DELIVERY)
        if order is None or self._stored is None:
            return False
        asked = {job.identity for job in order.jobs} | {r.identity for r in results}
        held = [self._stored.get((order.sweep, identity)) for identity in asked]
        if any(result is None for result in held):
            return False
        for result in held:
            assert result is not None
            if not self._holds(result, folder.result(result.identity), RESULT_FILES):
                return False
            owner = self._trajectories.get(result.tags.get(Tag.PARENT, ""), result)
            if not self._holds(owner, folder.path, TRAINING_FILES):
                return False
        return True

    def _holds(self, run: StoredResult, folder: Path, names: tuple[str, ...]) -> bool:
        expected = {
            name: (folder / name).stat().st_size for name in names if (folder / name).is_file()
        }
        if run.run_id not in self._sizes:
            self._sizes[run.run_id] = self._listed(run)
        # small files of JSON may have been written again since; weights and predictions are as they
        # were
        sizes = self._sizes[run.run_id]
        return all(
            sizes.get(name) is not None and (name.endswith(".json") or sizes[name] == n)
            for name, n in expected.items()
        )

    def _listed(self, run: StoredResult) -> dict[str, int]:
        local = local_path(run.artifact_uri)
        if local is not None:
            return (
                {p.name: p.stat().st_size for p in local.iterdir() if p.is_file()}
                if local.is_dir()
                else {}
            )
        store = self._store
        assert store is not None
        with store.errors("read"):
            return {a.path: int(a.file_size or 0) for a in store.client.list_artifacts(run.run_id)}

    @cached_property
    def _sizes(self) -> dict[str, dict[str, int]]:
        return {}

    @cached_property
    def _store(self) -> Store | None:
        path = self.settings.store.removeprefix("sqlite:///")
        if path != self.settings.store and not Path(path).is_file():
            self.notes.append(
                f"there is no store at {self.settings.store}: finished run folders stay"
            )
            return None
        try:
            return Store(self.settings)
        except StoreError as e:
            self.notes.append(f"finished run folders stay, because the store cannot be asked: {e}")
            return None

    @cached_property
    def _stored(self) -> dict[tuple[str, str], StoredResult] | None:
        """Finished results of the store by sweep and identity."""
        if self._store is None:
            return None
        results = Results(self.settings, progress=self.progress)
        return {(results.experiments[r.experiment_id], r.identity): r for r in results.results}

    @cached_property
    def _trajectories(self) -> dict[str, StoredResult]:
        store = self._store
        out: dict[str, StoredResult] = {}
        for experiment_id in {r.experiment_id for r in (self._stored or {}).values()}:
            assert store is not None
            for run in store.search(experiment_id, f"tags.`{Tag.KIND}` = 'trajectory'"):
                out[run.info.run_id] = StoredResult.of(run)
        return out

    # stores and plans

    def _stores(self, kind: str) -> list[Path]:
        return [path for path in folders_in(self.output / kind) if DAMAGED not in path.name]

    def _damaged(self) -> Iterator[Removable]:
        for path in [*folders_in(self.output / "features"), *folders_in(self.output / "images")]:
            if DAMAGED in path.name and not self.busy:
                yield self._item(path, "damaged stores", "it was damaged, and built anew")

    def _features(self) -> Iterator[Removable]:
        for path in self._stores("features"):
            lock = path.with_name(path.name + ".lock")
            if path.name.startswith(GONE) or not self._free(lock):
                continue
            changed = measure(path)[1]
            if not (path / "features.json").is_file():
                if self._old(changed):
                    yield self._item(
                        path, "killed writes", "a feature store that was never completed", lock
                    )
                continue
            header, used = self._header(path / "features.json", changed)
            of = {"model": str(header.model), "data": str(header.data)}
            needed = any(all(one.get(k) == v for k, v in of.items()) for one in self.unfinished)
            if not needed and not self.busy and self._old(used, self.days):
                reason = (
                    f"features of {of['data']} by {of['model']}, not opened for "
                    f"{self._age(used)}; rebuilt on need"
                )
                yield self._item(path, "feature stores", reason, lock)

    def _images(self) -> Iterator[Removable]:
        for path in self._stores("images"):
            lock = path.with_name(path.name.removesuffix(".partial") + ".lock")
            if path.name.startswith(GONE) or not self._free(lock):
                continue
            changed = measure(path)[1]
            if path.suffix == ".partial":
                if not self.busy and self._old(changed, self.days):
                    reason = f"an image store whose building was killed {self._age(changed)} ago"
                    yield self._item(path, "killed writes", reason, lock)
                continue
            header, used = self._header(path / "store.json", changed)
            name = str(header.dataset)
            needed = any(name in (one.get("name"), one.get("data")) for one in self.unfinished)
            if not needed and not self.busy and self._old(used, self.days):
                size = "x".join(map(str, header.shape[1:3]))
                reason = (
                    f"images of {name} in {size}, not opened for {self._age(used)}; rebuilt on need"
                )
                yield self._item(path, "image stores", reason, lock)

    def _plans(self) -> Iterator[Removable]:
        for path in folders_in(self.output / "plans"):
            changed = measure(path)[1]
            if not path.name.startswith(GONE) and not self.busy and self._old(changed):
                yield self._item(
                    path, "saved plans", f"its launch has not been alive for {self._age(changed)}"
                )

    def _free(self, lock: Path) -> bool:
        try:
            with held(lock):
                return True
        except Timeout:
            return False

    def _header(self, path: Path, changed: float) -> tuple[StoreHeader, float]:
        """Content of a store's header and when the store was last opened, which reads the header.

        File systems note that at least once a day (`relatime`); where they never do, it is when the
        store was made.
        """
        try:
            before = path.stat()
            header = HEADER.read(path)
            # this reading does not count
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        except (OSError, LeukoBenchError):
            return StoreHeader(), changed
        return header or StoreHeader(), max(before.st_atime, changed)

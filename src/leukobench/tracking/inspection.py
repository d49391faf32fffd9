"""Whether run folders, the store with its artifacts, and verified stores agree: `leukobench fsck`.

Each result is looked at wherever it should stand: its run folder and each run of the store that
says it is finished. What is damaged or absent is taken from a copy that is good; a result without
one is forgotten in both places, so that the next launch trains it again. Features, images and
copies of predictions that are damaged are moved out of the way and made anew when they are needed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from filelock import Timeout

from leukobench import integrity
from leukobench.errors import LeukoBenchError
from leukobench.files import atomic
from leukobench.integrity import Damage
from leukobench.progress import Progress
from leukobench.schema.delivery import DELIVERED, DELIVERY, DeliveryOrder
from leukobench.schema.names import Tag
from leukobench.schema.records import RESULT
from leukobench.settings import Settings
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.delivery import deliver
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.locate import RESULT_FILES, TRAINING_FILES
from leukobench.tracking.removal import GONE, folders_in, held
from leukobench.tracking.result_cache import StoredResult
from leukobench.tracking.soundness import (
    checkpoint_damage,
    named,
    result_damages,
    training_damages,
)
from leukobench.tracking.sweeps import SweepRun, find_sweep, sweep_names

AGAIN = "it is forgotten, and the next launch trains it again"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was written.

    Attributes:
        what: A sentence without its full stop.
        remedy: What `mend` does, in words; why there is none where it is None.
    """

    what: str
    remedy: str
    mend: Callable[[], object] | None = None


@dataclass
class Inspection:
    """What was looked at, and what was found.

    Attributes:
        folders, stored, stores: Results in run folders, finished results of the store, and files of
            features, images and predictions that were read.
        notes: What could not be looked at, and why.
    """

    folders: int = 0
    stored: int = 0
    stores: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def repair(self) -> list[str]:
        """Mend what can be mended; what still could not be, and why."""
        left = []
        for fault in self.faults:
            if fault.mend is None:
                left.append(f"{fault.what}: {fault.remedy}")
                continue
            try:
                fault.mend()
            except (LeukoBenchError, OSError, Timeout) as e:
                left.append(f"{fault.what}: {e}")
        return left


def inspect(
    settings: Settings, name: str | None = None, progress: Progress | None = None
) -> Inspection:
    """Look at every result of one sweep, or of all, and at every verified store.

    Raises:
        StoreError
    """
    return _Inspector(settings, name, progress).inspect()


@dataclass(frozen=True)
class _StoreCopy:
    """Files of a run of the store, which may stand behind a server."""

    store: Store
    run_id: str
    uri: str

    @contextmanager
    def folder(self, names: Sequence[str]) -> Iterator[Path]:
        """A folder with those of these files that there are."""
        local = local_path(self.uri)
        if local is not None:
            yield local
            return
        with tempfile.TemporaryDirectory() as temporary, self.store.errors("read"):
            present = {a.path for a in self.store.client.list_artifacts(self.run_id)}
            for name in sorted(present.intersection(names)):
                self.store.download(f"{self.uri}/{name}", Path(temporary))
            yield Path(temporary)


class _Inspector:
    def __init__(self, settings: Settings, name: str | None, progress: Progress | None) -> None:
        self.settings, self.name = settings, name
        self.progress = progress or (lambda text, done, total: None)
        self.store = Store(settings)
        self.found = Inspection()
        self.known: dict[tuple[str, str], str] = {}
        """Run ids of finished results, by sweep and identity."""
        self.judged: set[Path] = set()
        """Results and trainings in run folders that were compared with the store's."""

    def inspect(self) -> Inspection:
        self._verified_stores()
        names = sweep_names(self.store) if self.name is None else [self.name]
        for name in names:
            sweep = find_sweep(self.store, name)
            if sweep is not None:
                self._sweep(sweep)
        self._run_folders()
        return self.found

    # features, images and kept predictions

    def _verified_stores(self) -> None:
        headers = list(integrity.headers(self.settings.output))
        for i, header in enumerate(headers):
            self.progress("stores", i + 1, len(headers))
            self.found.stores += 1
            damages = integrity.verify(header)
            if not damages:
                continue
            mend: Callable[[], object] = partial(integrity.set_aside, header.parent)
            if header.parent.name == "predictions":
                mend = partial(_remove_files, [header, header.with_suffix(".arrow")])
            self._fault(damages, "it is moved out of the way and made anew when it is needed", mend)

    # the store

    def _sweep(self, sweep: SweepRun) -> None:
        trainings: dict[str, _StoreCopy] = {}
        condition = f"tags.`{Tag.KIND}` = 'trajectory'"
        for run in self.store.search(sweep.experiment_id, condition):
            trainings[run.info.run_id] = _StoreCopy(
                self.store, run.info.run_id, run.info.artifact_uri
            )
        condition = f"tags.`{Tag.KIND}` = 'result' and attributes.status = 'FINISHED'"
        results = list(map(StoredResult.of, self.store.search(sweep.experiment_id, condition)))
        for i, result in enumerate(results):
            self.progress(f"sweep {sweep.name}", i + 1, len(results))
            self.found.stored += 1
            self.known.setdefault((sweep.name, result.identity), result.run_id)
            copy = _StoreCopy(self.store, result.run_id, result.artifact_uri)
            folder = RunFolder.of(self.settings.output, result.tags.get(Tag.TRAINING, "none"))
            self._result(copy, folder, result.identity)
            parent = result.tags.get(Tag.PARENT, sweep.run_id)
            owner = copy if parent == sweep.run_id else trainings.pop(parent, None)
            if owner is not None:  # else looked at with another result of the same training
                self._training(owner, folder)

    def _result(self, copy: _StoreCopy, folder: RunFolder, identity: str) -> None:
        ours = folder.result(identity)
        self.judged.add(ours)
        there = ours.is_dir()
        damages = result_damages(ours) if there else []
        with copy.folder(RESULT_FILES) as theirs:
            remote = result_damages(theirs)
        self.found.folders += there
        if there and damages and not remote:
            mend = partial(self._take, copy, ours, RESULT_FILES)
            self._fault(damages, "it is taken from the store", mend)
        elif remote and there and not damages:
            mend = partial(self._give, copy, ours, RESULT_FILES)
            self._fault(remote, "it is delivered again from the run folder", mend)
        elif remote:
            mend = partial(self._forget, copy, ours)
            self._fault([*damages, *remote], f"no other copy is good; {AGAIN}", mend)

    def _training(self, copy: _StoreCopy, folder: RunFolder) -> None:
        """Compare the files that results of a training share."""
        self.judged.add(folder.path)
        there = folder.path.is_dir()
        damages = training_damages(folder.path) if there else []
        with copy.folder(TRAINING_FILES) as theirs:
            remote = training_damages(theirs)
        bad, gone = set(named(damages)), set(named(remote))
        if bad - gone:
            mend = partial(self._take, copy, folder.path, sorted(bad - gone))
            self._fault(damages, "it is taken from the store", mend)
        if gone - bad and there:
            mend = partial(self._give, copy, folder.path, sorted(gone - bad))
            self._fault(remote, "it is delivered again from the run folder", mend)
        if gone and (gone & bad or not there):
            self._fault(remote, "no other copy is good: its results stay, without it", mend=None)

    # run folders

    def _run_folders(self) -> None:
        paths = folders_in(self.settings.output / "runs")
        for i, path in enumerate(paths):
            self.progress("run folders", i + 1, len(paths))
            if path.name.startswith(GONE):
                continue
            try:
                with held(path / ".lock"):
                    self._run_folder(RunFolder(path))
            except Timeout:
                self.found.notes.append(f"{path} is being trained in, and was not looked at")

    def _run_folder(self, folder: RunFolder) -> None:
        try:
            order = folder.read(DELIVERY)
            folder.read(DELIVERED)
        except LeukoBenchError as e:
            damaged = [folder.path / DELIVERY.file, folder.path / DELIVERED.file]
            mend = partial(_remove_files, damaged)
            remedy = "it is removed; the next launch of its sweep writes it again"
            self.found.faults.append(Fault(str(e), remedy, mend))
            return
        if self.name is not None and (order is None or order.sweep != self.name):
            return
        sound = self._unjudged(folder)
        if sound and order is not None:
            self._undelivered(folder, order)
        if folder.checkpoint.is_file():
            damage = checkpoint_damage(folder.checkpoint)
            if damage is not None:
                remedy = "it is dropped, and its training begins again at the next launch"
                self._fault([damage], remedy, partial(_remove_files, [folder.checkpoint]))

    def _unjudged(self, folder: RunFolder) -> bool:
        """Look at what the store had no part in; whether everything in the folder can be delivered."""
        results = [p.parent for p in sorted(folder.path.glob(f"results/*/{RESULT.file}"))]
        damages = [] if folder.path in self.judged else training_damages(folder.path)
        if damages and results:
            files = [damage.file for damage in damages]
            files += [path / RESULT.file for path in results]
            self._fault(damages, f"no other copy is there; {AGAIN}", partial(_remove_files, files))
            return False
        sound = not damages
        for path in results:
            if path in self.judged:
                continue
            self.found.folders += 1
            found = result_damages(path)
            if found:
                sound = False
                mend = partial(_remove_files, [path / RESULT.file])
                self._fault(found, f"no other copy is there; {AGAIN}", mend)
        return sound

    def _undelivered(self, folder: RunFolder, order: DeliveryOrder) -> None:
        missing = [
            job.identity
            for job in order.jobs
            if folder.has_result(job.identity) and (order.sweep, job.identity) not in self.known
        ]
        if not missing:
            return
        word = "result" if len(missing) == 1 else f"{len(missing)} results"
        what = f"{word} of {folder.path} not in the store, sweep {order.sweep}"
        mend = partial(self._deliver, folder, order)
        self.found.faults.append(Fault(what, "it is delivered", mend))

    # mending

    def _fault(
        self, damages: Sequence[Damage], remedy: str, mend: Callable[[], object] | None
    ) -> None:
        self.found.faults.append(Fault(", ".join(map(str, damages)), remedy, mend))

    def _take(self, copy: _StoreCopy, to: Path, names: Sequence[str]) -> None:
        """Bring files from the store to the run folder; a result's record last."""
        with held(_lock_of(to)), copy.folder(names) as theirs:
            for name in sorted(names, key=RESULT.file.__eq__):
                if not (theirs / name).is_file():
                    continue
                with atomic(to / name) as temporary:
                    shutil.copyfile(theirs / name, temporary)

    def _give(self, copy: _StoreCopy, ours: Path, names: Sequence[str]) -> None:
        """Bring files from the run folder to the store; what was downloaded of it is forgotten."""
        for name in names:
            if (ours / name).is_file():
                self.store.attach(copy.run_id, ours / name)
        for kept in self.settings.output.glob(f"cache/**/artifacts/{copy.run_id}"):
            shutil.rmtree(kept, ignore_errors=True)

    def _forget(self, copy: _StoreCopy, ours: Path) -> None:
        """Put a run into the store's bin, and take the record of its result from the run folder."""
        with held(_lock_of(ours)):
            _remove_files([ours / RESULT.file])
        with self.store.errors("write"):
            self.store.client.delete_run(copy.run_id)

    def _deliver(self, folder: RunFolder, order: DeliveryOrder) -> None:
        from leukobench.tracking.sweeps import open_sweep

        deliver(self.store, open_sweep(self.store, order.sweep), folder, order)


def _lock_of(path: Path) -> Path:
    """Lock of the run folder that a path of a result, or of a run folder itself, lies in."""
    folder = path.parents[1] if path.parent.name == "results" else path
    return folder / ".lock"


def _remove_files(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)

"""Workers: processes that one of Hydra's launchers starts, each training what it is given until nothing is left.

The process that planned gives out trainings as files in one folder and collects how they ended;
workers know neither the plan nor the store, so a cluster's nodes need nothing but the output
folder.

```
<output>/plans/<sweep>-<time>/
    00012.ready   a training with its composed configs; whoever renames it to .taken has it
    00012.lease   who has it; touched for as long as they live
    00012.lost    whoever had it gave it up
    00012.epoch   how far it is
    00012.done    how it ended
    stop          stop after the current epoch
    end           nothing more will come
    alive         touched for as long as the planner lives
```
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from leukobench.files import read_json, write_json
from leukobench.sweeps.queue import Queue
from leukobench.tracking.folder import RunFolder
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training

PAUSE = 0.05
"""Seconds between two looks into the folder."""
ALIVE, ORPHANED = 5.0, 60.0
"""Seconds after which the planner says that it lives, and after which an idle worker gives it up."""

BEAT, STALE = 5.0, 60.0
"""Seconds after which a worker renews its lease, and after which one that another machine does not renew is over."""
DEATHS = 5
"""Workers that may end while they are at one training before it is taken for the cause."""

Train = Callable[..., str]


class LeaseLost(BaseException):
    """What a worker is at was given to another. No failure of the training, so no `Exception`."""


@dataclass
class Given:
    """A training that was given out."""

    training: Training
    begun: float | None = None
    shown: bool = False
    beat: tuple[float, float] = (0.0, 0.0)
    """Time stamp of its lease, and when (by this machine's clock) it was first seen."""


class Workers:
    """Gives out what a queue holds and collects how it ended.

    Args:
        launch: Starts `count` workers on a folder and returns when they have ended.
        given: Called with a training before it is given out.
        begun: Called with a training that has been running for `show_after` seconds.
        progress: Called with the trainings at work, each with its epoch.
        ended: Called with a training that ended, and its state.
    """

    def __init__(
        self,
        folder: Path,
        queue: Queue,
        count: int,
        launch: Callable[[Path, int], Any],
        *,
        given: Callable[[Training], None],
        begun: Callable[[Training], None],
        progress: Callable[[Sequence[tuple[Training, int]]], None],
        ended: Callable[[Training, str], None],
        show_after: float = 10.0,
    ) -> None:
        self.folder, self.queue, self.count, self.launch = folder, queue, count, launch
        self.giving, self.begun, self.progress, self.ended, self.show_after = (
            given,
            begun,
            progress,
            ended,
            show_after,
        )
        self.given: dict[int, Given] = {}
        self.next = self.taken = 0
        self.stopping = False
        self.deaths: Counter[str] = Counter()
        self.reason = ""

    def run(self, interruption: Interruption, fail_fast: bool = False) -> None:
        """Until nothing is left, a stop was asked for, or workers end without having begun anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            taken = self.taken
            self._run_once(interruption, fail_fast)
            if self.stopping or self.taken == taken or not self.queue.waiting:
                break
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run_once(self, interruption: Interruption, fail_fast: bool) -> None:
        """From a launch of workers to the end of the last of them."""
        (self.folder / "end").unlink(missing_ok=True)
        thread = threading.Thread(target=self._launch, daemon=True)
        thread.start()
        while thread.is_alive() or self._at_work():
            self.stopping |= interruption.requested
            if self.stopping:
                (self.folder / "stop").touch()
            self.stopping |= self._collect() and fail_fast
            if not thread.is_alive():
                # some launchers give up when one worker dies: the others end what they are at
                (self.folder / "end").touch()
            elif not self.stopping:
                self._give_out()
            self._say_alive()
            time.sleep(PAUSE)
        self._collect()
        self._take_back()

    def _at_work(self) -> bool:
        return any(given.begun is not None for given in self.given.values())

    def _launch(self) -> None:
        try:
            self.launch(self.folder, self.count)
        except Exception as e:  # of whatever kind launchers raise when a worker dies
            self.reason = (
                f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else ''}"[
                    :500
                ]
            )

    def _give_out(self) -> None:
        waiting = sum(given.begun is None for given in self.given.values())
        while waiting <= self.count and (training := self.queue.take()) is not None:
            self.giving(training)
            write_json(self.folder / f"{self.next:05d}.ready", saved(training))
            self.given[self.next] = Given(training)
            self.next += 1
            waiting += 1
        if not self.given and not self.queue.waiting:
            (self.folder / "end").touch()

    def _collect(self) -> bool:
        """Take what ended; whether any of it failed."""
        failed, now, at_work = False, time.monotonic(), []
        for index, given in list(self.given.items()):
            name = self.folder / f"{index:05d}"
            if given.begun is None and not name.with_suffix(".ready").exists():
                given.begun = now
                self.taken += 1
            dead = given.begun is not None and self._is_dead(index, given)
            # in this order: a worker may end right after its last word
            done = read_json(name.with_suffix(".done"))
            if done is None and dead:
                done = self._again(index)
            if index not in self.given:
                continue
            if done is not None:
                self._end(index, done)
                failed |= done == "failed"
            elif given.begun is not None:
                if not given.shown and now - given.begun > self.show_after:
                    given.shown = True
                    self.begun(given.training)
                at_work.append((given.training, int(read_json(name.with_suffix(".epoch"), 0))))
        self.progress(at_work)
        return failed

    def _end(self, index: int, state: str) -> None:
        training = self._forget(index)
        self.ended(training, state)

    def _forget(self, index: int) -> Training:
        """Remove a training's files, which takes it from whoever is at it."""
        for path in self.folder.glob(f"{index:05d}.*"):
            path.unlink(missing_ok=True)
        return self.given.pop(index).training

    def _is_dead(self, index: int, given: Given) -> bool:
        """Whether the worker that took a training is gone."""
        name = self.folder / f"{index:05d}"
        if name.with_suffix(".lost").exists():
            return True
        lease = read_json(name.with_suffix(".lease"))
        now = time.monotonic()
        if lease is None:
            return now - (given.begun or now) > STALE
        if lease["host"] == socket.gethostname():
            return not _lives(lease)
        with suppress(FileNotFoundError):
            stamp = name.with_suffix(".lease").stat().st_mtime
            if stamp != given.beat[0]:
                given.beat = (stamp, now)
        return now - given.beat[1] > STALE

    def _again(self, index: int) -> str | None:
        """Give out again what a dead worker was at; its state where that is not done."""
        training = self.given[index].training
        folder = RunFolder.of(training.job.settings.output, training.id)
        if self.stopping:
            folder.update(state="interrupted")
            return "interrupted"
        self.deaths[training.id] += 1
        if self.deaths[training.id] < DEATHS:
            self.queue.put_back(self._forget(index))
            return None
        reason = self.reason or "its process left no word"
        error = f"{DEATHS} workers ended while they trained it (the last: {reason})"
        folder.update(state="failed", error=error)
        return "failed"

    def _take_back(self) -> None:
        """After all workers have ended: what none of them began is given out again."""
        for index in sorted(self.given, reverse=True):
            self.queue.put_back(self._forget(index))

    def _say_alive(self) -> None:
        path = self.folder / "alive"
        if not path.exists() or time.time() - path.stat().st_mtime > ALIVE:
            path.touch()


def saved(training: Training) -> dict[str, Any]:
    """A training with its composed configs, as JSON: an edit of a config file does not reach it."""
    return {
        "id": training.id,
        "shared": training.shared,
        "identities": training.identities,
        "jobs": {e: asdict(job) for e, job in training.jobs.items()},
    }


def work(folder: Path, worker: int, train: Train) -> None:
    """Train what is given out in `folder`, until nothing more comes or a stop is asked for.

    Args:
        worker: Its number, from 0; where this machine has several GPUs, it uses one of them.
        train: `leukobench.sweeps.pictures.train_and_draw`.
    """
    use_one_gpu(worker)
    stop = StopFile(folder / "stop")
    seen: tuple[float, float] = (0.0, time.monotonic())
    with stop.own.watching():
        while not stop.requested:
            path = _take(folder)
            if path is not None:
                with suppress(LeaseLost):
                    _train(path, train, stop)
                continue
            if (folder / "end").exists() or not folder.exists():
                return
            alive = (folder / "alive").stat().st_mtime if (folder / "alive").exists() else 0.0
            if alive != seen[0]:
                seen = (alive, time.monotonic())
            elif time.monotonic() - seen[1] > ORPHANED:
                return
            time.sleep(PAUSE)


def _train(path: Path, train: Train, stop: StopFile) -> None:
    """Train what was taken, and say how it ended. Raises LeaseLost."""
    with _holding(path):
        body = read_json(path)
        if body is None:
            raise LeaseLost
        state = train(loaded(body), on_epoch=_reporting(path), interruption=stop)
        if path.exists():
            write_json(path.with_suffix(".done"), state)


@contextmanager
def _holding(path: Path) -> Iterator[None]:
    """Hold the lease of what was taken for as long as the block; a block that fails gives it up."""
    lease = path.with_suffix(".lease")
    me = psutil.Process()
    holder = {"host": socket.gethostname(), "pid": me.pid, "began": me.create_time()}
    write_json(lease, holder)
    over = threading.Event()

    def renew() -> None:
        with suppress(FileNotFoundError):  # it was given to another
            while not over.wait(BEAT):
                os.utime(lease)

    threading.Thread(target=renew, daemon=True).start()
    try:
        yield
    except LeaseLost:
        raise
    except BaseException:
        with suppress(OSError):
            path.with_suffix(".lost").touch()
        raise
    finally:
        over.set()


def _lives(lease: Mapping[str, Any]) -> bool:
    """Whether the process of a lease of this machine runs."""
    try:
        process = psutil.Process(int(lease["pid"]))
        return process.create_time() == lease["began"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _take(folder: Path) -> Path | None:
    for path in sorted(folder.glob("*.ready")):
        try:
            return path.rename(path.with_suffix(".taken"))
        except FileNotFoundError:  # another worker was first
            continue
    return None


def loaded(body: Mapping[str, Any]) -> Training:
    """The training from what `saved` made of it."""
    jobs = {
        int(e): Job(j["config"], j["choices"], tuple(j["overrides"]), j["origin"])
        for e, j in body["jobs"].items()
    }
    identities = {int(e): i for e, i in body["identities"].items()}
    return Training(body["id"], jobs, identities, body["shared"])


def _reporting(taken: Path, every: float = 1.0) -> Callable[[int, int, Mapping[str, float]], None]:
    """Says how far a training is; raises LeaseLost before an epoch of one that was given to another is written."""
    said, path = time.monotonic(), taken.with_suffix(".epoch")

    def on_epoch(epoch: int, total: int, row: Mapping[str, float]) -> None:
        nonlocal said
        if not taken.exists():
            raise LeaseLost
        if time.monotonic() - said > every:
            said = time.monotonic()
            write_json(path, epoch)

    return on_epoch


class StopFile(Interruption):
    """A stop that is asked for by Ctrl-C here, which a terminal sends to all of its processes, or by a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.own = path, Interruption()

    @property
    def requested(self) -> bool:  # type: ignore[override]
        return self.own.requested or self.path.exists()


def use_one_gpu(worker: int) -> None:
    """Let this process see one GPU, where there are several."""
    import torch

    chosen = gpu_of(worker, os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    if chosen is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen


def gpu_of(worker: int, visible: str | None, count: int) -> str | None:
    """What CUDA_VISIBLE_DEVICES is to be for a worker; None leaves it.

    Args:
        visible: What it is now.
        count: GPUs that the process sees.
    """
    if count < 2:
        return None
    names = visible.split(",") if visible else list(map(str, range(count)))
    return names[worker % count].strip()

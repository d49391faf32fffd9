"""Workers: processes that one of Hydra's launchers starts, each training what it is given until nothing is left.

The process that planned gives out trainings as files in one folder and collects how they ended; workers know neither
the plan nor the store, so a cluster's nodes need nothing but the output folder.

```
<output>/plans/<sweep>-<time>/
    00012.ready   a training with its composed configs; whoever renames it to .taken has it
    00012.epoch   how far it is
    00012.done    how it ended
    stop          stop after the current epoch
    end           nothing more will come
    alive         touched for as long as the planner lives
```
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leukobench.files import read_json, write_json
from leukobench.sweeps.queue import Queue
from leukobench.tracking.folder import RunFolder
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training

PAUSE = 0.05
"""Seconds between two looks into the folder."""
ALIVE, ORPHANED = 5.0, 60.0
"""Seconds after which the planner says that it lives, and after which an idle worker gives it up."""

Train = Callable[..., str]


# --- the planner's side -----------------------------------------------------------------------------------------------


@dataclass
class Given:
    """A training that was given out."""

    training: Training
    begun: float | None = None
    shown: bool = False


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
        self.next = self.over = 0
        self.reason = ""

    def run(self, interruption: Interruption, fail_fast: bool = False) -> None:
        """Until nothing is left, a stop was asked for, or workers end without having done anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stopping = False
        while True:
            over = self.over
            thread = threading.Thread(target=self._launch, daemon=True)
            thread.start()
            while thread.is_alive():
                stopping |= interruption.requested
                if stopping:
                    (self.folder / "stop").touch()
                stopping |= self._collect() and fail_fast
                if not stopping:
                    self._give_out()
                self._say_alive()
                thread.join(PAUSE)
            self._collect()
            self._lost()
            if stopping or self.over == over or not self.queue.waiting:
                break
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

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
            done = read_json(name.with_suffix(".done"))
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
        given = self.given.pop(index)
        self.over += 1
        for path in self.folder.glob(f"{index:05d}.*"):
            path.unlink()
        self.ended(given.training, state)

    def _lost(self) -> None:
        """After all workers have ended: what they were at has failed, what they had not begun is given out again."""
        for index, given in sorted(self.given.items(), reverse=True):
            ready = self.folder / f"{index:05d}.ready"
            if ready.exists():
                ready.unlink()
                del self.given[index]
                self.queue.put_back(given.training)
                continue
            folder = RunFolder.of(given.training.job.settings.output, given.training.id)
            state = str(folder.run().state or "failed")
            if state in ("running", "failed"):
                state = "failed"
                reason = self.reason or "its process left no word"
                folder.update(state="failed", error=f"the worker that trained it ended ({reason})")
            self._end(index, state)

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


# --- a worker's side --------------------------------------------------------------------------------------------------


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
                reporting = _reporting(path.with_suffix(".epoch"))
                state = train(loaded(read_json(path)), on_epoch=reporting, interruption=stop)
                write_json(path.with_suffix(".done"), state)
                continue
            if (folder / "end").exists() or not folder.exists():
                return
            alive = (folder / "alive").stat().st_mtime if (folder / "alive").exists() else 0.0
            if alive != seen[0]:
                seen = (alive, time.monotonic())
            elif time.monotonic() - seen[1] > ORPHANED:
                return
            time.sleep(PAUSE)


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


def _reporting(path: Path, every: float = 1.0) -> Callable[[int, int, Mapping[str, float]], None]:
    said = time.monotonic()

    def on_epoch(epoch: int, total: int, row: Mapping[str, float]) -> None:
        nonlocal said
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

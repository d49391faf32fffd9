"""What a sweep shows: the plan, one live display while it runs, the summary.

Where there is no terminal, plain lines take the place of the display.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console as Rich
from rich.progress import Progress

from leukobench.settings import Settings
from leukobench.sweeps.plan import Plan, run_name
from leukobench.sweeps.states import duration
from leukobench.terminal import bars, console
from leukobench.tracking.entries import Entry
from leukobench.training.job import Training

MOST_CONCERNS = 5
"""Sentences on thin parts that the plan shows."""
MOST_DONE = 3
"""Jobs done before that the plan names."""


class Console:
    """Prints to standard error, so that a table on standard output stays clean."""

    def __init__(self, quiet: bool = False) -> None:
        self.rich = console(stderr=True, quiet=quiet)

    def warn(self, text: str) -> None:
        self.rich.print(f"[yellow]warning:[/yellow] {_plain(text)}")

    @contextmanager
    def planning(self, jobs: int) -> Iterator[Callable[[int, int], None] | None]:
        if not self.rich.is_terminal or jobs < 200:
            yield None
            return
        with bars(self.rich) as progress:
            bar = progress.add_task("planning", total=jobs, note="")
            yield lambda done, total: progress.update(bar, completed=done, total=total)

    def plan(self, name: str, plan: Plan, entries: Mapping[str, Entry]) -> None:
        """The plan before it runs."""
        say = self.rich.print
        say(f"[bold]sweep {name}[/bold]: {_asked(plan)}{_to_train(plan, entries)}")
        said = plan.concerns()
        for text in said[:MOST_CONCERNS]:
            say(f"  [yellow]thin[/yellow]: {_plain(text)}")
        if len(said) > MOST_CONCERNS:
            say(f"  … and {len(said) - MOST_CONCERNS} more")
        for reason, count in plan.not_merged.items():
            say(f"  {count} jobs are trained each by itself: {reason}")
        for reason, count in Counter(reason for _, reason in plan.left_out).items():
            say(f"  left out, {count} jobs: {_plain(reason)}")
        self._done_before(plan)

    def _done_before(self, plan: Plan) -> None:
        """Name what is done; of many jobs, the first."""
        shown = list(plan.done.items())
        if len(plan.jobs) > MOST_DONE:
            shown = shown[:MOST_DONE]
        for identity, entry in shown:
            where = f"run {entry.run_id}, identity {identity[:12]}"
            self.rich.print(f"  done before: {_plain(entry.name)} ({where})")
        if len(shown) < len(plan.done):
            self.rich.print(f"  … and {len(plan.done) - len(shown)} more")

    @contextmanager
    def running(self, plan: Plan, entries: Mapping[str, Entry]) -> Iterator[Live]:
        total = len(plan.trainings)
        if self.rich.is_terminal and total:
            with bars(self.rich) as progress:
                yield Live(self.rich, total, progress)
        else:
            yield Live(self.rich, total, None)

    def elsewhere(self, count: int) -> None:
        self.rich.print(f"  {count} trainings were finished by another launch meanwhile")

    def summary(
        self,
        name: str,
        plan: Plan,
        states: Mapping[str, str],
        *,
        failures: Mapping[str, str],
        settings: Settings,
        undelivered: int,
    ) -> None:
        finished = sum(s == "finished" for s in states.values())
        say = self.rich.print
        say(
            f"[bold]sweep {name}[/bold]: {finished} of {len(plan.trainings)} trainings finished"
            + (f", {undelivered} not delivered" if undelivered else "")
            + f"; store {settings.shown_store}"
        )
        names = {t.id: run_name(t.job) for t in plan.trainings}
        shown: set[str] = set()
        for id, reason in failures.items():
            if reason in shown:
                continue
            shown.add(reason)
            alike = sum(r == reason for r in failures.values()) - 1
            more = f" (and {alike} more alike)" if alike else ""
            trace = settings.output / "runs" / id / "traceback.txt"
            say(f"  [red]failed[/red] {_plain(names[id])}{more}: {_plain(reason)} ({trace})")


class Live:
    """Progress of the trainings of one launch."""

    def __init__(self, rich: Rich, total: int, progress: Progress | None) -> None:
        self.rich, self.total, self.progress = rich, total, progress
        self.done = 0
        self.began = time.monotonic()
        self.said = self.began
        self.said_waiting = False
        self.bar: Any = (
            None if progress is None else progress.add_task("trainings", total=total, note="")
        )
        self.inner: Any = (
            None if progress is None else progress.add_task("epochs", total=1, note="")
        )

    def on_stage(self, what: str, done: int, total: int) -> None:
        """Show how far a long stage is: decoding, features, the steps of an epoch."""
        if self.progress is None:
            self._say_now_and_then(f"{what} {done:,}/{total:,}")
        elif what.startswith("epoch"):
            self.progress.update(self.inner, note=f"{what} {done:,}/{total:,}")
        else:
            self.progress.update(self.inner, completed=done, total=total, note=what)

    def start(self, training: Training) -> None:
        if self.progress is not None:
            self.progress.update(self.bar, note=_plain(run_name(training.job, with_epochs=False)))
            self.progress.reset(self.inner, total=training.epochs[-1])

    def on_epoch(self, epoch: int, total: int, row: Mapping[str, float]) -> None:
        if self.progress is not None:
            note = "  ".join(
                f"{k.replace('_', ' ')} {v:.3f}" for k, v in row.items() if k.endswith("accuracy")
            )
            self.progress.update(self.inner, completed=epoch, total=total, note=note)
        else:
            self._say_now_and_then(f"epoch {epoch}/{total}")

    def _say_now_and_then(self, text: str, every: float = 30.0) -> None:
        now = time.monotonic()
        if now - self.said > every:
            self.said = now
            self.rich.print(f"  {_plain(text)}")

    def at_work(self, trainings: Sequence[tuple[Training, int]]) -> None:
        """Show what several workers are at, with the epoch each has reached."""
        if self.progress is not None:
            total = sum(t.epochs[-1] for t, _ in trainings)
            reached = sum(epoch for _, epoch in trainings)
            self.progress.update(self.bar, note=f"{len(trainings)} at work")
            self.progress.update(self.inner, completed=reached, total=max(total, 1), note="")

    def waiting(self, count: int) -> None:
        """Say once that all that is left is being trained by another launch."""
        if not self.said_waiting:
            self.said_waiting = True
            self.rich.print(
                f"  waiting for {count} trainings that another launch on this store is at"
            )

    def end(self, training: Training, state: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress.update(self.bar, completed=self.done)
            return
        now = time.monotonic()
        if state != "finished" or now - self.said > 10 or self.done == self.total:
            left = (now - self.began) / self.done * (self.total - self.done)
            self.rich.print(
                f"  {self.done}/{self.total} {_plain(run_name(training.job))}: {state}"
                + (
                    f", about {duration(left)} left"
                    if self.done < self.total
                    else f", {duration(now - self.began)} in all"
                )
            )
            self.said = now


def _asked(plan: Plan) -> str:
    line = f"{len(plan.jobs) + plan.duplicates} jobs asked"
    if plan.duplicates:
        line += f", {plan.duplicates} of them twice"
    left = len(plan.jobs) - len(plan.done)
    return line + f", {len(plan.done)} done, {left} to do in {len(plan.trainings)} trainings"


def _to_train(plan: Plan, entries: Mapping[str, Entry]) -> str:
    if not plan.trainings:
        return ""
    line = f", {plan.samples():,} samples to train on"
    estimate = plan.seconds(entries)
    if estimate is None:
        return line + ", time known once the first has finished"
    return line + f", about {duration(estimate)}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")

"""What is left of a plan, given out so that no two launches on one store are at the same training."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable

from leukobench.errors import StoreError
from leukobench.tracking.connection import Store
from leukobench.tracking.sweeps import SweepRun, finished_results
from leukobench.training.job import Training

PATIENCE = 1.0
"""Seconds after which a training that another launch is at is asked for again."""


class Queue:
    """Args:
        trainings: In the order of doing.
        store, sweep: Where trainings are claimed; None claims nothing.
        replaced: Run ids that do not count as results, because they are to be replaced.

    Attributes:
        elsewhere: Ids of trainings that another launch finished meanwhile.
    """

    def __init__(
        self,
        trainings: Iterable[Training],
        store: Store | None = None,
        sweep: SweepRun | None = None,
        replaced: Collection[str] = (),
    ) -> None:
        self.waiting = deque(trainings)
        self.store, self.sweep, self.replaced = store, sweep, frozenset(replaced)
        self.elsewhere: list[str] = []
        self._ask_again: dict[str, float] = {}

    def take(self) -> Training | None:
        """What to train now; None where nothing is left, or other launches are at all that is."""
        for _ in range(len(self.waiting)):
            training = self.waiting.popleft()
            if not self._claim(training):
                self.waiting.append(training)
            elif not self._finished_elsewhere(training):
                return training
        return None

    def release(self, training: Training) -> None:
        """Give up the claim of a training that has ended."""
        if self.store is not None:
            self.store.claims.release(training.id)

    def put_back(self, training: Training) -> None:
        """A training that was taken and not begun comes next."""
        self.waiting.appendleft(training)

    def _claim(self, training: Training) -> bool:
        if self.store is None:
            return True
        if time.monotonic() < self._ask_again.get(training.id, 0.0):
            return False
        try:
            taken = self.store.claims.take(training.id)
        except StoreError:  # said when results are delivered
            return True
        if not taken:
            self._ask_again[training.id] = time.monotonic() + PATIENCE
        return taken

    def _finished_elsewhere(self, training: Training) -> bool:
        if self.store is None or self.sweep is None:
            return False
        try:
            there = finished_results(self.store, self.sweep, training.id)
        except StoreError:
            return False
        if not all(
            there.get(identity, "") not in ("", *self.replaced)
            for identity in training.identities.values()
        ):
            return False
        self.elsewhere.append(training.id)
        self.release(training)
        return True

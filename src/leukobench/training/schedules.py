"""Learning-rate schedules as functions of the optimizer step.

`depends_on_total` says whether the rate at a step depends on how long the training will be; where
it does, trainings of different length cannot share a trajectory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Schedule(Protocol):
    depends_on_total: ClassVar[bool]

    def factor(self, step: int, total: int) -> float:
        """Factor on the learning rate at optimizer step `step` (from 0) of `total`."""
        ...


@dataclass(frozen=True)
class Constant:
    """The learning rate stays as it is."""

    depends_on_total: ClassVar[bool] = False

    def factor(self, step: int, total: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Exponential:
    """Multiplied by `rate` every `every` steps, continuously or (`staircase`) at once.

    Fata et al. 2023 (section 2.6) state a decay rate of 0.95 and a decay step of 900, not whether
    it is a staircase.
    """

    rate: float = 0.95
    every: int = 900
    staircase: bool = False
    depends_on_total: ClassVar[bool] = False

    def factor(self, step: int, total: int) -> float:
        exponent = step // self.every if self.staircase else step / self.every
        return float(self.rate**exponent)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to `floor` over the whole training (Loshchilov and Hutter 2017)."""

    floor: float = 0.0
    depends_on_total: ClassVar[bool] = True

    def factor(self, step: int, total: int) -> float:
        progress = min(1.0, step / max(1, total))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))

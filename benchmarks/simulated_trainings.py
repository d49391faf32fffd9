"""Simulated trainings of several configurations on one pool, for `verdicts.py` and `comparisons.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from simulated_tests import CLASSES

from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Predicted

ACCURACY = 0.85
MEAN = float(norm.ppf(ACCURACY))
"""Of scores towards the right class, whose standard deviation is 1."""
DENSITY = float(norm.pdf(MEAN))
"""By how much accuracy rises with the mean score."""


@dataclass(frozen=True)
class Pool:
    """A pool of samples that every training splits anew, or a shared test set where `tested` is all of it.

    A score is the sum of effects of the sample (a part of which all configurations share), its subject, the training,
    and the sample in the training.

    Attributes:
        noise: Standard deviation of what a training adds to accuracy, as a share.
        subjects: 0 for as many as samples.
        subject: Share of the variance that is the subject's.
        sample: Share that is the sample's; half of it is common to all configurations.
    """

    name: str
    number: int
    samples: int
    tested: int
    noise: float = 0.0
    subjects: int = 0
    subject: float = 0.0
    sample: float = 0.5

    def draw(self, rng: np.random.Generator, gains: Sequence[float], seeds: int) -> list[Repeats]:
        """Predictions of configurations with these mean scores above `MEAN`; seeds share their splits."""
        y = np.arange(self.samples) % 2
        owner = np.arange(self.samples)
        if self.subjects:
            owner = (np.arange(self.samples) // 2) % (self.subjects // 2) * 2 + y
        common = self._effects(rng, owner)
        rows = [self._rows(rng) for _ in range(seeds)]
        return [self._configuration(rng, gain, y, owner, common, rows) for gain in gains]

    def _effects(self, rng: np.random.Generator, owner: np.ndarray) -> np.ndarray:
        of_subject = np.sqrt(self.subject) * rng.normal(size=int(owner.max()) + 1)
        of_sample = np.sqrt(self.sample / 2) * rng.normal(size=self.samples)
        return of_subject[owner] + of_sample

    def _rows(self, rng: np.random.Generator) -> np.ndarray:
        if self.tested == self.samples:
            return np.arange(self.samples)
        return np.sort(rng.choice(self.samples, self.tested, replace=False))

    def _configuration(
        self,
        rng: np.random.Generator,
        gain: float,
        y: np.ndarray,
        owner: np.ndarray,
        common: np.ndarray,
        rows: Sequence[np.ndarray],
    ) -> Repeats:
        own = common + np.sqrt(self.sample / 2) * rng.normal(size=self.samples)
        rest = np.sqrt(max(0.0, 1 - self.sample - self.subject))
        predicted = []
        for tested in rows:
            training = self.noise / DENSITY * rng.normal()
            alone = rest * rng.normal(size=len(tested))
            right = MEAN + gain + training + own[tested] + alone
            score = np.where(y[tested] == 0, right, -right)
            p = 1 / (1 + np.exp(-score))
            both = np.stack([p, 1 - p], axis=1)
            ids = tested.astype(np.uint64)
            subjects = owner[tested].astype(np.uint64) if self.subjects else None
            predicted.append(Predicted(CLASSES, y[tested], both, ids, subjects))
        return Repeats(tuple(map(str, range(len(rows)))), tuple(predicted))


def first_seeds(repeats: Repeats, seeds: int) -> Repeats:
    """The first seeds alone."""
    return Repeats(repeats.seeds[:seeds], repeats.predicted[:seeds])

"""Simulated test sets with known truth, for `benchmarks/inference.py` and
`tests/evaluation/test_coverage.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Predicted
from leukobench.evaluation.ranking import placements

CLASSES = ("ALL", "normal")


@dataclass(frozen=True, eq=False)
class Drawn:
    """Predictions, and what their estimates should hold: a number a metric, or one a seed."""

    repeats: Repeats
    truth: Mapping[str, float]


@dataclass(frozen=True)
class Cells:
    """A shared test set of subjects with many cells, scored by every seed.

    Attributes:
        name: As tables of results say it.
        number: Of the stream of random numbers.
        subjects: Of ALL and of normal.
        means: Of the scores of each class, towards the right side of the threshold, in standard
            deviations of a cell.
        unequal: Coefficient of variation of the cells a subject; 0 for equal ones.
        cells: Mean number of cells a subject.
        subject, seed, subject_in_seed: Standard deviations of the effects; a cell's own is 1, of
            which `shared` is the same in all seeds.
    """

    name: str
    number: int
    subjects: tuple[int, int]
    means: tuple[float, float] = (1.3, 1.0)
    unequal: float = 0.6
    cells: int = 30
    subject: float = 0.6
    seed: float = 0.2
    subject_in_seed: float = 0.2
    shared: float = 0.6

    def draw(self, rng: np.random.Generator, seeds: int) -> Drawn:
        sides = [self._side(rng, seeds, n, mean) for n, mean in zip(self.subjects, self.means)]
        scores = np.concatenate([sides[0].scores, -sides[1].scores], axis=1)
        y = np.repeat([0, 1], [len(side.owner) for side in sides])
        owner = np.concatenate([sides[0].owner, sides[1].owner + self.subjects[0]])
        p = 1 / (1 + np.exp(-scores))
        samples, subjects = np.arange(len(y), dtype=np.uint64), owner.astype(np.uint64)
        predicted = tuple(
            Predicted(CLASSES, y, np.stack([row, 1 - row], axis=1), samples, subjects) for row in p
        )
        repeats = Repeats(tuple(map(str, range(seeds))), predicted)
        return Drawn(repeats, self._truth(seeds, y, [side.seed for side in sides]))

    def _side(self, rng: np.random.Generator, seeds: int, n: int, mean: float) -> _Side:
        sizes = np.full(n, self.cells)
        if self.unequal:
            spread = np.sqrt(np.log(1 + self.unequal**2))
            drawn = rng.lognormal(np.log(self.cells) - spread**2 / 2, spread, n)
            sizes = np.maximum(2, drawn.astype(int))
        owner = np.repeat(np.arange(n), sizes)
        of_subject = self.subject * rng.normal(size=n)
        of_subject = of_subject + self.subject_in_seed * rng.normal(size=(seeds, n))
        of_seed = self.seed * rng.normal(size=(seeds, 1))
        of_cell = self.shared * rng.normal(size=len(owner))
        alone = np.sqrt(1 - self.shared**2) * rng.normal(size=(seeds, len(owner)))
        scores = mean + of_subject[:, owner] + of_seed + of_cell + alone
        return _Side(scores, owner, of_seed)

    def _truth(self, seeds: int, y: np.ndarray, of_seed: list[np.ndarray]) -> dict[str, float]:
        """Of these models for one seed, of the mean over trainings for more."""
        within = 1 + self.subject**2 + self.subject_in_seed**2
        known = seeds == 1
        shifts = [float(s[0, 0]) if known else 0.0 for s in of_seed]
        spread = np.sqrt(within if known else within + self.seed**2)
        means = [mean + shift for mean, shift in zip(self.means, shifts)]
        sensitivity, specificity = (float(norm.cdf(mean / spread)) for mean in means)
        share = float((y == 0).mean())
        return {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "accuracy": share * sensitivity + (1 - share) * specificity,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "auroc": float(norm.cdf(sum(means) / (spread * np.sqrt(2)))),
        }


@dataclass(frozen=True, eq=False)
class _Side:
    scores: np.ndarray
    owner: np.ndarray
    seed: np.ndarray


CELLS = (
    Cells("15/7", 1, (15, 7)),
    Cells("8/3", 2, (8, 3)),
    Cells("7/7 equal", 3, (7, 7), unequal=0.0),
    Cells("30/30", 4, (30, 30)),
    Cells("100/100", 5, (100, 100), cells=15),
    Cells("15/7 noisy seeds", 6, (15, 7), seed=0.4),
    Cells("15/7 near 1", 7, (15, 7), means=(2.0, 1.7)),
    Cells("30/30 near 1", 8, (30, 30), means=(2.0, 1.7)),
)


@dataclass(frozen=True, eq=False)
class DrawnFolds:
    """Predictions, and what the models of each seed score on new samples, arrays of shape (seeds,)
    by metric."""

    repeats: Repeats
    truth: Mapping[str, np.ndarray]


CLASSIFIERS = ("centroid", "ridge", "neighbours", "network", "three genes")
FOLDS = (0.5, 0.8, 1.2)
"""Distances of the class means in each of ten genes that differ, of fifty."""


@dataclass(frozen=True)
class Folds:
    """`quickstart`'s 38 samples, each its own subject, in five stratified folds that every seed
    deals anew."""

    classifier: str
    distance: float
    sizes: tuple[int, int] = (27, 11)
    folds: int = 5
    genes: int = 50
    telling: int = 10
    new: int = 1000

    @property
    def name(self) -> str:
        return f"38 samples, {self.classifier}, {self.distance}"

    @property
    def number(self) -> int:
        return 100 + 10 * CLASSIFIERS.index(self.classifier) + round(self.distance * 5)

    def draw(self, rng: np.random.Generator, seeds: int) -> DrawnFolds:
        y = np.repeat([0, 1], self.sizes)
        x = self._genes(rng, y)
        new_y = np.repeat([0, 1], [round(self.new * n / len(y)) for n in self.sizes])
        new_x = self._genes(rng, new_y)
        predicted, truths = [], []
        for _ in range(seeds):
            fold = self._deal(rng, y)
            p = np.empty(len(y))
            of_model = []
            for f in range(self.folds):
                train = fold != f
                both = np.concatenate([x[~train], new_x])
                score = fit(self.classifier, rng, (x[train], y[train] == 0), both)
                own = int((~train).sum())
                p[~train] = 1 / (1 + np.exp(-score[:own]))
                of_model.append(_scores_of(score[own:], new_y == 0))
            pairs = np.array([_pairs(y[fold == f]) for f in range(self.folds)])
            sizes = np.bincount(fold, minlength=self.folds)
            positives = np.bincount(fold[y == 0], minlength=self.folds)
            accuracy, sensitivity, auroc = np.array(of_model).T
            truths.append(
                (
                    np.average(accuracy, weights=sizes),
                    np.average(sensitivity, weights=positives),
                    np.average(auroc, weights=pairs),
                )
            )
            ids = np.arange(len(y), dtype=np.uint64)
            both_p = np.stack([p, 1 - p], axis=1)
            predicted.append(Predicted(CLASSES, y, both_p, ids, ids, fold))
        names = ("accuracy", "sensitivity", "auroc")
        repeats = Repeats(tuple(map(str, range(seeds))), tuple(predicted))
        return DrawnFolds(repeats, dict(zip(names, np.array(truths).T)))

    def _genes(self, rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        means = np.zeros(self.genes)
        means[: self.telling] = self.distance
        return rng.normal(size=(len(y), self.genes)) + np.outer(0.5 - y, means)

    def _deal(self, rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        fold = np.empty(len(y), dtype=np.int64)
        for k in (0, 1):
            rows = rng.permutation(np.flatnonzero(y == k))
            fold[rows] = (np.arange(len(rows)) + rng.integers(self.folds)) % self.folds
        return fold


def fit(
    kind: str,
    rng: np.random.Generator,
    train: tuple[np.ndarray, np.ndarray],
    x: np.ndarray,
) -> np.ndarray:
    """Fit a small classifier; scores of x above 0 for the positive class."""
    genes, positive = train
    sign = 2.0 * positive - 1
    if kind == "centroid":
        a, b = genes[positive].mean(axis=0), genes[~positive].mean(axis=0)
        return (x - (a + b) / 2) @ (a - b)
    if kind == "ridge":
        mean = genes.mean(axis=0)
        centred = genes - mean
        kernel = centred @ centred.T + 10 * np.eye(len(genes))
        return (x - mean) @ (centred.T @ np.linalg.solve(kernel, sign - sign.mean())) + sign.mean()
    if kind == "neighbours":
        distance = (x**2).sum(axis=1)[:, None] - 2 * x @ genes.T + (genes**2).sum(axis=1)
        nearest = np.argpartition(distance, 5, axis=1)[:, :5]
        return sign[nearest].mean(axis=1)
    if kind == "three genes":
        gap = genes[positive].mean(axis=0) - genes[~positive].mean(axis=0)
        middle = (genes[positive].mean(axis=0) + genes[~positive].mean(axis=0)) / 2
        best = np.argsort(-np.abs(gap) / genes.std(axis=0))[:3]
        return (np.sign(gap[best]) * np.sign(x[:, best] - middle[best])).sum(axis=1)
    return _network(rng, genes, positive.astype(float), x)


def _network(
    rng: np.random.Generator, genes: np.ndarray, target: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """One hidden layer of eight, forty steps of gradient descent from random weights."""
    hidden = rng.normal(size=(genes.shape[1], 8)) / np.sqrt(genes.shape[1])
    out, bias = rng.normal(size=8) / 4, 0.0
    for _ in range(40):
        active = np.tanh(genes @ hidden)
        gap = (1 / (1 + np.exp(-(active @ out + bias))) - target) / len(target)
        step = genes.T @ ((gap[:, None] * out) * (1 - active**2))
        out, hidden, bias = out - 1.5 * active.T @ gap, hidden - 1.5 * step, bias - 1.5 * gap.sum()
    return np.tanh(x @ hidden) @ out + bias


def _scores_of(score: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Accuracy, sensitivity, AUROC. A score of 0 is called positive, as equal probabilities are."""
    right = (score >= 0) == positive
    placed, pairs = placements(positive, score, np.zeros(len(score), dtype=np.int64))
    auroc = placed[positive].sum() / pairs[positive].sum()
    return float(right.mean()), float(right[positive].mean()), float(auroc)


def _pairs(y: np.ndarray) -> int:
    return int((y == 0).sum() * (y == 1).sum())


@dataclass(frozen=True, eq=False)
class Replication:
    """Predictions of some seeds, and the accuracy of one more."""

    repeats: Repeats
    replicate: float


@dataclass(frozen=True)
class Holdout:
    """A pool of samples of which every seed tests others; `noise` is how far trainings move the
    accuracy."""

    noise: float
    pool: int = 2000
    tested: int = 400
    accuracy: float = 0.85

    @property
    def name(self) -> str:
        return f"pool {self.pool}, test {self.tested}, training noise {self.noise}"

    @property
    def number(self) -> int:
        return 200 + round(self.noise * 1000)

    def draw(self, rng: np.random.Generator, seeds: int) -> Replication:
        ease = np.clip(rng.beta(2.0, 0.35, size=self.pool), 0.02, 0.98)
        ease += self.accuracy - ease.mean()
        predicted = []
        for _ in range(seeds + 1):
            rows = np.sort(rng.choice(self.pool, self.tested, replace=False))
            chance = np.clip(ease[rows] + self.noise * rng.normal(), 0, 1)
            right = rng.random(self.tested) < chance
            y = (rows % 2).astype(np.int64)
            p = np.where(right == (y == 0), 0.9, 0.1)
            both = np.stack([p, 1 - p], axis=1)
            predicted.append(Predicted(CLASSES, y, both, rows.astype(np.uint64), None))
        last = predicted.pop()
        names = tuple(map(str, range(seeds)))
        value = float((last.predicted() == last.y).mean())
        return Replication(Repeats(names, tuple(predicted)), value)

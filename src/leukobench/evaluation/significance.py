"""Which configurations are told apart from the best, with one error rate over everything that is compared.

What is compared is the metric itself, as tables show it: mean over seeds. A difference between two configurations varies
with the units tested, which both have in common (the jackknife takes each out of both at once), and with training:
the variance between the seeds of a configuration that its units do not explain, pooled over the candidates. Where seeds
split one pool anew, what models owe to the pool is counted as in `leukobench.evaluation.limits`.

The best is chosen on the data that it is compared on, so all pairs count, not only those with the best: p values are
those of the smallest p among all pairs of all groups that are compared together (min-p by simulation of the
multivariate t, step-down: Westfall and Young 1993, Romano and Wolf 2005).

With one seed what is told apart is these trained models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations

import numpy as np

from leukobench.evaluation import limits
from leukobench.evaluation.estimates import Estimand
from leukobench.evaluation.intervals import RATES, Repeats
from leukobench.evaluation.jackknife import Contributions
from leukobench.evaluation.limits import Variance
from leukobench.evaluation.metrics import Metric
from leukobench.evaluation.replicates import pooled_training, replicates_of

ALPHA = 0.05
DRAWS = 5000
SEED = 20240312


@dataclass(frozen=True, eq=False)
class Candidates:
    """Configurations of which the best is compared with each other one.

    Attributes:
        best: Name of the best.
        metric: What it is the best by.
        repeats: Test predictions by name.
    """

    best: str
    metric: Metric
    repeats: Mapping[str, Repeats]


@dataclass(frozen=True)
class Comparison:
    """The best of several configurations against each other one.

    Attributes:
        best: Name of the configuration the others were compared with.
        p: Adjusted p value of every other one.
        unit: What was tested: `samples` or `subjects`.
        n: Number of units.
        estimand: `TRAINED` where a candidate has one seed, else `PROCEDURE`.
        family: Number of pairs over which p values are adjusted.
    """

    best: str
    p: Mapping[str, float]
    unit: str
    n: int
    estimand: Estimand
    family: int

    def differs(self, name: str) -> bool:
        """Whether a configuration is told apart from the best."""
        return name in self.p and self.p[name] < ALPHA

    @property
    def best_stands_out(self) -> bool:
        """Whether the best is told apart from every other one."""
        return bool(self.p) and all(self.differs(name) for name in self.p)

    @property
    def words(self) -> str:
        """What was compared, as footnotes say it."""
        if self.estimand is Estimand.TRAINED:
            what = "these two models" if len(self.p) == 1 else "these models"
        else:
            what = "procedures, over units and trainings"
        return f"{what}; {self.n} {self.unit}, adjusted over {self.family} pairs"


def compare(family: Sequence[Candidates]) -> tuple[Comparison | None, ...]:
    """Compare the best of each group with its others; one error rate over all groups.

    Returns:
        One a group; None where there is nothing to compare: fewer than two configurations, no common samples, other
        classes, no value, or too few units for an interval.
    """
    contests = [_contest(group) for group in family]
    present = [contest for contest in contests if contest is not None]
    adjusted = iter(_adjusted(present))
    pairs = sum(len(contest.pairs) for contest in present)
    out: list[Comparison | None] = []
    for group, contest in zip(family, contests):
        if contest is None:
            out.append(None)
            continue
        of_pair = {frozenset(names): p for names, p in zip(contest.pairs, next(adjusted))}
        others = [name for name in group.repeats if name != group.best]
        out.append(
            Comparison(
                best=group.best,
                p={name: of_pair[frozenset((group.best, name))] for name in others},
                unit=contest.unit,
                n=contest.n,
                estimand=contest.estimand,
                family=pairs,
            )
        )
    return tuple(out)


@dataclass(frozen=True, eq=False)
class _Contest:
    """Means of m candidates, their covariance, and t of each pair.

    Attributes:
        pairs: Names.
        first, second: Places of the names among the candidates.
        covariance: Shape (m, m).
        error: Standard error of the difference of each pair, 0 where nothing tells them apart.
        p: Of each pair for itself.
        degrees: Fewest of a pair.
    """

    pairs: tuple[tuple[str, str], ...]
    first: np.ndarray
    second: np.ndarray
    covariance: np.ndarray
    error: np.ndarray
    p: np.ndarray
    degrees: float
    unit: str
    n: int
    estimand: Estimand


def _contest(group: Candidates) -> _Contest | None:
    repeats, metric = group.repeats, group.metric
    if metric.by == "subject":
        repeats = {name: r.by_subject for name, r in repeats.items()}
        metric = replace(metric, by="sample")
    if metric.name in RATES:
        metric = Metric(RATES[metric.name][0], "binary", metric.positive, metric.threshold)
    if len(repeats) < 2 or len({r.classes for r in repeats.values()}) > 1:
        return None
    samples = [np.concatenate([p.samples for p in r.predicted]) for r in repeats.values()]
    if not len(reduce(np.intersect1d, samples)):
        return None
    # Side by side, every prediction set is a "seed": all of them have the same units.
    together = Repeats(
        tuple(f"{name} {seed}" for name, r in repeats.items() for seed in r.seeds),
        tuple(p for r in repeats.values() for p in r.predicted),
    )
    found = together.contributions(metric)
    if together.refusal(found) or not np.isfinite(found.change).all():
        return None
    if not np.isfinite(found.values).all():
        return None
    ends = np.cumsum([len(r.seeds) for r in repeats.values()])[:-1]
    rows = np.split(np.arange(len(found.values)), ends)
    each = [_only(found, own) for own in rows]
    fewest = min(len(r.seeds) for r in repeats.values())
    trainings = [Variance(()) for _ in each]
    if fewest > 1:
        trainings = _over_trainings(list(repeats.values()), each)
    return _with_pairs(
        tuple(repeats),
        each,
        trainings,
        unit="subjects" if together.has_subjects else "samples",
        n=found.change.shape[1],
        estimand=Estimand.TRAINED if fewest == 1 else Estimand.PROCEDURE,
    )


def _over_trainings(repeats: Sequence[Repeats], each: Sequence[Contributions]) -> list[Variance]:
    """What other trainings and splits add to the variance of each candidate's mean."""
    shown = [
        replicates_of(
            own,
            r.seeds,
            tested=(1.0, 1),
            split_anew=r.split_anew,
            bounds=(-np.inf, np.inf),
        )
        for r, own in zip(repeats, each)
    ]
    out = []
    for r, own, mine in zip(repeats, each, shown):
        training = pooled_training([s for s in shown if s.seeds == mine.seeds])
        # The pooled variance by training is one estimate that all share, so it comes last (`Variance.merged`).
        variance = limits.over_splits(own) if r.split_anew else Variance(())
        variance = variance.plus(training.times(1 / len(r.seeds)))
        out.append(variance)
    return out


def _with_pairs(
    names: tuple[str, ...],
    each: Sequence[Contributions],
    trainings: Sequence[Variance],
    unit: str,
    n: int,
    estimand: Estimand,
) -> _Contest:
    from scipy.special import stdtr

    changes = np.stack([own.mean_change for own in each])
    means = np.array([float(own.values.mean()) for own in each])
    places = list(combinations(range(len(names)), 2))
    errors, p, degrees = [], [], []
    for i, j in places:
        both = replace(
            each[i],
            values=means[[i]] - means[[j]],
            change=(changes[i] - changes[j])[None],
            tested=np.atleast_2d(each[i].tested.any(axis=0) | each[j].tested.any(axis=0)),
        )
        variance = limits.over_units(both).plus(trainings[i].merged(trainings[j]))
        error = float(np.sqrt(variance.total))
        tells = error > limits.NOTHING
        errors.append(error if tells else 0.0)
        t = abs(means[i] - means[j]) / error if tells else 0.0
        p.append(2 * float(stdtr(variance.degrees, -t)))
        if tells:
            degrees.append(variance.degrees)
    added = np.diag([training.total for training in trainings])
    return _Contest(
        pairs=tuple((names[i], names[j]) for i, j in places),
        first=np.array([i for i, _ in places]),
        second=np.array([j for _, j in places]),
        covariance=changes @ changes.T + added,
        error=np.array(errors),
        p=np.minimum(np.array(p), 1.0),
        degrees=min(degrees, default=1.0),
        unit=unit,
        n=n,
        estimand=estimand,
    )


def _adjusted(contests: Sequence[_Contest]) -> list[np.ndarray]:
    """P values of the pairs of each contest, adjusted over all of them."""
    if not contests:
        return []
    observed = np.concatenate([contest.p for contest in contests])
    ends = np.cumsum([len(contest.p) for contest in contests])[:-1]
    if len(observed) == 1:
        return [observed]
    rng = np.random.default_rng(SEED)
    drawn = np.concatenate([_drawn(contest, rng) for contest in contests], axis=1)
    order = np.argsort(observed, kind="stable")
    # The smallest of the p values of a pair and all that follow it in order.
    smallest = np.minimum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
    share = (smallest <= observed[order]).mean(axis=0)
    stepped = np.maximum.accumulate(np.maximum(share, observed[order]))
    out = np.empty(len(observed))
    out[order] = np.minimum(stepped, 1.0)
    return np.split(out, ends)


def _drawn(contest: _Contest, rng: np.random.Generator) -> np.ndarray:
    """P values of all pairs if no candidate differed, shape (`DRAWS`, pairs)."""
    from scipy.special import stdtr

    values, vectors = np.linalg.eigh(contest.covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    means = rng.normal(size=(DRAWS, len(root))) @ root.T
    scale = np.sqrt(rng.chisquare(contest.degrees, size=(DRAWS, 1)) / contest.degrees)
    gap = np.abs(means[:, contest.first] - means[:, contest.second]) / scale
    tells = contest.error > 0
    t = np.divide(gap, contest.error, out=np.zeros_like(gap), where=tells)
    p: np.ndarray = 2 * stdtr(contest.degrees, -t)
    return p


def _only(found: Contributions, rows: np.ndarray) -> Contributions:
    return replace(
        found, values=found.values[rows], change=found.change[rows], tested=found.tested[rows]
    )

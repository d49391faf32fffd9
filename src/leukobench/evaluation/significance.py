"""Paired tests between configurations that were tested on the same samples.

Each configuration gives one prediction a sample: the class with the highest probability averaged over its seeds. Only
samples that all configurations were tested on are compared.

- Two configurations, no known subjects: McNemar's exact test on samples (statsmodels).
- Two configurations, known subjects: Wilcoxon's signed-rank test on the subjects' accuracies (scipy), since samples of
  one subject are not independent.
- More: Friedman's test on all (scipy), then the best against each other one, by the two tests above, with Holm's
  correction (statsmodels). Where Friedman's test finds no difference, none is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np

from leukobench.evaluation.intervals import Repeats

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """The best of several configurations against each other one.

    Attributes:
        best: Name of the configuration the others were compared with.
        p: Holm-adjusted p value of every other one.
        test: The pairwise test: `McNemar` or `Wilcoxon`.
        unit: What was compared: `samples` or `subjects`.
        n: Number of units.
        overall: Friedman's p value; None for two configurations.
    """

    best: str
    p: Mapping[str, float]
    test: str
    unit: str
    n: int
    overall: float | None

    def differs(self, name: str) -> bool:
        """Whether a configuration is told apart from the best."""
        return (
            name in self.p
            and self.p[name] < ALPHA
            and (self.overall is None or self.overall < ALPHA)
        )

    @property
    def best_stands_out(self) -> bool:
        """Whether the best is told apart from every other one."""
        return bool(self.p) and all(self.differs(name) for name in self.p)


def compare(candidates: Mapping[str, Repeats], best: str) -> Comparison | None:
    """Compare configurations with the one called best.

    Args:
        candidates: Test predictions by name.
        best: One of the names.

    Returns:
        None where there is nothing to compare: fewer than two configurations, no common samples, other classes.
    """
    if len(candidates) < 2 or len({r.classes for r in candidates.values()}) > 1:
        return None
    hits, unit = paired_hits(candidates)
    n = len(next(iter(hits.values())))
    if n < 2:
        return None
    others = sorted(name for name in hits if name != best)
    pair = _wilcoxon if unit == "subjects" else mcnemar
    raw = [pair(hits[best], hits[name]) for name in others]
    overall = None
    adjusted = raw
    if len(others) > 1:
        from statsmodels.stats.multitest import multipletests

        overall = _friedman([hits[name] for name in (best, *others)])
        adjusted = [float(p) for p in multipletests(raw, method="holm")[1]]
    test = "Wilcoxon" if unit == "subjects" else "McNemar"
    return Comparison(best, dict(zip(others, adjusted)), test, unit, n, overall)


def paired_hits(candidates: Mapping[str, Repeats]) -> tuple[dict[str, np.ndarray], str]:
    """Share of right predictions of each common unit, by configuration, and what the units are.

    Returns:
        Arrays of shape (units,): 0 or 1 for samples, accuracies for subjects; and `samples` or `subjects`.
    """
    tables = {name: r.mean_probabilities for name, r in candidates.items()}
    common = reduce(np.intersect1d, [t.samples for t in tables.values()])
    by_subject = all(r.has_subjects for r in candidates.values())
    hits = {}
    for name, t in tables.items():
        rows = np.flatnonzero(np.isin(t.samples, common))
        rows = rows[np.argsort(t.samples[rows])]
        right = (t.predicted()[rows] == t.y[rows]).astype(np.float64)
        if by_subject and t.subjects is not None:
            _, unit = np.unique(t.subjects[rows], return_inverse=True)
            right = np.bincount(unit, weights=right) / np.bincount(unit) if len(rows) else right
        hits[name] = right
    return hits, "subjects" if by_subject else "samples"


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact McNemar test of two arrays of right (1) and wrong (0) predictions; p value."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    both = [[float(((a == i) & (b == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    return float(test(both, exact=True).pvalue)


def _wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
    return 1.0 if np.allclose(a, b) else _wilcoxon_p((a - b).tobytes())


@lru_cache(maxsize=4096)
def _wilcoxon_p(differences: bytes) -> float:
    """P value of paired differences; kept, because few subjects with ties take scipy a second of permutations."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(np.frombuffer(differences)).pvalue)


def _friedman(groups: list[np.ndarray]) -> float:
    from scipy.stats import friedmanchisquare

    if all(np.allclose(groups[0], g) for g in groups):
        return 1.0
    return float(friedmanchisquare(*groups).pvalue)

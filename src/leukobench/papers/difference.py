"""Two sets of results against each other, cell by cell: two sweeps, two library versions, two exported files.

A cell is one configuration: results that agree in every param but seed and fold. Cells of both sides are matched by the
params; one that has a single value on each side and another one on the other (the model in a comparison of two models,
a key that one side does not know) is said once and not matched on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.evaluation.difference import difference
from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.intervals import Repeats, natural
from leukobench.evaluation.metrics import Metric
from leukobench.evaluation.significance import ALPHA, Candidates, Comparison, compare
from leukobench.papers.results import (
    REPEATED,
    Index,
    Result,
    ResultSet,
    latest_of_each_identity,
    normal,
    one_configuration,
    pooled,
)

PREFIX = "leukobench."
FACTS = ("dataset", "fingerprint", "split_hash", "simulated", "subset", "commit", "hardware")
"""Tags that are compared beside the versions of the libraries."""


@dataclass(frozen=True)
class Side:
    """One of the two: a name, its results, and where their predictions are read."""

    name: str
    results: Sequence[Result]
    source: ResultSet

    @classmethod
    def of(cls, name: str, source: ResultSet, only: Iterable[str] = ()) -> Side:
        """The results of a set that agree with all of `only`: `KEY=VALUE` of params, or of tags (`version.torch=2.9.0`).

        Raises:
            ConfigError: None does; the message says what values there are.
        """
        results = latest_of_each_identity(source.results)
        for condition in only:
            key, _, value = condition.partition("=")
            if any(key in r.params for r in results):
                kept = Index(results).select([condition])
            else:
                kept = [r for r in results if r.tags.get(PREFIX + key) == value]
            if not kept:
                there = sorted(
                    {r.params.get(key, r.tags.get(PREFIX + key, "")) for r in results} - {""},
                    key=natural,
                )
                said = (
                    f"there are {key}={', '.join(there)}"
                    if there
                    else f"none has a param or tag {key}"
                )
                raise ConfigError(f"{name}: no result with {condition}; {said}")
            results = kept
        if not results:
            raise ConfigError(
                f"{name}: no finished result; `leukobench status {name}` says what there is"
            )
        return cls(name, results, source)


@dataclass(frozen=True)
class Compared:
    """One cell of both sides.

    Attributes:
        keys: The params that tell it from the others.
        a, b: Mean over seeds and interval of each side.
        delta: B minus A; None where their classes differ.
        comparison: Of both, adjusted over all cells; None where the sides did not predict the same samples or no interval
            is possible.
        changed: Samples that are called another class (by the mean over seeds); None where the sides did not predict
            the same samples.
        largest: Largest difference of a class probability; None likewise.
        folds: Folds a seed on each side.
        passed_over: Other configurations that match as well; the newest counts.
    """

    keys: Mapping[str, str]
    a: Estimate
    b: Estimate
    delta: Estimate | None
    comparison: Comparison | None
    changed: int | None
    largest: float | None
    folds: tuple[str, str]
    passed_over: int

    @property
    def label(self) -> str:
        return label(self.keys)

    @property
    def p(self) -> float | None:
        return None if self.comparison is None else self.comparison.p["b"]

    @property
    def stands_out(self) -> bool:
        return self.p is not None and self.p < ALPHA


@dataclass(frozen=True)
class Difference:
    """Two sides against each other.

    Attributes:
        cells: What both have.
        only: Keys and number of runs of what only A has, and only B.
        params: Params that have one value on each side, another one on the other; empty where a side has none.
        facts: The same of tags: data, splits, versions; of what both have.
    """

    a: str
    b: str
    metric: Metric
    part: str
    cells: tuple[Compared, ...]
    only: tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]
    params: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str, str], ...]


Key = tuple[tuple[str, str], ...]


def compare_sides(a: Side, b: Side, metric: Metric, part: str = "test") -> Difference:
    """Compare two sides.

    Raises:
        LeukoBenchError: Predictions cannot be read, or lack the part.
    """
    constant, matched = _matched(a, b)
    groups = tuple(_grouped(side.results, matched) for side in (a, b))
    shown = _telling(matched, [*groups[0], *groups[1]])
    cells, used_a, used_b = [], [], []
    for key in _sorted(set(groups[0]) & set(groups[1]), shown):
        (runs_a, more_a), (runs_b, more_b) = (one_configuration(g[key], None) for g in groups)
        used_a += runs_a
        used_b += runs_b
        cells.append(
            _compared(
                _shown(runs_a, shown), (a, runs_a), (b, runs_b), metric, part, more_a + more_b
            )
        )
    only = tuple(
        tuple(
            (label(_shown(mine[key], shown)), len(mine[key]))
            for key in _sorted(set(mine) - set(other), shown)
        )
        for mine, other in (groups, groups[::-1])
    )
    facts = _facts(used_a, used_b)
    return Difference(
        a.name, b.name, metric, part, _adjusted(cells), (only[0], only[1]), constant, facts
    )


def label(keys: Mapping[str, str]) -> str:
    """`vgg16, adam, lr 0.01, 20 epochs`."""
    said = []
    for key, value in keys.items():
        if key == "epochs":
            said.append(f"{value} epoch{'' if value == '1' else 's'}")
        elif "." in key or value.replace(".", "").isdigit():
            said.append(f"{key.rpartition('.')[2]} {value}")
        else:
            said.append(value)
    return ", ".join(said) or "all"


def _shown(runs: Sequence[Result], keys: Sequence[str]) -> dict[str, str]:
    """The params that tell these runs from others, as they were logged."""
    return {k: runs[0].params[k] for k in keys if k in runs[0].params}


def _value(result: Result, key: str) -> str:
    return normal(result.params[key]) if key in result.params else ""


def _matched(a: Side, b: Side) -> tuple[tuple[tuple[str, str, str], ...], list[str]]:
    """Params that are the same all over each side but not on both, with their values; and those that are matched on."""
    keys = sorted({k for side in (a, b) for r in side.results for k in r.params} - set(REPEATED))
    constant, matched = [], []
    for key in keys:
        values = [{_value(r, key) for r in side.results} for side in (a, b)]
        if {""} in values and values[0] != values[1]:
            present = (
                max(values, key=len)
                if len(values[0]) != len(values[1])
                else next(v for v in values if v != {""})
            )
            if len(present) == 1:
                constant.append(_said(key, a, b))
        elif len(values[0]) == len(values[1]) == 1 and values[0] != values[1]:
            constant.append(_said(key, a, b))
        else:
            matched.append(key)
    return tuple(constant), matched


def _said(key: str, a: Side, b: Side) -> tuple[str, str, str]:
    first, second = (next(iter(side.results)).params.get(key, "") for side in (a, b))
    return key, first, second


def _grouped(results: Sequence[Result], keys: Sequence[str]) -> dict[Key, list[Result]]:
    out: dict[Key, list[Result]] = {}
    for result in results:
        out.setdefault(tuple((k, _value(result, k)) for k in keys), []).append(result)
    return out


def _telling(keys: Sequence[str], groups: Sequence[Key]) -> list[str]:
    """The keys that tell configurations apart, in the order in which they are said."""
    import pandas as pd

    from leukobench.tracking.summary import configuration_keys

    frame = pd.DataFrame([dict(group) for group in groups], columns=list(keys))
    frame.attrs["params"] = list(keys)
    return configuration_keys(frame)


def _sorted(groups: Iterable[Key], shown: Sequence[str]) -> list[Key]:
    def order(group: Key) -> tuple[object, ...]:
        values = dict(group)
        return tuple(natural(values.get(k, "")) for k in [*shown, *values])

    return sorted(groups, key=order)


def _repeats(side: Side, runs: Sequence[Result], part: str) -> Repeats:
    repeats = pooled(side.source, runs, part)
    if not all(len(p) for p in repeats.predicted):
        raise LeukoBenchError(
            f"{side.name}: a run has no predictions of the part {part!r}; --part names another"
        )
    return repeats


def _compared(
    keys: Mapping[str, str],
    first: tuple[Side, Sequence[Result]],
    second: tuple[Side, Sequence[Result]],
    metric: Metric,
    part: str,
    passed_over: int,
) -> tuple[Compared, Candidates | None]:
    a, b = (_repeats(side, runs, part) for side, runs in (first, second))
    delta = difference(b, a, metric) if a.classes == b.classes else None
    x, y = a.mean_probabilities, b.mean_probabilities
    changed = largest = candidates = None
    if delta is not None and np.array_equal(np.sort(x.samples), np.sort(y.samples)):
        candidates = Candidates("a", metric, {"a": a, "b": b})
        x, y = (side.take(np.argsort(side.samples)) for side in (x, y))
        changed = int((x.predicted() != y.predicted()).sum())
        largest = float(np.abs(x.p - y.p).max())
    compared = Compared(
        keys=keys,
        a=a.estimate(metric),
        b=b.estimate(metric),
        delta=delta,
        comparison=None,
        changed=changed,
        largest=largest,
        folds=(_folds(first[1]), _folds(second[1])),
        passed_over=passed_over,
    )
    return compared, candidates


def _folds(runs: Sequence[Result]) -> str:
    return str(len({r.params.get("fold", "0") for r in runs}))


def _adjusted(cells: Sequence[tuple[Compared, Candidates | None]]) -> tuple[Compared, ...]:
    """The cells with their comparisons, one error rate over all of them."""
    found = iter(compare([candidates for _, candidates in cells if candidates is not None]))
    out = []
    for cell, candidates in cells:
        out.append(cell if candidates is None else replace(cell, comparison=next(found)))
    return tuple(out)


def _facts(a: Sequence[Result], b: Sequence[Result]) -> tuple[tuple[str, str, str], ...]:
    """Tags in which the two differ."""
    names = sorted(
        {
            k.removeprefix(PREFIX)
            for r in (*a, *b)
            for k in r.tags
            if k.startswith(PREFIX + "version.")
        }
    )
    out = []
    for name in (*FACTS, *names):
        values = [
            sorted({r.tags.get(PREFIX + name, "") for r in side}, key=natural) for side in (a, b)
        ]
        if values[0] != values[1]:
            out.append((name, _few(values[0]), _few(values[1])))
    return tuple(out)


HASH = re.compile(r"[0-9a-f]{32,}")


def _few(values: Sequence[str], most: int = 3) -> str:
    said = ", ".join(
        (value[:12] if HASH.fullmatch(value) else value) or "none" for value in values[:most]
    )
    return said + (f" and {len(values) - most} more" if len(values) > most else "")

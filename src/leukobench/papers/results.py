"""What the table engine needs to know of results, wherever they come from.

`leukobench.tracking.reading` offers the results of an MLflow store in this form; `Kept` holds results in memory, for
tests and notebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from leukobench.evaluation.intervals import Repeats
from leukobench.schema.documents import Json
from leukobench.schema.names import Tag

if TYPE_CHECKING:
    import pandas as pd

    from leukobench.data.base import Dataset


class Result(Protocol):
    """One finished result: one seed, one fold, one checkpoint epoch.

    Attributes:
        run_id: Id of the run in the store.
        identity: Hash of everything the result depends on; results of one identity are interchangeable.
        params: Choices by group (`model`), scalars (`epochs`, `seed`, `fold`), and other keys in dotted form, as text.
        tags: Tags of the run (`leukobench.simulated`, `leukobench.subset`, `leukobench.fingerprint`, ...).
        start_time: When the run started, seconds; the latest of an identity counts.
        metrics: Last logged values by name, for what predictions cannot tell.
    """

    @property
    def run_id(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def start_time(self) -> float: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


class ResultSet(Protocol):
    """Finished results, their predictions, and what else their runs kept.

    Attributes:
        store: Where they are, printed under tables; empty for nowhere.
        cache: A folder in which statistics of them are kept between calls; None keeps none.
    """

    @property
    def results(self) -> Sequence[Result]: ...
    @property
    def store(self) -> str: ...
    @property
    def cache(self) -> Path | None: ...
    def predictions(self, result: Result) -> pd.DataFrame:
        """Predictions as of `leukobench.schema.predictions`."""
        ...

    def pieces(self, results: Sequence[Result]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        """The predictions of many results in as few frames as it takes, each with the place in
        `results` of each row's.
        """
        ...

    def artifact(self, result: Result, name: str) -> Json:
        """Content of a run's JSON artifact (`curves`, `resampled`, ...), None where it has none."""
        ...

    def dataset(self, name: str) -> Dataset | None:
        """The data set of that name, for figures of the data themselves; None where it is absent."""
        ...


@dataclass(frozen=True)
class KeptResult:
    """A `Result` in memory."""

    run_id: str
    identity: str
    params: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    start_time: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Kept:
    """A `ResultSet` in memory: results and predictions by run id."""

    results: Sequence[KeptResult]
    frames: Mapping[str, pd.DataFrame]
    artifacts: Mapping[tuple[str, str], Json] = field(default_factory=dict)
    store: str = "memory"
    cache: Path | None = None

    def predictions(self, result: Result) -> pd.DataFrame:
        return self.frames[result.run_id]

    def pieces(self, results: Sequence[Result]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        frames = [self.predictions(result) for result in results]
        return [(frame, np.full(len(frame), i)) for i, frame in enumerate(frames)]

    def artifact(self, result: Result, name: str) -> Json:
        return self.artifacts.get((result.run_id, name))

    def dataset(self, name: str) -> Dataset | None:
        return None


def pooled(
    source: ResultSet,
    results: Sequence[Result],
    part: str | None = "test",
    change: Callable[[pd.DataFrame, np.ndarray], pd.DataFrame] | None = None,
) -> Repeats:
    """The predictions of one configuration's results, the folds of each seed pooled.

    Args:
        part: Part of the data set; None for all.
        change: Applied to each frame; it is given the result (its place in `results`) of each row.

    Raises:
        LeukoBenchError: The results have different classes.
    """
    seeds = np.array([r.params.get("seed", "0") for r in results])
    pieces = source.pieces(results)
    if change is not None:
        pieces = [(change(frame, result), result) for frame, result in pieces]
    # Ranking metrics compare the scores of one run only, whatever its fold is called.
    return Repeats.of([(seeds[r], frame.assign(model=r)) for frame, r in pieces], part)


def latest_of_each_identity(results: Sequence[Result]) -> list[Result]:
    """One result an identity, the latest finished; in an order that does not depend on the order given."""
    latest: dict[str, Result] = {}
    for result in results:
        known = latest.get(result.identity)
        if known is None or (result.start_time, result.run_id) > (known.start_time, known.run_id):
            latest[result.identity] = result
    return sorted(latest.values(), key=lambda r: r.identity)


def normal(value: str) -> str:
    """A param or override value in one spelling: `1e-4` and `0.0001`, `True` and `true`, `null` and `None` agree."""
    text = value.strip().strip("'\"")
    lower = text.lower()
    if lower in ("true", "false"):
        return lower
    if lower in ("null", "none", ""):
        return "null"
    try:
        number = float(text)
    except ValueError:
        return text
    return repr(number)


REPEATED = ("seed", "fold", "split.seed", "split.like.seed", "trainer.threads")
"""Params in which the runs of one configuration may differ."""


class Index:
    """Results by override strings: `model=vgg16` selects the results whose param `model` is `vgg16`."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = latest_of_each_identity(results)
        self._by_key: dict[str, dict[str, set[int]]] = {}

    def select(self, overrides: Sequence[str]) -> list[Result]:
        """The results that all overrides agree with; `key=a,b` agrees with either value, `fold=all` with every fold."""
        found: set[int] | None = None
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            if (key, value) == ("fold", "all"):
                continue
            values = self._values(key)
            parts = [value] if value.startswith(("[", "{")) else value.split(",")
            hits = set().union(*(values.get(normal(v), set()) for v in parts))
            found = hits if found is None else found & hits
            if not found:
                return []
        return [
            self.results[i]
            for i in sorted(found if found is not None else range(len(self.results)))
        ]

    def _values(self, key: str) -> dict[str, set[int]]:
        if key not in self._by_key:
            values: dict[str, set[int]] = {}
            for i, result in enumerate(self.results):
                if key in result.params:
                    values.setdefault(normal(result.params[key]), set()).add(i)
            self._by_key[key] = values
        return self._by_key[key]


def configuration(result: Result) -> frozenset[tuple[str, str]]:
    """What the runs of one configuration have in common: every param but those of `REPEATED`."""
    params = dict(result.params)
    for key in REPEATED:
        params.pop(key, None)
    return frozenset(params.items())


def one_configuration(results: Sequence[Result], sweep: str | None) -> tuple[list[Result], int]:
    """The results of one configuration: equal in every param but those of `REPEATED`.

    Where the results come from several configurations, those with a run of the paper's own sweep are preferred; of what
    is left, the one whose latest run is the newest.

    Returns:
        Its results, and how many other configurations were passed over.
    """
    groups: dict[frozenset[tuple[str, str]], list[Result]] = {}
    for result in results:
        groups.setdefault(configuration(result), []).append(result)
    if not groups:
        return [], 0

    def rank(group: list[Result]) -> tuple[bool, float, str]:
        own = sweep is not None and any(r.tags.get(Tag.SWEEP) == sweep for r in group)
        newest = max(group, key=lambda r: (r.start_time, r.run_id))
        return own, newest.start_time, newest.run_id

    return max(groups.values(), key=rank), len(groups) - 1

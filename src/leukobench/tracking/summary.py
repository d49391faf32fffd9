"""Statistics of a sweep for browsing: the mean over seeds of each configuration, as tables have it.

Tables add intervals (`leukobench tables`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.logged import summary_of
from leukobench.evaluation.registry import definitions
from leukobench.schema.names import REPEATS
from leukobench.tracking.identity import NODES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SUMMARISED_PARTS = ("validation", "test")


def summarised() -> list[str]:
    """Metrics that notes and summaries show."""
    return [row.name for row in definitions() if row.summarised]


def configuration_keys(results: pd.DataFrame) -> list[str]:
    """Params that tell the configurations of some results apart: those that vary, without seed and
    fold.

    A key that follows from those before it (a width that only one model has, a seed of the split)
    is left out.

    Args:
        results: As `leukobench.tracking.reading.Results.frame` gives them.
    """
    import pandas as pd

    params = [str(c) for c in results.columns if c in results.attrs.get("params", results.columns)]
    varying = [c for c in params if c not in REPEATS and results[c].nunique(dropna=False) > 1]
    plain = sorted((c for c in varying if "." not in c), key=lambda c: (c == "epochs", _rank(c)))
    chosen: list[str] = []
    known = [c for c in REPEATS if c in results]
    for key in [*plain, *sorted(set(varying) - set(plain))]:
        if known + chosen:
            groups = pd.Series(
                list(zip(*(results[c].astype(str) for c in known + chosen))), index=results.index
            )
            if "." in key and (results[key].astype(str).groupby(groups).nunique() <= 1).all():
                continue
        chosen.append(key)
    return sorted(chosen, key=lambda c: (c == "epochs", chosen.index(c)))


def _rank(key: str) -> tuple[int, str]:
    order = ("data", "protocol", "split", "model", "optimizer", *NODES)
    return (order.index(key) if key in order else len(order), key)


class PredictionSource(Protocol):
    """Where predictions are read, such as `leukobench.tracking.reading.Results`."""

    def pieces(self, results: Sequence[Any]) -> list[tuple[pd.DataFrame, np.ndarray]]:
        """The predictions of many runs, each with a `run_id`, in as few frames as it takes, and
        the place in `results` of each row's.
        """
        ...


def summary(results: pd.DataFrame, source: PredictionSource) -> pd.DataFrame:
    """Mean over seeds and deviation between seeds of each metric for each configuration.

    Args:
        results: As `leukobench.tracking.reading.Results.frame` gives them.
        source: Where their predictions are.

    Returns:
        One row a configuration in the order of its keys: the keys, then `METRIC` and `METRIC_sd`
        (NaN for one seed) for each metric of validation and test, then `n`, the number of runs, and
        `simulated`, whether any of them is on simulated data. A configuration whose runs have
        different classes has no values.

    Raises:
        StoreError: Predictions cannot be read.
    """
    import pandas as pd

    keys = configuration_keys(results)
    if not keys:
        results = results.assign(configuration="all")
        keys = ["configuration"]
    rows = []
    for values, runs in results.groupby(keys, dropna=False, sort=False):
        row: dict[str, object] = dict(zip(keys, values))
        for part in SUMMARISED_PARTS:
            for name, (mean, deviation) in _measured(runs, source, part).items():
                row |= {f"{part}_{name}": mean, f"{part}_{name}_sd": deviation}
        row["n"] = len(runs)
        if "simulated" in runs:
            row["simulated"] = bool((runs["simulated"] == "true").any())
        rows.append(row)
    measured = [
        f"{part}_{name}{suffix}"
        for part in SUMMARISED_PARTS
        for name in summarised()
        for suffix in ("", "_sd")
    ]
    found = [c for c in measured if any(c in row for row in rows)]
    marks = ["simulated"] if "simulated" in results else []
    table = pd.DataFrame(rows, columns=[*keys, *found, "n", *marks])
    return table.sort_values(keys, key=_sortable, kind="stable", ignore_index=True)


def _measured(
    runs: pd.DataFrame, source: PredictionSource, part: str
) -> dict[str, tuple[float, float]]:
    """Mean over seeds and deviation by metric; none where no seed predicts the part."""
    seeds = runs["seed"].to_numpy(str)
    pieces = source.pieces(list(runs[["run_id"]].itertuples(index=False)))
    own = [(frame[frame["part"] == part], place[frame["part"] == part]) for frame, place in pieces]
    if not any(len(frame) for frame, _ in own):
        return {}
    try:
        repeats = Repeats.of(
            [(seeds[place], frame.assign(model=place)) for frame, place in own], part
        )
    except LeukoBenchError:
        return {}
    return summary_of(repeats)


def _sortable(column: pd.Series) -> pd.Series:
    """Numbers by value, everything else by text."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().all() else column.astype(str)


def keys_of(table: pd.DataFrame) -> list[str]:
    first = next(
        (
            i
            for i, c in enumerate(table.columns)
            if str(c).startswith(("validation_", "test_")) or c == "n"
        ),
        0,
    )
    return [str(c) for c in table.columns[:first]]


def best_on_validation(table: pd.DataFrame) -> int | None:
    """Row of the best configuration; None without validation: test chooses nothing."""
    column = "validation_balanced_accuracy"
    if len(table) < 2 or column not in table or table[column].isna().any():
        return None
    return int(table[column].to_numpy(float).argmax())

"""Statistics of a sweep for browsing: plain means over the runs of a configuration.

Tables with intervals are made from the pooled predictions (`leukobench tables`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leukobench.evaluation.registry import definitions
from leukobench.schema.names import REPEATS
from leukobench.tracking.identity import NODES

if TYPE_CHECKING:
    import pandas as pd


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


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and deviation of each metric for each configuration, over seeds and folds.

    Args:
        results: As `leukobench.tracking.reading.Results.frame` gives them.

    Returns:
        One row a configuration in the order of its keys: the keys, then `METRIC` and `METRIC_sd`
        (NaN for one run) for each metric of validation and test, then `n`, the number of runs, and
        `simulated`, whether any of them is on simulated data.
    """
    import pandas as pd

    keys = configuration_keys(results)
    metrics = [
        f"{part}_{m}"
        for part in ("validation", "test")
        for m in summarised()
        if f"{part}_{m}" in results
    ]
    if not keys:
        results = results.assign(configuration="all")
        keys = ["configuration"]
    grouped = results.groupby(keys, dropna=False, sort=False)
    columns: dict[str, pd.Series] = {}
    for metric in metrics:
        columns[metric], columns[f"{metric}_sd"] = grouped[metric].mean(), grouped[metric].std()
    columns["n"] = grouped.size()
    if "simulated" in results:
        columns["simulated"] = grouped["simulated"].agg(lambda marks: (marks == "true").any())
    table = pd.DataFrame(columns).reset_index()
    return table.sort_values(keys, key=_sortable, kind="stable", ignore_index=True)


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

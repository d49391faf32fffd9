"""Every metric there is, one row each; whatever lists, orders, titles or computes metrics reads it
here.

A project adds its own by a file in its folder of configs (`leukobench.evaluation.own_metrics`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.definition import MetricDefinition
from leukobench.evaluation.own_metrics import read_own_metrics
from leukobench.evaluation.rows import BUILT_IN


@dataclass(frozen=True)
class Registry:
    """Rows by name in the order in which they are shown, a project's own last; and by every
    alias."""

    rows: Mapping[str, MetricDefinition]
    by_alias: Mapping[str, MetricDefinition]


def definitions() -> tuple[MetricDefinition, ...]:
    """Every metric, a project's own last."""
    return tuple(_registry(os.environ.get("LEUKOBENCH_CONF")).rows.values())


def own_definitions() -> tuple[MetricDefinition, ...]:
    """A project's own metrics."""
    return definitions()[len(BUILT_IN) :]


def find(name: str | None) -> MetricDefinition | None:
    """The metric of a name or an alias; None where there is none."""
    known = _registry(os.environ.get("LEUKOBENCH_CONF"))
    if name is None:
        return None
    return known.rows.get(name) or known.by_alias.get(name)


def definition(name: str) -> MetricDefinition:
    """The metric of a name or an alias.

    Raises:
        LeukoBenchError: There is none; the message lists what there is.
    """
    found = find(name)
    if found is None:
        raise LeukoBenchError(f"unknown metric {name!r}; known are {', '.join(known_names())}")
    return found


def known_names(computed: bool = False) -> tuple[str, ...]:
    """Names and then aliases; with `computed`, only of what predictions tell."""
    rows = [row for row in definitions() if row.computed or not computed]
    return (*(row.name for row in rows), *(alias for row in rows for alias, _ in row.aliases))


def title(name: str) -> str:
    """Heading of a metric, an alias or, as it is, of any other quantity."""
    found = find(name)
    if found is None:
        return name
    text = found.title_of(name)
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=8)
def _registry(folder: str | None) -> Registry:
    """Of LeukoBench and of a user's folder of configs (its address is what tells cached ones
    apart)."""
    rows = {row.name: row for row in BUILT_IN}
    by_alias = {alias: row for row in BUILT_IN for alias, _ in row.aliases}
    for row in read_own_metrics():
        for name in (row.name, *(alias for alias, _ in row.aliases)):
            if name in rows or name in by_alias:
                raise LeukoBenchError(
                    f"metric {row.name!r} of {folder}: the name {name!r} is taken; choose another"
                )
        rows[row.name] = row
        by_alias |= {alias: row for alias, _ in row.aliases}
    return Registry(rows, by_alias)

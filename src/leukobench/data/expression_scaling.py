"""Whether the genes of a table were scaled before any split, and over which rows.

Scaling each part by itself shifts the parts against each other and uses the test rows' own
statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leukobench.data.check import Finding, some
from leukobench.data.expression_values import ExpressionTable

UNIT_TOLERANCE = 1e-6
"""How far from 0 or 1 the smallest or largest value of a min-max scaled gene may be: files are
rounded."""
SCALED_SHARE = 0.99
"""Share of the genes that must be scaled for a block of rows to be called scaled."""


def scaling_findings(table: ExpressionTable) -> list[Finding]:
    """Genes that were scaled before any split: over all rows, by part or series, or by blocks of
    the file order.
    """
    values = table.values
    if min(values.shape) < 4 or not np.isfinite(values).all():
        return []
    for what, groups in (("official part", table.official), ("series", table.series)):
        found = _by_group(values, what, groups or ())
        if found is not None:
            return [found]
    blocks = _blocks_finding(table)
    if blocks is not None:
        return [blocks]
    how = _scaling([values])
    if how is None:
        return []
    message = (
        f"the genes were scaled {how} over all samples, before any split; start from raw values"
    )
    return [Finding("scaled_before_split", "warning", message, len(table.ids))]


def _scaling(blocks: Sequence[np.ndarray]) -> str | None:
    """How each of the blocks is scaled by itself, None where one is not."""
    if all(_is_unit(block) for block in blocks):
        return "to [0, 1]"
    if all(_is_standard(block) for block in blocks):
        return "to mean 0 and deviation 1"
    return None


def _by_group(values: np.ndarray, what: str, groups: Sequence[str | None]) -> Finding | None:
    names = sorted(set(groups), key=str)
    if len(names) < 2:
        return None
    labels = np.array(groups, dtype=object)
    how = _scaling([values[labels == name] for name in names])
    if how is None:
        return None
    message = (
        f"each {what} is scaled {how} gene by gene by itself: the parts are no longer comparable, "
        f"and test "
        "rows were scaled with their own statistics; start from raw values"
    )
    return Finding("scaled_per_part", "warning", message, len(names), some(names))


def _blocks_finding(table: ExpressionTable) -> Finding | None:
    cut = _unit_blocks(table.values) if _is_unit(table.values) else None
    if cut is None:
        return None
    low, high = cut
    border = f"after row {low}" if low == high else f"between rows {low} and {high}"
    message = (
        "the rows up to a border and the rows after it are each scaled to [0, 1] gene by gene by "
        "themselves "
        f"(the border lies {border}): parts that are no longer "
        "comparable were put together; start from raw values"
    )
    where = (table.ids[low - 1], table.ids[high - 1])
    return Finding("scaled_per_part", "warning", message, 2, where)


def _is_unit(values: np.ndarray) -> bool:
    """Whether nearly every varying gene spans exactly [0, 1], with values in between (not merely 0
    or 1).
    """
    low, high = values.min(axis=0), values.max(axis=0)
    varying = high > low
    if not varying.any():
        return False
    unit = (np.abs(low) <= UNIT_TOLERANCE) & (np.abs(high - 1) <= UNIT_TOLERANCE)
    inside = ((values > UNIT_TOLERANCE) & (values < 1 - UNIT_TOLERANCE)).any(axis=0)
    return bool((unit & inside)[varying].mean() >= SCALED_SHARE)


def _is_standard(values: np.ndarray) -> bool:
    """Whether nearly every varying gene has mean 0 and standard deviation 1 (of either degree of
    freedom).
    """
    spread = values.std(axis=0)
    varying = spread > 0
    if not varying.any():
        return False
    n = len(values)
    mean, spread = values.mean(axis=0)[varying], spread[varying]
    one = (np.abs(spread - 1) < 1e-3) | (np.abs(spread * np.sqrt(n / max(n - 1, 1)) - 1) < 1e-3)
    return bool(((np.abs(mean) < 1e-3) & one).mean() >= SCALED_SHARE)


def _unit_blocks(values: np.ndarray) -> tuple[int, int] | None:
    """Between which rows (counted from 1) a border cuts [0, 1]-scaled rows into two [0, 1]-scaled
    blocks.

    In rows scaled together a gene's least value stands, ties apart, in one row only, so no border
    has it on both sides.
    """
    zero, one = values <= UNIT_TOLERANCE, values >= 1 - UNIT_TOLERANCE
    n, genes = values.shape
    complete = np.sort(np.maximum(zero.argmax(axis=0), one.argmax(axis=0)))
    begins = np.sort(
        np.minimum(n - 1 - zero[::-1].argmax(axis=0), n - 1 - one[::-1].argmax(axis=0))
    )
    needed = int(np.ceil(SCALED_SHARE * genes)) - 1
    low, high = int(complete[needed]) + 1, int(begins[genes - 1 - needed])
    return (low, high) if low <= high else None

"""What a result says about a published value.

The published value is taken as one more run of the same pipeline, with the error that its own split, training and test
size give it. `Reach` says how far such a replicate may be from our mean.
"""

from __future__ import annotations

import math
from enum import StrEnum

from leukobench.evaluation.replicates import ALPHA, Reach
from leukobench.papers.spec import Cell

SLACK = 1e-9


class Verdict(StrEnum):
    """What a result says about a published value. The rule is in `judge`."""

    CONSISTENT = "consistent"
    INCONCLUSIVE = "inconclusive"
    HIGHER = "higher"
    LOWER = "lower"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"
    IMPOSSIBLE = "no leak-free protocol possible"


JUDGED = (Verdict.CONSISTENT, Verdict.INCONCLUSIVE, Verdict.HIGHER, Verdict.LOWER)
"""Verdicts on a published value that ours can be compared with."""


def judge(cell: Cell, mean: float, reach: Reach, not_comparable: bool) -> Verdict | None:
    """The verdict on a filled cell; None where nothing is published.

    The published value stands for every value that prints like it (`stands_for`). With D the distance of our mean from
    the nearest of them and U the reach of a replicate:

    - D > U: `higher` or `lower`;
    - D <= U and U is within the margin that the paper's file states: `consistent`;
    - else `inconclusive`: also where one seed shows no reach.

    Runs on other data, a subset, or simulated data, or with settings that the paper's sweep does not have, are
    `not comparable`.
    """
    published = stands_for(cell)
    if published is None:
        return None
    if not_comparable:
        return Verdict.NOT_COMPARABLE
    if reach.half is None:
        return Verdict.INCONCLUSIVE
    smallest, largest = published
    if mean - largest > reach.half + SLACK:
        return Verdict.HIGHER
    if smallest - mean > reach.half + SLACK:
        return Verdict.LOWER
    if reach.half <= cell.margin + SLACK:
        return Verdict.CONSISTENT
    return Verdict.INCONCLUSIVE


def stands_for(cell: Cell) -> tuple[float, float] | None:
    """Smallest and largest value that the published one stands for; None where no number is published.

    0.76 stands for 0.755 to 0.765, a truncated 77.1 % for 77.1 to 77.2, a count for itself, `> 98 %` for all above.
    """
    values = cell.numbers or (() if cell.value is None else (cell.value,))
    if not values:
        return None
    if cell.rounding == "truncated":
        below, above = 0.0, cell.step
    else:
        below = above = cell.step * (1.0 if cell.relation == "~" else 0.5)
    if cell.unit == "count" and cell.step >= 1:
        below = above = 0.0
    smallest = -math.inf if cell.relation == "<" else min(values) - below
    largest = math.inf if cell.relation == ">" else max(values) + above
    return smallest, largest


def expected_false(cell: Cell, reach: Reach) -> float:
    """How often `higher` or `lower` would be said of a published value that is a replicate of ours."""
    if reach.half is None or reach.half == 0.0 or stands_for(cell) is None:
        return 0.0
    return ALPHA / 2 if cell.relation in ("<", ">") else ALPHA

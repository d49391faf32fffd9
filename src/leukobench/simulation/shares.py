"""Sharing a number out to groups."""

from __future__ import annotations

from collections.abc import Mapping

from leukobench.errors import LeukoBenchError


def share_out(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in proportion to `weights` that add up to `total`, at least 1 each, by largest
    remainder.

    Raises:
        LeukoBenchError: `total` is less than the number of weights.
    """
    if total < len(weights):
        raise LeukoBenchError(
            f"{total} samples are too few for {len(weights)} groups ({', '.join(weights)})"
        )
    spare = total - len(weights)
    exact = {name: spare * w / sum(weights.values()) for name, w in weights.items()}
    counts = {name: 1 + int(x) for name, x in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (int(exact[name]) - exact[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts

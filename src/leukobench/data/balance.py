"""Whole groups shared out to parts so that sizes, classes and groups a class come out alike.

Cells of one subject may not be separated, and subjects differ in size by a factor of a hundred. A
part drawn subject by subject then has any size and any share of a class. Here a local search moves
and swaps whole groups until no move betters the balance; several random starts give several
balanced assignments, and the seed draws one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STARTS = 24
"""Random starts of the search, of which one is drawn."""
MANY_GROUPS = 400
"""With more groups than this one start of single moves ends in nearly perfect balance; swaps are not tried."""
TOLERANCE = 0.05
"""A start may be drawn if it comes this near to the best: in shares of the smallest part, root mean square."""
SMALLEST_GAIN = 1e-12
"""Of the sum of squares, below which the search has arrived."""
PRESENCE_WEIGHT = 0.25
"""Weight of the number of groups a class against that of its samples."""


@dataclass(frozen=True)
class Balance:
    """What is balanced: each group's share of every quantity.

    Attributes:
        shares: Shape (groups, quantities); each column sums to 1. Quantities are all samples, the samples of each
            class, and the groups that hold each class.
        weights: Shape (quantities,).
    """

    shares: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, groups: np.ndarray) -> Balance:
        """Args:
        y: Shape (n,), class numbers from 0.
        groups: Shape (n,), group numbers from 0.
        """
        counts = np.zeros((int(groups.max()) + 1, int(y.max()) + 1))
        np.add.at(counts, (groups, y), 1.0)
        counts = counts[:, counts.any(axis=0)]
        quantities = np.column_stack([counts.sum(axis=1), counts, counts > 0])
        weights = np.ones(quantities.shape[1])
        weights[1 + counts.shape[1] :] = PRESENCE_WEIGHT
        return cls(quantities / quantities.sum(axis=0), weights)


def assign(y: np.ndarray, groups: np.ndarray, targets: np.ndarray, seed: int) -> np.ndarray:
    """Assign whole groups to parts.

    Args:
        y: Shape (n,), class numbers from 0.
        groups: Shape (n,), group numbers from 0; at least as many groups as parts.
        targets: Shape (parts,), the share of each part, summing to 1.
        seed: Draws one of the balanced assignments; the same seed always draws the same.

    Returns:
        Shape (n,), the part of each sample.
    """
    balance = Balance.of(y, groups)
    rng = np.random.default_rng(seed)
    starts = STARTS if len(balance.shares) <= MANY_GROUPS else 1
    optima: dict[bytes, np.ndarray] = {}
    for _ in range(starts):
        part = _improved(balance, targets, _start(balance, targets, rng))
        optima[part.tobytes()] = part
    costs = {key: imbalance(balance, targets, part) for key, part in optima.items()}
    allowed = min(costs.values()) + TOLERANCE * targets.min()
    candidates = [part for key, part in optima.items() if costs[key] <= allowed]
    return candidates[rng.integers(len(candidates))][groups]


def imbalance(balance: Balance, targets: np.ndarray, part: np.ndarray) -> float:
    """Root mean square difference between what each part holds of each quantity and its target.

    Args:
        part: Shape (groups,), the part of each group.
    """
    difference = _held(balance, len(targets), part) - targets[:, None]
    weights = balance.weights / balance.weights.sum()
    return float(np.sqrt((difference**2 @ weights).mean()))


def _held(balance: Balance, parts: int, part: np.ndarray) -> np.ndarray:
    """Shape (parts, quantities): the share of each quantity that each part holds."""
    held = np.zeros((parts, balance.shares.shape[1]))
    np.add.at(held, part, balance.shares)
    return held


def _start(balance: Balance, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random assignment in which no part is empty."""
    part = rng.choice(len(targets), size=len(balance.shares), p=targets)
    first = rng.permutation(len(part))[: len(targets)]
    part[first] = np.arange(len(targets))
    return part


def _improved(balance: Balance, targets: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The local optimum that moves and swaps of groups lead to, always the best one first.

    With `a` the shares of a group and `d` what two parts hold above their targets, moving the group from the first part
    to the second changes the sum of squares by 2 |a|^2 + 2 a.(d2 - d1).
    """
    weighted = balance.shares * balance.weights
    norm = np.einsum("gq,gq->g", weighted, balance.shares)
    with_swaps = len(part) <= MANY_GROUPS
    products = weighted @ balance.shares.T if with_swaps else np.zeros((1, 1))
    part = part.copy()
    while True:
        excess = _held(balance, len(targets), part) - targets[:, None]
        pull = weighted @ excess.T
        moves = _moves(norm, pull, part)
        group, to = np.unravel_index(np.argmin(moves), moves.shape)
        swaps = _swaps(products, pull, part) if with_swaps else np.zeros((1, 1))
        one, other = np.unravel_index(np.argmin(swaps), swaps.shape)
        if min(moves[group, to], swaps[one, other]) > -SMALLEST_GAIN:
            return part
        if moves[group, to] <= swaps[one, other]:
            part[group] = to
        else:
            part[one], part[other] = part[other], part[one]


def _moves(norm: np.ndarray, pull: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Shape (groups, parts): half the change of the sum of squares where a group moves to a part."""
    rows = np.arange(len(part))
    change = norm[:, None] + pull - pull[rows, part][:, None]
    change[rows, part] = 0.0
    alone = np.bincount(part, minlength=pull.shape[1])[part] == 1
    change[alone] = 0.0  # a part is never emptied
    return change


def _swaps(products: np.ndarray, pull: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Shape (groups, groups): half the change of the sum of squares where two groups change places.

    Args:
        products: Shape (groups, groups), the weighted products of the groups' shares.
    """
    norm = np.diag(products)
    distance = norm[:, None] + norm[None, :] - 2 * products
    gain = pull[:, part] - np.take_along_axis(pull, part[:, None], axis=1)
    change = distance + gain + gain.T
    change[part[:, None] == part[None, :]] = 0.0
    return change

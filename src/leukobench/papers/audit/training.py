"""Rules about how something was trained: curves, schedules, autoencoders, claims about the best and the rising."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from leukobench.papers.audit.arithmetic import (
    bounds,
    counts_that_print,
    gaussian_outside_unit_interval,
    share_of_grid,
)
from leukobench.papers.audit.findings import AuditFinding, number, percent, printed, rule, select
from leukobench.papers.spec import Paper


@rule()
def common_denominator(
    paper: Paper, *, cells: list[str], n: int, what: str, others: dict[str, int]
) -> Iterator[AuditFinding]:
    """Percentages of one set of n samples are all multiples of 1/n.

    Where many printed values fit n, and would rarely do so by chance, that set is what was scored. `others` are sizes
    to compare with. Finds nothing where a value does not fit n.
    """
    found = select(paper, cells)

    def fitting(size: int) -> int:
        return sum(bool(counts_that_print(number(c), c.step, size)) for c in found)

    if fitting(n) < len(found):
        return
    chance = math.prod(share_of_grid(c.step, n) for c in found)
    yield AuditFinding(
        "common_denominator",
        paper.key,
        "; ".join(dict.fromkeys(c.place for c in found)),
        f"All {len(found)} values are multiples of 1/{n}, as scores on {what} are: no validation part was held out of it",
        f"by chance with probability {chance:.1g}; "
        + "; ".join(
            f"{name} ({size}): {fitting(size)} of {len(found)}" for name, size in others.items()
        ),
        "caution" if chance < 0.05 else "note",
    )


@rule()
def largest(paper: Paper, *, cells: str, claimed: str, claim: str) -> Iterator[AuditFinding]:
    """A value called the best must be the largest of its column. `claimed` is the cell that the text names."""
    found = select(paper, cells)
    best = max(found, key=number)
    said = select(paper, claimed)[0]
    if number(best) > number(said):
        yield AuditFinding(
            "largest",
            paper.key,
            said.place,
            f"{claim}: {printed(said)} (row {said.row}) is not the best, {printed(best)} (row {best.row}) is",
            f"column {said.keys['column']}",
            "contradiction",
        )


@rule()
def rising(
    paper: Paper,
    *,
    cells: list[str],
    claim: str,
    exceptions: list[str] = [],  # noqa: B006
) -> Iterator[AuditFinding]:
    """Values said to rise row by row must do so but for the exceptions that the text names (as refs)."""
    admitted = {c.ref for c in select(paper, exceptions)} if exceptions else set()
    drops = []
    for ref in cells:
        column = select(paper, ref)
        for before, after in pairwise(column):
            if number(after) < number(before) and after.ref not in admitted:
                drops.append(
                    f"{after.keys['column']} falls to row {after.row}: {printed(before)} to {printed(after)}"
                )
    if drops:
        yield AuditFinding(
            "rising",
            paper.key,
            select(paper, cells[0])[0].place,
            f"{claim}: there are drops that the text does not name",
            "; ".join(drops),
            "contradiction",
        )


@rule()
def decay_schedule(
    paper: Paper,
    *,
    samples: int,
    batch_size: int,
    lr: float,
    decay_steps: int,
    decay_rate: float,
    epochs: list[int],
) -> Iterator[AuditFinding]:
    """What an exponential decay does to the learning rate: lr x rate ^ (steps / decay_steps) after so many epochs."""
    steps = math.ceil(samples / batch_size)
    yield AuditFinding(
        "decay_schedule",
        paper.key,
        "protocol",
        f"The learning rate falls from {lr:.1e} to "
        + ", ".join(
            f"{lr * decay_rate ** (steps * e / decay_steps):.1e} after {e} epochs" for e in epochs
        ),
        f"{samples} samples in batches of {batch_size} are {steps} steps an epoch; decay of {decay_rate} every "
        f"{decay_steps} steps",
        "note",
    )


@rule()
def mixture_share(
    paper: Paper, *, mean: str, train: str, validation: str, sizes: dict[str, list[int]]
) -> Iterator[AuditFinding]:
    """The mean error over all samples mixes that of training and validation: mean = (1 - v) train + v validation.

    Solved for v it gives the share of validation samples. `sizes` are candidate splits (training, validation).
    """
    m, t, v = (select(paper, ref)[0] for ref in (mean, train, validation))
    share = (number(m) - number(t)) / (number(v) - number(t))
    texts = []
    for name, (n_train, n_validation) in sizes.items():
        w = n_validation / (n_train + n_validation)
        value = (1 - w) * number(t) + w * number(v)
        low, high = bounds(number(m), m.step)
        slack = max(t.step, v.step) / 2
        texts.append(
            f"{name}: {value:.4f} ({'fits' if low - slack <= value <= high + slack else 'does not fit'})"
        )
    yield AuditFinding(
        "mixture_share",
        paper.key,
        m.place,
        f"The validation part is {percent(share, 1)} of the samples",
        f"{printed(m)} = (1 - v) x {printed(t)} + v x {printed(v)} gives v = {share:.3f}; "
        + "; ".join(texts),
        "note",
    )


@rule()
def reconstruction_floor(paper: Paper, *, first: str, last: str) -> Iterator[AuditFinding]:
    """A sigmoid output stays in [0, 1]; z-scored input does not, so its reconstruction error has a floor of .5753.

    The floor is the mean squared distance of standard normal numbers to [0, 1] (other distributions shift it). A loss
    near it from the first epoch on learned next to nothing. `first` and `last` are the losses of the first and last
    epoch.
    """
    floor = gaussian_outside_unit_interval()
    a, b = select(paper, first)[0], select(paper, last)[0]
    if number(a) < 1.2 * floor:
        yield AuditFinding(
            "reconstruction_floor",
            paper.key,
            a.place,
            "The autoencoder learned next to nothing: its loss is at the floor of a sigmoid output from the first epoch",
            f"loss {printed(a)} to {printed(b)}, a change of {number(a) - number(b):.3f}; the least mean squared error "
            f"of outputs in [0, 1] on standard normal input is {floor:.4f}",
            "caution",
        )


@rule()
def error_gap(
    paper: Paper, *, small: str, large: str, perfect: list[str]
) -> Iterator[AuditFinding]:
    """An error on held-out samples several times that of training does not go with a perfect test.

    `small` is the training error, `large` the one on held-out samples, `perfect` the test results to set beside them.
    """
    a, b = select(paper, small)[0], select(paper, large)[0]
    ratio = number(b) / number(a)
    best = [c for c in select(paper, perfect) if c.value in (0, 1)]
    if ratio >= 3 and best:
        yield AuditFinding(
            "error_gap",
            paper.key,
            a.place,
            f"The held-out error is {ratio:.1f} times the training error, beside a perfect test",
            f"{printed(a)} and {printed(b)}; "
            + ", ".join(f"{c.metric} {printed(c)}" for c in best),
            "caution",
        )

"""Rows that average other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.replicates import Reach
from leukobench.papers.answers import Answer, FilledCell, FilledRow
from leukobench.papers.spec import Cell
from leukobench.papers.verdicts import Verdict, judge


def with_means(row: FilledRow, rows: Sequence[FilledRow]) -> FilledRow:
    """Fill a row of means from the rows it averages.

    Its limits are the means of their limits: the width it would have if all of them moved together, an upper bound.
    """
    by_ref = {cell.cell.ref: cell for r in rows for cell in r.cells if cell is not None}
    cells: list[FilledCell | None] = []
    for cell in row.cells:
        if cell is None or not cell.cell.mean_of:
            cells.append(cell)
            continue
        answers = {}
        for arm in cell.answers:
            parts = [by_ref[ref].answers.get(arm) for ref in cell.cell.mean_of]
            answers[arm] = _mean_answer(cell.cell, [p for p in parts if p is not None])
        cells.append(replace(cell, answers=answers))
    return replace(row, cells=tuple(cells))


def _mean_answer(cell: Cell, parts: Sequence[Answer]) -> Answer:
    estimates = [p.estimate for p in parts if p.estimate is not None]
    if not estimates or len(estimates) < len(parts):
        impossible = next((p for p in parts if p.verdict is Verdict.IMPOSSIBLE), None)
        return impossible or Answer(Verdict.NOT_RUN, "some of the rows it averages are not run")
    estimate = _mean_estimate(estimates)
    reach = _mean_reach([p.reach for p in parts])
    reasons = list(dict.fromkeys(p.reason for p in parts if p.reason))
    return Answer(
        verdict=judge(cell, estimate.mean, reach, bool(reasons)),
        reason=", ".join(reasons),
        estimate=estimate,
        delta=None if cell.value is None else estimate.mean - cell.value,
        simulated=any(p.simulated for p in parts),
        subset="; ".join(dict.fromkeys(p.subset for p in parts if p.subset)),
        marks=tuple(dict.fromkeys(m for p in parts for m in p.marks)),
        runs=tuple(sorted({r for p in parts for r in p.runs})),
        reach=reach,
    )


def _mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    lows = [e.low for e in estimates if e.low is not None]
    highs = [e.high for e in estimates if e.high is not None]
    whole = len(lows) == len(highs) == len(estimates)
    return replace(
        estimates[0],
        mean=float(np.mean([e.mean for e in estimates])),
        low=float(np.mean(lows)) if whole else None,
        high=float(np.mean(highs)) if whole else None,
        values=tuple(e.mean for e in estimates),
        method="mean of limits" if whole else "none",
    )


def _mean_reach(reaches: Sequence[Reach | None]) -> Reach:
    """The mean of their reaches: as far as the mean goes if all moved together, an upper bound."""
    halves = [r.half for r in reaches if r is not None and r.half is not None]
    found = [r.detectable for r in reaches if r is not None and r.detectable is not None]
    if len(halves) < len(reaches) or len(found) < len(reaches):
        return Reach(None, reason="not every row that it averages shows how far replicates differ")
    configurations = max(r.configurations for r in reaches if r is not None)
    return Reach(float(np.mean(halves)), float(np.mean(found)), configurations)

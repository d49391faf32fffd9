"""Rows that average or add up others."""

from __future__ import annotations

from collections.abc import Iterator

from leukobench.papers.audit.findings import AuditFinding
from leukobench.papers.audit.sheet import Aggregate, Score, Sheet


def aggregate_findings(sheet: Sheet, source: str) -> Iterator[AuditFinding]:
    """Means that are none, totals that are none, and means that are called totals."""
    for aggregate in sheet.aggregates:
        parts = [(s, _parts(aggregate, s)) for s in aggregate.line.scores]
        known = [(s, p) for s, p in parts if len(p) == len(aggregate.of) > 1]
        for score, values in known:
            if not (aggregate.called_total and score.is_count and _is_total(score, values)):
                yield from _no_mean(aggregate, score, values, source=source)
        shares = [(s, p) for s, p in known if not s.is_count]
        if aggregate.called_total and shares and all(_is_mean(s, p) for s, p in shares):
            yield _misnamed(aggregate, shares, source)


def _parts(aggregate: Aggregate, score: Score) -> list[Score]:
    """What the averaged lines print of the same score."""
    wanted = (score.metric, score.averaging, score.deviation)
    return [
        s
        for line in aggregate.of
        for s in line.scores
        if (s.metric, s.averaging, s.deviation) == wanted
    ]


def _mean(parts: list[Score]) -> float:
    return sum(p.value for p in parts) / len(parts)


def _is_total(score: Score, parts: list[Score]) -> bool:
    return round(score.value) == sum(round(p.value) for p in parts)


def _is_mean(score: Score, parts: list[Score]) -> bool:
    """Whether it can be the mean of what the parts were before they were rounded."""
    low = sum(p.interval()[0] for p in parts) / len(parts)
    high = sum(p.interval()[1] for p in parts) / len(parts)
    least, most = score.interval("either")
    return least <= high + 1e-9 and low <= most + 1e-9


def _no_mean(
    aggregate: Aggregate, score: Score, parts: list[Score], *, source: str
) -> Iterator[AuditFinding]:
    if score.deviation or score.prints(_mean(parts)):
        return
    unrounded = _is_mean(score, parts)
    scale, sign = (100, " %") if "%" in score.text else (1, "")
    mean = f"{_mean(parts) * scale:.6g}{sign}"
    printed = ", ".join(p.text for p in parts)
    values = [p.value for p in parts]
    yield AuditFinding(
        rule="mean",
        paper=source,
        place=aggregate.line.place,
        finding=f"{aggregate.line.name}: {score.shown} is not the mean of the printed rows",
        evidence=f"the mean of {printed} is {mean}",
        severity="hint" if unrounded else "contradiction",
        reading="mean of the printed values; possible as the mean of values before rounding"
        if unrounded
        else "mean of the rows, whatever was rounded away",
        corrected=f"{score.name} {mean}",
        recompute=f"values = {values}\nprint(sum(values) / len(values))",
    )


def _misnamed(
    aggregate: Aggregate, shares: list[tuple[Score, list[Score]]], source: str
) -> AuditFinding:
    sums = "; ".join(
        f"{s.name}: sum {sum(p.value for p in parts):.6g}, mean {_mean(parts):.4f}, printed {s.text}"
        for s, parts in shares
    )
    return AuditFinding(
        rule="mean",
        paper=source,
        place=aggregate.line.place,
        finding=f"{aggregate.line.name}: the row called a total holds means",
        evidence=sums,
        severity="hint",
        reading="sum against mean of the printed rows",
    )

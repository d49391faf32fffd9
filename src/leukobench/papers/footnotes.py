"""What stands below a table: footnotes, and lines about its runs, intervals and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leukobench import __version__
from leukobench.evaluation.estimates import Estimand, Estimate
from leukobench.evaluation.intervals import METHOD_VERSION, natural
from leukobench.papers.answers import Answer, FilledRow
from leukobench.papers.results import Result, configuration
from leukobench.papers.spec import Arm, Paper
from leukobench.papers.verdicts import JUDGED, Verdict, expected_false
from leukobench.schema.names import Tag


@dataclass
class Notes:
    """Footnotes of a table, each text once, lettered in order of appearance."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return letter(self.texts.index(text))


def letter(i: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    return (letter(i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def in_ranges(names: Sequence[str]) -> str:
    """Names in one line, whole numbers that follow one another as a range: `0 to 9, 42`."""
    runs: list[list[str]] = []
    for name in names:
        follows = (
            runs
            and name.isdecimal()
            and runs[-1][-1].isdecimal()
            and int(name) == int(runs[-1][-1]) + 1
        )
        if follows:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(f"{r[0]} to {r[-1]}" if len(r) > 3 else ", ".join(r) for r in runs)


def footer(
    paper: Paper, store: str, used: Sequence[Result], answers: Sequence[Answer]
) -> tuple[str, ...]:
    """Which runs count, what intervals are of, data and versions."""
    lines = []
    if used:
        seeds = sorted({r.params.get("seed", "?") for r in used}, key=natural)
        n = len({configuration(r) for r in used})
        lines.append(
            f"Runs: {len(used)} ({n} configuration{'s' if n > 1 else ''}; seeds {in_ranges(seeds)}); the latest "
            "finished run of each identity, folds of a seed pooled."
        )
    else:
        lines.append("Runs: none yet.")
    lines += interval_lines([a.estimate for a in answers if a.estimate is not None])
    data = sorted(
        {(r.params.get("data", "?"), r.tags.get(Tag.FINGERPRINT, "?")[:12]) for r in used}
    )
    if data:
        lines.append("Data: " + ", ".join(f"{name} {print_}" for name, print_ in data) + ".")
    file = f"paper file {paper.key} version {paper.version}, " if paper.path else ""
    lines.append(
        (f"Store: {store}. " if store else "")
        + f"leukobench {__version__}, {file}statistics version {METHOD_VERSION}."
    )
    return tuple(lines)


def verdict_lines(rows: Sequence[FilledRow], arms: Mapping[str, Arm]) -> list[str]:
    """The rule in a line, over what variances were pooled, and how many false verdicts are to be expected."""
    judged = []
    for filled in (cell for row in rows for cell in row.cells):
        if filled is not None:
            judged += [(filled.cell, arm, answer) for arm, answer in filled.answers.items()]
    judged = [(c, arm, a) for c, arm, a in judged if a.verdict in JUDGED]
    if not judged:
        return []
    pooled = sorted({a.reach.configurations for _, _, a in judged if a.reach is not None} - {0})
    over = f"{pooled[0]} to {pooled[-1]}" if len(pooled) > 1 else "".join(map(str, pooled))
    several = "s" if pooled and pooled[-1] > 1 else ""
    lines = [
        "Verdict: the published value, within its rounding, as one more run of this pipeline: beyond 95 % of such runs "
        "higher or lower; consistent where they lie within the paper file's margin; else inconclusive. "
        "finds: the smallest difference that would be called so in four of five cases."
    ]
    if pooled:
        lines.append(
            f"Variance by training: of {over} configuration{several} of this table with the same seeds, metric and arm."
        )
    for arm, named in arms.items():
        own = [(c, a) for c, of_arm, a in judged if of_arm == arm]
        expected = sum(expected_false(c, a.reach) for c, a in own if a.reach is not None)
        if own and expected > 0:
            given = sum(a.verdict in (Verdict.HIGHER, Verdict.LOWER) for _, a in own)
            lines.append(
                f"False verdicts expected among {len(own)} of {named.label}, if all that is published were such runs: "
                f"{expected:.2g}; higher or lower: {given}."
            )
    return lines


def interval_lines(estimates: Sequence[Estimate]) -> list[str]:
    """What the table's intervals are of, and where some are missing."""
    estimands = dict.fromkeys(e.estimand for e in estimates if e.estimand is not None)
    if not estimands:
        return []
    of = "; ".join(f"of {e.words}" for e in sorted(estimands))
    seeds = " (one seed)" if list(estimands) == [Estimand.TRAINED] else ""
    lines = [f"Interval: 95 %, {of}{seeds} (docs/tables.md)."]
    weights = sorted({e.weight for e in estimates if e.estimand is not None})
    lines.append(f"Each {' or, by subject, each '.join(weights)} weighs the same.")
    return lines


def range_text(estimate: Estimate) -> str:
    """`; over subjects 0.120 to 0.930`, where an interval is refused."""
    if estimate.spread is None:
        return ""
    low, high = estimate.spread
    return f"; over subjects {low:.3f} to {high:.3f}"


def counts_text(estimate: Estimate, part: str) -> str:
    """`: 88 test samples of 9 subjects`; nothing where samples were not counted."""
    if not estimate.samples:
        return ""
    of = f" of {estimate.subjects:,} subjects" if estimate.subjects is not None else ""
    word = {"train": "training ", "all": ""}.get(part, f"{part} ")
    return f": {estimate.samples:,} {word}samples{of}"

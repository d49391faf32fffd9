"""Two sets of results against each other, as a table for the terminal and Markdown, and as CSV."""

from __future__ import annotations

import csv
import io

from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.significance import ALPHA
from leukobench.papers.difference import Compared, Difference
from leukobench.report.layout import NOTHING, Layout, Line, Text, sizes_text


def lay_out(found: Difference) -> Layout:
    """The comparison as a table: one line a cell, what is on one side only below."""
    lines = [
        Line(
            cell.label,
            "",
            (_value(cell.a), _value(cell.b), _delta(cell), _p(cell), _predictions(cell)),
            _sizes(cell),
            "arm",
        )
        for cell in found.cells
    ]
    sizes = {line.n for line in lines}
    metric = found.metric.definition.heading
    note = "; ".join(f"{key}: {a or 'none'} | {b or 'none'}" for key, a, b in found.params)
    return Layout(
        id="difference",
        title=f"{metric} on {found.part}: A = {found.a}, B = {found.b}",
        note=f"A | B throughout: {note}." if note else "",
        columns=("A", "B", "B − A", "p", "called differently"),
        beside=0,
        lines=tuple(lines),
        with_sources=False,
        with_n=len(sizes) > 1,
        footnotes=(),
        commands=(),
        footer=(
            *_footer(found),
            *((f"n: {next(iter(sizes))} in every number.",) if len(sizes) == 1 else ()),
        ),
    )


def _footer(found: Difference) -> list[str]:
    out = [] if found.cells else ["No configuration is on both sides."]
    for name, only in zip("AB", found.only):
        if only:
            said = "; ".join(
                f"{text} ({runs} run{'' if runs == 1 else 's'})" for text, runs in only
            )
            out.append(f"Only in {name}: {said}.")
    if found.facts:
        out.append(
            "Recorded differently, A | B: "
            + "; ".join(f"{key} {a} | {b}" for key, a, b in found.facts)
            + "."
        )
    elif found.cells:
        out.append("Data, splits, commit, hardware and library versions are the same.")
    if any(cell.passed_over for cell in found.cells):
        out.append(
            f"Of {sum(cell.passed_over for cell in found.cells)} configurations that match as well the newest counts."
        )
    tested = [cell for cell in found.cells if cell.p is not None]
    if found.cells:
        out.append("Intervals: 95 %, over seeds and over the test set; of differences, paired.")
    if tested:
        said = " or ".join(sorted({c.comparison.words for c in tested if c.comparison is not None}))
        out.append(f"p: {said}; bold: p < {ALPHA}.")
        out.append("Δp: largest difference of a class probability, of means over seeds.")
    return out


def _estimate(estimate: Estimate, sign: str = "") -> str:
    text = f"{estimate.mean:{sign}.3f}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _value(estimate: Estimate) -> Text:
    return Text(_estimate(estimate), sort=estimate.mean)


def _delta(cell: Compared) -> Text:
    if cell.delta is None:
        return Text("other classes")
    return Text(_estimate(cell.delta, "+"), best=cell.stands_out, sort=cell.delta.mean)


def _p(cell: Compared) -> Text:
    if cell.p is None:
        return Text("other samples" if cell.delta is not None else NOTHING)
    return Text("< 0.001" if cell.p < 0.001 else f"{cell.p:.3f}", best=cell.stands_out, sort=cell.p)


def _predictions(cell: Compared) -> Text:
    if cell.largest is None or cell.changed is None:
        return Text()
    if cell.largest == 0:
        return Text("equal", sort=0.0)
    return Text(
        f"{cell.changed} of {cell.a.samples:,}, Δp ≤ {cell.largest:.1g}", sort=float(cell.changed)
    )


def _sizes(cell: Compared) -> str:
    a, b = (sizes_text(estimate, folds) for estimate, folds in zip((cell.a, cell.b), cell.folds))
    return a if a == b else f"{a} | {b}"


COLUMNS = ("mean", "low", "high", "seeds", "folds", "samples")


def csv_text(found: Difference) -> str:
    """One row a cell, then one for each that is on one side only; values are fractions, unrounded."""
    keys = list(dict.fromkeys(key for cell in found.cells for key in cell.keys))
    sides = [f"{side}_{name}" for side in ("a", "b") for name in COLUMNS]
    rest = (
        "delta",
        "delta_low",
        "delta_high",
        "p",
        "estimand",
        "unit",
        "units",
        "changed",
        "largest",
    )
    out = io.StringIO()
    writer = csv.DictWriter(
        out, ["cell", "in", *keys, *sides, *rest], lineterminator="\n", restval=""
    )
    writer.writeheader()
    for cell in found.cells:
        record: dict[str, object] = {"cell": cell.label, "in": "both", **cell.keys}
        for side, estimate, folds in (("a", cell.a, cell.folds[0]), ("b", cell.b, cell.folds[1])):
            values = (
                estimate.mean,
                estimate.low,
                estimate.high,
                estimate.seeds,
                folds,
                estimate.samples,
            )
            record |= {f"{side}_{name}": _plain(value) for name, value in zip(COLUMNS, values)}
        if cell.delta is not None:
            record |= {"delta": _plain(cell.delta.mean), "delta_low": _plain(cell.delta.low)}
            record["delta_high"] = _plain(cell.delta.high)
        record["p"] = _plain(cell.p)
        if (test := cell.comparison) is not None:
            record |= {"estimand": test.estimand, "unit": test.unit, "units": test.n}
        record |= {"changed": _plain(cell.changed), "largest": _plain(cell.largest)}
        writer.writerow(record)
    for side, only in zip(("a", "b"), found.only):
        for text, _ in only:
            writer.writerow({"cell": text, "in": side})
    return out.getvalue()


def _plain(value: float | int | str | None) -> str:
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)

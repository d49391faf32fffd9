"""A filled ladder as text: for the terminal, Markdown, CSV and HTML, with its waterfall."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape

from rich import box
from rich.console import Console
from rich.table import Table

from leukobench.evaluation.estimates import Estimate
from leukobench.papers.ladder import FilledLadder, Rung

NOTHING = "–"
CSV_HEAD = (
    "paper",
    "kind",
    "title",
    "measure",
    "value",
    "low",
    "high",
    "error",
    "seeds",
    "samples",
)


def estimate_text(estimate: Estimate | None, signed: bool = False) -> str:
    """`.807 [.751, .858]`; a dash where there is no value."""
    if estimate is None:
        return NOTHING
    sign = "+" if signed else ""
    text = f"{estimate.mean:{sign}.3f}"
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval)"
    return f"{text} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def rung_rows(ladder: FilledLadder) -> list[list[str]]:
    """A row a rung: title, then a measure a column; the majority class of the first and last below."""
    rows = [[r.title, *(estimate_text(e) for e in r.estimates)] for r in ladder.rungs]
    filled = [r for r in ladder.rungs if any(b is not None for b in r.baseline)]
    for rung in dict.fromkeys([*filled[:1], *filled[-1:]]):
        values = [NOTHING if b is None else f"{b:.3f}" for b in rung.baseline]
        rows.append([f"majority class ({rung.title})", *values])
    return rows


def step_rows(ladder: FilledLadder) -> list[list[str]]:
    """A row a switch and measure: in its place, alone first, alone last; then the whole and the interaction."""
    rows = []
    for m, measure in enumerate(ladder.measures):
        if ladder.whole[m] is None and all(s.climbed[m] is None for s in ladder.steps):
            continue
        for step in ladder.steps:
            cells = [estimate_text(x[m], True) for x in (step.climbed, step.first, step.last)]
            rows.append([measure, step.title, *cells])
        rows.append([measure, "the whole", estimate_text(ladder.whole[m], True), "", ""])
        left = ladder.interaction[m]
        rows.append([measure, "interaction", NOTHING if left is None else f"{left:+.3f}", "", ""])
    return rows


STEP_HEAD = ("measure", "switch", "in this order", "alone, from the paper", "alone, from leak-free")


def notes_of(ladder: FilledLadder) -> list[str]:
    """What is to be said of rungs and steps, each once."""
    notes = [f"{r.title}: {note}" for r in ladder.rungs for note in r.notes]
    notes += [f"{s.title}: {note}" for s in ladder.steps for note in s.notes]
    counted = [e for r in ladder.rungs for e in r.estimates if e is not None]
    if counted:
        e = counted[0]
        of = f" of {e.subjects:,} subjects" if e.subjects is not None else ""
        notes.append(f"{e.seeds} seeds, {e.samples:,} test samples{of}; intervals are of 95 %")
    reasons = dict.fromkeys(e.reason for e in counted if e.reason)
    return [*dict.fromkeys(notes), *(f"no interval: {reason}" for reason in reasons)]


def show_ladder(ladder: FilledLadder, console: Console) -> None:
    """Print a ladder."""
    console.print(_grid(("rung", *ladder.measures), rung_rows(ladder), ladder.title))
    console.print(_grid(STEP_HEAD, step_rows(ladder), "What each switch is worth"))
    for text in (ladder.note, *notes_of(ladder)):
        if text:
            console.print(f"  {text}", markup=False, highlight=False)
    if ladder.commands:
        console.print("  What is not run is filled by:")
        for command in ladder.commands:
            console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Table:
    table = Table(*head, title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_ladder(ladder: FilledLadder) -> str:
    """A ladder in Markdown."""
    lines = [f"# {ladder.title}", "", *_md(("rung", *ladder.measures), rung_rows(ladder)), ""]
    lines += [*_md(STEP_HEAD, step_rows(ladder)), ""]
    lines += [f"- {text}" for text in (ladder.note, *notes_of(ladder)) if text]
    lines += [f"- not run: `{command}`" for command in ladder.commands]
    return "\n".join(lines) + "\n"


def _md(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]


def csv_ladder(ladder: FilledLadder) -> str:
    """A line a number, unrounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for rung in ladder.rungs:
        _csv_lines(writer, ladder, "rung", rung.title, rung.estimates)
    for step in ladder.steps:
        _csv_lines(writer, ladder, "step", step.title, step.climbed)
        _csv_lines(writer, ladder, "alone from the paper", step.title, step.first)
        _csv_lines(writer, ladder, "alone from leak-free", step.title, step.last)
    _csv_lines(writer, ladder, "whole", "", ladder.whole)
    return out.getvalue()


def _csv_lines(
    writer: object,
    ladder: FilledLadder,
    kind: str,
    title: str,
    estimates: Sequence[Estimate | None],
) -> None:
    for measure, e in zip(ladder.measures, estimates):
        if e is not None:
            row = [ladder.paper, kind, title, measure, e.mean, e.low, e.high, e.error]
            writer.writerow([*row, e.seeds, e.samples])  # type: ignore[attr-defined]


def html_ladder(ladder: FilledLadder) -> str:
    """A page of its own, its waterfall inside."""
    parts = [
        "<!doctype html><meta charset=utf-8>",
        f"<title>{escape(ladder.title)}</title>",
        "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto}"
        "td,th{padding:.2em .8em;text-align:left}</style>",
        f"<h1>{escape(ladder.title)}</h1>",
        _html(("rung", *ladder.measures), rung_rows(ladder)),
        waterfall(ladder),
        _html(STEP_HEAD, step_rows(ladder)),
        *(f"<p>{escape(text)}</p>" for text in (ladder.note, *notes_of(ladder)) if text),
        *(f"<p>not run: <code>{escape(c)}</code></p>" for c in ladder.commands),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = []
    for row in rows:
        body.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>")
    return f"<table><tr>{titles}</tr>{''.join(body)}</table>"


def waterfall(ladder: FilledLadder) -> str:
    """The first measure as SVG: each rung, and the steps between them; empty where two rungs are not filled."""
    filled = [r for r in ladder.rungs if r.estimates[0] is not None]
    if len(filled) < 2:
        return ""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from leukobench.report.figures import COLOURS, STYLE

    with mpl.rc_context(STYLE):
        canvas = Figure(figsize=(7, 0.5 * len(filled) + 1.2), layout="constrained")
        axes = canvas.add_subplot()
        _draw(axes, filled, COLOURS)
        axes.set_xlabel(f"{ladder.measures[0]}, 95 % interval")
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def _draw(axes: object, rungs: Sequence[Rung], colours: Sequence[str]) -> None:
    before: float | None = None
    for i, rung in enumerate(rungs):
        estimate = rung.estimates[0]
        assert estimate is not None
        value = estimate.mean
        if before is not None:
            colour = colours[1] if value < before else colours[2]
            axes.barh(i, value - before, left=before, color=colour, height=0.5)  # type: ignore[attr-defined]
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [i, i], color="black", lw=1)  # type: ignore[attr-defined]
        axes.plot([value], [i], "o", color=colours[0])  # type: ignore[attr-defined]
        before = value
    axes.set_yticks(range(len(rungs)), [r.title for r in rungs])  # type: ignore[attr-defined]
    axes.invert_yaxis()  # type: ignore[attr-defined]

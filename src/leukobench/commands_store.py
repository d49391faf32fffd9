"""What the subcommands around stores and outputs do: move sweeps, remove what is no longer needed, compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from leukobench.commands import Where, err, out, progress
from leukobench.settings import Settings, resolve

if TYPE_CHECKING:
    from leukobench.papers.difference import Side


def size(bytes: int) -> str:
    """`512 B`, `3.4 MB`."""
    value = float(bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def export_sweep(name: str, file: Path, where: Where) -> None:
    """Write a sweep to an archive."""
    from leukobench.tracking import transfer

    settings = resolve(**where)
    with progress("exporting") as update:
        done = transfer.export_sweep(settings, name, file, update)
    out.print(
        f"{done.results} results and {done.trajectories} trajectories of sweep {escape(name)} are in {file} "
        f"({size(done.size)}); bring them into another store: leukobench import {file}"
    )
    if done.undelivered:
        err.print(
            f"[yellow]warning:[/yellow] {done.undelivered} finished results of this sweep lie in run folders only and "
            f"are not in it; deliver them first: leukobench sync {escape(name)}"
        )


def import_sweep(file: Path, where: Where) -> None:
    """Bring an archive into the store."""
    from leukobench.tracking import transfer

    settings = resolve(**where)
    with progress("importing") as update:
        done = transfer.import_sweep(settings, file, update)
    out.print(
        f"{done.new} results of sweep {escape(done.sweep)} brought into {settings.shown_store}; {done.there} were there already"
    )


def collect_garbage(days: float, yes: bool, dry_run: bool, where: Where) -> None:
    """List what is no longer needed and, after asking, remove it."""
    import click

    from leukobench.tracking.retention import find, remove

    settings = resolve(**where)
    with progress("looking") as update:
        found = find(settings, days, update)
    for note in found.notes:
        err.print(f"note: {escape(note)}")
    if not found.removable:
        out.print(f"nothing in {settings.output} that is no longer needed ({days:g} days are kept)")
        return
    for kind in dict.fromkeys(item.kind for item in found.removable):
        items = [item for item in found.removable if item.kind == kind]
        out.print(f"[bold]{kind}[/bold]: {len(items)}, {size(sum(item.size for item in items))}")
        for item in items:
            name = item.path.relative_to(settings.output.resolve())
            out.print(f"  {size(item.size):>9}  {escape(str(name))}: {escape(item.reason)}")
    out.print(f"{size(found.size)} in all, in {settings.output}")
    if dry_run:
        return
    if not yes:
        click.confirm("Remove all of this?", abort=True)
    with progress("removing") as update:
        freed, stayed = remove(settings, found.removable, update)
    out.print(f"{size(freed)} freed")
    for line in stayed:
        err.print(f"[yellow]stayed[/yellow] {escape(line)}")


def show_difference(
    first: str, second: str, metric: str, averaging: str, part: str, form: str | None, where: Where
) -> None:
    """Compare two sweeps or exported files, and print how they differ."""
    from typing import cast

    from leukobench.evaluation.metrics import Averaging, Metric
    from leukobench.papers.difference import compare_sides
    from leukobench.report.difference import csv_text, lay_out

    settings = resolve(**where)
    a, b = (_side(text, settings) for text in (first, second))
    positive = next((p for r in a.results if (p := r.tags.get("leukobench.positive"))), None)
    measured = Metric(metric, cast(Averaging, averaging), positive)
    found = compare_sides(a, b, measured, part)
    if form == "csv":
        sys.stdout.write(csv_text(found))
    elif form == "md":
        from leukobench.report.text import markdown_table

        sys.stdout.write("\n".join(markdown_table(lay_out(found))).rstrip() + "\n")
    else:
        from leukobench.report.terminal import show_layout

        show_layout(lay_out(found), out)


def _side(text: str, settings: Settings) -> Side:
    """`SWEEP` or `FILE`, both with `:KEY=VALUE` for some of its results."""
    from leukobench.papers.difference import Side
    from leukobench.papers.results import ResultSet
    from leukobench.tracking.reading import Results
    from leukobench.tracking.transfer import ExportedResults

    source, *only = [text] if Path(text).is_file() else text.split(":")
    results: ResultSet
    if Path(source).is_file():
        results = ExportedResults(Path(source))
    else:
        with progress("reading") as update:
            results = Results(settings, [source], progress=update)
    return Side.of(text, results, only)

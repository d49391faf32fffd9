"""Around stores and outputs: move sweeps, compare them, remove what is no longer needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from leukobench.cli.console import Where, err, escape, out, progress
from leukobench.cli.options import MetricName, settings_options
from leukobench.cli.root import cli
from leukobench.evaluation.definition import Averaging
from leukobench.settings import Settings, resolve

if TYPE_CHECKING:
    from leukobench.papers.difference import Side


@cli.command("export")
@click.argument("sweep")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@settings_options
def export_command(sweep: str, file: Path, **where: str | None) -> None:
    """Write a sweep's finished runs, with their artifacts, to one file, to be imported into another store.

    \b
    leukobench export quickstart quickstart.zip
    leukobench export fata fata.zip --store http://server:5000
    """
    export_sweep(sweep, file, where)


@cli.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@settings_options
def import_command(file: Path, **where: str | None) -> None:
    """Bring an exported sweep into the store. Results that it has stay as they are; importing twice adds nothing.

    \b
    leukobench import quickstart.zip
    leukobench import fata.zip --store http://server:5000
    """
    import_sweep(file, where)


@cli.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--metric", type=MetricName(), default="balanced_accuracy", show_default=True, metavar="METRIC"
)
@click.option("--averaging", type=click.Choice(get_args(Averaging)), default="macro")
@click.option(
    "--part", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True
)
@click.option(
    "--format", "form", type=click.Choice(["md", "csv"]), help="Default: for the terminal."
)
@settings_options
def diff(
    first: str,
    second: str,
    metric: str,
    averaging: str,
    part: str,
    form: str | None,
    **where: str | None,
) -> None:
    """Compare two sweeps cell by cell: differences with intervals, paired tests, changed predictions.

    A and B are names of sweeps or exported files; :KEY=VALUE behind one takes some of its results, by a param or by
    what was recorded of a run (version.torch, commit, protocol, ...).

    \b
    leukobench diff quickstart quickstart_again
    leukobench diff before.zip after.zip --metric auroc
    leukobench diff rai:protocol=paper rai:protocol=leak_free
    leukobench diff fata:version.torch=2.8.0 fata:version.torch=2.9.1 --format md
    """
    show_difference(first, second, metric, averaging, part, form, where)


@cli.command()
@click.argument("sweep", required=False)
@click.option("--repair", is_flag=True, help="Mend what can be mended from a copy that is good.")
@settings_options
def fsck(sweep: str | None, repair: bool, **where: str | None) -> None:
    """Read every result wherever it stands, and say what is damaged, absent or not delivered.

    Run folders, the store with its artifacts, and the stores of features, images and predictions are read from front
    to end. Without SWEEP, those of every sweep. Exits with 1 while something is left to be mended.

    \b
    leukobench fsck
    leukobench fsck quickstart --repair
    """
    check_files(sweep, repair, where)


@cli.command()
@click.option(
    "--keep-days", default=14.0, show_default=True, help="What was used within so many days stays."
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="List, and remove nothing.")
@settings_options
def gc(keep_days: float, yes: bool, dry_run: bool, **where: str | None) -> None:
    """List what is no longer needed in the output folder, with sizes and reasons, and remove it after asking.

    Checkpoints of finished trainings, run folders that the store holds, feature and image stores that nobody uses,
    saved plans and leftovers of killed processes. Undelivered results and whatever a launch uses stay.

    \b
    leukobench gc --dry-run
    leukobench gc --keep-days 30
    """
    collect_garbage(keep_days, yes, dry_run, where)


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
    from leukobench.tracking import exports

    settings = resolve(**where)
    with progress("exporting") as update:
        done = exports.export_sweep(settings, name, file, update)
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
    from leukobench.report.sweep_picture import picture
    from leukobench.tracking import imports

    settings = resolve(**where)
    with progress("importing") as update:
        done = imports.import_sweep(settings, file, progress=update, draw=picture)
    out.print(
        f"{done.new} results of sweep {escape(done.sweep)} brought into {settings.shown_store}; {done.there} were there already"
    )


def check_files(name: str | None, repair: bool, where: Where) -> None:
    """Print what is not as it was written; mend it where that is asked for."""
    from leukobench.errors import LeukoBenchError
    from leukobench.tracking.inspection import inspect

    settings = resolve(**where)
    with progress("reading") as update:
        found = inspect(settings, name, update)
    for note in found.notes:
        err.print(f"note: {escape(note)}")
    out.print(
        f"read {found.folders} results in run folders, {found.stored} in {settings.shown_store}, "
        f"{found.stores} stores of features, images and predictions"
    )
    for fault in found.faults:
        out.print(f"[yellow]fault[/yellow] {escape(fault.what)}")
        out.print(f"  {'' if repair else 'with --repair: '}{escape(fault.remedy)}")
    if not found.faults:
        out.print("everything is as it was written")
        return
    left = found.repair() if repair else [fault.what for fault in found.faults]
    if left and repair:
        raise LeukoBenchError(f"{len(left)} of {len(found.faults)} faults stay: {'; '.join(left)}")
    if left:
        raise LeukoBenchError(f"{len(left)} faults; `leukobench fsck --repair` mends them")
    out.print(f"{len(found.faults)} faults mended; what was forgotten runs at the next launch")


def collect_garbage(days: float, yes: bool, dry_run: bool, where: Where) -> None:
    """List what is no longer needed and, after asking, remove it."""
    import click

    from leukobench.tracking.removal import remove
    from leukobench.tracking.retention import find

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
    from leukobench.schema.names import Tag

    settings = resolve(**where)
    a, b = (_side(text, settings) for text in (first, second))
    positive = next((p for r in a.results if (p := r.tags.get(Tag.POSITIVE))), None)
    measured = Metric(metric, cast(Averaging, averaging), positive)
    found = compare_sides(a, b, measured, part)
    if form == "csv":
        sys.stdout.write(csv_text(found))
    elif form == "md":
        from leukobench.report.text import markdown_table

        sys.stdout.write("\n".join(markdown_table(lay_out(found))).rstrip() + "\n")
    else:
        from leukobench.report.terminal import show_layout

        show_layout(lay_out(found), out.console)


def _side(text: str, settings: Settings) -> Side:
    """`SWEEP` or `FILE`, both with `:KEY=VALUE` for some of its results."""
    from leukobench.papers.difference import Side
    from leukobench.papers.results import ResultSet
    from leukobench.tracking.archive import ArchiveResults
    from leukobench.tracking.reading import Results

    source, *only = [text] if Path(text).is_file() else text.split(":")
    results: ResultSet
    if Path(source).is_file():
        results = ArchiveResults(Path(source))
    else:
        with progress("reading") as update:
            results = Results(settings, [source], progress=update)
    return Side.of(text, results, only)

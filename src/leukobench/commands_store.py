"""What the subcommands around stores and outputs do: move sweeps, remove what is no longer needed, compare."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from leukobench.commands import Where, err, out, progress
from leukobench.settings import resolve


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
        f"{done.new} results of sweep {escape(done.sweep)} brought into {settings.store}; {done.there} were there already"
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

"""Data sets: list, get, check, simulate."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from leukobench.cli.console import Where, escape, findings_counted, out, progress
from leukobench.cli.options import settings_options
from leukobench.cli.root import cli
from leukobench.settings import resolve

MOST_ROWS = 20
"""Rows of one kind that a table of counts shows on a terminal."""


@cli.group()
def data() -> None:
    """List, get, check and simulate data sets."""


@data.command("list")
@settings_options
def data_list(**where: str | None) -> None:
    """All data sets: what they hold, whether they are here, their licence.

    \b
    leukobench data list
    """
    list_data(where)


@data.command("get")
@click.argument("name")
@settings_options
def data_get(name: str, **where: str | None) -> None:
    """Download a data set, or say exactly how to get it where a licence form stands in between.

    \b
    leukobench data get golub
    leukobench data get cnmc --data-root data
    """
    get_data(name, where)


@data.command("check")
@click.argument("name")
@click.argument("overrides", nargs=-1)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of this data set.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@settings_options
def data_check(
    name: str, overrides: tuple[str, ...], root: Path | None, as_json: bool, **where: str | None
) -> None:
    """Read everything and report what is wrong. Exit status 1 where anything is.

    \b
    leukobench data check golub38
    leukobench data check cnmc --root data/cnmc/C-NMC_Leukemia
    leukobench data check golub --json > report.json
    """
    sys.exit(0 if check_data(name, overrides, root, as_json, where) else 1)


@data.command("simulate")
@click.argument("name")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--samples", type=int, help="How many samples.")
@click.option("--subjects", type=int, help="How many subjects.")
@click.option("--genes", type=int, help="How many genes, of expression data.")
@click.option("--seed", type=int, default=0, show_default=True)
@settings_options
def data_simulate(
    name: str,
    out: Path,
    samples: int | None,
    subjects: int | None,
    genes: int | None,
    seed: int,
    **where: str | None,
) -> None:
    """Write simulated data in the official layout, marked as simulated wherever they are used.

    \b
    leukobench data simulate cnmc --out data/cnmc --samples 400 --subjects 20
    leukobench data simulate cumida --out data/cumida --genes 600
    """
    sizes = {"samples": samples, "subjects": subjects, "genes": genes}
    simulate_data(name, out, seed, sizes, where)


def list_data(where: Where) -> None:
    """Print all data sets."""
    from leukobench.data.catalog import data_files, source

    settings = resolve(**where)
    from rich.table import Table

    table = Table(
        "name", "family", "what", "here", "licence", box=None, header_style="bold", pad_edge=False
    )
    for name in data_files():
        s = source(name, settings)
        here = "yes" if s.root is None or (s.root.exists() and any(s.root.iterdir())) else "no"
        table.add_row(name, s.family, escape(s.title), here, escape(s.licence))
    out.print(table)
    out.print(
        f"data folder: {settings.data} (LEUKOBENCH_DATA); get one with: leukobench data get NAME"
    )


def get_data(name: str, where: Where) -> None:
    """Download, or print instructions."""
    from leukobench.data.catalog import source

    path = source(name, resolve(**where)).get()
    out.print(f"{name} is ready" + (f" in {path}" if path is not None else "; nothing to download"))


def check_data(
    name: str, overrides: Sequence[str], root: Path | None, as_json: bool, where: Where
) -> bool:
    """Check, print the report, and say whether it is clean."""
    from leukobench.data.catalog import source

    s = source(name, resolve(**where), overrides, root)
    with progress(f"checking {name}") as update:
        report = s.check(update)
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
        return report.clean
    from rich.table import Table

    counts = Table(
        "what", "name", "found", "expected", box=None, header_style="bold", pad_edge=False
    )
    cells: list[list[Any]] = (
        report.counts.astype(object).where(report.counts.notna(), None).to_numpy().tolist()
    )
    shown: Counter[str] = Counter()
    for what, which, found, expected in cells:
        shown[what] += 1
        if shown[what] > MOST_ROWS:
            continue
        differs = expected is not None and found != expected
        counts.add_row(
            str(what),
            escape(str(which)),
            str(found),
            "" if expected is None else str(expected),
            style="yellow" if differs else "",
        )
    for what, n in shown.items():
        if n > MOST_ROWS:
            counts.add_row(what, f"… and {n - MOST_ROWS} more (--json has all)")
    out.print(f"[bold]{escape(name)}[/bold]")
    for key, value in report.facts.items():
        out.print(f"  {key}: {escape(str(value))}")
    out.print(counts)
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    for finding in report.findings:
        out.print(
            f"[{colours[finding.severity]}]{finding.severity}[/] {finding.rule}: {escape(finding.message)}"
        )
        if finding.where:
            more = f" … ({finding.count} in all)" if finding.count > len(finding.where[:5]) else ""
            out.print("    " + escape(", ".join(finding.where[:5])) + more)
    out.print(
        "[green]clean[/green]"
        if report.clean
        else f"[bold]not clean[/bold]: {findings_counted(report.findings)}"
    )
    return report.clean


def simulate_data(
    name: str, folder: Path, seed: int, sizes: Mapping[str, int | None], where: Where
) -> None:
    """Write simulated data; `sizes` are `samples`, `subjects` and `genes`, None for what the layout has."""
    from leukobench.data.catalog import source
    from leukobench.simulation import simulate

    path = simulate(source(name, resolve(**where)), folder, seed=seed, **sizes)
    out.print(f"simulated {name} written to {path}; use it with data.root={path}")

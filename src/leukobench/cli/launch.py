"""Launching trainings and seeing how far they are: train, sweep, status, sync."""

from __future__ import annotations

import sys

import click

from leukobench.cli.console import Where, escape, out
from leukobench.cli.options import F, config_dir_option, settings_options
from leukobench.cli.root import cli
from leukobench.errors import StoreError
from leukobench.settings import resolve

HYDRA = {"ignore_unknown_options": True, "allow_extra_args": True}
STATES = ("done", "failed", "unfinished", "not started")


def launch_options(function: F) -> F:
    """Options of the commands that launch trainings, and their help."""
    function = config_dir_option(function)
    for option in (
        click.option("-h", "--help", "show_help", is_flag=True, help="Show this help."),
        click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
        click.option("--force", is_flag=True, help="Run again what is finished."),
        click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    ):
        function = option(function)
    return function


def switches(**flags: bool) -> list[str]:
    """Overrides of the planner for flags that are set."""
    return [f"planner.{key}=true" for key, on in flags.items() if on]


@cli.command(context_settings=HYDRA, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@launch_options
@click.pass_context
def train(
    ctx: click.Context,
    arguments: tuple[str, ...],
    dry_run: bool,
    force: bool,
    fail_fast: bool,
    show_help: bool,
) -> None:
    """One run, or several with -m: plain Hydra.

    Any key of the config can be overridden; --cfg job shows it, --info defaults shows where it comes from.

    \b
    leukobench train model=gene_mlp optimizer=rmsprop epochs=50
    leukobench train -m model=logistic,gene_mlp seed=0,1,2
    leukobench train split=kfold fold=all 'evaluate_at=[10,20,50]'
    leukobench train --config-dir my_configs data=mine
    """
    if show_help:
        click.echo(ctx.get_help())
        return
    from leukobench.settings import conf_dir
    from leukobench.sweeps.app import run_app

    planner = switches(dry_run=dry_run, force=force, fail_fast=fail_fast)
    run_app(conf_dir(), "train", [*arguments, *planner])


@cli.command(context_settings=HYDRA, add_help_option=False)
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@launch_options
@click.pass_context
def sweep(
    ctx: click.Context,
    name: str | None,
    arguments: tuple[str, ...],
    dry_run: bool,
    force: bool,
    fail_fast: bool,
    show_help: bool,
) -> None:
    """Launch the sweep in sweeps/NAME.yaml: the same as Hydra's multirun on that file.

    Overriding a swept key replaces its values. Finished runs are never run twice.

    \b
    leukobench sweep quickstart
    leukobench sweep fata model=vgg16 epochs=10,20 seed=0,1,2
    leukobench sweep rai protocol=leak_free --dry-run
    """
    if show_help or name is None:
        click.echo(ctx.get_help())
        sys.exit(0 if show_help else 2)
    from leukobench.settings import find_sweep
    from leukobench.sweeps.app import run_app

    path = find_sweep(name)
    planner = switches(dry_run=dry_run, force=force, fail_fast=fail_fast)
    run_app(path.parent, path.stem, ["--multirun", *arguments, *planner])


@cli.command()
@click.argument("name", required=False)
@settings_options
@click.option("--jobs", is_flag=True, help="List every job.")
def status(name: str | None, jobs: bool, **where: str | None) -> None:
    """A sweep's jobs: done, failed, unfinished, not started; time spent and left. Without NAME, every sweep's.

    \b
    leukobench status
    leukobench status quickstart --jobs
    leukobench status fata --store http://server:5000
    """
    if name is None:
        show_sweeps(where)
    else:
        show_status(name, jobs, where)


@cli.command()
@click.argument("name", required=False)
@settings_options
def sync(name: str | None, **where: str | None) -> None:
    """Deliver run folders that the store does not hold yet (it was out of reach, or another one is meant).

    \b
    leukobench sync
    leukobench sync fata --store http://server:5000
    """
    sync_folders(name, where)


def show_sweeps(where: Where) -> None:
    """Print how many jobs of each sweep of the store are in which state."""
    from leukobench.sweeps.states import status
    from leukobench.tracking.connection import Store
    from leukobench.tracking.sweeps import sweep_names

    settings = resolve(**where)
    from rich.table import Table

    table = Table("sweep", *STATES, box=None, header_style="bold", pad_edge=False)
    for name in sweep_names(Store(settings)):
        try:
            rows = status(settings, name)
        except StoreError:
            continue  # an experiment of another program
        counts = [sum(r["state"] == state for r in rows) for state in STATES]
        table.add_row(escape(name), *map(str, counts))
    if not table.row_count:
        out.print(
            f"no sweep in {settings.shown_store} yet; launch one: leukobench sweep quickstart"
        )
        return
    out.print(f"sweeps in {settings.shown_store}")
    out.print(table)


def show_status(name: str, jobs: bool, where: Where) -> None:
    """Print counts of a sweep's jobs by state, time spent and an estimate of the time left."""
    from leukobench.sweeps.states import duration, go_on, seconds_left, status
    from leukobench.tracking.references import SHORT, short

    settings = resolve(**where)
    rows = status(settings, name)
    counts = {state: sum(r["state"] == state for r in rows) for state in STATES}
    out.print(f"[bold]sweep {escape(name)}[/bold] in {settings.shown_store}: {len(rows)} jobs")
    for state in STATES:
        out.print(f"  {state:<12}{counts[state]:>6}")
    spent = {
        r["training"]: r["training_seconds"] for r in rows if r["training_seconds"] is not None
    }
    total = sum(spent.values())
    left = {r["training"] for r in rows if r["state"] != "done"}
    line = f"time spent {duration(total)} in {len(spent)} trainings"
    if left:
        line += f", {len(left)} left"
        seconds = seconds_left(rows)
        line += f" of about {duration(seconds)}" if seconds is not None else ""
    out.print(line)
    for row in rows:
        if jobs or row["state"] == "failed":
            error = f": {row['error']}" if row.get("error") else ""
            run = short(row["run_id"] or "")
            out.print(f"  {run:<{SHORT}} {row['state']:<12} {escape(row['name'] + error)}")
    for command in go_on(name, rows):
        out.print(f"go on with: {escape(command)}")


def sync_folders(name: str | None, where: Where) -> None:
    """Deliver what the store does not hold yet."""
    from leukobench.report.sweep_picture import picture
    from leukobench.sweeps.outcome import NotDelivered
    from leukobench.tracking.delivery import sync

    settings = resolve(**where)
    try:
        delivered = sync(settings, name, draw=picture)
    except StoreError as e:
        raise NotDelivered(str(e)) from e
    out.print(f"{delivered} run folders of {settings.output} are in {settings.shown_store}")

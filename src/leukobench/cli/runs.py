"""The runs of a store: their short ids, what they were run with, how they did."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from leukobench.cli.console import Where, escape, out
from leukobench.cli.options import settings_options
from leukobench.cli.root import cli
from leukobench.errors import StoreError
from leukobench.settings import resolve

USUAL = ("data", "model", "optimizer", "epochs")
"""What runs of several sweeps are named by."""
SHOWN = {"test": "test_accuracy", "validation": "validation_accuracy"}


@cli.command()
@click.argument("sweep", required=False)
@click.option("-n", "--number", default=20, show_default=True, help="How many, the latest first.")
@settings_options
def runs(sweep: str | None, number: int, **where: str | None) -> None:
    """List finished runs, the latest first; of one sweep, or of all.

    Wherever a command takes a run, the first digits of its id do, a run folder, @last, and @best
    (on validation); @last:SWEEP and @best:SWEEP are of one sweep.

    \b
    leukobench runs
    leukobench runs quickstart -n 5
    """
    show_runs(sweep, number, where)


def show_runs(sweep: str | None, number: int, where: Where) -> None:
    """Print the latest runs.

    Raises:
        StoreError: There are none.
    """
    from rich.table import Table

    from leukobench.papers.grid import varied_keys, words
    from leukobench.tracking.reading import Results
    from leukobench.tracking.references import latest_first, short

    settings = resolve(**where)
    results = Results(settings, None if sweep is None else [sweep]).results
    if not results:
        of = "" if sweep is None else f" of a sweep {sweep!r}"
        launch = f"leukobench sweep {sweep or 'quickstart'}"
        raise StoreError(
            f"no finished runs{of} in {settings.shown_store} yet; launch some: {launch}"
        )
    keys = _names(USUAL if sweep is None else varied_keys(results))
    table = Table("run", "sweep", "of", *SHOWN, box=None, header_style="bold", pad_edge=False)
    for result in latest_first(results)[:number]:
        name = words(keys, tuple(result.params.get(key) for key in keys))
        scores = [result.metrics.get(metric, math.nan) for metric in SHOWN.values()]
        table.add_row(
            short(result.run_id),
            escape(result.tags.get("leukobench.sweep", "")),
            escape(name),
            *("" if math.isnan(score) else f"{score:.3f}" for score in scores),
        )
    out.print(f"runs in {settings.shown_store}; accuracy of one seed and fold each")
    out.print(table)
    if len(results) > number:
        out.print(f"… {len(results) - number} more: -n {len(results)}")
    out.print("pooled, with intervals: leukobench tables " + escape(sweep or "SWEEP"))


def _names(keys: Sequence[str]) -> tuple[str, ...]:
    """The keys that name a run: those of its configuration, seed and fold last."""
    return (*keys, "seed", "fold")

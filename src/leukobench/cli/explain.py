"""Why a model decided."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leukobench.cli.console import Where, err, escape, out, progress
from leukobench.cli.options import settings_options, trust_option
from leukobench.cli.predict import model_of, show_model
from leukobench.cli.root import cli
from leukobench.settings import resolve

if TYPE_CHECKING:
    from leukobench.training.saved import SavedModel


@cli.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o",
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default="explanation",
    show_default=True,
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(["grad_cam", "integrated_gradients", "occlusion"]),
    multiple=True,
    help="For images; all by default.",
)
@click.option(
    "--samples",
    default=8,
    show_default=True,
    help="Own test images of each class, where none is named.",
)
@click.option(
    "--activation", is_flag=True, help="Also an image that each class's logit is large for."
)
@trust_option
@settings_options
def explain(
    inputs: tuple[str, ...],
    run: str | None,
    name: str | None,
    to: Path,
    methods: tuple[str, ...],
    samples: int,
    activation: bool,
    trust: bool,
    **where: str | None,
) -> None:
    """Why a model decided: saliency over images and how much of it lies outside the cell, or genes ranked.

    \b
    leukobench explain --run 8f1c... cell.bmp other.bmp -o explanation
    leukobench explain --run 8f1c...
    """
    complete = explain_model(inputs, run, name, to, methods, samples, activation, trust, where)
    sys.exit(0 if complete else 3)


def explain_model(
    inputs: Sequence[str],
    run: str | None,
    name: str | None,
    to: Path,
    methods: Sequence[str],
    samples: int,
    activation: bool,
    trust: bool,
    where: Where,
) -> bool:
    """Write overlays and tables; True where every input could be read."""
    model = model_of(run, name, resolve(**where), trust)
    show_model(model)
    to.mkdir(parents=True, exist_ok=True)
    wanted = Explaining([Path(i) for i in inputs], to, methods, samples, activation)
    return EXPLAINERS[model.input.family](model, wanted)


@dataclass(frozen=True)
class Explaining:
    """What is to be explained, and how; images take all of it, genes inputs and folder."""

    inputs: Sequence[Path]
    to: Path
    methods: Sequence[str]
    samples: int
    activation: bool


def _explain_genes(model: SavedModel, wanted: Explaining) -> bool:
    from rich.table import Table

    from leukobench.training.explain_genes import TOP, explain_genes

    to = wanted.to
    found = explain_genes(model, wanted.inputs)
    found.table.to_csv(to / "genes.csv", index=False)
    columns = [c for c in found.table.columns if found.table[c].astype(str).str.strip().any()]
    table = Table(box=None)
    for c in columns:
        # names give way to numbers where the terminal is narrow: the other columns take 70 characters
        width = max(8, min(40, out.console.width - 70)) if c == "name" else None
        table.add_column(c.replace("_", "\n"), no_wrap=True, max_width=width)
    for row in found.table.head(20)[columns].itertuples(index=False):
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else escape(str(v)) for v in row))
    out.print(table)
    if found.spearman == found.spearman:
        line = f"rank correlation with signal to noise over the {len(found.table)} genes read: {found.spearman:.3f}"
        if len(found.table) > TOP:
            line += f"; {found.overlap} of the first {TOP} are among its first {TOP} as well"
        out.print(line)
    out.print(f"{len(found.table)} genes, {found.samples} samples; written to {to / 'genes.csv'}")
    return True


def _explain_images(model: SavedModel, wanted: Explaining) -> bool:
    from leukobench.models.explain import METHODS
    from leukobench.training.explain_images import activation_maxima, explain_images, own_images

    to = wanted.to
    chosen = tuple(m for m in METHODS if m in wanted.methods) or METHODS
    labels = None
    paths = list(wanted.inputs)
    if not paths:
        paths, labels = own_images(model, wanted.samples)
        err.print(f"no image named: {len(paths)} of the run's own test images are explained")
    with progress("explaining") as bar:
        found = explain_images(model, paths, to, labels=labels, methods=chosen, progress=bar)
    for row in found.outside().itertuples(index=False):
        out.print(
            f"{row.method}, called {escape(str(row.predicted))}: {row.outside:.1%} of the saliency lies outside the cell, "
            f"on {row.background:.1%} of the pixels ({row.images} images)"
        )
    if wanted.activation:
        for label, p in activation_maxima(model, to).items():
            out.print(f"activation maximum of {escape(label)}: probability {p:.3f}")
    out.print(f"{len(found.pictures)} pictures and saliency.csv written to {to}")
    for sample, reason in found.faults:
        err.print(f"[red]not explained[/red] {escape(sample)}: {escape(reason)}")
    return not found.faults


EXPLAINERS = {"expression": _explain_genes, "image": _explain_images}
"""What explains a model, by the family of the data that it reads."""

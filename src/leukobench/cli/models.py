"""Trained models kept and shown: register, card, figures, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leukobench.cli.console import Where, err, escape, out, progress
from leukobench.cli.options import settings_options, trust_option
from leukobench.cli.predict import model_of, show_model
from leukobench.cli.root import cli
from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.settings import resolve
from leukobench.targets import Provenance

if TYPE_CHECKING:
    from leukobench.tracking.locate import ResultFiles
    from leukobench.training.saved import SavedModel


@cli.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.argument("only", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--best", "sweep", help="Take the best result of this sweep instead of naming a run.")
@click.option(
    "--rule", default="validation_balanced_accuracy", show_default=True, help="Metric that decides."
)
@click.option("--name", help="Name in the registry; default: DATA-MODEL.")
@trust_option
@settings_options
def register(
    run: str | None,
    only: tuple[str, ...],
    sweep: str | None,
    rule: str,
    name: str | None,
    trust: bool,
    **where: str | None,
) -> None:
    """Register a trained model, with preprocessing, classes and card, in MLflow's model registry.

    \b
    leukobench register 8f1c...
    leukobench register --best rai --rule validation_log_loss model=lenet5
    """
    if sweep is not None and run is not None:
        only, run = (run, *only), None
    register_model(run, sweep, only, rule, name, trust, where)


@cli.command()
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o", "--to", type=click.Path(dir_okay=False, path_type=Path), help="card.md or card.html."
)
@trust_option
@settings_options
def card(
    run: str | None, name: str | None, to: Path | None, trust: bool, **where: str | None
) -> None:
    """A model's card: data, protocol, leaks, metrics with intervals, subjects, limits.

    \b
    leukobench card --run 8f1c... -o card.html
    """
    write_card(run, name, to, trust, where)


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--sweep", help="All results of this sweep.")
@trust_option
@settings_options
def figures(runs: tuple[str, ...], sweep: str | None, trust: bool, **where: str | None) -> None:
    """Draw the pictures of finished runs into their artifacts: confusion matrix, ROC, calibration, worst mistakes.

    Long trainings draw theirs by themselves, as the key `figures` of their config says.

    \b
    leukobench figures 8f1c...
    leukobench figures --sweep quickstart
    """
    draw_figures(runs, sweep, trust, where)


@cli.command("export-model")
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o",
    "--to",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="x.onnx or x.pt2.",
)
@trust_option
@settings_options
def export_model_command(
    run: str | None, name: str | None, to: Path, trust: bool, **where: str | None
) -> None:
    """Write a model for other programs, as ONNX or torch.export, and check that it answers the same.

    \b
    leukobench export-model --run 8f1c... -o model.onnx
    leukobench export-model --model golub38-logistic -o model.pt2
    """
    export_model(run, name, to, trust, where)


def register_model(
    run: str | None,
    sweep: str | None,
    only: Sequence[str],
    rule: str,
    name: str | None,
    trust: bool,
    where: Where,
) -> None:
    """Register a run, or the best result of a sweep, and print how to use it."""
    from leukobench.report.model_card import card_html
    from leukobench.training.register import Card, best_of, default_name, register
    from leukobench.training.saved import load_result

    if (run is None) == (sweep is None):
        raise ConfigError(
            "name one: a RUN to register, or --best SWEEP to take its best result on validation"
        )
    settings = resolve(**where)
    chosen = "hand: this run was named"
    if sweep is not None:
        found = best_of(sweep, rule, settings, dict(o.partition("=")[::2] for o in only))
        chosen, run = str(found), found.run_id
        err.print(f"chosen: run {run}, {chosen}")
    elif only:
        raise ConfigError(f"KEY=VALUE ({only[0]}) narrows --best; a single run needs none")
    model = load_result(str(run), settings, trust=trust)
    show_model(model)
    card = card_of(model, default_name(model), chosen)
    done = register(model, settings, Card(card, card_html(card)), name=name, chosen=chosen)
    out.print(f"registered {done.uri} in {settings.shown_store}")
    out.print(f"use it:  leukobench predict --model {done.name} INPUT... -o predictions.csv")
    out.print(f"    or:  mlflow.pyfunc.load_model({done.uri!r}).predict(frame)")


def card_of(model: SavedModel, title: str, chosen: str = "") -> str:
    """The model card of a saved model as Markdown.

    Args:
        chosen: How it was chosen among others, in words.
    """
    from leukobench.report.model_card import model_card
    from leukobench.schema import predictions
    from leukobench.schema.records import CURVES

    curves = model.files.read(CURVES)
    return model_card(
        title,
        model.record,
        model.run,
        config=model.config,
        frame=predictions.read(model.files.file(predictions.FILE)),
        reads=model.describe()["reads"],
        chosen=chosen,
        provenance=model.provenance,
        curves=curves or [],
    )


def write_card(
    run: str | None, name: str | None, to: Path | None, trust: bool, where: Where
) -> None:
    """Write or print a model card; the suffix decides between Markdown and HTML."""
    model = model_of(run, name, resolve(**where), trust)
    kept = model.files.training / "card.md"
    if kept.is_file():
        card = kept.read_text(encoding="utf-8")
    else:
        card = card_of(model, model.name)
    if to is None:
        print(card, end="")
        return
    from leukobench.files import atomic
    from leukobench.report.model_card import card_html

    with atomic(to) as temporary:
        temporary.write_text(
            card_html(card) if to.suffix in (".html", ".htm") else card, encoding="utf-8"
        )
    err.print(f"written to {to}")


def draw_figures(runs: Sequence[str], sweep: str | None, trust: bool, where: Where) -> None:
    """Draw results' pictures: of a run in the store into its artifacts, of a folder beside its result."""
    import tempfile

    from leukobench.report.run_figures import FOLDER, write_run_figures
    from leukobench.tracking.connection import Store
    from leukobench.tracking.locate import locate_run
    from leukobench.tracking.reading import Results

    settings = resolve(**where)
    if bool(runs) == (sweep is not None):
        raise ConfigError("name runs, or --sweep NAME for all of a sweep's results")
    if sweep is not None:
        runs = [r.run_id for r in Results(settings, [sweep]).results]
        if not runs:
            raise StoreError(
                f"the store {settings.shown_store} has no finished result of a sweep {sweep!r}"
            )
    with progress("drawing") as bar:
        for i, run in enumerate(runs):
            located = locate_run(run, settings)
            if located.run_id is None:
                write_run_figures(
                    located.result, located.training, sample_files(located, trust, settings.data)
                )
                out.print(f"{located.name}: {located.result / FOLDER}")
            else:
                store = Store(settings)
                with tempfile.TemporaryDirectory() as scratch:
                    write_run_figures(
                        located.result,
                        located.training,
                        sample_files(located, trust, settings.data),
                        out=Path(scratch),
                    )
                    store.attach(located.run_id, Path(scratch), FOLDER)
                out.print(f"{located.name}: artifacts {FOLDER}/ of run {located.run_id}")
            if bar is not None:
                bar("results", i + 1, len(runs))


def sample_files(located: ResultFiles, trust: bool, data: Path) -> dict[str, Path]:
    """Image files of a run's own data by sample; none for other data, and where the data are no longer there."""
    from leukobench.data.families import family
    from leukobench.schema.records import JOB, RUN
    from leukobench.training.job import Job, load_dataset

    job, run = located.read(JOB), located.read(RUN)
    if job is None or run is None or run.data is None or not family(run.data.family).files:
        return {}
    provenance = Provenance(str(located.file(JOB.file)), trusted=trust, data=data)
    try:
        return load_dataset(Job(dict(job.config), {}, provenance=provenance)).files()
    except LeukoBenchError as e:
        err.print(f"no contact sheet for {located.name}: {escape(str(e))}")
        return {}


def export_model(run: str | None, name: str | None, to: Path, trust: bool, where: Where) -> None:
    """Write a model as ONNX or as a program of torch.export, by the suffix, and compare its answers."""
    import numpy as np

    from leukobench.models.export import SUFFIXES, export

    forms = {suffix: form for form, suffix in SUFFIXES.items()}
    if to.suffix not in forms:
        raise ConfigError(f"{to}: the suffix says the form: .onnx for ONNX, .pt2 for torch.export")
    model = model_of(run, name, resolve(**where), trust)
    show_model(model)
    rng = np.random.default_rng(0)
    example = model.family.random_raw(model.input, rng, 3)
    facts = {
        "classes": list(model.classes),
        "genes": list(model.genes),
        "data": dict(model.input.data),
        "identity": model.record.identity,
        "use": "research on benchmarks only, not for clinical use",
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    difference = export(model.whole, example, to, forms[to.suffix], facts)
    shape = ", ".join(map(str, model.family.raw_shape(model.input)))
    out.print(
        f"{to}: {model.family.raw_kind} of shape (n, {shape}) to probabilities of {', '.join(model.classes)}"
    )
    out.print(f"checked: its probabilities differ from the model's by {difference:.1g} at most")

"""Trained models at work on new inputs: predict, and which model is meant."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leukobench.cli.console import Where, err, escape, progress
from leukobench.cli.options import settings_options, trust_option
from leukobench.cli.root import cli
from leukobench.errors import ConfigError
from leukobench.settings import Settings, resolve

if TYPE_CHECKING:
    from leukobench.training.predict import Predictions
    from leukobench.training.saved import SavedModel


@cli.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o",
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV to write; default: print it.",
)
@click.option("--id", "id_column", help="Column of sample names in a table.")
@click.option(
    "--threshold", type=float, help="Probability from which the positive class is called."
)
@click.option(
    "--specificity", type=float, help="Call at the threshold with this specificity on validation."
)
@click.option(
    "--calibrated",
    is_flag=True,
    help="Scale probabilities by the temperature fitted on validation.",
)
@click.option("--any-scale", is_flag=True, help="Predict expression values whatever their range.")
@trust_option
@settings_options
def predict(
    inputs: tuple[str, ...],
    run: str | None,
    name: str | None,
    to: Path | None,
    id_column: str | None,
    threshold: float | None,
    specificity: float | None,
    calibrated: bool,
    any_scale: bool,
    trust: bool,
    **where: str | None,
) -> None:
    """Predict new images, folders, zips or tables with a trained model.

    Exit status 3 where some of the inputs could not be predicted; they are listed, with the reason.

    \b
    leukobench predict --run 8f1c... cells/ -o predictions.csv
    leukobench predict --model golub38-logistic expression.csv
    """
    complete = predict_files(
        inputs,
        run,
        name,
        to,
        id_column,
        threshold,
        specificity,
        calibrated,
        any_scale,
        trust,
        where,
    )
    sys.exit(0 if complete else 3)


def model_of(run: str | None, name: str | None, settings: Settings, trust: bool) -> SavedModel:
    """The model of `--run` or `--model`, whichever is given; `trust` lets its config name any code."""
    if (run is None) == (name is None):
        raise ConfigError(
            "name one model: --run with a run id or folder, or --model with a registered model's name"
        )
    from leukobench.training.saved import load_registered, load_result

    if run is not None:
        return load_result(run, settings, trust=trust)
    return load_registered(str(name), settings, trust=trust)


def show_model(model: SavedModel) -> None:
    """Print what is used, on standard error."""
    for key, value in model.describe().items():
        err.print(f"[dim]{key:>12}[/dim]  {escape(value)}")


def predict_files(
    inputs: Sequence[str],
    run: str | None,
    name: str | None,
    to: Path | None,
    id_column: str | None,
    threshold: float | None,
    specificity: float | None,
    calibrated: bool,
    any_scale: bool,
    trust: bool,
    where: Where,
) -> bool:
    """Predict and write or print; True where every input has a prediction."""
    with _older_set_aside(to):
        model = model_of(run, name, resolve(**where), trust)
        show_model(model)
        temperature, threshold = _calling(model, threshold, specificity, calibrated)
        found = _predict(
            model,
            inputs,
            id_column=id_column,
            temperature=temperature,
            threshold=threshold,
            any_scale=any_scale,
        )
        if to is None:
            print(found.frame.to_csv(index=False), end="")
        else:
            from leukobench.files import atomic

            with atomic(to) as temporary:
                found.frame.to_csv(temporary, index=False)
    counts = found.frame.loc[found.frame["error"] == "", "predicted"].value_counts()
    listed = ", ".join(f"{n} {c}" for c, n in counts.items())
    err.print(
        f"{counts.sum()} of {len(found.frame)} predicted: {listed}"
        + (f"; written to {to}" if to else "")
    )
    for sample, reason in zip(found.faults["sample"], found.faults["error"]):
        err.print(f"[red]not predicted[/red] {escape(sample)}: {escape(reason)}")
    err.print("For research on benchmarks only, not for clinical use.")
    return found.faults.empty


@contextmanager
def _older_set_aside(to: Path | None) -> Iterator[None]:
    """Where the block fails, a file that an earlier command wrote is renamed: it is not this one's answer."""
    try:
        yield
    except BaseException:
        if to is not None and to.is_file():
            older = to.with_name(f"{to.name}.old")
            to.replace(older)
            err.print(
                f"{escape(str(to))} was from an earlier command; it is {escape(older.name)} now"
            )
        raise


def _calling(
    model: SavedModel, threshold: float | None, specificity: float | None, calibrated: bool
) -> tuple[float, float | None]:
    """Temperature, and threshold of the positive class, that the options ask for."""
    if not calibrated and specificity is None:
        return 1.0, threshold
    if threshold is not None:
        raise ConfigError(
            "--threshold is a choice of its own; leave --specificity and --calibrated out"
        )
    temperature, found = operating(model, specificity)
    said = f"chosen on validation: temperature {temperature:.4g}"
    if found is not None:
        said += f", {model.input.positive} from a probability of {found:.4g}"
    err.print(said)
    return temperature, found


def _predict(model: SavedModel, inputs: Sequence[str], **options: Any) -> Predictions:
    from leukobench.training.predict import predict

    with progress("predicting") as bar:
        found = predict(model, inputs, progress=bar, **options)
    for note in found.notes:
        err.print(f"note: {escape(note)}")
    return found


def operating(model: SavedModel, specificity: float | None) -> tuple[float, float | None]:
    """Temperature and threshold chosen on the model's validation predictions."""
    import json

    from leukobench.evaluation.calibration import calibrate
    from leukobench.schema import predictions

    kept = model.files.training / "calibration.json"
    if not model.files.file(predictions.FILE).is_file():
        if not kept.is_file():
            raise ConfigError(
                f"{model.name} was trained without validation samples, so that nothing is chosen on them"
            )
        body = json.loads(kept.read_text())
        if specificity is None:
            return float(body["temperature"]), None
        points = {p["wanted"]: p["threshold"] for p in body["points"]}
        if specificity not in points:
            listed = ", ".join(map(str, points)) or "none, for it has no positive class"
            raise ConfigError(
                f"{model.name} carries the thresholds of these specificities: {listed}; that of {specificity:g} is found "
                "with --run, from the run's own predictions"
            )
        return float(body["temperature"]), float(points[specificity])
    frame = predictions.read(model.files.file(predictions.FILE))
    found = calibrate(frame, model.input.positive, specificity if specificity is not None else 0.9)
    point = found.point if specificity is not None else None
    if specificity is not None and point is None:
        raise ConfigError(f"{model.name} has no positive class, so that specificity has no meaning")
    return found.temperature, None if point is None else point.threshold

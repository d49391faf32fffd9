"""What the subcommands around trained models do: predict, register, card, figures, explain, export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from leukobench.commands import Where, err, out, progress
from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.settings import Settings, resolve
from leukobench.targets import Provenance

if TYPE_CHECKING:
    from leukobench.tracking.locate import Located
    from leukobench.training.predict import Predictions
    from leukobench.training.saved import SavedModel


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
            from leukobench.tracking.folder import atomic

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
        width = max(8, min(40, out.width - 70)) if c == "name" else None
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
    from leukobench.training.register import best_of, register
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
    done = register(model, settings, name, chosen)
    out.print(f"registered {done.uri} in {settings.shown_store}")
    out.print(f"use it:  leukobench predict --model {done.name} INPUT... -o predictions.csv")
    out.print(f"    or:  mlflow.pyfunc.load_model({done.uri!r}).predict(frame)")


def write_card(
    run: str | None, name: str | None, to: Path | None, trust: bool, where: Where
) -> None:
    """Write or print a model card; the suffix decides between Markdown and HTML."""
    model = model_of(run, name, resolve(**where), trust)
    kept = model.files.training / "card.md"
    if kept.is_file():
        card = kept.read_text(encoding="utf-8")
    else:
        from leukobench.schema import predictions
        from leukobench.training.register import card_of

        card = card_of(model, predictions.read(model.files.file(predictions.FILE)), model.name)
    if to is None:
        print(card, end="")
        return
    from leukobench.report.model_card import card_html
    from leukobench.tracking.folder import atomic

    with atomic(to) as temporary:
        temporary.write_text(
            card_html(card) if to.suffix in (".html", ".htm") else card, encoding="utf-8"
        )
    err.print(f"written to {to}")


def draw_figures(runs: Sequence[str], sweep: str | None, trust: bool, where: Where) -> None:
    """Draw results' pictures: of a run in the store into its artifacts, of a folder beside its result."""
    import tempfile

    from leukobench.report.run_figures import FOLDER, write_run_figures
    from leukobench.tracking.locate import locate_run
    from leukobench.tracking.reading import Results
    from leukobench.tracking.store import Store

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
                    with store.errors("write"):
                        store.client.log_artifacts(located.run_id, scratch, FOLDER)
                out.print(f"{located.name}: artifacts {FOLDER}/ of run {located.run_id}")
            if bar is not None:
                bar("results", i + 1, len(runs))


def sample_files(located: Located, trust: bool, data: Path) -> dict[str, Path]:
    """Image files of a run's own data by sample; none for other data, and where the data are no longer there."""
    from leukobench.data.families import family
    from leukobench.training.job import Job, load_dataset

    config = (located.json("job.json") or {}).get("config")
    facts = (located.json("run.json") or {}).get("data")
    if config is None or facts is None or not family(facts["family"]).files:
        return {}
    provenance = Provenance(str(located.file("job.json")), trusted=trust, data=data)
    try:
        return load_dataset(Job(config, {}, provenance=provenance)).files()
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
        "identity": model.record.get("identity"),
        "use": "research on benchmarks only, not for clinical use",
    }
    to.parent.mkdir(parents=True, exist_ok=True)
    difference = export(model.whole, example, to, forms[to.suffix], facts)
    shape = ", ".join(map(str, model.family.raw_shape(model.input)))
    out.print(
        f"{to}: {model.family.raw_kind} of shape (n, {shape}) to probabilities of {', '.join(model.classes)}"
    )
    out.print(f"checked: its probabilities differ from the model's by {difference:.1g} at most")

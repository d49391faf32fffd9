"""Registering a result as a model in MLflow's registry, with its card; choosing the best result of a sweep.

Choice is by a validation metric, never by a test one. A registered model carries every tensor, its
preprocessing, genes and classes; MLflow runs its code from a file (`registered_model`), so that
nothing is pickled.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from leukobench import __version__
from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.evaluation.registry import find
from leukobench.schema import predictions
from leukobench.schema.names import Tag
from leukobench.schema.predictions import probability_columns
from leukobench.settings import Settings
from leukobench.tracking.connection import Store
from leukobench.tracking.locate import BUNDLE
from leukobench.tracking.reading import Results
from leukobench.tracking.references import best_first
from leukobench.tracking.registry import add_version
from leukobench.training.saved import SavedModel, write_bundle

CODE = Path(__file__).with_name("registered_model.py")
"""What MLflow copies beside the model and runs on loading."""
SPECIFICITIES = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Those whose thresholds, chosen on validation, a registered model carries."""


@dataclass(frozen=True)
class Choice:
    """The best result of a sweep.

    Attributes:
        run_id: Its run.
        rule: The metric it was chosen by.
        value: Of the metric.
        among: How many results had the metric.
    """

    run_id: str
    rule: str
    value: float
    among: int

    def __str__(self) -> str:
        return f"{self.rule} {self.value:.4f}, best of {self.among} results"


def best_of(
    sweep: str, rule: str, settings: Settings, where: Mapping[str, str] | None = None
) -> Choice:
    """The result of a sweep with the best validation metric.

    Ties go to the lower validation log loss, then to the smaller identity, so that the choice is
    the same at any time.

    Args:
        rule: A metric of the validation part as runs log it, for instance
            `validation_balanced_accuracy`.
        where: Params that a result must have.

    Raises:
        ConfigError: The rule is of no validation part.
        StoreError: The sweep has no result with this metric.
    """
    if not rule.startswith("validation_"):
        raise ConfigError(
            f"rule {rule!r}: a model is chosen on validation, never on test; name a metric of the validation part, for "
            "instance validation_balanced_accuracy"
        )
    metric = find(rule.removeprefix("validation_"))
    if metric is not None:
        rule = f"validation_{metric.name}"
    results = Results(settings, [sweep]).results
    if not results:
        raise StoreError(f"the store {settings.store} has no finished result of a sweep {sweep!r}")
    wanted = dict(where or {})
    fitting = [r for r in results if all(r.params.get(k) == v for k, v in wanted.items())]
    lower = metric is not None and metric.lower_is_better
    having = best_first(fitting, rule, lower)
    if not having:
        some = sorted({m for r in fitting for m in r.metrics if m.startswith("validation_")})
        raise StoreError(
            f"none of {len(fitting)} results of sweep {sweep!r} has the metric {rule}; "
            + (
                f"there are: {', '.join(some)}"
                if some
                else "they have no validation part: set split.validation=0.2"
            )
        )
    return Choice(having[0].run_id, rule, float(having[0].metrics[rule]), len(having))


@dataclass(frozen=True)
class Registered:
    """A version in the registry; `uri` is what `mlflow.pyfunc.load_model` takes."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Card:
    """A model card, in both forms that go with a registered model."""

    markdown: str
    html: str


def default_name(model: SavedModel) -> str:
    """`<data>-<model>`, by the choices of the run; `data.name` where the run's data were given a name of their own."""
    p = model.record.params
    data = p.get("data.name") or p.get("data") or model.input.data.get("name")
    return f"{data}-{p.get('model', 'model')}"


def register(
    model: SavedModel,
    settings: Settings,
    card: Card,
    *,
    name: str | None = None,
    chosen: str = "",
) -> Registered:
    """Add a model to the registry as a new version, with its card as the version's description.

    Args:
        name: In the registry; `default_name` by default.
        chosen: How it was chosen, for a tag.

    Raises:
        StoreError: The store cannot be written; the model is not of a run in the store.
    """
    if model.files.run_id is None:
        raise StoreError(
            "only a run of the store can be registered: name its run id (`leukobench sync` delivers folders)"
        )
    store = Store(settings)
    name = name or default_name(model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_model(model, Path(scratch) / "model", card)
        version = add_version(
            store,
            name,
            run_id=model.files.run_id,
            folder=folder,
            tags=_tags(model, chosen),
            description=card.markdown,
        )
    return Registered(name, version)


def _tags(model: SavedModel, chosen: str) -> dict[str, str]:
    data = model.input.data
    tags = {
        Tag.IDENTITY: model.record.identity,
        Tag.DATASET: str(data.get("name", "")),
        Tag.SIMULATED: str(bool(data.get("simulated"))).lower(),
        Tag.SUBSET: str(data.get("subset", "")),
        Tag.LEAKS: json.dumps(model.run.leaks),
        Tag.VERSION + "leukobench": __version__,
    }
    if chosen:
        tags[Tag.CHOSEN] = chosen
    return tags


def write_model(model: SavedModel, folder: Path, card: Card) -> Path:
    """Write a folder in MLflow's format that `mlflow.pyfunc.load_model` reads; nothing in it is pickled."""
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_bundle(model, Path(scratch) / BUNDLE)
        _write_card(model, bundle, card)
        example = model.family.example(model)
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(CODE),
            artifacts={BUNDLE: str(bundle)},
            signature=signature(model, example),
            input_example=example,
            pip_requirements=_requirements(model),
            metadata={
                "classes": list(model.classes),
                "reads": model.describe()["reads"],
                "clinical_use": False,
            },
            model_config={"trust": model.provenance.trusted},
        )
    return folder


def _write_card(model: SavedModel, bundle: Path, card: Card) -> None:
    from leukobench.evaluation.calibration import calibrate

    (bundle / "card.md").write_text(card.markdown, encoding="utf-8")
    (bundle / "card.html").write_text(card.html, encoding="utf-8")
    frame = predictions.read(model.files.file(predictions.FILE))
    try:
        found = [calibrate(frame, model.input.positive, s) for s in SPECIFICITIES]
    except LeukoBenchError:
        return  # there is no validation part; the card says so
    points = [asdict(f.point) for f in found if f.point is not None]
    body = {"temperature": found[0].temperature, "points": points}
    (bundle / "calibration.json").write_text(json.dumps(body, indent=1), encoding="utf-8")


def signature(model: SavedModel, example: pd.DataFrame) -> Any:
    """Columns and types in and out; no list of inputs where they are too many."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    out = Schema(
        [
            ColSpec(DataType.string, "predicted"),
            *(ColSpec(DataType.double, c) for c in probability_columns(model.classes)),
            ColSpec(DataType.string, "error"),
        ]
    )
    return ModelSignature(model.family.schema(model, example), out)


def _requirements(model: SavedModel) -> Sequence[str]:
    from importlib import metadata

    packages = ["leukobench", "torch", "numpy", "pandas", "safetensors", *model.family.packages]
    return [f"{p}=={metadata.version(p).partition('+')[0]}" for p in packages]

"""Registering a result as a model in MLflow's registry, with its card; choosing the best result of a sweep.

Choice is by a validation metric, never by a test one. A registered model carries every tensor, its preprocessing,
genes and classes; MLflow runs its code from a file (`registered_model`), so that nothing is pickled.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench import __version__
from leukobench.errors import ConfigError, LeukoBenchError, StoreError
from leukobench.evaluation.registry import find
from leukobench.schema import predictions
from leukobench.schema.predictions import probability_columns
from leukobench.settings import Settings
from leukobench.tracking.locate import BUNDLE
from leukobench.tracking.reading import Results
from leukobench.tracking.store import PREFIX, Store
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

    Ties go to the lower validation log loss, then to the smaller identity, so that the choice is the same at any time.

    Args:
        rule: A metric of the validation part as runs log it, for instance `validation_balanced_accuracy`.
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
    having = [r for r in fitting if np.isfinite(r.metrics.get(rule, np.nan))]
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
    sign = 1 if metric is not None and metric.lower_is_better else -1
    having.sort(
        key=lambda r: (
            sign * r.metrics[rule],
            r.metrics.get("validation_log_loss", np.inf),
            r.identity,
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


def default_name(model: SavedModel) -> str:
    """`<data>-<model>`, by the choices of the run; `data.name` where the run's data were given a name of their own."""
    p = model.record.get("params", {})
    data = p.get("data.name") or p.get("data") or model.input.data.get("name")
    return f"{data}-{p.get('model', 'model')}"


def register(
    model: SavedModel, settings: Settings, name: str | None = None, chosen: str = ""
) -> Registered:
    """Add a model to the registry as a new version, with its card as the version's description.

    Args:
        chosen: How it was chosen, for the card.

    Raises:
        StoreError: The store cannot be written; the model is not of a run in the store.
    """
    if model.files.run_id is None:
        raise StoreError(
            "only a run of the store can be registered: name its run id (`leukobench sync` delivers folders)"
        )
    store = Store(settings)
    name = name or default_name(model)
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        folder = write_model(model, Path(scratch) / "model", chosen)
        card = (folder / "artifacts" / BUNDLE / "card.md").read_text(encoding="utf-8")
        with store.errors("write"):
            store.client.log_artifacts(model.files.run_id, str(folder), "model")
            try:
                store.client.create_registered_model(
                    name, description=f"LeukoBench model {name}. Not for clinical use."
                )
            except MlflowException as e:
                if "exists" not in str(e):
                    raise
            version = store.client.create_model_version(
                name,
                source=f"runs:/{model.files.run_id}/model",
                run_id=model.files.run_id,
                tags=_tags(model, chosen),
                description=card[:90_000],
            )
    return Registered(name, str(version.version))


def _tags(model: SavedModel, chosen: str) -> dict[str, str]:
    data = model.input.data
    tags = {
        PREFIX + "identity": str(model.record.get("identity", "")),
        PREFIX + "dataset": str(data.get("name", "")),
        PREFIX + "simulated": str(bool(data.get("simulated"))).lower(),
        PREFIX + "subset": str(data.get("subset", "")),
        PREFIX + "leaks": json.dumps(model.run.get("leaks", [])),
        PREFIX + "version.leukobench": __version__,
    }
    if chosen:
        tags[PREFIX + "chosen"] = chosen
    return tags


def write_model(model: SavedModel, folder: Path, chosen: str = "") -> Path:
    """Write a folder in MLflow's format that `mlflow.pyfunc.load_model` reads; nothing in it is pickled."""
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_bundle(model, Path(scratch) / BUNDLE)
        _write_card(model, bundle, chosen)
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


def _write_card(model: SavedModel, bundle: Path, chosen: str) -> None:
    from leukobench.evaluation.calibration import calibrate

    frame = predictions.read(model.files.file(predictions.FILE))
    card = card_of(model, frame, default_name(model), chosen)
    (bundle / "card.md").write_text(card, encoding="utf-8")
    from leukobench.report.model_card import card_html

    (bundle / "card.html").write_text(card_html(card), encoding="utf-8")
    try:
        found = [calibrate(frame, model.input.positive, s) for s in SPECIFICITIES]
    except LeukoBenchError:
        return  # there is no validation part; the card says so
    points = [asdict(f.point) for f in found if f.point is not None]
    body = {"temperature": found[0].temperature, "points": points}
    (bundle / "calibration.json").write_text(json.dumps(body, indent=1), encoding="utf-8")


def card_of(model: SavedModel, frame: pd.DataFrame, title: str, chosen: str = "") -> str:
    """The model card of a saved model as Markdown."""
    from leukobench.report.model_card import model_card

    return model_card(
        title,
        model.record,
        model.run,
        model.config,
        frame,
        reads=model.describe()["reads"],
        chosen=chosen,
        provenance=model.provenance,
        curves=model.files.json("curves.json") or [],
    )


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

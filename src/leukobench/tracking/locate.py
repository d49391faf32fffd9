"""Finding the files of one finished result: in the output folder, in the store, or in a registered
model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from leukobench.errors import ConfigError, StoreError
from leukobench.schema.documents import Document
from leukobench.schema.names import Tag
from leukobench.schema.predictions import FILE as PREDICTIONS
from leukobench.schema.records import CURVES, JOB, RESULT, RUN
from leukobench.settings import Settings
from leukobench.tracking.connection import Store, local_path, quoted
from leukobench.tracking.references import whole_id

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")

RESULT_FILES = (RESULT.file, PREDICTIONS, "model.safetensors")
TRAINING_FILES = (JOB.file, RUN.file, "split.json", CURVES.file, "preprocess.safetensors")
BUNDLE = "bundle"
"""Folder of a registered model's own files among its artifacts."""


@dataclass(frozen=True)
class ResultFiles:
    """Where the files of a result are.

    Attributes:
        name: How the user or the store calls it.
        result: Folder of `result.json`, `predictions.parquet` and `model.safetensors`.
        training: Folder of `job.json`, `run.json`, `split.json`, `curves.json` and
            `preprocess.safetensors`.
        run_id: MLflow run, None for a folder.
    """

    name: str
    result: Path
    training: Path
    run_id: str | None = None

    def file(self, name: str) -> Path:
        """Where a file would be."""
        return (self.result if name in RESULT_FILES else self.training) / name

    def read(self, document: Document[T]) -> T | None:
        """Content of a JSON file, None where there is none. Raises DocumentError."""
        return document.read(self.file(document.file))


Located = ResultFiles
"""The name in the code that models registered by version 0.1 carry with them."""


def locate_run(reference: str | Path, settings: Settings) -> ResultFiles:
    """The result of a folder, of an MLflow run id, of an identity, or of what stands for one.

    Args:
        reference: A result's folder; a run folder (its last checkpoint epoch counts); a run id of
            the store; or the identity of a result in the output folder.

    Raises:
        StoreError: The store has no such run, or the run is none that holds a result.
    """
    path = Path(reference).expanduser()
    if path.is_dir():
        return _of_folder(path)
    text = whole_id(str(reference).removeprefix("runs:/"), settings)
    for found in (settings.output / "runs").glob(f"*/results/{text}"):
        return ResultFiles(text, found, found.parents[1])
    return _of_run(text, settings)


def _of_folder(path: Path) -> ResultFiles:
    if (path / RESULT.file).is_file():
        training = path if (path / JOB.file).is_file() else path.parents[1]
        return ResultFiles(path.name, path, training)
    epochs = {
        file.parent: record.epoch
        for file in path.glob(f"results/*/{RESULT.file}")
        if (record := RESULT.read(file)) is not None
    }
    if not epochs:
        raise ConfigError(
            f"{path} is no run folder: it holds neither result.json nor finished results"
        )
    return ResultFiles(path.name, max(epochs, key=lambda folder: epochs[folder]), path)


def _of_run(run_id: str, settings: Settings) -> ResultFiles:
    store = Store(settings)
    from mlflow.exceptions import MlflowException

    try:
        run = store.client.get_run(run_id)
    except MlflowException:
        raise StoreError(
            f"the store {settings.store} has no run {run_id}; the MLflow UI (`leukobench ui`) "
            f"shows the ids of all runs, "
            "and --store or MLFLOW_TRACKING_URI names another store"
        ) from None
    kind = run.data.tags.get(Tag.KIND)
    name = run.info.run_name or run_id
    if kind != "result":
        children = store.client.search_runs(
            [run.info.experiment_id], f"tags.`{Tag.PARENT}` = '{run_id}'", max_results=3
        )
        some = ", ".join(f"{c.info.run_id} ({c.info.run_name})" for c in children)
        raise StoreError(
            f"run {run_id} ({name}) is a {kind or 'run of something else'}, not a result with a "
            f"model; "
            + (
                f"choose one of its runs, for instance {some}"
                if some
                else "it has no runs below it"
            )
        )
    if run.info.status != "FINISHED":
        raise StoreError(
            f"run {run_id} ({name}) is {run.info.status.lower()}: it has no result yet; launch it "
            f"again"
        )
    tags = run.data.tags
    training = settings.output / "runs" / _digest(tags.get(Tag.TRAINING, ""))
    result = training / "results" / _digest(tags.get(Tag.IDENTITY, ""))
    if (result / RESULT.file).is_file():
        return ResultFiles(name, result, training, run_id)
    owner = run
    parent = tags.get(Tag.PARENT)
    if parent is not None and store.client.get_run(parent).data.tags.get(Tag.KIND) == "trajectory":
        owner = store.client.get_run(parent)
    return ResultFiles(
        name,
        _artifacts(store, run, RESULT_FILES),
        _artifacts(store, owner, TRAINING_FILES),
        run_id,
    )


def _digest(tag: str) -> str:
    """A tag that names a folder; empty where it could name one elsewhere."""
    return tag if re.fullmatch(r"[0-9a-f]{32}", tag) else ""


def _artifacts(store: Store, run: Run, names: tuple[str, ...]) -> Path:
    """Folder with a run's artifacts of these names, downloaded from a store that is not local."""
    run_id, uri = run.info.run_id, run.info.artifact_uri
    local = local_path(uri)
    if local is not None:
        return local
    folder = store.settings.output / "cache" / "artifacts" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    with store.errors("read"):
        present = {a.path for a in store.client.list_artifacts(run_id)}
        for name in names:
            if name in present and not (folder / name).is_file():
                store.download(f"{uri}/{name}", folder)
    return folder


def locate_model(name: str, settings: Settings) -> ResultFiles:
    """The files of a registered model: `NAME` (its latest version), `NAME/VERSION`, or
    `models:/NAME/VERSION`.

    Raises:
        StoreError: The store has no such model or version, or it was registered by something else.
    """
    store = Store(settings)
    model, _, version = name.removeprefix("models:/").partition("/")
    with store.errors("read"):
        versions = store.client.search_model_versions(f"name = {quoted(model)}", max_results=1000)
    if not versions:
        with store.errors("read"):
            known = (
                ", ".join(m.name for m in store.client.search_registered_models(max_results=20))
                or "none"
            )
        raise StoreError(
            f"the store {settings.store} has no registered model {model!r}; there are: {known}"
        )
    numbers = {int(v.version): v for v in versions}
    if version and version not in map(str, numbers):
        raise StoreError(
            f"model {model!r} has no version {version}; there are: "
            f"{', '.join(map(str, sorted(numbers)))}"
        )
    chosen = numbers[int(version) if version else max(numbers)]
    source = str(chosen.source)
    with store.errors("read"):
        folder = store.download(source)
    bundle = folder / "artifacts" / BUNDLE
    if not (bundle / "model.safetensors").is_file():
        raise StoreError(
            f"model {model!r}, version {chosen.version}, was not registered by `leukobench "
            f"register`: {source} has no "
            f"artifacts/{BUNDLE}; load it with mlflow.pyfunc.load_model"
        )
    return ResultFiles(f"{model}, version {chosen.version}", bundle, bundle, chosen.run_id)

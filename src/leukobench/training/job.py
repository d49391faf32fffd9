"""A job (one resolved config) and what it needs before a network is built: data, split, identity.

Loading and splitting are cached in the process, because the jobs of a sweep share them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from leukobench.credentials import real, redacted, shown
from leukobench.data import families
from leukobench.data.base import Dataset, DataSource
from leukobench.data.composition import (
    part_compositions,
    split_concerns,
    too_thin_to_choose_on,
)
from leukobench.data.preprocess import ExpressionPreprocess, ImagePreprocess, Resample
from leukobench.data.protocol import ALLOW_THIN, RETIRED, Protocol
from leukobench.data.split import Split
from leukobench.data.splits import Splitter
from leukobench.errors import ConfigError, SplitError
from leukobench.schema.predictions import predictions
from leukobench.schema.records import PartComposition
from leukobench.settings import Settings
from leukobench.targets import COMPOSED, REMOVED_KEYS, Provenance, build
from leukobench.tracking import identity as identities
from leukobench.training.schedules import Schedule

T = TypeVar("T")
CONTEXT_KEYS = (
    "settings",
    "planner",
    "sweep",
    "paper",
    "hydra",
    "planned",
    "evaluate_at",
    "curves_on",
    "save_model",
    "figures",
)


@dataclass(frozen=True)
class Job:
    """One composed job.

    Attributes:
        config: The resolved config as plain containers.
        choices: Config file chosen in each group.
        overrides: The override strings that make this job from its origin.
        origin: Name of the sweep file that it is from, or `train`.
        provenance: Where the config is from, and which code it may name.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    overrides: tuple[str, ...] = ()
    origin: str = "train"
    provenance: Provenance = COMPOSED

    def built(self, group: str, *args: Any) -> Any:
        """What the config's node of this group names; `args` go before the node's own arguments."""
        return build(self.config[group], *args, provenance=self.provenance, key=group)

    def __post_init__(self) -> None:
        # whatever is written of a job shows no credentials; `settings` has the real address
        settings = dict(self.config["settings"]) if "settings" in self.config else None
        if settings is not None and isinstance(settings.get("store"), str):
            settings["store"] = shown(settings["store"])
            object.__setattr__(self, "config", {**self.config, "settings": settings})
        object.__setattr__(self, "overrides", tuple(map(redacted, self.overrides)))
        # `auto` is what the model's family reads of it: another family's keys decide nothing
        node, model = self.config.get("preprocess"), self.config.get("model") or {}
        name = model.get("family")
        if node is not None and "_target_" not in node and name in families.families():
            own = families.family(name).usual_options(node)
            kept = {k: node[k] for k in REMOVED_KEYS if k in node} | own
            object.__setattr__(self, "config", {**self.config, "preprocess": kept})

    def with_values(self, **values: Any) -> Job:
        """The same job with other top-level scalars, its overrides following."""
        kept = [o for o in self.overrides if o.partition("=")[0] not in values]
        config = {**self.config, **values}
        return replace(
            self, config=config, overrides=(*kept, *(f"{k}={v}" for k, v in values.items()))
        )

    @cached_property
    def settings(self) -> Settings:
        s = self.config["settings"]
        return Settings(Path(s["data"]), Path(s["output"]), real(s["store"]))

    @cached_property
    def protocol(self) -> Protocol:
        ignored = (*REMOVED_KEYS, *RETIRED)
        node = {k: v for k, v in self.config["protocol"].items() if k not in ignored}
        try:
            return Protocol(**node)
        except TypeError as e:
            raise ConfigError(f"protocol={self.choices.get('protocol')}: {e}") from None

    @property
    def epochs(self) -> int:
        return int(self.config["epochs"])

    @cached_property
    def science(self) -> identities.Science:
        return identities.scientific(self.config, self.choices)

    @cached_property
    def schedule(self) -> Schedule:
        key = json.dumps(self.config["schedule"], sort_keys=True)
        if key not in _schedules:  # building takes milliseconds, and a sweep has thousands of jobs
            _schedules[key] = self.built("schedule")
        return _schedules[key]

    @property
    def depends_on_total(self) -> str | None:
        """Why a shorter training is not the beginning of a longer one, or None."""
        if self.schedule.depends_on_total:
            return f"schedule={self.choices.get('schedule')} depends on the total number of epochs"
        if self.config.get("patience") is not None:
            return "early stopping keeps the weights of the best epoch"
        return None

    @property
    def trains_head(self) -> bool:
        """Whether the config asks for a head on a frozen backbone, whose features are computed once."""
        wanted = bool(self.config["planner"].get("features", True))
        return wanted and self.config["model"].get("finetune") == "head"

    def params(self) -> dict[str, str]:
        """What the store logs as params: choices by group, scalars, and every other key in dotted form."""
        flat: dict[str, str] = {}

        def walk(prefix: str, value: Any) -> None:
            if isinstance(value, Mapping):
                for key, inner in value.items():
                    if key not in ("_target_", "_convert_", *REMOVED_KEYS, "root"):
                        walk(f"{prefix}.{key}" if prefix else str(key), inner)
            else:
                flat[prefix] = (
                    json.dumps(value) if isinstance(value, list | tuple) else _text(value)
                )

        for key, value in self.config.items():
            if key in CONTEXT_KEYS or key == "trainer":
                continue
            if key not in self.choices:
                walk(key, value)
            else:
                flat[key] = self.choices[key]
                walk(key, value)
        for key in ("precision", "threads"):
            if key in (self.config.get("trainer") or {}):
                flat[f"trainer.{key}"] = _text(self.config["trainer"][key])
        return {k: v[:500] for k, v in flat.items()}


def _text(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


@dataclass(frozen=True)
class Training:
    """A training and the results that are asked of it.

    Attributes:
        id: Training id; names the run folder.
        jobs: The job of each checkpoint epoch; they differ in `epochs` alone.
        identities: Identity of the result of each checkpoint epoch.
        shared: What this training shares with others, for a tag.
    """

    id: str
    jobs: Mapping[int, Job]
    identities: Mapping[int, str]
    shared: str = ""

    @property
    def epochs(self) -> tuple[int, ...]:
        return tuple(sorted(self.jobs))

    @property
    def job(self) -> Job:
        """The longest job: the one that is trained."""
        return self.jobs[self.epochs[-1]]


_schedules: dict[str, Schedule] = {}
_splitters: dict[str, Splitter] = {}
_datasets: dict[str, Dataset] = {}
_prepared: dict[str, Prepared] = {}


@dataclass(frozen=True, eq=False)
class Prepared:
    """Data and split of a job; `scaled` says that preprocessing without its encoder is already done."""

    dataset: Dataset
    split: Split
    fingerprint: str
    synthetic: frozenset[str] = field(default_factory=frozenset)
    scaled: bool = False

    @cached_property
    def split_hash(self) -> str:
        return self.split.hash

    @cached_property
    def compositions(self) -> dict[str, PartComposition]:
        """What each part is made of."""
        return part_compositions(self.dataset, self.split)

    @cached_property
    def concerns(self) -> tuple[str, ...]:
        """Why results on these parts say less than their sizes promise."""
        return tuple(split_concerns(self.dataset, self.split))


def load_dataset(job: Job) -> Dataset:
    """The job's data set, from this process's cache where it is the same node."""
    node = job.config["data"]
    key = json.dumps(node, sort_keys=True, default=str)
    if key not in _datasets:
        source = job.built("data")
        if not isinstance(source, DataSource):
            raise ConfigError(f"data={job.choices.get('data')} does not name a data source")
        _datasets[key] = source.load()
    return _datasets[key]


def forget_data() -> None:
    """Empty the caches, for instance after files have changed."""
    _datasets.clear()
    _splitters.clear()
    _prepared.clear()
    _resampled.clear()


def prepare(job: Job) -> Prepared:
    """Load and split; cached by what it depends on.

    Raises:
        ConfigError, SplitError, MissingDataError, FaultyDataError
    """
    check_families(job)
    before = job.protocol.resample == "before_split" and (
        job.config["resample"].get("method", "none") != "none"
    )
    relevant = {
        "data": job.config["data"],
        "split": job.config["split"],
        "fold": job.config["fold"],
        "before": [job.config["resample"], job.config["preprocess"], job.config["seed"]]
        if before
        else None,
    }
    key = json.dumps(relevant, sort_keys=True, default=str)
    if key not in _prepared:
        dataset = load_dataset(job)
        fingerprint = dataset.fingerprint
        synthetic: frozenset[str] = frozenset()
        if before:
            dataset, synthetic = resample_before_split(job, dataset)
        split = splitter(job).split(dataset, int(job.config["fold"]))
        _prepared[key] = Prepared(dataset, split, fingerprint, synthetic, before)
    return _prepared[key]


def folds(job: Job) -> int:
    """How many folds the job's split has on its data."""
    return splitter(job).folds(load_dataset(job))


def splitter(job: Job) -> Splitter:
    """The job's splitter, from this process's cache where it is the same node."""
    node = job.config["split"]
    key = json.dumps(node, sort_keys=True, default=str)
    if key not in _splitters:
        built = job.built("split")
        if not isinstance(built, Splitter):
            raise ConfigError(f"split={job.choices.get('split')} does not name a splitter")
        _splitters[key] = built
    return _splitters[key]


def check_numbers(job: Job) -> None:
    """Raise ConfigError where a number at the top of the config cannot be one of a training.

    A swept fold may be `all`, and is checked where it is expanded.
    """
    least = {"epochs": 1, "seed": 0, "batch_size": 1, "patience": 1}
    for key, smallest in least.items():
        value = job.config.get(key)
        if value is None and key in ("batch_size", "patience"):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
            raise ConfigError(f"{key}={value}: a whole number from {smallest} is needed")


def check_families(job: Job) -> None:
    """Raise ConfigError where model, preprocessing and data set do not read the same kind of data."""
    dataset = load_dataset(job)
    model_family = job.config["model"].get("family")
    if model_family not in (None, "any", dataset.family):
        raise ConfigError(
            f"model={job.choices.get('model')} reads {model_family} data, but data={job.choices.get('data')} holds "
            f"{dataset.family} data; choose another model or data set"
        )
    family = job.config["preprocess"].get("family", "any")
    if family not in ("any", dataset.family):
        raise ConfigError(
            f"preprocess={job.choices.get('preprocess')} is for {family} data, but data={job.choices.get('data')} "
            f"holds {dataset.family} data; use preprocess=auto"
        )


def thin_choice(job: Job, prepared: Prepared) -> str | None:
    """Why a job's early stopping has too little to choose on; None where it has enough or does not stop early."""
    made_of = prepared.compositions.get("validation")
    if job.config.get("patience") is None or made_of is None:
        return None
    return too_thin_to_choose_on(made_of, prepared.dataset.classes)


def check_choice(job: Job) -> None:
    """Raise SplitError where early stopping would choose on too few subjects and the protocol does not allow it."""
    thin = thin_choice(job, prepare(job))
    if thin and not job.protocol.allow_thin_choice:
        raise SplitError(f"patience={job.config['patience']}: {thin}; {ALLOW_THIN}")


def build_preprocess(job: Job, family: str) -> ExpressionPreprocess | ImagePreprocess:
    """The preprocessing; `auto` is the default of the data's family."""
    node = job.config["preprocess"]
    if "_target_" not in node:
        return families.family(family).usual_preprocess(node)
    return job.built("preprocess")


def build_resample(job: Job) -> tuple[Resample, float]:
    """The resampling, and the share of the rows it starts from (see `resample_before_split`)."""
    node = dict(job.config["resample"])
    share = float(node.pop("share", 1.0))
    return build(node, provenance=job.provenance, key="resample"), share


_resampled: dict[str, tuple[Dataset, frozenset[str]]] = {}


def resample_before_split(job: Job, dataset: Dataset) -> tuple[Dataset, frozenset[str]]:
    """Scale all rows, resample them, and make the result a data set of its own: the leak of `before_split`."""
    key = json.dumps(
        [job.config[k] for k in ("data", "resample", "preprocess", "seed")],
        sort_keys=True,
        default=str,
    )
    if key not in _resampled:
        preprocess: Any = build_preprocess(job, dataset.family)
        resample, share = build_resample(job)
        _resampled[key] = dataset.resampled(preprocess, resample, share, int(job.config["seed"]))
    return _resampled[key]


def rows_of(prepared: Prepared) -> dict[str, np.ndarray]:
    """Row numbers of the split's parts in the data set."""
    return {part: prepared.dataset.rows(ids) for part, ids in prepared.split.parts.items()}


def identity_of(job: Job) -> str:
    """Identity of the job's result; loads and splits the data."""
    p = prepare(job)
    return identities.identity(job.science, job.epochs, p.fingerprint, p.split_hash)


def training_id_of(job: Job) -> str:
    """Identity of the training that the job's result comes from."""
    p = prepare(job)
    total = job.epochs if job.depends_on_total else None
    return identities.training_id(job.science, total, p.fingerprint, p.split_hash)


def prediction_frame(
    prepared: Prepared,
    rows: Mapping[str, np.ndarray],
    probabilities: Callable[[np.ndarray], np.ndarray],
    epoch: int,
) -> pd.DataFrame:
    """Predictions of all parts.

    Args:
        rows: Row numbers by part.
        probabilities: Row numbers to class probabilities, shape (n, num_classes).
    """
    dataset, split = prepared.dataset, prepared.split
    frames = []
    for part, r in rows.items():
        if not len(r):
            continue
        frame = predictions(
            dataset.samples.iloc[r],
            probabilities(r),
            dataset.classes,
            part=part,
            fold=split.fold,
            epoch=epoch,
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)

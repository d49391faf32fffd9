"""Trained models in use: what a training saves beside its weights, and a finished result as a model that predicts.

A training writes `preprocess.safetensors` into its run folder: how raw values become network input,
the names of the genes and classes, and what range the training values had. Each result has its
weights in `model.safetensors`: the trained tensors of the whole network under the network's own
names; frozen ones come from where the training had them from, and their digest is checked. A
registered model holds both files with every tensor (metadata `complete`), so that it needs no other
source. Neither file holds code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from leukobench.data.base import digest
from leukobench.data.preprocess import FittedExpression, ImagePreprocess
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError
from leukobench.models.inputs import WholeModel
from leukobench.schema.records import (
    JOB,
    RESULT,
    RUN,
    DataRecord,
    JobRecord,
    ResultRecord,
    RunRecord,
)
from leukobench.settings import Settings, resolve
from leukobench.targets import Provenance, build
from leukobench.tracking.folder import write
from leukobench.tracking.locate import ResultFiles, locate_model, locate_run
from leukobench.training.families import family
from leukobench.training.families.base import Family, ModelInput
from leukobench.training.job import Job, Prepared
from leukobench.training.randomness import seed_of


def model_input(
    job: Job,
    prepared: Prepared,
    fitted: FittedExpression | ImagePreprocess,
    network: nn.Module,
    facts: DataRecord,
) -> ModelInput:
    """What a training saves of its input.

    Args:
        fitted: The fitted preprocessing of the training.
        network: The whole network, frozen parts included.
        facts: Of the data, as the run records them.

    Raises:
        ConfigError: A learned encoder of a kind that cannot be saved.
    """
    dataset = prepared.dataset
    reads = ModelInput(
        family=dataset.family,
        classes=dataset.classes,
        positive=dataset.positive,
        data={
            "name": facts.name,
            "samples": facts.samples,
            "subjects": facts.subjects,
            "subset": facts.subset,
            "simulated": facts.simulated,
        },
        frozen=frozen_digest(network, job.config["model"]),
    )
    return family(dataset.family).complete(reads, job, prepared, fitted)


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """What a result keeps of a network, under the network's own names: trained parameters, and buffers beside them.

    A frozen parameter is left out, and so are the buffers of a module (batch statistics) whose
    parameters are frozen.
    """
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    for name, module in network.named_modules():
        own = [p.requires_grad for p in module.parameters(recurse=False)]
        if own and not any(own):
            frozen |= {f"{name}.{b}" if name else b for b, _ in module.named_buffers(recurse=False)}
    return {
        k: v.detach().cpu().contiguous() for k, v in network.state_dict().items() if k not in frozen
    }


_digests: dict[str, str | None] = {}


def frozen_digest(network: nn.Module, node: Mapping[str, Any] | None = None) -> str | None:
    """Digest of the tensors that `trained_weights` leaves out; None where it leaves out none.

    Args:
        node: The model's config, under which the digest is remembered in this process; for networks
            as built.
    """
    key = None if node is None else json.dumps(node, sort_keys=True, default=str)
    if key is not None and key in _digests and node is not None and node.get("pretrained"):
        return _digests[key]
    kept = trained_weights(network)
    left = {
        k: v.detach().cpu().contiguous() for k, v in network.state_dict().items() if k not in kept
    }
    value = None
    if left:
        chunks: list[bytes | str] = []
        for name, tensor in left.items():
            chunks += [name, tensor.flatten().view(torch.uint8).numpy().tobytes()]
        value = digest(*chunks)
    if key is not None:
        _digests[key] = value
    return value


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A finished result, ready to predict.

    Attributes:
        name: How the user or the store calls it.
        input: What it reads.
        network: Network input to logits, in evaluation mode.
        files: Where it was read from.
        record: The result's record (`result.json`): params, epoch, metrics.
        config: The training's resolved config.
        run: Facts of the run (`run.json`): data, leaks, environment.
        provenance: Where the config was read, and which code it may name.
    """

    name: str
    input: ModelInput
    network: nn.Module
    files: ResultFiles
    record: ResultRecord
    config: Mapping[str, Any]
    run: RunRecord
    provenance: Provenance

    @property
    def job(self) -> Job:
        """The job of the training, as it was stored."""
        return Job(dict(self.config), {}, provenance=self.provenance)

    @property
    def family(self) -> Family:
        """What reads its input."""
        return family(self.input.family)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.input.classes

    @property
    def genes(self) -> tuple[str, ...]:
        """Names of the genes that are read, in order; empty for images."""
        return self.input.genes

    @property
    def whole(self) -> WholeModel:
        """Raw values (n, genes) or pixels (n, H, W, 3) to probabilities, as one module."""
        return WholeModel(self.family.module(self.input), self.network)

    def predict(self, raw: np.ndarray | Sequence[np.ndarray], batch: int = 64) -> np.ndarray:
        """Class probabilities, shape (n, num_classes), float32.

        Args:
            raw: Values (n, genes) in the order of `genes`, as measured; or decoded images (n, H, W, 3), uint8.

        Raises:
            FaultyDataError: Another shape, or pixels that are not bytes.
        """
        x = np.asarray(raw)
        shape = self.family.raw_shape(self.input)
        if x.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise FaultyDataError(f"{self.name} reads arrays of shape (n, {wanted}), not {x.shape}")
        self.family.check_raw(self.name, x)
        whole = self.whole
        with torch.inference_mode():
            parts = [
                whole(torch.from_numpy(np.ascontiguousarray(x[i : i + batch])))
                for i in range(0, len(x), batch)
            ]
        return torch.cat(parts).numpy() if parts else np.empty((0, len(self.classes)), np.float32)

    def describe(self) -> dict[str, str]:
        """The model in words, for people."""
        p, data = self.record.params, self.input.data
        size = f"{data.get('samples')} samples" + (
            f" of {data['subjects']} subjects" if data.get("subjects") else ""
        )
        remarks = [f"subset: {data['subset']}"] * bool(data.get("subset")) + [
            "simulated data"
        ] * bool(data.get("simulated"))
        return {
            "model": self.name,
            "network": str(p.get("model", "")),
            "reads": self.family.words(self.input),
            "classes": ", ".join(self.classes),
            "trained on": ", ".join([f"{data.get('name')}, {size}", *remarks]),
            "protocol": str(p.get("protocol", "")),
            "epochs": str(self.record.epoch),
            "seed, fold": f"{p.get('seed')}, {p.get('fold')}",
        }


def load_result(
    reference: str | Path, settings: Settings | None = None, *, trust: bool = False
) -> SavedModel:
    """A finished run as a model.

    Args:
        reference: A run or result folder, an MLflow run id, or a result's identity.
        settings: Where output folder and store are; from the environment by default.
        trust: Run whatever code the stored config names; False refuses what is on no list of `leukobench.targets`.

    Raises:
        StoreError, ConfigError: There is no such run, or it has no model; or its config names code that is not trusted;
            or the weights of its frozen parts are gone or others than they were.
    """
    settings = settings or resolve()
    return load(locate_run(reference, settings), trust=trust, data=settings.data)


def load_registered(
    name: str, settings: Settings | None = None, *, trust: bool = False
) -> SavedModel:
    """A registered model: `NAME` (latest version) or `NAME/VERSION`. Trust and errors as in `load_result`."""
    settings = settings or resolve()
    return load(locate_model(name, settings), trust=trust, data=settings.data)


def load(files: ResultFiles, *, trust: bool = False, data: Path | None = None) -> SavedModel:
    """Build the network, load its weights and its input. Trust and errors as in `load_result`.

    Args:
        data: Folder of data sets, in which the training's own data may be read again.
    """
    weights, inputs = files.file("model.safetensors"), files.file("preprocess.safetensors")
    for path in (weights, inputs):
        if not path.is_file():
            raise ConfigError(
                f"run {files.name} has no model: {path.name} is missing from {path.parent}. It was trained with "
                "save_model=false or by an older version; train it again with save_model=true --force"
            )
    job, record = files.read(JOB), files.read(RESULT)
    if job is None or record is None:
        raise ConfigError(f"run {files.name} lacks job.json or result.json in {files.training}")
    reads = ModelInput.load(inputs)
    try:
        with safe_open(str(weights), framework="pt") as file:
            complete = (file.metadata() or {}).get("complete") == "true"
            state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as e:
        raise LeukoBenchError(
            f"{weights} is damaged ({e}); run the training again with --force"
        ) from e
    config = job.config
    _check_config(config, files.file(JOB.file))
    provenance = Provenance(str(files.file(JOB.file)), trusted=trust, data=data)
    node = dict(config["model"])
    if complete and "pretrained" in node:
        node |= {"pretrained": False, "weights": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(
            seed_of(int(config["seed"]), "initialisation")
        )  # of frozen parts without trained weights
        network: nn.Module = build(
            node, reads.shape, len(reads.classes), provenance=provenance, key="model"
        )
    _load_state(network, state, complete, files.name)
    if not complete and reads.frozen is not None and frozen_digest(network) != reads.frozen:
        raise ConfigError(
            f"run {files.name} was trained on a frozen network whose weights are not those found now "
            f"({config['model'].get('weights') or config['model'].get('name')}); install the version it was trained with"
        )
    network.eval().requires_grad_(False)
    return SavedModel(
        name=files.name,
        input=reads,
        network=network,
        files=files,
        record=record,
        config=config,
        run=files.read(RUN) or RunRecord(),
        provenance=provenance,
    )


def _check_config(config: Mapping[str, Any], path: Path) -> None:
    """What a network is built from. Raises ConfigError."""
    node, seed = config.get("model"), config.get("seed")
    if not isinstance(node, Mapping) or not isinstance(seed, int):
        raise ConfigError(
            f"{path}: expected a mapping under config.model and a whole number under config.seed, "
            f"found {type(node).__name__} and {type(seed).__name__}; it is damaged or was changed: "
            "leukobench fsck"
        )


def load_bundle(folder: Path, *, trust: bool = False) -> SavedModel:
    """The model of a folder that `write_bundle` wrote. Trust and errors as in `load_result`."""
    return load(ResultFiles(folder.parent.parent.name, folder, folder), trust=trust)


def _load_state(network: nn.Module, state: Mapping[str, Tensor], complete: bool, name: str) -> None:
    expected = set(network.state_dict()) if complete else set(trained_weights(network))
    odd = sorted(expected ^ set(state))
    if odd:
        raise ConfigError(
            f"the weights of {name} do not fit its network: {len(odd)} tensors differ, for instance {odd[0]}; "
            "it was trained with another version of LeukoBench or of the network's library"
        )
    try:
        network.load_state_dict(dict(state), strict=False)
    except RuntimeError as e:
        raise ConfigError(
            f"the weights of {name} do not fit its network: {' '.join(str(e).split())[:300]}"
        ) from e


def write_bundle(model: SavedModel, folder: Path) -> Path:
    """Write a model that needs nothing but these files: every tensor, and of the config only what is no location."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    save_file(state, str(folder / "model.safetensors"), {"complete": "true"})
    model.input.save(folder / "preprocess.safetensors")
    config = {
        k: dict(_without_places(v)) if isinstance(v, Mapping) else v
        for k, v in model.config.items()
        if k != "settings"
    }
    write(JOB, JobRecord(config), folder)
    overrides = tuple(
        o for o in model.record.overrides if not o.partition("=")[0].endswith(("root", "weights"))
    )
    write(RESULT, replace(model.record, overrides=overrides), folder)
    run = RunRecord(
        training=model.run.training,
        environment=model.run.environment,
        data=model.run.data,
        leaks=model.run.leaks,
    )
    write(RUN, run, folder)
    return folder


def _without_places(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if key not in ("root", "paths"):
            yield key, value

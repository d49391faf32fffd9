"""One training from its job to its run folder: data, split, preprocessing, fit, predictions at each checkpoint epoch."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import pandas as pd
import pytorch_lightning as pl
import torch
from filelock import FileLock
from pytorch_lightning.callbacks import Checkpoint
from safetensors.torch import save_file
from torch import nn

from leukobench.errors import ConfigError, LeukoBenchError, TrainingError
from leukobench.evaluation.logged import kept_metrics, metrics_of
from leukobench.evaluation.metrics import Predicted
from leukobench.files import atomic, write_json
from leukobench.integrity import Damage, warn
from leukobench.schema.predictions import PARTS
from leukobench.schema.records import CURVES, JOB, DataRecord, JobRecord, ResultRecord
from leukobench.tracking.environment import environment
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.soundness import checkpoint_damage
from leukobench.training.families import family
from leukobench.training.families.base import NetworkInput
from leukobench.training.interruption import Interruption
from leukobench.training.job import (
    Job,
    Prepared,
    Training,
    prediction_frame,
    prepare,
    rows_of,
    thin_choice,
)
from leukobench.training.machine import SystemMetrics, profiler
from leukobench.training.module import Classifier, Recipe, quiet_trainer
from leukobench.training.randomness import seed_of
from leukobench.training.saved import model_input, trained_weights

State = Literal["finished", "failed", "interrupted"]
OnEpoch = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with epoch, total and that epoch's curve values."""
OnStage = Callable[[str, int, int], None]
"""Called within long stages (decoding, features, an epoch) with the stage's name, what is done of it and its total."""


def run_training(
    training: Training,
    *,
    on_epoch: OnEpoch | None = None,
    interruption: Interruption | None = None,
    on_stage: OnStage | None = None,
) -> State:
    """Train, or go on from the folder's checkpoint, until every result asked for stands in the run folder.

    A failure is written to the folder (`traceback.txt`, state `failed`) and reported by the return value; only an
    interrupt by the user and errors of LeukoBench itself in writing the folder are raised.
    """
    work = Work(training, on_stage)
    with work.lock():
        if not work.begin():
            return "finished"
        return attempt(work, on_epoch, interruption or Interruption())


def attempt(work: Work, on_epoch: OnEpoch | None, interruption: Interruption) -> State:
    """Train what `work` misses and write down how it ended."""
    try:
        return work.end(fit(work, on_epoch, interruption))
    except KeyboardInterrupt:
        work.end("interrupted")
        raise
    except Exception as e:
        return work.fail(e)


class Work:
    """One training at work: what its folder misses, its classifier, and how results and its end are written there."""

    def __init__(self, training: Training, on_stage: OnStage | None = None) -> None:
        self.training, self.job, self.on_stage = training, training.job, on_stage
        self.folder = RunFolder.of(self.job.settings.output, training.id)
        self.wanted: set[int] = set()

    def lock(self) -> FileLock:
        """Keeps other processes from this folder."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        return FileLock(str(self.folder.path / ".lock"))

    def begin(self) -> bool:
        """Write down that the training runs; False where nothing is missing."""
        training, folder = self.training, self.folder
        self.wanted = {e for e in training.epochs if not folder.has_result(training.identities[e])}
        if not self.wanted:
            folder.update(state="finished")
            return False
        self.last = max(self.wanted)
        self.started = time.time()
        job = self.job
        record = JobRecord(job.config, job.choices, job.overrides, shared=training.shared)
        folder.write(JOB, record)
        folder.update(
            state="running",
            training=training.id,
            started=_now(),
            epochs=training.epochs,
            environment=environment(),
        )
        return True

    def ready(self) -> Classifier:
        """The classifier, fitted preprocessing written down, gone on to the folder's checkpoint."""
        job, folder = self.job, self.folder
        self.prepared = prepared = prepare(job)
        prepared.split.write(folder.path / "split.json")
        data = data_record(prepared)
        if thin := thin_choice(job, prepared):
            data = replace(data, concerns=(*data.concerns, f"chosen on too little: {thin}"))
        folder.update(data=data, leaks=tuple(job.protocol.leaks))
        self.fitted = fitted = assemble(job, prepared, self.on_stage)
        self.classifier = classifier = fitted.classifier
        classifier.on_block = self.on_stage
        if job.config.get("save_model"):
            reads = model_input(job, prepared, fitted.input.preprocess, fitted.input.network, data)
            reads.save(folder.path / "preprocess.safetensors")
        folder.update(stores=dict(fitted.input.stores), fitted=dict(fitted.input.fitted_on))
        for name, body in fitted.input.artifacts.items():
            write_json(folder.path / f"{name}.json", body)
        state = self._saved_state()
        if state is not None and int(state["epoch"]) < min(self.wanted):
            classifier.restore(state)
        return classifier

    def _saved_state(self) -> dict[str, Any] | None:
        """State of the folder's checkpoint; a damaged one is named and dropped."""
        path = self.folder.checkpoint
        if not path.is_file():
            return None
        damage = checkpoint_damage(path)
        if damage is None:
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
            except (OSError, RuntimeError, UnpicklingError, EOFError) as e:
                damage = Damage(path, f"cannot be read ({type(e).__name__})")
        warn([damage], "it is dropped, and the training begins again")
        path.unlink(missing_ok=True)
        return None

    def finish(self, epoch: int) -> None:
        """Write the result of a checkpoint epoch, if it is wanted."""
        if epoch not in self.wanted:
            return
        training, classifier, dataset = self.training, self.classifier, self.prepared.dataset
        live = None
        if classifier.best_weights is not None:
            live = {k: v.detach().clone() for k, v in classifier.network.state_dict().items()}
            classifier.network.load_state_dict(classifier.best_weights)
        rows = rows_of(self.prepared)
        frame = prediction_frame(
            self.prepared, rows, lambda r: classifier.probabilities(torch.as_tensor(r)), epoch
        )
        metrics = final_metrics(frame, dataset.positive)
        record = ResultRecord(
            identity=training.identities[epoch],
            epoch=epoch,
            training=training.id,
            best_epoch=classifier.progress.best_epoch or None,
            params=training.jobs[epoch].params(),
            overrides=training.jobs[epoch].overrides,
            classes=dataset.classes,
            positive=dataset.positive,
            finished=_now(),
            metrics=metrics | kept_metrics(self.fitted.input.artifacts, PARTS),
        )
        self.keep_curves()
        save = self.save_model if self.job.config.get("save_model") else None
        self.folder.write_result(record, frame, save)
        if live is not None:
            classifier.network.load_state_dict(live)
        self.wanted.discard(epoch)

    def save_model(self, path: Path) -> None:
        """Write what was trained of the network."""
        save_file(trained_weights(self.fitted.input.network), str(path))

    def keep_curves(self) -> None:
        """Write curves, unless the folder already has those of more epochs of the same training."""
        curves = self.classifier.progress.curves
        if len(curves) >= len(self.folder.curves()):
            self.folder.write(CURVES, curves)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint from which this training goes on."""
        with atomic(self.folder.checkpoint) as temporary:
            torch.save(dict(state), temporary)

    def end(self, state: State) -> State:
        """Write down how the training ended."""
        self.folder.update(state=state, error=None, ended=_now(), seconds=self._seconds())
        if state == "finished":
            self.folder.traceback.unlink(missing_ok=True)
            self.folder.checkpoint.unlink(missing_ok=True)
        return state

    def fail(self, e: Exception) -> State:
        """Write down a failure with its traceback."""
        with atomic(self.folder.traceback) as temporary:
            temporary.write_text("".join(traceback.format_exception(e)), encoding="utf-8")
        reason = str(e) if isinstance(e, LeukoBenchError) else f"{type(e).__name__}: {e}"
        if isinstance(e, torch.cuda.OutOfMemoryError):
            reason = f"out of GPU memory; a smaller trainer.inference_batch or batch_size may fit ({reason})"
        self.folder.update(
            state="failed", error=reason[:2000], ended=_now(), seconds=self._seconds()
        )
        return "failed"

    def _seconds(self) -> float:
        before = self.folder.run().seconds or 0.0
        return round(before + time.time() - self.started, 3)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def fit(work: Work, on_epoch: OnEpoch | None, interruption: Interruption) -> State:
    """Train what `work` misses; its failures are raised."""
    trainer_node = work.job.config["trainer"]
    torch.set_num_threads(int(trainer_node.get("threads") or 1))
    classifier = work.ready()
    watcher = _Watcher(work, on_epoch, interruption)
    trainer = trainer_of(
        trainer_node, work.last - classifier.progress.epoch, watcher, work.folder.path
    )
    if trainer_node.get("channels_last"):
        classifier.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if trainer_node.get("compile"):
        classifier.network.compile()
    run_trainer(trainer, classifier)
    work.folder.update(speed=classifier.speed(bool(trainer_node.get("measure"))))
    if work.wanted and interruption.requested:
        return "interrupted"
    if work.wanted:
        raise TrainingError(
            f"training ended after epoch {classifier.progress.epoch} of {work.last}"
        )
    work.keep_curves()
    return "finished"


def trainer_of(
    node: Mapping[str, Any], epochs: int, watcher: Checkpoint, folder: Path
) -> pl.Trainer:
    """The Trainer of a config node; `folder` takes what it measures."""
    torch.set_float32_matmul_precision("high" if node.get("tf32") else "highest")
    return quiet_trainer(
        max_epochs=epochs,
        accelerator=node.get("accelerator", "auto"),
        precision=node.get("precision", "32-true"),
        callbacks=[watcher, *([SystemMetrics(folder)] if node.get("system_metrics") else [])],
        enable_checkpointing=True,
        profiler=profiler(node.get("profiler"), folder),
    )


def run_trainer(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Fit; what Lightning makes of Ctrl-C becomes KeyboardInterrupt again."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module)
    except SystemExit:  # after Lightning has switched further interrupts off
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


class _Watcher(Checkpoint):
    """Writes results at checkpoint epochs and a checkpoint where time has passed; stops when asked to.

    A `Checkpoint`, because Lightning calls those after the module's own end of epoch.
    """

    def __init__(self, work: Work, on_epoch: OnEpoch | None, interruption: Interruption) -> None:
        self.work, self.on_epoch, self.interruption = work, on_epoch, interruption
        self.every = float(work.job.config["trainer"].get("checkpoint_every", 60))
        self.saved = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Classifier)
        epoch, total = module.progress.epoch, module.recipe.epochs
        if self.on_epoch is not None:
            self.on_epoch(epoch, total, module.progress.curves[-1])
        if module.recipe.patience is None:
            self.work.finish(epoch)
        elif module.ended:
            self.work.finish(total)  # whatever the epoch: the result is that of the best one
        stop = self.interruption.requested and not module.ended
        if stop or (time.monotonic() - self.saved > self.every and not module.ended):
            self.work.checkpoint(module.state())
            self.saved = time.monotonic()
        if stop:
            trainer.should_stop = True


@dataclass
class Assembled:
    """A classifier ready to fit, and the input it was assembled from."""

    classifier: Classifier
    input: NetworkInput


def assemble(job: Job, prepared: Prepared, on_stage: OnStage | None = None) -> Assembled:
    """Fit the preprocessing, build network, loss and feed."""
    recipe = recipe_of(job)
    num_classes = len(prepared.dataset.classes)

    def network_of(shape: tuple[int, ...]) -> nn.Module:
        return build_network(job, shape, num_classes)

    reads = family(prepared.dataset.family).network_input(job, prepared, network_of, on_stage)
    counts = torch.bincount(torch.as_tensor(reads.y[reads.rows["train"]]), minlength=num_classes)
    loss = job.built("loss", counts)
    return Assembled(
        Classifier(reads.trained, loss, reads.feed, reads.y, reads.rows, recipe), reads
    )


def recipe_of(job: Job) -> Recipe:
    """How the job trains.

    Raises:
        ConfigError: A number that no training can have.
    """
    config = job.config
    recipe = Recipe(
        optimizer=lambda parameters: job.built("optimizer", parameters),
        schedule=job.schedule,
        epochs=job.epochs,
        seed=int(config["seed"]),
        batch_size=config.get("batch_size"),
        l2=float(config.get("l2") or 0.0),
        gradient_clip=config.get("gradient_clip"),
        balanced_sampling=bool(config.get("balanced_sampling")),
        curves_on=tuple(config.get("curves_on") or ()),
        patience=config.get("patience"),
        inference_batch=int(config["trainer"].get("inference_batch", 256)),
    )
    if recipe.epochs < 1:
        raise ConfigError(f"epochs={recipe.epochs}: at least one epoch is needed")
    if config.get("figures", False) not in (True, False, "auto"):
        raise ConfigError(f"figures={config['figures']}: true, false or auto")
    if recipe.patience is not None and recipe.patience < 1:
        raise ConfigError(
            f"patience={recipe.patience}: early stopping waits for one epoch or more; null trains all"
        )
    return recipe


def build_network(job: Job, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The network, its initialisation a function of the seed alone."""
    torch.manual_seed(seed_of(int(job.config["seed"]), "initialisation"))
    return job.built("model", input_shape, num_classes)


def data_record(prepared: Prepared) -> DataRecord:
    """Facts of data and split that a run carries as tags."""
    d, split = prepared.dataset, prepared.split
    subset = ""
    if d.is_subset:
        subjects = f", {d.samples['subject'].nunique()} subjects" if d.has_subjects else ""
        subset = f"{len(d) - len(prepared.synthetic)} of {d.expected_samples} samples{subjects}"
    return DataRecord(
        name=d.name,
        family=d.family,
        fingerprint=prepared.fingerprint,
        simulated=d.simulated,
        samples=len(d),
        classes=tuple(d.classes),
        split=split.name,
        split_hash=split.hash,
        fold=split.fold,
        folds=split.folds,
        subset=subset,
        subjects=int(d.samples["subject"].nunique()) if d.has_subjects else None,
        positive=d.positive,
        faults=tuple(d.faults),
        shared=dict(split.shared),
        dropped=len(split.dropped),
        parts=prepared.compositions,
        concerns=prepared.concerns,
    )


def final_metrics(frame: pd.DataFrame, positive: str | None) -> dict[str, float]:
    """Metrics of each part, for browsing and choosing; tables compute theirs from the predictions.

    Of the training part only those that notes show: nothing is chosen by the others, and a store is read the faster the
    fewer there are.

    Args:
        frame: Predictions of all parts.
        positive: The positive class of the data set, where it has one.
    """
    import sklearn

    found: dict[str, float] = {}
    # of arrays made here nothing needs checking again, and on few samples that takes longer than the metrics
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for part in PARTS:
            if (frame["part"] == part).any():
                predicted = Predicted.of(frame, part)
                values = metrics_of(predicted, positive, summary=part == "train")
                found |= {f"{part}_{name}": value for name, value in values.items()}
    return found

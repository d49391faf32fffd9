"""The one LightningModule around any network: training steps, curves, predictions.

A "batch" that the Trainer hands over is a block of steps, each given as row numbers and labels; the
data stand on the device and are gathered there. A block is only a unit of bookkeeping: block sizes
change no number.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from torch import Tensor, nn

from leukobench.errors import ConfigError, TrainingError
from leukobench.training.feed import Feed
from leukobench.training.randomness import generator, seed_of
from leukobench.training.schedules import Schedule
from leukobench.training.signals import OwnSignals
from leukobench.training.throughput import Clock, ceiling, step_flop

STEPS_PER_BLOCK = 16
DIVERGED = "a lower optimizer.lr or gradient_clip=1.0 usually helps, and NaN inputs are found by `leukobench data check`"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: Makes the optimizer from the parameters that are trained.
        epochs: Total number of epochs.
        batch_size: Samples a step; None takes the whole training part at once.
        l2: Weight of the squared weights (not biases) added to the loss, for optimizers without
            weight decay.
        gradient_clip: Largest gradient norm; None does not clip.
        balanced_sampling: Draw each class equally often (with replacement) instead of each sample
            once.
        curves_on: Parts whose loss and accuracy are computed after every epoch, in inference mode.
        patience: Early stopping: epochs without a lower validation loss before training stops; the
            weights of the best epoch are kept. None trains all epochs.
    """

    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    schedule: Schedule
    epochs: int
    seed: int
    batch_size: int | None = 32
    l2: float = 0.0
    gradient_clip: float | None = None
    balanced_sampling: bool = False
    curves_on: tuple[str, ...] = ("validation",)
    patience: int | None = None
    inference_batch: int = 256


@dataclass
class Progress:
    """What a training has behind it; with the weights and the optimizer's state it is a checkpoint."""

    epoch: int = 0
    step: int = 0
    curves: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0


def seed_device(seed: int, device: torch.device) -> None:
    """Seed the global generators that a step on this device draws from.

    `torch.manual_seed` also seeds every other kind of device, which takes longer than a step of a small network.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class Blocks:
    """The steps of one epoch in blocks; which samples a step has is a function of seed and epoch.

    Args:
        steps: Gives the steps of an epoch.
        epoch: The epoch that comes next.
        count: Steps an epoch.
    """

    def __init__(
        self, steps: Callable[[int], Sequence[Any]], epoch: Callable[[], int], count: int
    ) -> None:
        self.steps, self.epoch, self.count = steps, epoch, count

    def __len__(self) -> int:
        return math.ceil(self.count / STEPS_PER_BLOCK)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        steps = self.steps(self.epoch())
        for i in range(0, len(steps), STEPS_PER_BLOCK):
            yield steps[i : i + STEPS_PER_BLOCK]


class Classifier(pl.LightningModule):
    """Trains `network` on the training rows of `feed` and predicts any row.

    Args:
        network: Maps inputs to logits (n, num_classes).
        loss: Maps logits and class indices to a scalar.
        feed: Inputs by row number.
        y: Class indices of all rows, shape (n,), int64.
        parts: Row numbers by part. Training rows may include synthetic ones.
        recipe: See `Recipe`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        feed: Feed,
        y: np.ndarray,
        parts: Mapping[str, np.ndarray],
        recipe: Recipe,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.loss = loss
        self.feed = feed
        self.recipe = recipe
        self.parts = {
            part: torch.as_tensor(rows, dtype=torch.int64) for part, rows in parts.items()
        }
        self.y = torch.as_tensor(y, dtype=torch.int64)
        self.progress = Progress()
        self.clock = Clock()
        self.restored_optimizer: dict[str, Any] | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self.on_block: Callable[[str, int, int], None] | None = None
        self._running: list[Tensor] = []
        n = len(self.parts["train"])
        self.steps_per_epoch = math.ceil(n / (recipe.batch_size or n))
        self._regularised = [p for p in self.network.parameters() if p.requires_grad and p.ndim > 1]
        self._trained = [p for p in self.network.parameters() if p.requires_grad]

    @property
    def ended(self) -> bool:
        """Whether all epochs are behind it, or early stopping has ended the training."""
        progress, patience = self.progress, self.recipe.patience
        waited = progress.epoch - progress.best_epoch
        return progress.epoch >= self.recipe.epochs or (patience is not None and waited >= patience)

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets this name around every hook, and torch looks for parameters in whatever is set.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # --- training -------------------------------------------------------------------------------------------------

    def order(self, epoch: int) -> Tensor:
        """Training rows in the order of this epoch."""
        rows, g = self.parts["train"], generator(self.recipe.seed, "order", epoch)
        if self.recipe.balanced_sampling:
            labels = self.y[rows].cpu()
            weights = 1.0 / torch.bincount(labels).double()[labels]
            return rows[torch.multinomial(weights, len(rows), replacement=True, generator=g)]
        return rows[torch.randperm(len(rows), generator=g)]

    def steps(self, epoch: int) -> list[tuple[Tensor, Tensor]]:
        """Rows, where the feed looks them up, and labels, on the device, of each step of an epoch.

        All go to the device at once: a copy within a step would make the host wait for the step before it.
        """
        order = self.order(epoch)
        size = self.recipe.batch_size or len(order)
        self.feed.start_epoch(epoch, order.split(size))
        labels = self.y[order.to(self.y.device)]
        return list(zip(order.to(self.feed.rows_on).split(size), labels.split(size)))

    def train_dataloader(self) -> Blocks:
        return Blocks(self.steps, lambda: self.progress.epoch, self.steps_per_epoch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = self.recipe.optimizer(self._trained)
        if isinstance(optimizer, torch.optim.LBFGS) and self.steps_per_epoch > 1:
            raise ConfigError(
                "L-BFGS estimates curvature from whole gradients: set batch_size=null "
                f"(now {self.recipe.batch_size} of {len(self.parts['train'])} training samples a step)"
            )
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        if self.restored_optimizer is not None:
            optimizer.load_state_dict(self.restored_optimizer)
            self.restored_optimizer = None
        return optimizer

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device
        self.feed.to(device)
        self.y = self.y.to(device)
        self.loss.to(device)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return batch  # `steps` has put everything where it belongs

    def on_train_epoch_start(self) -> None:
        self.clock.start(self.y.device)
        self._running = []

    def training_step(self, block: Sequence[tuple[Tensor, Tensor]], block_index: int) -> None:
        optimizer: Any = self.optimizers()
        recipe, progress = self.recipe, self.progress
        # In float32 on one device Lightning's wrappers add nothing but time, a tenth of a small network's step.
        plain = type(self.trainer.precision_plugin) is Precision and self.trainer.world_size == 1
        if plain:
            optimizer = optimizer.optimizer
        total = recipe.epochs * self.steps_per_epoch
        for rows, y in block:
            factor = recipe.schedule.factor(progress.step, total)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            began = time.perf_counter()
            x = self.feed.training_batch(rows)
            self.clock.input_seconds += time.perf_counter() - began
            self.clock.samples += len(rows)
            counted: list[Tensor] = []

            def closure(x: Tensor = x, y: Tensor = y, counted: list[Tensor] = counted) -> Tensor:
                # dropout draws from the global generator: addressed by seed and step
                seed_device(seed_of(recipe.seed, "step", progress.step), y.device)
                logits = self.network(x)
                loss = self.loss(logits.float(), y)
                if not counted:
                    correct = (logits.detach().argmax(dim=1) == y).sum()
                    counted.append(torch.stack([loss.detach() * len(y), correct.to(loss.dtype)]))
                if recipe.l2:
                    loss = (
                        loss
                        + recipe.l2
                        * torch.stack([p.square().sum() for p in self._regularised]).sum()
                    )
                optimizer.zero_grad()
                if plain:
                    loss.backward()
                    self._clip()
                else:
                    self.manual_backward(loss)
                return loss

            optimizer.step(closure)
            self._running.append(counted[0])
            progress.step += 1
        if self.on_block is not None and self.steps_per_epoch > STEPS_PER_BLOCK:
            done = min((block_index + 1) * STEPS_PER_BLOCK, self.steps_per_epoch)
            self.on_block(f"epoch {progress.epoch + 1}, steps", done, self.steps_per_epoch)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._clip()  # after a gradient scaler has scaled back

    def _clip(self) -> None:
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._trained, self.recipe.gradient_clip)

    def on_train_epoch_end(self) -> None:
        progress = self.progress
        progress.epoch += 1
        self.clock.stop(self.y.device)
        n = len(self.parts["train"])
        loss, correct = torch.stack(self._running).sum(dim=0).tolist()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the training loss is {loss} in epoch {progress.epoch}; {DIVERGED}"
            )
        row = {"epoch": progress.epoch, "train_loss": loss / n, "train_accuracy": correct / n}
        lr = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        row["learning_rate"] = float(lr)
        parts = [p for p in self.recipe.curves_on if len(self.parts.get(p, ()))]
        if self.recipe.patience is not None and "validation" not in parts:
            raise ConfigError(
                "early stopping chooses on validation: set split.validation, for instance 0.2"
            )
        for part in parts:
            part_loss, accuracy = self.score(part)
            row[f"{part}_loss"], row[f"{part}_accuracy"] = part_loss, accuracy
        progress.curves.append(row)
        if self.recipe.patience is not None:
            if row["validation_loss"] < progress.best_loss:
                progress.best_loss, progress.best_epoch = row["validation_loss"], progress.epoch
                self.best_weights = {
                    k: v.detach().clone() for k, v in self.network.state_dict().items()
                }
            if self.ended:
                self.trainer.should_stop = True

    # --- inference ------------------------------------------------------------------------------------------------

    def logits(self, rows: Tensor) -> Tensor:
        """Logits of rows, shape (len(rows), num_classes), float32, in inference mode and in batches."""
        was_training = self.network.training
        self.network.eval()
        batch = max(1, min(self.recipe.inference_batch, len(rows)))
        rows = rows.to(self.feed.rows_on)
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            out = [
                self.network(self.feed.plain_batch(chunk)).float() for chunk in rows.split(batch)
            ]
        self.network.train(was_training)
        return torch.cat(out)

    def score(self, part: str) -> tuple[float, float]:
        """Loss and accuracy of a part."""
        rows = self.parts[part]
        logits = self.logits(rows)
        y = self.y[rows.to(self.y.device)]
        with torch.inference_mode():
            loss, correct = torch.stack(
                [self.loss(logits, y), (logits.argmax(dim=1) == y).float().mean()]
            ).tolist()
        return loss, correct

    def probabilities(self, rows: Tensor) -> np.ndarray:
        """Class probabilities of rows, shape (len(rows), num_classes), float32."""
        out = self.logits(rows).softmax(dim=1).cpu().numpy()
        if not np.isfinite(out).all():
            raise TrainingError(
                f"after epoch {self.progress.epoch} the network's outputs are not numbers; {DIVERGED}"
            )
        return out

    def speed(self, arithmetic: bool = False) -> dict[str, float]:
        """How fast this process trained; see `leukobench.training.throughput`.

        Args:
            arithmetic: Also count the operations of a step, and set them against a large matrix product.
        """
        device = self.y.device
        facts = self.clock.facts(device)
        if not arithmetic or not facts:
            return facts
        rows = self.parts["train"][: self.recipe.batch_size]
        x, y = self.feed.plain_batch(rows.to(self.feed.rows_on)), self.y[rows.to(device)]
        context = self.trainer.precision_plugin.forward_context
        with context():
            flop = step_flop(lambda: self.loss(self.network(x).float(), y))
        self.network.zero_grad(set_to_none=True)
        rate = flop / len(rows) * facts["samples_per_second"]
        precision = str(self.trainer.precision)
        dtype = (
            torch.bfloat16
            if "bf16" in precision
            else torch.float16
            if "16" in precision
            else torch.float32
        )
        return {
            **facts,
            "flop_per_second": rate,
            "share_of_ceiling": round(rate / ceiling(str(device), dtype), 4),
        }

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything a training needs to go on, in plain containers and tensors."""
        p = self.progress
        optimizer: Any = self.optimizers()
        return {
            "network": self.network.state_dict(),
            "optimizer": optimizer.optimizer.state_dict(),
            "best_weights": self.best_weights,
            "epoch": p.epoch,
            "step": p.step,
            "curves": p.curves,
            "best_loss": p.best_loss,
            "best_epoch": p.best_epoch,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; call before the Trainer fits."""
        self.network.load_state_dict(state["network"])
        self.restored_optimizer = state["optimizer"]
        self.best_weights = state["best_weights"]
        self.progress = Progress(
            epoch=int(state["epoch"]),
            step=int(state["step"]),
            curves=[dict(row) for row in state["curves"]],
            best_loss=float(state["best_loss"]),
            best_epoch=int(state["best_epoch"]),
        )


def quiet_trainer(**options: Any) -> pl.Trainer:
    """A Trainer that prints nothing, writes nothing and logs nothing of its own."""
    import logging

    for name in (
        "pytorch_lightning",
        "lightning.pytorch",
        "lightning_fabric",
        "pytorch_lightning.utilities.rank_zero",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    defaults: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "devices": 1,
    }
    callbacks = [OwnSignals(), *options.pop("callbacks", ())]
    return pl.Trainer(**{**defaults, **options}, callbacks=callbacks)

"""Stacked training: networks of one architecture trained as one batched network, each with the draws it has alone.

Initialisation, order of samples and dropout masks come from every member's own addressed generators, so a member ends
where it would end alone, up to the rounding of batched products. What may be stacked is decided in
`leukobench.sweeps.stacking`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, nn
from torch.func import functional_call, vmap

from leukobench.errors import TrainingError
from leukobench.training.batching import Masked, masked
from leukobench.training.interruption import Interruption
from leukobench.training.job import Training
from leukobench.training.module import DIVERGED, Blocks, Classifier, seed_device
from leukobench.training.randomness import seed_of
from leukobench.training.run import OnEpoch, State, Work, attempt, run_trainer, trainer_of
from leukobench.training.throughput import Clock


def run_stack(
    trainings: Sequence[Training],
    *,
    on_epoch: OnEpoch | None = None,
    interruption: Interruption | None = None,
) -> dict[str, State]:
    """Train several trainings as one; each ends in its own run folder as `run_training` would leave it.

    Members that turn out not to fit together (other numbers of rows, other checkpoints) are trained in smaller stacks
    or alone; one whose loss is no longer a number fails alone; where a stack fails as a whole, its members are trained
    one by one.

    Args:
        on_epoch: Called with the means over a stack's members.

    Returns:
        State of each training by id.
    """
    interruption = interruption or Interruption()
    states: dict[str, State] = {}
    works = [
        Work(t) for t in sorted(trainings, key=lambda t: t.id)
    ]  # locks in one order everywhere
    with ExitStack() as locks:
        for work in works:
            locks.enter_context(work.lock())
        works = [w for w in works if w.begin() or states.update({w.training.id: "finished"})]
        share = 1 / max(len(works), 1)
        try:
            for group in _alike(works, states, share):
                _run_group(group, states, share, on_epoch, interruption)
        except KeyboardInterrupt:
            for work in works:
                if work.training.id not in states:
                    work.end("interrupted", share)
            raise
    return states


def _alike(works: Sequence[Work], states: dict[str, State], share: float) -> list[list[Work]]:
    """Trainings that can be one batch: the same shapes, at the same epoch."""
    groups: dict[Any, list[Work]] = {}
    for work in works:
        try:
            classifier = work.ready()
        except Exception as e:
            states[work.training.id] = work.fail(e, share)
            continue
        sizes = tuple((part, len(rows)) for part, rows in classifier.parts.items())
        key = (classifier.progress.epoch, work.last, classifier.feed.input_shape, sizes)
        groups.setdefault(key, []).append(work)
    return list(groups.values())


def _run_group(
    group: list[Work],
    states: dict[str, State],
    share: float,
    on_epoch: OnEpoch | None,
    interruption: Interruption,
) -> None:
    if len(group) > 1 and not interruption.requested:
        try:
            _fit_stack(group, states, share, on_epoch, interruption)
        except Exception as e:
            for work in group:
                work.folder.update(stacked=None, not_stacked=f"{type(e).__name__}: {e}"[:500])
    for work in group:
        if work.training.id not in states:
            states[work.training.id] = attempt(work, on_epoch, interruption, share)


def _fit_stack(
    group: list[Work],
    states: dict[str, State],
    share: float,
    on_epoch: OnEpoch | None,
    interruption: Interruption,
) -> None:
    """Train a stack and write down how each member ended."""
    first = group[0]
    node = first.job.config["trainer"]
    torch.set_num_threads(int(node.get("threads") or 1))
    for work in group:
        work.folder.update(stacked=len(group), not_stacked=None)
    stack = StackedClassifier([w.classifier for w in group])
    watcher = _StackWatcher(stack, group, on_epoch, interruption)
    folders = [w.folder.path for w in group]
    run_trainer(trainer_of(node, first.last - stack.progress.epoch, watcher, folders), stack)
    speed = stack.clock.facts(stack.values.device)
    for k, work in watcher.works.items():
        id = work.training.id
        work.folder.update(speed=speed)
        if k in stack.failed:
            states[id] = work.fail(stack.failed[k], share)
        elif not work.wanted:
            work.keep_curves()
            states[id] = work.end("finished", share)
        elif interruption.requested:
            states[id] = work.end("interrupted", share)
        else:
            states[id] = work.fail(TrainingError(f"training ended before epoch {work.last}"), share)


class StackedClassifier(pl.LightningModule):
    """Trains several `Classifier`s as one: tensors of shape (members, ...), one optimizer step for all.

    Args:
        members: Of one architecture, epoch count, batch size and checkpoint epoch, with equally many rows in each part.

    Attributes:
        failed: Members whose loss is no longer a number, with the error; the others go on.
        clock: Time of all members together, and the samples of each.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.automatic_optimization = False
        first = members[0]
        # members with the same optimizer settings stand side by side, so that a slice of a tensor is theirs
        settings = [_settings(m) for m in members]
        place = {key: i for i, key in reversed(list(enumerate(settings)))}
        order = sorted(range(len(members)), key=lambda k: place[settings[k]])
        self.members = [members[k] for k in order]
        self.groups: list[slice] = []
        for k, key in enumerate(settings[i] for i in order):
            if k and key == settings[order[k - 1]]:
                self.groups[-1] = slice(self.groups[-1].start, k + 1)
            else:
                self.groups.append(slice(k, k + 1))
        self.recipe, self.progress, self.steps_per_epoch = (
            first.recipe,
            first.progress,
            first.steps_per_epoch,
        )
        self.failed: dict[int, TrainingError] = {}
        self.clock = Clock()
        self.template, self.loss_template = masked(first.network), first.loss
        self.masks = {n: m for n, m in self.template.named_modules() if isinstance(m, Masked)}
        names = dict(first.network.named_parameters())
        self.trained = [n for n, p in names.items() if p.requires_grad]
        self.weights = {
            n: nn.Parameter(
                torch.stack([m.network.get_parameter(n).detach() for m in self.members]),
                p.requires_grad,
            )
            for n, p in names.items()
        }
        self.fixed = {
            n: torch.stack([m.network.get_buffer(n) for m in self.members])
            for n, _ in first.network.named_buffers()
        }
        self.loss_buffers = {
            n: torch.stack([m.loss.get_buffer(n) for m in self.members])
            for n, _ in first.loss.named_buffers()
        }
        self.l2 = torch.tensor([m.recipe.l2 for m in self.members])
        self.regularised = any(m.recipe.l2 for m in self.members)
        self._shapes: dict[int, dict[str, tuple[int, ...]]] = {}
        self._running: list[Tensor] = []
        self._slices: list[list[nn.Parameter]] = []

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device
        for member in self.members:
            member.trainer = self.trainer
            member.setup(stage)
            member.network.to(device)
        self.weights = {
            n: nn.Parameter(w.detach().to(device), w.requires_grad) for n, w in self.weights.items()
        }
        for tensors in (self.fixed, self.loss_buffers):
            tensors |= {n: t.to(device) for n, t in tensors.items()}
        self.l2 = self.l2.to(device)
        self._lay_out_rows()

    def _lay_out_rows(self) -> None:
        """Inputs and labels of all members one below the other, equal ones once; rows shifted to match."""
        values: list[Tensor] = []
        labels: list[Tensor] = []
        starts: list[int] = []
        self.offsets: list[int] = []
        for member in self.members:
            x: Tensor = member.feed.values  # type: ignore[attr-defined]
            for known, (a, b) in enumerate(zip(values, labels)):
                same = a.data_ptr() == x.data_ptr() or (a.shape == x.shape and torch.equal(a, x))
                if same and torch.equal(b, member.y):
                    self.offsets.append(starts[known])
                    break
            else:
                starts.append(sum(map(len, values)))
                self.offsets.append(starts[-1])
                values.append(x)
                labels.append(member.y)
        self.values = values[0] if len(values) == 1 else torch.cat(values)
        self.labels = labels[0] if len(labels) == 1 else torch.cat(labels)
        self.part_rows = {
            part: torch.stack([m.parts[part] + o for m, o in zip(self.members, self.offsets)]).to(
                self.labels.device
            )
            for part in self.members[0].parts
        }

    # --- training -------------------------------------------------------------------------------------------------

    def order(self, epoch: int) -> Tensor:
        """Training rows in each member's order of this epoch, shape (rows, members)."""
        return torch.stack([m.order(epoch) + o for m, o in zip(self.members, self.offsets)], dim=1)

    def steps(self, epoch: int) -> list[Tensor]:
        """Rows of each step of an epoch, shape (rows, members) each."""
        order = self.order(epoch).to(self.labels.device)
        return list(order.split(self.recipe.batch_size or len(order)))

    def train_dataloader(self) -> Blocks:
        return Blocks(self.steps, lambda: self.progress.epoch, self.steps_per_epoch)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self._slices = [
            [nn.Parameter(self.weights[n].detach()[g]) for n in self.trained] for g in self.groups
        ]
        optimizer: torch.optim.Optimizer | None = None
        for group, leaves in zip(self.groups, self._slices):
            own = self.members[group.start].recipe.optimizer(leaves)
            restored = [m.restored_optimizer for m in self.members[group]]
            if restored[0] is not None:
                own.load_state_dict(_stack_state(restored))  # type: ignore[arg-type]
            if optimizer is None:
                optimizer = own
            else:
                optimizer.add_param_group(own.param_groups[0])
                optimizer.state.update(own.state)
        assert optimizer is not None
        for member in self.members:
            member.restored_optimizer = None
        for settings in optimizer.param_groups:
            settings.setdefault("initial_lr", settings["lr"])
        return optimizer

    def on_train_epoch_start(self) -> None:
        self._running = []
        self.clock.start(self.values.device)

    def draw_masks(self, batch: int) -> dict[str, Tensor]:
        """Each member's dropout masks of this step, as it would draw them alone."""
        if not self.masks:
            return {}
        shapes, device = self._mask_shapes(batch), self.values.device
        out = {
            name: torch.empty(len(self.members), *shape, device=device)
            for name, shape in shapes.items()
        }
        for k, member in enumerate(self.members):
            seed_device(seed_of(member.recipe.seed, "step", self.progress.step), device)
            for name, shape in shapes.items():
                out[name][k] = nn.functional.dropout(
                    torch.ones(shape, device=device), self.masks[name].p
                )
        return {f"{name}.mask": mask for name, mask in out.items()}

    def _mask_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Shape of each mask for a batch, in the order in which a forward pass asks for them."""
        if batch not in self._shapes:
            shapes: dict[str, tuple[int, ...]] = {}
            hooks = [
                m.register_forward_pre_hook(
                    lambda _, x, n=name: shapes.__setitem__(n, tuple(x[0].shape))
                )
                for name, m in self.masks.items()
            ]
            with torch.no_grad():
                self.template.train()(self.values[:1].expand(batch, *self.values.shape[1:]))
            for hook in hooks:
                hook.remove()
            self._shapes[batch] = shapes
        return self._shapes[batch]

    def _logits(self, x: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
        """Logits (members, n, classes) of inputs (members, n, ...)."""
        tensors = {**self.weights, **self.fixed, **masks}
        out: Tensor = vmap(lambda t, rows: functional_call(self.template, t, (rows,)))(tensors, x)
        return out.float()

    def _losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Loss of each member, shape (members,)."""
        if not self.loss_buffers:
            out: Tensor = vmap(self.loss_template)(logits, y)
        else:
            out = vmap(lambda b, z, labels: functional_call(self.loss_template, b, (z, labels)))(
                self.loss_buffers, logits, y
            )
        return out

    def training_step(self, block: Sequence[Tensor], block_index: int) -> None:
        optimizer: Any = self.optimizers()
        recipe, progress = self.recipe, self.progress
        total = recipe.epochs * self.steps_per_epoch
        self.template.train()
        for rows in block:
            factor = recipe.schedule.factor(progress.step, total)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            began = time.perf_counter()
            rows = rows.T
            x, y = self.values[rows], self.labels[rows]
            self.clock.input_seconds += time.perf_counter() - began
            self.clock.samples += rows.numel()
            logits = self._logits(x, self.draw_masks(rows.shape[1]))
            losses = self._losses(logits, y)
            correct = (logits.detach().argmax(dim=2) == y).sum(dim=1)
            self._running.append(
                torch.stack([losses.detach() * y.shape[1], correct.to(losses.dtype)])
            )
            if self.regularised:
                squares = [
                    self.weights[n].square().flatten(1).sum(1)
                    for n in self.trained
                    if self.weights[n].ndim > 2
                ]
                losses = losses + self.l2 * torch.stack(squares).sum(dim=0)
            for n in self.trained:
                self.weights[n].grad = None
            self.manual_backward(losses.sum())
            if recipe.gradient_clip is not None:
                self._clip(recipe.gradient_clip)
            for group, leaves in zip(self.groups, self._slices):
                for n, leaf in zip(self.trained, leaves):
                    gradient = self.weights[n].grad
                    leaf.grad = None if gradient is None else gradient[group]
            optimizer.step()
            progress.step += 1

    @torch.no_grad()
    def _clip(self, largest: float) -> None:
        """Each member's gradient norm, as `clip_grad_norm_` does it."""
        gradients = [g for n in self.trained if (g := self.weights[n].grad) is not None]
        norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))

    def on_train_epoch_end(self) -> None:
        self.clock.stop(self.values.device)
        progress = self.progress
        n = self.part_rows["train"].shape[1]
        losses, correct = torch.stack(self._running).sum(dim=0).tolist()
        optimizer: Any = self.optimizers()
        rates = {
            k: float(g["lr"])
            for i, g in enumerate(optimizer.param_groups)
            for k in _numbers(self.groups[i])
        }
        parts = [p for p in self.recipe.curves_on if self.part_rows.get(p, torch.empty(0)).numel()]
        scores = {part: self.score(part) for part in parts}
        epoch = progress.epoch + 1
        for k, member in enumerate(self.members):
            if not math.isfinite(losses[k]):
                self.failed.setdefault(
                    k,
                    TrainingError(f"the training loss is {losses[k]} in epoch {epoch}; {DIVERGED}"),
                )
                continue
            row = {"epoch": epoch, "train_loss": losses[k] / n, "train_accuracy": correct[k] / n}
            row["learning_rate"] = rates[k]
            for part in parts:
                row[f"{part}_loss"], row[f"{part}_accuracy"] = (
                    scores[part][0][k],
                    scores[part][1][k],
                )
            member.progress.epoch, member.progress.step = epoch, progress.step
            member.progress.curves.append(row)
        progress.epoch = epoch
        if len(self.failed) == len(self.members):
            self.trainer.should_stop = True

    # --- inference ------------------------------------------------------------------------------------------------

    def score(self, part: str) -> tuple[list[float], list[float]]:
        """Loss and accuracy of a part, for each member."""
        self.template.eval()
        rows = self.part_rows[part]
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            chunk = max(1, min(self.recipe.inference_batch, rows.shape[1]))
            logits = torch.cat(
                [self._logits(self.values[r], {}) for r in rows.split(chunk, dim=1)], dim=1
            )
            y = self.labels[rows]
            accuracy = (logits.argmax(dim=2) == y).float().mean(dim=1)
            return self._losses(logits, y).tolist(), accuracy.tolist()

    # --- one member -----------------------------------------------------------------------------------------------

    def give_back(self, k: int) -> Classifier:
        """Member k with its weights as they stand now, ready to predict."""
        member = self.members[k]
        with torch.no_grad():
            for name, parameter in member.network.named_parameters():
                parameter.copy_(self.weights[name][k])
        return member

    def state(self, k: int) -> dict[str, Any]:
        """Checkpoint of member k, as `Classifier.state` gives it: any training can go on from it, alone or stacked."""
        member = self.give_back(k)
        g = next(i for i, s in enumerate(self.groups) if s.start <= k < s.stop)
        optimizer: Any = self.optimizers()
        settings = {n: v for n, v in optimizer.param_groups[g].items() if n != "params"}
        at = k - self.groups[g].start
        state = {
            i: {name: _part(value, leaf, at) for name, value in optimizer.state[leaf].items()}
            for i, leaf in enumerate(self._slices[g])
            if leaf in optimizer.state
        }
        p = member.progress
        return {
            "network": {n: v.clone() for n, v in member.network.state_dict().items()},
            "optimizer": {
                "state": state,
                "param_groups": [{**settings, "params": list(range(len(self.trained)))}],
            },
            "best_weights": None,
            "epoch": p.epoch,
            "step": p.step,
            "curves": p.curves,
            "best_loss": p.best_loss,
            "best_epoch": p.best_epoch,
        }


class _StackWatcher(Checkpoint):
    """Writes members' results at checkpoint epochs and their checkpoints where time has passed; stops when asked to."""

    def __init__(
        self,
        stack: StackedClassifier,
        works: Sequence[Work],
        on_epoch: OnEpoch | None,
        interruption: Interruption,
    ) -> None:
        of = {id(w.classifier): w for w in works}
        self.works = {k: of[id(member)] for k, member in enumerate(stack.members)}
        self.on_epoch, self.interruption = on_epoch, interruption
        self.every = float(works[0].job.config["trainer"].get("checkpoint_every", 60))
        self.saved = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, StackedClassifier)
        epoch, total = module.progress.epoch, module.recipe.epochs
        alive = [k for k in self.works if k not in module.failed]
        if not alive:
            return
        if self.on_epoch is not None:
            rows = [module.members[k].progress.curves[-1] for k in alive]
            self.on_epoch(
                epoch, total, {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}
            )
        for k in alive:
            work = self.works[k]
            if epoch in work.wanted:
                module.give_back(k)
                try:
                    work.finish(epoch)
                except TrainingError as e:
                    module.failed[k] = e
        stop = self.interruption.requested and epoch < total
        if stop or (time.monotonic() - self.saved > self.every and epoch < total):
            for k in alive:
                if k not in module.failed:
                    self.works[k].checkpoint(module.state(k))
            self.saved = time.monotonic()
        if stop:
            trainer.should_stop = True


def _numbers(group: slice) -> range:
    return range(group.start, group.stop)


def _settings(member: Classifier) -> str:
    """The settings of a member's optimizer, as text."""
    optimizer = member.recipe.optimizer([nn.Parameter(torch.zeros(1))])
    return f"{type(optimizer).__name__} {sorted(optimizer.defaults.items())}"


def _part(value: Any, leaf: Tensor, at: int) -> Any:
    """What one member has of a value in the optimizer's state."""
    if isinstance(value, Tensor):
        return value[at].clone() if value.shape == leaf.shape else value.clone()
    return value


def _stack_state(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One optimizer state from those of members at the same step."""
    first = states[0]

    def join(i: int, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor) or name == "step":
            return value
        return torch.stack([s["state"][i][name] for s in states])

    return {
        "state": {
            i: {n: join(i, n, v) for n, v in entry.items()} for i, entry in first["state"].items()
        },
        "param_groups": first["param_groups"],
    }

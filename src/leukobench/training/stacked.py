"""Stacked training: networks of one architecture trained as one batched network, each with the draws it has alone.

Initialisation, order of samples and dropout masks come from every member's own addressed generators, so a member ends
where it would end alone, up to the rounding of batched products. What may be stacked is decided in
`leukobench.sweeps.stacking`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from leukobench.errors import TrainingError
from leukobench.training.module import Blocks, Classifier
from leukobench.training.randomness import seed_of


class Masked(nn.Module):
    """Stands where a network has `nn.Dropout` and multiplies by a mask that is drawn outside.

    Attributes:
        mask: Zeros and 1 / (1 - p), in the shape of one member's input.
    """

    mask: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask if self.training else x


def masked(network: nn.Module) -> nn.Module:
    """A copy of a network with `Masked` in place of `nn.Dropout`."""
    out = copy.deepcopy(network)
    if isinstance(out, nn.Dropout):
        return Masked(out.p)
    for parent in list(out.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Masked(child.p))
    return out


def stackable(network: nn.Module, loss: nn.Module, input_shape: Sequence[int], device: str = "meta") -> str | None:
    """Why networks like this one cannot be trained stacked, or None.

    Tried on a batch of zeros: every operation must be known to `vmap`, and none may draw random numbers outside
    `nn.Dropout` or keep statistics of what it saw.
    """
    if any(isinstance(m, nn.modules.batchnorm._NormBase) for m in network.modules()):
        return "batch normalisation keeps statistics"
    try:
        template, weights = masked(network).to(device).train(), loss.to(device)
        two = {k: torch.stack([v, v]) for k, v in _tensors(template).items()}
        x = torch.zeros(2, 4, *input_shape, device=device)
        y = torch.zeros(2, 4, dtype=torch.int64, device=device)
        logits = vmap(lambda t, rows: functional_call(template, t, (rows,)))(two, x)
        vmap(lambda z, labels: functional_call(weights, dict(weights.named_buffers()), (z, labels)))(logits, y)
    except Exception as e:
        return f"it cannot be batched ({type(e).__name__}: {str(e).splitlines()[0][:120] if str(e) else ''})"
    return None


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


class StackedClassifier(pl.LightningModule):
    """Trains several `Classifier`s as one: tensors of shape (members, ...), one optimizer step for all.

    Args:
        members: Of one architecture, epoch count, batch size and checkpoint epoch, with equally many rows in each part.

    Attributes:
        failed: Members whose loss is no longer a number, with the error; the others go on.
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
        self.recipe, self.progress, self.steps_per_epoch = first.recipe, first.progress, first.steps_per_epoch
        self.failed: dict[int, TrainingError] = {}
        self.template, self.loss_template = masked(first.network), first.loss
        self.masks = {n: m for n, m in self.template.named_modules() if isinstance(m, Masked)}
        names = dict(first.network.named_parameters())
        self.trained = [n for n, p in names.items() if p.requires_grad]
        self.weights = {
            n: nn.Parameter(torch.stack([m.network.get_parameter(n).detach() for m in self.members]), p.requires_grad)
            for n, p in names.items()
        }
        self.fixed = {
            n: torch.stack([m.network.get_buffer(n) for m in self.members]) for n, _ in first.network.named_buffers()
        }
        self.loss_buffers = {
            n: torch.stack([m.loss.get_buffer(n) for m in self.members]) for n, _ in first.loss.named_buffers()
        }
        self.l2 = torch.tensor([m.recipe.l2 for m in self.members])
        self._lay_out_rows()
        self._shapes: dict[int, dict[str, tuple[int, ...]]] = {}
        self._running: list[Tensor] = []
        self._slices: list[list[nn.Parameter]] = []

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
            part: torch.stack([m.parts[part] + o for m, o in zip(self.members, self.offsets)])
            for part in self.members[0].parts
        }

    # --- training -------------------------------------------------------------------------------------------------

    def order(self, epoch: int) -> Tensor:
        """Training rows in each member's order of this epoch, shape (rows, members)."""
        return torch.stack([m.order(epoch) + o for m, o in zip(self.members, self.offsets)], dim=1)

    def train_dataloader(self) -> Blocks:
        return Blocks(self)  # type: ignore[arg-type]  # asks for order, progress, recipe and steps_per_epoch alone

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self._slices = [[nn.Parameter(self.weights[n].detach()[g]) for n in self.trained] for g in self.groups]
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

    def draw_masks(self, batch: int) -> dict[str, Tensor]:
        """Each member's dropout masks of this step, as it would draw them alone."""
        if not self.masks:
            return {}
        shapes = self._mask_shapes(batch)
        out = {name: torch.empty(len(self.members), *shape) for name, shape in shapes.items()}
        for k, member in enumerate(self.members):
            torch.default_generator.manual_seed(seed_of(member.recipe.seed, "step", self.progress.step))
            for name, shape in shapes.items():
                out[name][k] = nn.functional.dropout(torch.ones(shape), self.masks[name].p)
        return {f"{name}.mask": mask for name, mask in out.items()}

    def _mask_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Shape of each mask for a batch, in the order in which a forward pass asks for them."""
        if batch not in self._shapes:
            shapes: dict[str, tuple[int, ...]] = {}
            hooks = [
                m.register_forward_pre_hook(lambda _, x, n=name: shapes.__setitem__(n, tuple(x[0].shape)))
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

    def training_step(self, block: list[Tensor], block_index: int) -> None:
        optimizer: Any = self.optimizers()
        recipe, progress = self.recipe, self.progress
        total = recipe.epochs * self.steps_per_epoch
        self.template.train()
        for rows in block:
            factor = recipe.schedule.factor(progress.step, total)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            rows = rows.T
            y = self.labels[rows]
            logits = self._logits(self.values[rows], self.draw_masks(rows.shape[1]))
            losses = self._losses(logits, y)
            correct = (logits.detach().argmax(dim=2) == y).sum(dim=1)
            self._running.append(torch.stack([losses.detach() * y.shape[1], correct.to(losses.dtype)]))
            if self.l2.any():
                squares = [self.weights[n].square().flatten(1).sum(1) for n in self.trained if self.weights[n].ndim > 2]
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
        progress = self.progress
        n = self.part_rows["train"].shape[1]
        losses, correct = torch.stack(self._running).sum(dim=0).tolist()
        optimizer: Any = self.optimizers()
        rates = {k: float(g["lr"]) for i, g in enumerate(optimizer.param_groups) for k in _numbers(self.groups[i])}
        parts = [p for p in self.recipe.curves_on if self.part_rows.get(p, torch.empty(0)).numel()]
        scores = {part: self.score(part) for part in parts}
        epoch = progress.epoch + 1
        for k, member in enumerate(self.members):
            if not math.isfinite(losses[k]):
                self.failed.setdefault(
                    k,
                    TrainingError(
                        f"the training loss is {losses[k]} in epoch {epoch}; a lower optimizer.lr or "
                        "gradient_clip=1.0 usually helps, and NaN inputs are found by `leukobench data check`"
                    ),
                )
                continue
            row = {"epoch": epoch, "train_loss": losses[k] / n, "train_accuracy": correct[k] / n}
            row["learning_rate"] = rates[k]
            for part in parts:
                row[f"{part}_loss"], row[f"{part}_accuracy"] = scores[part][0][k], scores[part][1][k]
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
        with torch.no_grad():
            chunk = max(1, min(self.recipe.inference_batch, rows.shape[1]))
            logits = torch.cat([self._logits(self.values[r], {}) for r in rows.split(chunk, dim=1)], dim=1)
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
        member.trainer = self.trainer
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
            "optimizer": {"state": state, "param_groups": [{**settings, "params": list(range(len(self.trained)))}]},
            "best_weights": None,
            "epoch": p.epoch,
            "step": p.step,
            "curves": p.curves,
            "best_loss": p.best_loss,
            "best_epoch": p.best_epoch,
        }


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
        "state": {i: {n: join(i, n, v) for n, v in entry.items()} for i, entry in first["state"].items()},
        "param_groups": first["param_groups"],
    }


AfterEpoch = Callable[[StackedClassifier], None]

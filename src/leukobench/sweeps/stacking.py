"""Which trainings are trained stacked: decided by a rule from measurements, before anything runs.

Stacking saves the fixed cost of a step (about 3 ms an epoch here) and pays with memory traffic: the weights of all
members pass through the processor's caches at every step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from leukobench.errors import LeukoBenchError
from leukobench.training.job import Job, Training, build, build_preprocess, prepare

LEAST = 4
"""Members from which stacking wins: two gained nothing, four 1.2 to 2 times."""
MOST = 64
"""Members beyond which nothing more is gained."""
PARAMETERS = 130_000
"""Largest network. 128 units on 1,000 genes gained 1.5 times with four members, on 2,000 genes the gain fell again with
more of them, on 5,000 there was none."""
WORK = 4_000_000
"""Largest product of parameters and rows of a step: beyond it a step computes longer than it costs to start."""
INPUTS = 1_000_000
"""Most input values of a step: 22,283 genes of 30 samples gained, 54,675 of 60 lost."""

ELEMENTWISE = ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam")
"""Optimizers of torch.optim that treat every weight by itself, so that a slice of a tensor is trained as if alone."""
APART = ("seed", "fold", "epochs", "l2", "split", "evaluate_at")
"""Keys of the config in which members may differ; of the split only the sizes of the parts count."""
RATES = ("lr", "weight_decay")
"""Keys of the optimizer in which members may differ."""

_width: dict[str, str | None] = {}


def obstacle(job: Job) -> str | None:
    """Why a job is not trained stacked, or None; the reason is for people."""
    import torch

    config, trainer = job.config, job.config["trainer"]
    dataset = prepare(job).dataset
    if dataset.family != "expression":
        return "only networks on expression data were measured"
    accelerator = str(trainer.get("accelerator", "auto"))
    if accelerator not in ("cpu", "auto") or (accelerator == "auto" and torch.cuda.is_available()):
        return "stacking was measured on the CPU alone"
    if trainer.get("precision", "32-true") != "32-true" or trainer.get("compile") or trainer.get("profiler"):
        return "trainer settings"
    if config.get("patience") is not None:
        return "early stopping ends each training at an epoch of its own"
    target = str(config["optimizer"].get("_target_", ""))
    if not target.startswith("torch.optim.") or target.rpartition(".")[2] not in ELEMENTWISE:
        return f"optimizer={job.choices.get('optimizer')} does not treat every weight by itself"
    return _network_obstacle(job)


def _network_obstacle(job: Job) -> str | None:
    """What of network and data the rule refuses; sized without memory on torch's meta device, once a configuration."""
    import torch

    from leukobench.training.batching import stackable

    prepared = prepare(job)
    dataset: Any = prepared.dataset
    preprocess = build_preprocess(job, dataset.family)
    if getattr(preprocess, "encoder", None) is not None:
        return "the width that a learned encoder leaves is known only when it is fitted"
    features = dataset.values.shape[1] if prepared.scaled else getattr(preprocess, "genes", None)
    features = int(features or dataset.values.shape[1])
    rows = len(prepared.split.parts["train"])
    batch = min(int(job.config.get("batch_size") or rows), rows)
    key = json.dumps([job.config["model"], job.config["loss"], features, len(dataset.classes), batch], default=str)
    if key not in _width:
        try:
            with torch.device("meta"):
                network = build(job.config["model"], (features,), len(dataset.classes))
        except (LeukoBenchError, NotImplementedError, RuntimeError):
            _width[key] = "the network cannot be sized before it is built"
            return _width[key]
        parameters = sum(p.numel() for p in network.parameters())
        if parameters > PARAMETERS:
            _width[key] = f"{parameters:,} parameters (stacking wins up to {PARAMETERS:,})"
        elif parameters * batch > WORK:
            _width[key] = f"{parameters:,} parameters times {batch} rows a step (stacking wins up to {WORK:,})"
        elif features * batch > INPUTS:
            _width[key] = f"{features * batch:,} input values a step (stacking wins up to {INPUTS:,})"
        else:
            loss = build(job.config["loss"], torch.ones(len(dataset.classes)))
            _width[key] = stackable(network.to_empty(device="cpu"), loss, (features,))
    return _width[key]


def stack_key(training: Training) -> str:
    """Equal for trainings that may be members of one stack: all but seed, fold, rates and the rows themselves."""
    job = training.job
    config: dict[str, Any] = {k: v for k, v in job.config.items() if k not in APART}
    config["optimizer"] = {k: v for k, v in config["optimizer"].items() if k not in RATES}
    sizes = {part: len(ids) for part, ids in prepare(job).split.parts.items()}
    return json.dumps([config, training.epochs, sizes], sort_keys=True, default=str)


def stacks(trainings: Sequence[Training], reasons: Counter[str] | None = None) -> list[list[Training]]:
    """Trainings in groups that train together, each group at the place of its first member; most have one member.

    Args:
        reasons: Where given, counts of trainings that stay alone although others differ from them only in what a
            stack may hold, by reason.
    """
    groups: dict[str, list[Training]] = {}
    for training in trainings:
        groups.setdefault(stack_key(training), []).append(training)
    place: dict[str, list[list[Training]]] = {}
    for group in groups.values():
        why = f"fewer than {LEAST} alike" if len(group) < LEAST else obstacle(group[0].job)
        if why is None:
            parts = _even(group)
        else:
            parts = [[t] for t in group]
            if reasons is not None and len(group) >= LEAST:
                reasons[why] += len(group)
        for part in parts:
            place.setdefault(part[0].id, []).append(part)
    return [part for t in trainings for part in place.get(t.id, [])]


def _even(group: Sequence[Training]) -> list[list[Training]]:
    """Stacks of at most `MOST` members, about equally large."""
    count = -(-len(group) // MOST)
    return [list(group[i::count]) for i in range(count)]

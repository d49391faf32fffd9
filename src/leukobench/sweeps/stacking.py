"""Which trainings are trained stacked, decided before anything runs: those that can be and, unless the user wants all of
these, gain by it according to a rule from measurements.

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

PRECISIONS = ("32-true", "bf16-mixed")
"""Those without a scaler of gradients, which members would have to share."""
ALONE = ("compile", "profiler", "measure")
"""Keys of the trainer that ask for one network by itself."""

_shared: dict[str, tuple[str | None, str | None]] = {}


def impossible(job: Job) -> str | None:
    """Why a job cannot be trained stacked, or None; the reason is for people."""
    config, trainer = job.config, job.config["trainer"]
    if prepare(job).dataset.family != "expression":
        return "only networks on expression data are stacked"
    if trainer.get("precision", "32-true") not in PRECISIONS or any(trainer.get(k) for k in ALONE):
        return "trainer settings"
    if config.get("patience") is not None:
        return "early stopping ends each training at an epoch of its own"
    target = str(config["optimizer"].get("_target_", ""))
    if not target.startswith("torch.optim.") or target.rpartition(".")[2] not in ELEMENTWISE:
        return f"optimizer={job.choices.get('optimizer')} does not treat every weight by itself"
    return _network(job)[0]


def slower(job: Job) -> str | None:
    """Why a job that can be trained stacked is faster without, or None."""
    import torch

    accelerator = str(job.config["trainer"].get("accelerator", "auto"))
    if accelerator not in ("cpu", "auto") or (accelerator == "auto" and torch.cuda.is_available()):
        return "stacking was measured on the CPU alone (planner.stack=true stacks on a GPU too)"
    return _network(job)[1]


def _network(job: Job) -> tuple[str | None, str | None]:
    """What of network and data makes stacking impossible, and what makes it slower; found once a configuration.

    The network is sized without memory, on torch's meta device.
    """
    import torch

    from leukobench.training.batching import stackable

    prepared = prepare(job)
    dataset: Any = prepared.dataset
    preprocess = build_preprocess(job, dataset.family)
    if getattr(preprocess, "encoder", None) is not None:
        return "the width that a learned encoder leaves is known only when it is fitted", None
    features = dataset.values.shape[1] if prepared.scaled else getattr(preprocess, "genes", None)
    features = int(features or dataset.values.shape[1])
    rows = len(prepared.split.parts["train"])
    batch = min(int(job.config.get("batch_size") or rows), rows)
    key = json.dumps(
        [job.config["model"], job.config["loss"], features, len(dataset.classes), batch],
        default=str,
    )
    if key in _shared:
        return _shared[key]
    try:
        with torch.device("meta"):
            network = build(job.config["model"], (features,), len(dataset.classes))
    except (LeukoBenchError, NotImplementedError, RuntimeError):
        _shared[key] = "the network cannot be sized before it is built", None
        return _shared[key]
    parameters = sum(p.numel() for p in network.parameters())
    costly = None
    if parameters > PARAMETERS:
        costly = f"{parameters:,} parameters (stacking wins up to {PARAMETERS:,})"
    elif parameters * batch > WORK:
        costly = (
            f"{parameters:,} parameters times {batch} rows a step (stacking wins up to {WORK:,})"
        )
    elif features * batch > INPUTS:
        costly = f"{features * batch:,} input values a step (stacking wins up to {INPUTS:,})"
    loss = build(job.config["loss"], torch.ones(len(dataset.classes)))
    _shared[key] = stackable(network.to_empty(device="cpu"), loss, (features,)), costly
    return _shared[key]


def stack_key(training: Training) -> str:
    """Equal for trainings that may be members of one stack: all but seed, fold, rates and the rows themselves."""
    job = training.job
    config: dict[str, Any] = {k: v for k, v in job.config.items() if k not in APART}
    config["optimizer"] = {k: v for k, v in config["optimizer"].items() if k not in RATES}
    sizes = {part: len(ids) for part, ids in prepare(job).split.parts.items()}
    return json.dumps([config, training.epochs, sizes], sort_keys=True, default=str)


def stacks(
    trainings: Sequence[Training], reasons: Counter[str] | None = None, all_possible: bool = False
) -> list[list[Training]]:
    """Trainings in groups that train together, each group at the place of its first member; most have one member.

    Args:
        reasons: Where given, counts of trainings that stay alone although others differ from them only in what a
            stack may hold, by reason.
        all_possible: Stack all that can be, whether they gain by it or not.
    """
    groups: dict[str, list[Training]] = {}
    for training in trainings:
        groups.setdefault(stack_key(training), []).append(training)
    least = 2 if all_possible else LEAST
    place: dict[str, list[list[Training]]] = {}
    for group in groups.values():
        job = group[0].job
        why = None
        if len(group) >= least:
            why = impossible(job) or (None if all_possible else slower(job))
        if len(group) < least or why is not None:
            parts = [[t] for t in group]
        else:
            parts = _even(group)
        if reasons is not None and why is not None:
            reasons[why] += len(group)
        for part in parts:
            place.setdefault(part[0].id, []).append(part)
    return [part for t in trainings for part in place.get(t.id, [])]


def _even(group: Sequence[Training]) -> list[list[Training]]:
    """Stacks of at most `MOST` members, about equally large."""
    count = -(-len(group) // MOST)
    return [list(group[i::count]) for i in range(count)]

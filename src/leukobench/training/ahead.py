"""What a sweep computes before its first training: frozen backbones that read the same images, in one pass over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from leukobench.errors import LeukoBenchError
from leukobench.progress import Progress
from leukobench.training.families import family
from leukobench.training.features import ARITHMETIC, Backbone, compute_together
from leukobench.training.job import Job, prepare
from leukobench.training.run import build_network


def features_ahead(jobs: Sequence[Job], progress: Progress | None = None) -> int:
    """Compute the features that these jobs will ask for, where more than one backbone reads the same images.

    A single backbone is left to the first training that asks for it. So is what fails here: the training fails by
    itself then, with its traceback, and the others go on.

    Returns:
        How many backbones were pushed through together with others.
    """
    distinct: dict[str, Job] = {}
    for job in jobs:
        if job.trains_head:
            nodes = [job.config[k] for k in ("model", "data", "preprocess", "augment")]
            distinct.setdefault(_key(job, *nodes), job)
    alike: dict[str, list[Job]] = {}
    for job in distinct.values():
        alike.setdefault(
            _key(job, job.config["data"], job.config["preprocess"].get("size")), []
        ).append(job)
    together = 0
    for group in alike.values():
        if len(group) > 1:
            backbones = [b for job in group if (b := _backbone(job, progress)) is not None]
            missing = {b.folder: b for b in backbones if not b.there}
            if len(missing) > 1:
                torch.set_num_threads(int(group[0].config["trainer"].get("threads") or 1))
                try:
                    compute_together(list(missing.values()), progress)
                except torch.cuda.OutOfMemoryError:
                    continue  # one by one they may fit
                together += len(missing)
    return together


def _key(job: Job, *nodes: Any) -> str:
    """Equal for jobs with these parts of the config and the same arithmetic."""
    arithmetic = [job.config["trainer"].get(k) for k in ("accelerator", *ARITHMETIC)]
    return json.dumps([nodes, arithmetic], sort_keys=True, default=str)


def _backbone(job: Job, progress: Progress | None) -> Backbone | None:
    """The job's frozen backbone; None where it has none, or where it cannot be built."""

    def network_of(shape: tuple[int, ...]) -> nn.Module:
        return build_network(job, shape, len(prepared.dataset.classes))

    try:
        prepared = prepare(job)
        return family(prepared.dataset.family).backbone(job, prepared, network_of, progress)
    except LeukoBenchError:
        return None

"""Explaining a saved model of expression: its genes ranked, beside their univariate ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from leukobench.data.base import Dataset
from leukobench.data.families.expression import FAMILY, as_expression
from leukobench.data.preprocess import signal_to_noise
from leukobench.errors import FaultyDataError, LeukoBenchError
from leukobench.models import explain
from leukobench.models.inputs import ExpressionInput
from leukobench.training.explanation import own_data, part_of
from leukobench.training.saved import SavedModel
from leukobench.training.table_inputs import read_expression

TOP = 50
"""How many genes at the head of two rankings are compared; as many as Golub 1999 voted with."""


@dataclass(frozen=True, eq=False)
class GeneRanking:
    """Genes ranked by what the model made of them, beside their univariate ranking.

    Attributes:
        table: One row a gene, best first: `rank`, `gene`, `name`, `attribution` (mean absolute
            integrated gradient of the logit), `high_speaks_for`, and where the run's data are here
            `signal_to_noise` on its training rows with `signal_to_noise_rank`.
        samples: How many samples were explained.
        spearman: Rank correlation of both rankings over all genes, NaN without the data.
        overlap: How many of the first `TOP` genes both rankings share.
    """

    table: pd.DataFrame
    samples: int
    spearman: float
    overlap: int


def explain_genes(
    model: SavedModel, inputs: Sequence[Path] = (), part: str = "test"
) -> GeneRanking:
    """Rank the genes a model reads by integrated gradients from the training median.

    The logit is the positive class's, or the predicted class's where there is none. Genes are those
    before a learned encoder, which is differentiated through.

    Args:
        inputs: Tables; none for a part of the run's own data.

    Raises:
        ConfigError: The model reads images.
        MissingDataError: No tables are given and the run's data are not here.
    """
    model.input.expect(FAMILY.name, model.name)
    try:
        dataset: Dataset | None = own_data(model)
    except LeukoBenchError:
        if not inputs:
            raise
        dataset = None
    if inputs:
        values = np.concatenate([read_expression(path, model.genes)[1] for path in inputs])
        values = values[np.isfinite(values).all(axis=1)]
    else:
        assert dataset is not None
        values = _values(model, dataset, part_of(model, part))[0]
    if not len(values):
        raise FaultyDataError("there is no sample to explain")
    module = model.family.module(model.input)
    assert isinstance(module, ExpressionInput)
    with torch.no_grad():
        x = module.scaled(torch.from_numpy(values))
        centre = module.scaled(torch.from_numpy(np.asarray(model.input.arrays["centre"]))[None])
    p = model.predict(values)
    positive = model.input.positive
    targets = (
        np.full(len(p), model.classes.index(positive)) if positive is not None else p.argmax(axis=1)
    )
    network = torch.nn.Sequential(module.encoder, model.network)
    signed = explain.gene_attributions(
        network, x, torch.from_numpy(targets.astype(np.int64)), centre
    )
    size = np.abs(signed).mean(axis=0)
    slope = (signed * (x - centre).double().numpy()).sum(axis=0)
    frame = pd.DataFrame(
        {
            "gene": model.genes,
            "name": model.input.gene_names or [""] * len(model.genes),
            "attribution": size,
            "high_speaks_for": np.where(slope > 0, positive or "predicted class", "others"),
        }
    )
    spearman, overlap = float("nan"), 0
    if dataset is not None:
        seen, y = _values(model, dataset, part_of(model, "train"))
        with torch.no_grad():
            scaled = module.scaled(torch.from_numpy(seen)).numpy()
        frame["signal_to_noise"] = signal_to_noise(scaled, y)
        frame["signal_to_noise_rank"] = (
            frame["signal_to_noise"].rank(ascending=False, method="first").astype(int)
        )
        spearman = float(frame["attribution"].corr(frame["signal_to_noise"], method="spearman"))
    frame = frame.sort_values(["attribution", "gene"], ascending=[False, True], ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    if dataset is not None:
        overlap = int((frame["signal_to_noise_rank"].head(TOP) <= TOP).sum())
    return GeneRanking(frame, len(values), spearman, overlap)


def _values(
    model: SavedModel, dataset: Dataset, ids: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Raw values of the model's genes and class indices of these samples; synthetic samples have
    none and are left out.
    """
    data = as_expression(dataset)
    rows = data.ids.get_indexer(pd.Index(list(ids)))
    rows = rows[rows >= 0]
    column = {g: i for i, g in enumerate(data.genes)}
    values = data.values[rows][:, [column[g] for g in model.genes]]
    return np.ascontiguousarray(values), data.y[rows]

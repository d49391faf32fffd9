"""Gene expression in training and in use: values in memory, scaled by a fit on stated rows; tables
of new samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from leukobench.data.families.expression import as_expression
from leukobench.data.preprocess import ExpressionPreprocess, FittedExpression
from leukobench.errors import ConfigError, FaultyDataError
from leukobench.models.autoencoder import Autoencoder
from leukobench.models.inputs import ExpressionInput
from leukobench.training.families.base import (
    Family,
    ModelInput,
    NetworkInput,
    NetworkOf,
    Progress,
    ReadingOptions,
    prediction_rows,
)
from leukobench.training.feed import ArrayFeed
from leukobench.training.job import (
    Job,
    Prepared,
    build_preprocess,
    build_resample,
    load_dataset,
    rows_of,
)
from leukobench.training.randomness import seed_of
from leukobench.training.table_inputs import missing_genes, read_expression, table_files

if TYPE_CHECKING:
    from mlflow.types import Schema

    from leukobench.training.saved import SavedModel

MANY_GENES = 200
"""Above this many genes the signature names no columns: MLflow looks at them one by one, which for
7,129 genes takes two seconds a prediction, and prints all of them in its errors. The model knows
its genes and checks them itself."""
SCALE_TOLERANCE = 2.5
"""How many times wider or narrower than in any training sample the values of a new one may spread.
Logarithms to base 2 and 10 differ by 3.3; over fifty selected genes the 34 independent arrays of
Golub 1999 spread up to 1.9 times as widely as the 38 training arrays."""
SHIFT_TOLERANCE = 0.5
"""How far beyond the medians of the training samples a new one's may lie, in spreads."""


class Expression(Family):
    name: ClassVar[str] = "expression"
    raw_kind: ClassVar[str] = "float32 values as measured"

    def network_input(
        self, job: Job, prepared: Prepared, network_of: NetworkOf, progress: Progress | None
    ) -> NetworkInput:
        dataset = as_expression(prepared.dataset)
        rows, y = rows_of(prepared), dataset.y
        fitted_on = _rows_seen(job, prepared)
        scaling = _scaling(job, prepared)
        values = scaling.scaled(dataset.values)
        resample, _ = build_resample(job)
        if resample.method != "none" and job.protocol.resample == "train":
            train = rows["train"]
            more, labels = resample(values[train], y[train], int(job.config["seed"]))
            new = np.arange(len(train), len(labels))
            rows["train"] = np.concatenate([train, len(dataset) + np.arange(len(new))])
            values = np.concatenate([values, more[new]])
            y = np.concatenate([y, labels[new]])
        fitted = _encoding(job, prepared, scaling, values, rows)
        artifacts: dict[str, Any] = {}
        if fitted.encoder is not None:
            artifacts |= fitted.encoder.artifacts(values[: len(dataset)], list(dataset.ids))
            values = fitted.encoder.transform(values)
        if resample.method != "none":
            counts = np.bincount(
                y[np.concatenate(list(rows.values()))], minlength=len(dataset.classes)
            )
            artifacts["resampled"] = dict(zip(dataset.classes, counts.tolist()))
        feed = ArrayFeed(values)
        network = network_of(feed.input_shape)
        return NetworkInput(
            feed=feed,
            network=network,
            trained=network,
            preprocess=fitted,
            y=y,
            rows=rows,
            artifacts=artifacts,
            fitted_on=fitted_on,
        )

    def complete(
        self, reads: ModelInput, job: Job, prepared: Prepared, fitted: FittedExpression
    ) -> ModelInput:
        raw, rows, scaling = as_expression(prepared.dataset), _fit_rows(job, prepared), fitted
        if prepared.scaled:
            # The data set was scaled before it was resampled and split: the same fit, once more, on
            # the values as loaded.
            raw = as_expression(load_dataset(job))
            rows = np.arange(len(raw))
            preprocess = replace(_preprocess(job), encoder=None)
            scaling = preprocess.fit(raw.values, raw.y, seed=int(job.config["seed"]))
        state = {k: np.asarray(v) for k, v in scaling.state().items()}
        columns = state.pop("columns").astype(np.int64)
        seen = raw.values[rows][:, columns]
        medians, spreads = sample_spans(seen)
        arrays = {
            **state,
            **_encoder_arrays(fitted.encoder),
            "centre": np.median(seen, axis=0).astype(np.float32),
            "spans": np.array([[medians.min(), medians.max()], [spreads.min(), spreads.max()]]),
        }
        width = len(columns)
        if "encoder.bias" in arrays:
            width = arrays["encoder.bias"].shape[0]
        names = raw.gene_names
        return replace(
            reads,
            shape=(width,),
            genes=tuple(raw.genes[i] for i in columns),
            gene_names=None if names is None else tuple(names[i] for i in columns),
            arrays=arrays,
        )

    def raw_shape(self, reads: ModelInput) -> tuple[int, ...]:
        return (len(reads.genes),)

    def module(self, reads: ModelInput) -> ExpressionInput:
        return ExpressionInput(reads.arrays)

    def check_raw(self, name: str, raw: np.ndarray) -> None:
        """Any number will do."""

    def words(self, reads: ModelInput) -> str:
        return f"{len(reads.genes)} genes"

    def predict_files(
        self, model: SavedModel, paths: Sequence[Path], options: ReadingOptions
    ) -> tuple[pd.DataFrame, list[str]]:
        frames: list[pd.DataFrame] = []
        notes: list[str] = []
        with tempfile.TemporaryDirectory() as scratch:
            for given, path in table_files(paths, Path(scratch)):
                ids, values, more = read_expression(path, model.genes, options.id_column)
                notes += [f"{given}: {n}" for n in more]
                if options.any_scale:
                    faults = not_finite(model.genes, values)
                else:
                    faults = unlike_training(model.input, values)
                rows = [(given, s, f or "") for s, f in zip(ids, faults)]
                frames.append(_predicted(model, rows, values))
        return pd.concat(frames, ignore_index=True), notes

    def predict_table(self, model: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
        missing = [g for g in model.genes if g not in table.columns]
        if missing:
            header = list(map(str, table.columns))
            raise FaultyDataError(missing_genes(Path("the table"), header, model.genes, missing))
        chosen = table[list(model.genes)]
        if chosen.shape[1] != len(model.genes):
            twice = next(g for g in model.genes if (table.columns == g).sum() > 1)
            raise FaultyDataError(
                f"the table has more than one column {twice!r}; keep the one that was measured"
            )
        text = chosen.select_dtypes(exclude="number").columns
        if len(text):
            chosen = chosen.assign(**{g: pd.to_numeric(chosen[g], errors="coerce") for g in text})
        values = np.ascontiguousarray(chosen.to_numpy(np.float32))
        faults = unlike_training(model.input, values)
        return _predicted(model, [("", str(i), f or "") for i, f in enumerate(faults)], values)

    def example(self, model: SavedModel) -> pd.DataFrame:
        """The training medians of the genes."""
        centre = np.asarray(model.input.arrays["centre"], np.float64)
        return pd.DataFrame(centre[None], columns=list(model.genes))

    def schema(self, model: SavedModel, example: pd.DataFrame) -> Schema | None:
        from mlflow.types import ColSpec, Schema
        from mlflow.types.schema import AnyType

        if len(model.genes) > MANY_GENES:
            return None
        # of a column of doubles MLflow refuses whole numbers, and intensities are measured as such
        return Schema([ColSpec(AnyType(), g) for g in example.columns])

    def random_raw(self, reads: ModelInput, rng: np.random.Generator, n: int) -> np.ndarray:
        centre = np.asarray(reads.arrays["centre"], np.float32)
        noise = rng.normal(0, 0.5, (n, len(centre)))
        return (centre + np.abs(centre) * noise).astype(np.float32)


FAMILY = Expression()


def _preprocess(job: Job) -> ExpressionPreprocess:
    preprocess = build_preprocess(job, Expression.name)
    assert isinstance(preprocess, ExpressionPreprocess)
    return preprocess


def _fit_rows(job: Job, prepared: Prepared) -> np.ndarray:
    """Rows that the preprocessing is fitted on: the protocol's choice."""
    if job.protocol.fit_on == "train":
        return prepared.dataset.rows(prepared.split.parts["train"])
    return np.arange(len(prepared.dataset))


def _rows_seen(job: Job, prepared: Prepared) -> dict[str, dict[str, int]]:
    """By step: how many rows of each part it is fitted on, counted in the rows that it is given."""
    parts = rows_of(prepared)

    def counted(rows: np.ndarray) -> dict[str, int]:
        seen = {part: int(np.isin(own, rows).sum()) for part, own in parts.items()}
        return {part: n for part, n in seen.items() if n}

    everything = np.arange(len(prepared.dataset))
    seen: dict[str, dict[str, int]] = {}
    if prepared.scaled:
        seen["scaling"] = counted(everything)
        seen["resampling"] = counted(everything)
    else:
        seen["scaling"] = counted(_fit_rows(job, prepared))
    if job.protocol.resample == "train" and build_resample(job)[0].method != "none":
        seen["resampling"] = counted(parts["train"])
    if _preprocess(job).encoder is not None:
        seen["encoder"] = counted(_fit_rows(job, prepared))
    return seen


def _scaling(job: Job, prepared: Prepared) -> FittedExpression:
    """All steps of the preprocessing but its encoder, fitted."""
    dataset = as_expression(prepared.dataset)
    preprocess = replace(_preprocess(job), encoder=None)
    if prepared.scaled:
        preprocess = ExpressionPreprocess(scale="none")
    chosen = _fit_rows(job, prepared)
    return preprocess.fit(dataset.values[chosen], dataset.y[chosen], seed=_seed(job))


def _encoding(
    job: Job,
    prepared: Prepared,
    scaling: FittedExpression,
    values: np.ndarray,
    rows: dict[str, np.ndarray],
) -> FittedExpression:
    """`scaling` with the encoder fitted behind it: on the rows that scaling was fitted on and the
    synthetic ones.

    Args:
        values: Shape (n, genes), scaled, synthetic rows behind those of the data set.
        rows: Row numbers by part.
    """
    encoder = _preprocess(job).encoder
    if encoder is None:
        return scaling
    synthetic = np.arange(len(prepared.dataset), len(values))
    chosen = np.concatenate([_fit_rows(job, prepared), synthetic])
    held = values[rows["validation"]] if len(rows["validation"]) else None
    return replace(scaling, encoder=encoder.fit(values[chosen], held, _seed(job)))


def _seed(job: Job) -> int:
    return seed_of(int(job.config["seed"]), "preprocess") % 2**31


def _encoder_arrays(encoder: Any) -> dict[str, np.ndarray]:
    if encoder is None:
        return {}
    if not isinstance(encoder, Autoencoder) or encoder.fitted is None:
        raise ConfigError(
            f"a model behind an encoder of class {type(encoder).__name__} cannot be saved; set "
            f"save_model=false"
        )
    layer: Any = encoder.fitted.encoder
    return {
        "encoder.weight": layer[0].weight.detach().numpy(),
        "encoder.bias": layer[0].bias.detach().numpy(),
    }


def _predicted(
    model: SavedModel, rows: Sequence[tuple[str, str, str]], values: np.ndarray
) -> pd.DataFrame:
    good = [i for i, (_, _, error) in enumerate(rows) if not error]
    return prediction_rows(model.classes, rows, model.predict(values[good]))


# --- values unlike those of training ---


def unlike_training(reads: ModelInput, values: np.ndarray) -> list[str | None]:
    """Why each row of values (n, genes) is unlike any training sample, None where it is not.

    A row's median and spread (1st to 99th percentile) are compared with those of the training
    samples: values of another scale (logarithms, z-scores, [0, 1]) would give probabilities that
    mean nothing.
    """
    (low_median, high_median), (low, high) = reads.arrays["spans"]
    medians, spreads = sample_spans(values)
    out: list[str | None] = []
    for row, median, spread in zip(values, medians, spreads):
        bad = np.flatnonzero(~np.isfinite(row))
        margin = SHIFT_TOLERANCE * high
        if len(bad):
            out.append(
                f"{len(bad)} values are missing or infinite, the first of gene "
                f"{reads.genes[bad[0]]}"
            )
        elif low > 0 and not (
            low / SCALE_TOLERANCE <= spread <= high * SCALE_TOLERANCE
            and low_median - margin <= median <= high_median + margin
        ):
            out.append(
                f"the values are on another scale: they spread over {spread:.4g} (1st to 99th "
                f"percentile) about a "
                f"median of {median:.4g}, those of the training samples over {low:.4g} to "
                f"{high:.4g} about "
                f"{low_median:.4g} to {high_median:.4g}{_guess(row, float(high))}"
            )
        else:
            out.append(None)
    return out


def not_finite(genes: Sequence[str], values: np.ndarray) -> list[str | None]:
    """Why each row cannot be computed with, None where it can: the weakest demand on values."""
    faults: list[str | None] = []
    for bad in ~np.isfinite(values):
        if bad.any():
            faults.append(
                f"{bad.sum()} values are missing, the first of gene {genes[bad.argmax()]}"
            )
        else:
            faults.append(None)
    return faults


def sample_spans(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and spread (1st to 99th percentile) of each row of (n, genes)."""
    if not values.shape[1]:
        return np.zeros(len(values)), np.zeros(len(values))
    low, median, high = np.quantile(
        np.nan_to_num(np.asarray(values, np.float64)), [0.01, 0.5, 0.99], axis=1
    )
    return median, high - low


def _guess(row: np.ndarray, trained: float) -> str:
    if np.abs(row).max() <= 1:
        return "; they look scaled to [0, 1]: give the values as measured"
    if abs(row.mean()) < 0.2 and 0.5 < row.std() < 2:
        return "; they look like z-scores: give the values as measured"
    if row.max() < 25 and trained > 100:
        return "; they look like logarithms, and training had intensities"
    if row.max() > 100 and trained < 25:
        return "; they look like intensities, and training had logarithms"
    return ""

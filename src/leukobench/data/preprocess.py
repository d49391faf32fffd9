"""Preprocessing: what is done to the values between the data set and the model.

For expression data a fitted object that sees only the rows it is given (`fit`), then applies to any
(`transform`). For images a description of size and normalisation; decoding is the image store's,
normalising the device's work.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from leukobench.errors import ConfigError


class Encoder(Protocol):
    """A learned last step of preprocessing, for instance an autoencoder."""

    def fit(self, values: np.ndarray, validation: np.ndarray | None, seed: int) -> Encoder: ...

    def transform(self, values: np.ndarray) -> np.ndarray: ...

    def artifacts(self, values: np.ndarray, samples: Sequence[str]) -> dict[str, Any]: ...


def signal_to_noise(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|mean difference| over the sum of standard deviations, for each gene; one-versus-rest maximum
    over classes.

    The statistic of Golub et al. 1999 (Science 286:531), by whose absolute value genes are ranked.

    Args:
        values: Shape (samples, genes).
        y: Class indices, shape (samples,).

    Returns:
        Shape (genes,), float64, non-negative.
    """
    values = np.asarray(values, np.float64)
    best = np.zeros(values.shape[1])
    labels = np.unique(y)
    for label in labels[: 1 if len(labels) == 2 else None]:
        a, b = values[y == label], values[y != label]
        spread = a.std(axis=0) + b.std(axis=0)
        best = np.maximum(
            best, np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
        )
    return best


@dataclass
class ExpressionPreprocess:
    """Log, gene selection, scaling and an optional learned encoder, in this order.

    Attributes:
        log: Take log10 of values clipped to [floor, ceiling] (intensities of the 1999 arrays run
            from -28,400 up).
        genes: How many genes to keep; None keeps all.
        select_by: `snr` (signal to noise, Golub 1999) or `anova` (F value).
        scale: `zscore`, `minmax` (to [0, 1]) or `none`.
        encoder: A learned last step (see `leukobench.models.autoencoder`), or None.
    """

    log: bool = False
    floor: float = 20.0
    ceiling: float = 16_000.0
    genes: int | None = None
    select_by: Literal["snr", "anova"] = "snr"
    scale: Literal["zscore", "minmax", "none"] = "zscore"
    encoder: Encoder | None = None
    family: str = "expression"

    def __post_init__(self) -> None:
        if self.select_by not in ("snr", "anova"):
            raise ConfigError(f"preprocess.select_by knows snr and anova, not {self.select_by!r}")
        if self.scale not in ("zscore", "minmax", "none"):
            raise ConfigError(f"preprocess.scale knows zscore, minmax and none, not {self.scale!r}")

    def fit(
        self, values: np.ndarray, y: np.ndarray, validation: np.ndarray | None = None, seed: int = 0
    ) -> FittedExpression:
        """Fit every step on these rows alone.

        Args:
            values: Shape (samples, genes).
            y: Class indices, shape (samples,); gene selection uses them.
            validation: Rows that only an encoder's monitoring may see.
            seed: Of a learned encoder.
        """
        from sklearn.feature_selection import SelectKBest
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

        steps: list[tuple[str, Any]] = []
        if self.log:
            clip = {"floor": self.floor, "ceiling": self.ceiling}
            steps.append(("log", FunctionTransformer(_log10, kw_args=clip)))
        if self.genes is not None:
            if not 0 < self.genes <= values.shape[1]:
                raise ConfigError(
                    f"preprocess.genes={self.genes}: the data set has {values.shape[1]} genes"
                )
            score = signal_to_noise if self.select_by == "snr" else _f_value
            steps.append(("select", SelectKBest(score, k=self.genes)))
        if self.scale != "none":
            steps.append(("scale", StandardScaler() if self.scale == "zscore" else MinMaxScaler()))
        pipeline = Pipeline(steps or [("identity", FunctionTransformer())])
        fitted = np.asarray(pipeline.fit_transform(np.asarray(values, np.float64), y), np.float32)
        if self.encoder is not None:
            held = (
                None
                if validation is None
                else np.asarray(pipeline.transform(np.asarray(validation, np.float64)), np.float32)
            )
            self.encoder.fit(fitted, held, seed)
        return FittedExpression(pipeline, self.encoder, values.shape[1])


def _f_value(values: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's ANOVA F, quiet about constant genes: they get no score and are kept last."""
    from sklearn.feature_selection import f_classif

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", UserWarning)
        return f_classif(values, y)


def _log10(values: np.ndarray, floor: float, ceiling: float) -> np.ndarray:
    return np.log10(np.clip(values, floor, ceiling))


@dataclass
class FittedExpression:
    """The fitted object: `transform` takes (n, genes) and returns (n, features), float32."""

    pipeline: Any
    encoder: Encoder | None
    genes_in: int

    def transform(self, values: np.ndarray) -> np.ndarray:
        scaled = self.scaled(values)
        return scaled if self.encoder is None else self.encoder.transform(scaled)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """All steps but the encoder: (n, genes) to (n, selected genes), float32."""
        if values.shape[1] != self.genes_in:
            raise ConfigError(
                f"the preprocessing was fitted on {self.genes_in} genes and is given "
                f"{values.shape[1]}"
            )
        return np.ascontiguousarray(
            self.pipeline.transform(np.asarray(values, np.float64)), np.float32
        )

    def selected(self) -> np.ndarray:
        """Column numbers of the genes that are kept, in order."""
        step = self.pipeline.named_steps.get("select")
        return np.arange(self.genes_in) if step is None else step.get_support(indices=True)

    def state(self) -> Mapping[str, np.ndarray | str]:
        """Plain arrays that rebuild the affine part without pickle: `columns`, `offset`, `factor`
        and log limits.
        """
        columns = self.selected()
        scaler = self.pipeline.named_steps.get("scale")
        offset, factor = np.zeros(len(columns)), np.ones(len(columns))
        if scaler is not None and hasattr(scaler, "mean_"):
            offset, factor = scaler.mean_, 1 / scaler.scale_
        elif scaler is not None:
            offset, factor = scaler.data_min_, scaler.scale_
        log = self.pipeline.named_steps.get("log")
        limits = (
            (log.kw_args["floor"], log.kw_args["ceiling"]) if log is not None else (np.nan, np.nan)
        )
        return {
            "columns": columns,
            "offset": offset,
            "factor": factor,
            "log_limits": np.array(limits, np.float64),
        }


@dataclass(frozen=True)
class ImagePreprocess:
    """How an image becomes a tensor: resized to `size` x `size` once (image store), then normalised
    on the device.

    Attributes:
        size: Edge in pixels.
        normalise: `unit` ([0, 1] min-max), `imagenet`, `half` (to [-1, 1]; the tf_ networks), or
            `auto`: what the model's weights were trained with, `unit` for a model without
            pretrained weights.
    """

    size: int = 224
    normalise: Literal["auto", "unit", "imagenet", "half"] = "auto"
    family: str = "image"

    def __post_init__(self) -> None:
        if self.normalise not in ("auto", "unit", "imagenet", "half"):
            raise ConfigError(
                f"preprocess.normalise knows auto, unit, imagenet and half, not {self.normalise!r}"
            )


@dataclass(frozen=True)
class Resample:
    """SMOTE of the rows it is given (imbalanced-learn); `method` `none` leaves them as they are.

    Where it happens is the protocol's: inside the training part, or before the split (which puts
    interpolated neighbours of test rows into training).
    """

    method: Literal["none", "smote"] = "none"
    neighbours: int = 5

    def __call__(
        self, values: np.ndarray, y: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows given, in their order, followed by the synthetic ones; shapes (m,
        features) and (m,).
        """
        if self.method == "none":
            return values, y
        if self.method != "smote":
            raise ConfigError(f"resample.method knows none and smote, not {self.method!r}")
        from imblearn.over_sampling import SMOTE

        smallest = np.bincount(y)[np.unique(y)].min()
        if smallest <= 1:
            raise ConfigError(
                "SMOTE needs at least two samples of each class in the rows it resamples"
            )
        neighbours = min(self.neighbours, smallest - 1)
        resampled, labels = SMOTE(random_state=seed, k_neighbors=neighbours).fit_resample(values, y)
        return np.asarray(resampled, np.float32), np.asarray(labels, np.int64)

"""The autoencoder of kandi, which turns thousands of gene values into the 256 features that its networks read.

Source: kandi, section 2.2: input -> 256 ReLU -> input, sigmoid; mean squared error; Adam; 50
epochs. Batch size and learning rate are not given: 32 and 0.001 are Keras' defaults, and so is the
Glorot start. The text gives the decoder 256 units and its output the range of 256 values, which
cannot be compared with the input: here the decoder has one unit an input. Its sigmoid stays within
[0, 1] while z-scored values do not, so that even the best reconstruction of standard normal values
keeps a mean squared error of .575.

Fitting it is a step of preprocessing, like fitting a scaler: a plain loop without a Trainer, so
that a notebook can do it and so that every draw comes from a generator of its own.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError, LeukoBenchError, TrainingError


@dataclass(frozen=True)
class FittedAutoencoder:
    """A fitted autoencoder and how it got there.

    Attributes:
        encoder: Linear(features, units) and ReLU.
        decoder: Linear(units, features) and sigmoid.
        train_losses: Mean squared error of each epoch, over its batches as they were trained, shape
            (epochs,).
        validation_losses: Mean squared error after each epoch, shape (epochs,); empty without
            validation rows.
    """

    encoder: nn.Module
    decoder: nn.Module
    train_losses: tuple[float, ...]
    validation_losses: tuple[float, ...]

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Features (n, units), float32, non-negative, of values (n, features)."""
        with torch.no_grad():
            return self.encoder(_tensor(values)).numpy()

    def reconstruct(self, values: np.ndarray) -> np.ndarray:
        """Reconstructed values (n, features), float32, within [0, 1]."""
        with torch.no_grad():
            return self.decoder(self.encoder(_tensor(values))).numpy()

    def reconstruction_errors(self, values: np.ndarray) -> np.ndarray:
        """Mean squared error of each row, shape (n,), float64."""
        return np.square(np.asarray(values, np.float64) - self.reconstruct(values)).mean(axis=1)


def train_autoencoder(
    values_train: np.ndarray,
    values_validation: np.ndarray | None = None,
    *,
    seed: int,
    units: int = 256,
    epochs: int = 50,
    batch_size: int = 32,
    lr: float = 1e-3,
) -> FittedAutoencoder:
    """Fit the autoencoder.

    Start and order are drawn from a generator of `seed`; torch's global one is neither read nor
    moved.

    Args:
        values_train: Rows to fit on, shape (n, features), scaled.
        values_validation: Rows whose loss is recorded after each epoch and used for nothing else.
        seed: Of the start and of the order of rows.
        units: Features of the code.

    Raises:
        ConfigError: Impossible sizes, or rows of different width.
        TrainingError: The loss is not a number.
    """
    if min(units, epochs, batch_size) < 1 or lr <= 0:
        raise ConfigError(
            f"autoencoder: units={units}, epochs={epochs}, batch_size={batch_size}, lr={lr} must be positive"
        )
    train = _tensor(values_train)
    held = (
        None
        if values_validation is None or len(values_validation) == 0
        else _tensor(values_validation)
    )
    if (
        train.ndim != 2
        or len(train) == 0
        or (held is not None and held.shape[1:] != train.shape[1:])
    ):
        shapes = [tuple(train.shape), None if held is None else tuple(held.shape)]
        raise ConfigError(
            f"autoencoder: training and validation values must be (n, features) of one width, not {shapes}"
        )
    generator = torch.Generator().manual_seed(seed)
    encoder = nn.Sequential(_dense(train.shape[1], units, generator), nn.ReLU())
    decoder = nn.Sequential(_dense(units, train.shape[1], generator), nn.Sigmoid())
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=lr, fused=True)
    train_losses, validation_losses = [], []
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(train), generator=generator).split(batch_size):
            batch = train[rows]
            loss = nn.functional.mse_loss(decoder(encoder(batch)), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        if not np.isfinite(total):
            raise TrainingError(
                f"autoencoder: the loss of epoch {epoch + 1} is not a number; check that the values are scaled, "
                "or lower the learning rate"
            )
        train_losses.append(total / len(train))
        if held is not None:
            with torch.no_grad():
                validation_losses.append(
                    nn.functional.mse_loss(decoder(encoder(held)), held).item()
                )
    return FittedAutoencoder(
        encoder.requires_grad_(False),
        decoder.requires_grad_(False),
        tuple(train_losses),
        tuple(validation_losses),
    )


KEPT = 4  # fitted autoencoders that a process keeps: with and without SMOTE, twice; 33 MB each at 16,382 genes
_kept: OrderedDict[str, FittedAutoencoder] = OrderedDict()


def fit_once(
    values: np.ndarray, validation: np.ndarray | None, **options: Any
) -> FittedAutoencoder:
    """`train_autoencoder`, or what it gave this process before for the same rows and options.

    The result is a function of both alone, so that the networks of a sweep which read the same
    features share one fit. The last `KEPT` are kept.
    """
    digest = hashlib.blake2b(repr(sorted(options.items())).encode())
    for part in (values, validation):
        if part is not None:
            digest.update(f"{part.shape} {part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).data)
    key = digest.hexdigest()
    if key not in _kept:
        _kept[key] = train_autoencoder(values, validation, **options)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


class Autoencoder:
    """The autoencoder as the learned last step of expression preprocessing (`leukobench.data.preprocess.Encoder`).

    Args:
        watched: Share of the rows it is fitted on that is only watched, where no validation rows
            come along (Keras' `validation_split`, but drawn at random); 0 fits on all of them.

    Attributes:
        fitted: The fitted autoencoder with its losses; None before `fit`.
    """

    def __init__(
        self,
        units: int = 256,
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 1e-3,
        watched: float = 0.0,
    ) -> None:
        self.units = units
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.watched = watched
        self.fitted: FittedAutoencoder | None = None

    def fit(self, values: np.ndarray, validation: np.ndarray | None, seed: int) -> Autoencoder:
        """Fit on rows (n, features), once in a process; the validation rows are only watched."""
        if validation is None and self.watched:
            order = np.random.default_rng(seed).permutation(len(values))
            held = round(self.watched * len(values))
            values, validation = values[np.sort(order[held:])], values[np.sort(order[:held])]
        self.fitted = fit_once(
            values,
            validation,
            seed=seed,
            units=self.units,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
        )
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Features (n, units), float32. Raises LeukoBenchError before `fit`."""
        if self.fitted is None:
            raise LeukoBenchError(
                "the autoencoder is used before it is fitted; call fit with the training rows first"
            )
        return self.fitted.encode(values)

    def artifacts(self, values: np.ndarray, samples: Sequence[str]) -> dict[str, Any]:
        """What a run keeps of it, as JSON-able containers by file name.

        Args:
            values: Rows before encoding, shape (n, features).
            samples: Their ids.

        Returns:
            `autoencoder_losses` (by part, one an epoch), `reconstruction_errors` (by sample) and
            `reconstruction` (`original` and `reconstructed` values of the sample with the median
            error).
        """
        if self.fitted is None:
            raise LeukoBenchError("the autoencoder is asked for its losses before it is fitted")
        errors = self.fitted.reconstruction_errors(values)
        middle = int(np.argsort(errors, kind="stable")[len(errors) // 2])
        row = values[middle : middle + 1]
        return {
            "autoencoder_losses": {
                "train": list(self.fitted.train_losses),
                "validation": list(self.fitted.validation_losses),
            },
            "reconstruction_errors": dict(zip(map(str, samples), errors.tolist(), strict=True)),
            "reconstruction": {
                "sample": str(samples[middle]),
                "original": row[0].tolist(),
                "reconstructed": self.fitted.reconstruct(row)[0].tolist(),
            },
        }


def _dense(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer  # type: ignore[return-value]


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))

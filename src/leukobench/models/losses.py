"""Training losses: one factory `f(class_counts, **options)` a file of `conf/loss`.

A factory gets the number of training samples of each class, shape (num_classes,), and returns a
module that maps logits (n, num_classes) and class indices (n,) to a scalar.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError


def cross_entropy(
    class_counts: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Literal["balanced"] | None = None,
) -> nn.Module:
    """Cross-entropy of the softmax probabilities (`torch.nn.CrossEntropyLoss`).

    Args:
        class_counts: Training samples of each class, shape (num_classes,).
        label_smoothing: Share of the target spread evenly over all classes.
        class_weights: `balanced` weighs each sample by `balanced_weights`; torch divides by the
            weights of the batch.

    Raises:
        ConfigError: Unknown `class_weights`.
    """
    if class_weights not in (None, "balanced"):
        raise ConfigError(f"loss.class_weights={class_weights} is unknown; choose null or balanced")
    weight = balanced_weights(class_counts) if class_weights == "balanced" else None
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=label_smoothing)


class WeightedSquaredError(nn.Module):
    """Squared error of the class probabilities in which every class weighs the same.

    For K classes with n_c of N training samples each, probabilities p (softmax of the logits) and
    one-hot targets t,

        WSE = mean over samples of  N / (K n_y) * sum_k (p_k - t_k)^2 / (1 - 1/K).

    Over the whole training part this is the mean of the classes' own mean squared errors, scaled so
    that guessing 1/K everywhere costs 1 and certainty in the truth costs 0. For two classes it is 2
    (MSE of the positives + MSE of the negatives) on the probability of the positive class.

    Source: neuraldesigner (sections 4 and 5) prints "WSE" and no formula. The two-class formula is
    that of the maker's open library OpenNN with positive weight n_negative / n_positive, negative
    weight 1 and normalisation n_negative / 2; its newer versions scale by another constant. Its
    extension to K classes is this project's.
    """

    weights: Tensor

    def __init__(self, class_counts: Tensor) -> None:
        super().__init__()
        classes = len(class_counts)
        self.register_buffer("weights", balanced_weights(class_counts) / (1 - 1 / classes))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar error of logits (n, num_classes) against class indices (n,)."""
        probabilities = logits.softmax(dim=1)
        truth = nn.functional.one_hot(targets, logits.shape[1]).to(probabilities.dtype)
        squared = (probabilities - truth).square().sum(dim=1)
        return (self.weights[targets] * squared).mean()


def weighted_squared_error(class_counts: Tensor) -> nn.Module:
    """Neural Designer's weighted squared error; see `WeightedSquaredError` for the definition."""
    return WeightedSquaredError(class_counts)


def balanced_weights(class_counts: Tensor) -> Tensor:
    """Weight of a sample of each class, N / (K n_c), shape (num_classes,), float32.

    The formula of scikit-learn's `class_weight="balanced"`, with K the number of classes that have
    samples; a class without any gets weight 0. The mean over the samples that were counted is 1.
    """
    counts = torch.as_tensor(class_counts, dtype=torch.float32)
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1))
    return torch.where(present, weights, torch.zeros_like(weights))

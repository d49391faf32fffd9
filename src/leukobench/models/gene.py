"""Networks on gene expression vectors: logistic regression and a multilayer perceptron.

Scaling, gene selection and resampling are preprocessing and not done here. Kandi's networks are in
`kandi`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError


class LogisticRegression(nn.Module):
    """A linear map from genes to logits.

    Two classes share one linear output z and get the logits (-z/2, z/2), so that the class
    probabilities are sigmoid(-z) and sigmoid(z): ordinary logistic regression (neuraldesigner's
    probabilistic layer), whose L2 penalty acts on one weight a gene, with gradients for both
    logits. More classes get one linear output each.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1 if num_classes == 2 else num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of expression values (n, features)."""
        z: Tensor = self.linear(x)
        return torch.cat([-z / 2, z / 2], dim=1) if z.shape[1] == 1 else z


def logistic(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Logistic regression on (features,); see `LogisticRegression`."""
    return LogisticRegression(gene_count(input_shape, "logistic"), num_classes)


def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    hidden: Sequence[int] = (128,),
    dropout: float = 0.0,
) -> nn.Module:
    """A multilayer perceptron on (features,).

    Args:
        hidden: Units of each hidden layer, in order; every one is followed by ReLU and dropout.
        dropout: Probability of zeroing a hidden unit while training.
    """
    width = gene_count(input_shape, "gene_mlp")
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = units
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def gene_count(input_shape: tuple[int, ...], model: str) -> int:
    """The number of features of an expression input.

    Raises:
        ConfigError: The input is not a vector, for instance an image.
    """
    if len(input_shape) != 1:
        raise ConfigError(
            f"model {model} reads expression vectors of shape (features,), and the data have shape "
            f"{tuple(input_shape)}; choose an image model (model=resnet50) or an expression data set (data=golub)"
        )
    return int(input_shape[0])

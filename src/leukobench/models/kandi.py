"""The four networks of kandi on 256 autoencoder features, as its section 2.4 lists them layer by layer.

The features are read as an image of 16 x 16 with one channel (CNN), as 16 steps of 16 values
(SimpleRNN, LSTM) or as they are (MLP). The last layer gives logits; the softmax of the text belongs
to the loss.

Assumptions where the text is silent: it names no framework, but its layers have Keras' names, so
Keras' defaults hold (convolutions without padding, a pooling step of 2, tanh and sigmoid in the
LSTM, Glorot and orthogonal starts with zero biases and an LSTM forget bias of 1). Recurrent
networks end in the state after the last step. Dropout is printed as "25%" and "0.5" in the CNN and
as "5%" in the RNN and the MLP, which may stand for 0.5: it is an option everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError

SIDE = 16


class LastState(nn.Module):
    """A recurrent network reduced to its output after the last step: (n, steps, values) to (n, units)."""

    def __init__(self, network: nn.RNNBase) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[0][:, -1]


class Hybrid(nn.Module):
    """Two branches over the same features, joined by a dense part."""

    def __init__(self, convolutional: nn.Module, recurrent: nn.Module, dense: nn.Module) -> None:
        super().__init__()
        self.convolutional = convolutional
        self.recurrent = recurrent
        self.dense = dense

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of features (n, 256)."""
        return self.dense(torch.cat([self.convolutional(x), self.recurrent(x)], dim=1))


def cnn(
    input_shape: tuple[int, ...], num_classes: int, *, dropout: Sequence[float] = (0.25, 0.25, 0.5)
) -> nn.Module:
    """Convolutional network (section 2.4, figure 7).

    16 x 16 x 1; 32 filters 3x3 ReLU, max pooling 2, dropout; 64 filters 3x3 ReLU, max pooling 2, dropout; dense 128
    ReLU, dropout; classes.

    Args:
        dropout: After the first pooling, the second pooling and the dense layer.
    """
    _check(input_shape, "kandi_cnn")
    if len(dropout) != 3:
        raise ConfigError(f"model.dropout of kandi_cnn has three rates, not {list(dropout)}")
    return _keras_start(
        nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout[0]),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout[1]),
            nn.Flatten(),
            nn.Linear(64 * 2 * 2, 128),
            nn.ReLU(),
            nn.Dropout(dropout[2]),
            nn.Linear(128, num_classes),
        )
    )


def rnn(input_shape: tuple[int, ...], num_classes: int, *, dropout: float = 0.05) -> nn.Module:
    """Recurrent network (section 2.4): 16 steps of 16; SimpleRNN 128 ReLU; dropout; classes."""
    _check(input_shape, "kandi_rnn")
    return _keras_start(
        nn.Sequential(
            nn.Unflatten(1, (SIDE, SIDE)),
            LastState(nn.RNN(SIDE, 128, nonlinearity="relu", batch_first=True)),
            nn.Dropout(dropout),
            nn.Linear(128, num_classes),
        )
    )


def mlp(input_shape: tuple[int, ...], num_classes: int, *, dropout: float = 0.05) -> nn.Module:
    """Multilayer perceptron (section 2.4): 256; dense 512 ReLU; dense 256 ReLU; dropout; dropout; classes.

    The text puts both dropouts after the second dense layer; so does this network.
    """
    _check(input_shape, "kandi_mlp")
    return _keras_start(
        nn.Sequential(
            nn.Linear(SIDE * SIDE, 512),
            nn.ReLU(),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Dropout(dropout),
            nn.Linear(256, num_classes),
        )
    )


def hybrid(input_shape: tuple[int, ...], num_classes: int, *, dropout: float = 0.0) -> nn.Module:
    """CNN + LSTM + dense hybrid (section 2.4, figure 8).

    CNN part: 16 x 16 x 1; 32 filters 3x3 ReLU; max pooling 2; flatten (1,568 values). LSTM part: 16 steps of 16; two
    LSTM layers of 32. Joined: dense 64 ReLU; dense 32 ReLU; classes.

    Args:
        dropout: After each dense layer; the text has none.
    """
    _check(input_shape, "kandi_hybrid")
    convolutional = nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    recurrent = nn.Sequential(
        nn.Unflatten(1, (SIDE, SIDE)), LastState(nn.LSTM(SIDE, 32, num_layers=2, batch_first=True))
    )
    dense = nn.Sequential(
        nn.Linear(32 * 7 * 7 + 32, 64),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(32, num_classes),
    )
    return _keras_start(Hybrid(convolutional, recurrent, dense))


def _check(input_shape: tuple[int, ...], model: str) -> None:
    if tuple(input_shape) != (SIDE * SIDE,):
        raise ConfigError(
            f"model {model} reads {SIDE * SIDE} autoencoder features, and the data have shape {tuple(input_shape)}; "
            "choose a preprocessing with an autoencoder of 256 units, or select 256 genes (preprocess.genes=256)"
        )


def _keras_start(network: nn.Module) -> nn.Module:
    """Keras' default start, from torch's global generator: it matters for the ReLU recurrence over 16 steps."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.RNNBase):
            for name, parameter in module.named_parameters():
                _start_recurrent(name, parameter, module.hidden_size)
    return network


@torch.no_grad()
def _start_recurrent(name: str, parameter: Tensor, units: int) -> None:
    """Start one tensor of a recurrent layer; an LSTM's holds its four gates one below the other."""
    if name.startswith("bias"):
        parameter.zero_()
        if name.startswith("bias_ih") and len(parameter) == 4 * units:
            parameter[units : 2 * units] = 1.0  # forget gate
    elif name.startswith("weight_ih"):
        nn.init.xavier_uniform_(parameter)
    else:
        # Keras draws one matrix (units, gates * units) with orthonormal rows; torch keeps its transpose.
        nn.init.orthogonal_(parameter)

"""Networks of timm and torchvision as classifiers: pretrained or not, frozen in whole, in part or not at all."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from leukobench.errors import ConfigError
from leukobench.models import weights as pretrained_weights
from leukobench.models.weights import Normalisation

Finetune = Literal["head", "last_block", "all"]
Pooling = Literal["avg", "flatten", "native"]


class TransferModel(nn.Module):
    """A backbone with a new head.

    `forward(x)` is `head(frozen_features(x))` in every setting. With `finetune=head` the backbone is frozen, and the
    features of an image are the same all through a training. Frozen modules stay in evaluation mode after `.train()`
    (batch statistics, dropout) and have no gradients.

    Attributes:
        frozen: True where the whole backbone is frozen.
        features_are: Network and pooling in words, part of the key of stored features.
        required_normalisation: Mean and deviation of the pixels that the weights were trained with, for values in
            [0, 1]; None for a random start, which prescribes none.
    """

    def __init__(
        self,
        backbone: nn.Module,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        name: str,
        finetune: Finetune,
        pooling: Pooling,
        hidden: int | None,
        dropout: float,
        required_normalisation: Normalisation | None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.frozen = finetune == "head"
        self.features_are = f"{name} pooling={pooling}"
        self.required_normalisation = required_normalisation
        _drop_unused_layers(backbone, pooling)
        self._frozen_modules = _freeze(backbone, finetune)
        # The network applies its own dropout before its classifier; a frozen one is in evaluation mode and does not.
        in_head = dropout if pooling != "native" or self.frozen else 0.0
        self.head = _head(self._feature_count(input_shape), num_classes, hidden, in_head)
        self.train()

    def frozen_features(self, x: Tensor) -> Tensor:
        """What the head reads, shape (n, d), of images (n, 3, H, W)."""
        maps: Tensor = self.backbone.forward_features(x)  # type: ignore[operator]
        if self.pooling == "native":
            return self.backbone.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        if maps.ndim != 4 or maps.shape[1] != self.backbone.num_features:
            raise ConfigError(
                f"{self.features_are}: the network gives features of shape {tuple(maps.shape[1:])}, not "
                "(channels, height, width); set model.pooling=native"
            )
        return maps.mean((2, 3)) if self.pooling == "avg" else maps.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, H, W)."""
        return self.head(self.frozen_features(x))

    def train(self, mode: bool = True) -> TransferModel:
        super().train(mode)
        for module in self._frozen_modules:
            module.training = False
        return self

    @torch.no_grad()
    def _feature_count(self, input_shape: tuple[int, ...]) -> int:
        self.eval()
        try:
            return self.frozen_features(torch.zeros(1, *input_shape)).shape[1]
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self.features_are} cannot read images of shape {tuple(input_shape)}: {error}"
            ) from error


class AlexNet(torchvision.models.AlexNet):
    """torchvision's AlexNet with the methods that timm's networks have."""

    num_features = 256
    # Modules that end a stage: the third to fifth convolutions are the last block.
    feature_info = [{"module": "features.2"}, {"module": "features.5"}, {"module": "features.12"}]

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.avgpool(x).flatten(1)
        return self.classifier[:-1](x) if pre_logits else self.classifier(x)

    def reset_classifier(self, num_classes: int) -> None:
        self.classifier[-1] = nn.Linear(4096, num_classes) if num_classes else nn.Identity()


def timm_network(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    name: str,
    pretrained: bool = True,
    weights: str | None = None,
    finetune: Finetune = "head",
    pooling: Pooling = "native",
    hidden: int | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """Any network of timm on images (3, H, W).

    Args:
        name: A name of `timm.list_models()`, best with the tag of its weights (`resnet50.tv_in1k`).
        pretrained: Start from trained weights; False starts from random ones, also under a frozen backbone.
        weights: A file of weights, `package:DISTRIBUTION`, or None for timm's own.
        finetune: What is trained: the `head`, the `last_block` (the network's last stage) and the head, or `all`.
        pooling: `avg` and `flatten` reduce the last feature maps (VGG16 at 224: 512 or 25,088 inputs to the head);
            `native` is whatever the network has before its classifier (VGG16: its two layers of 4,096).
        hidden: Units of a dense ReLU layer before the classifier (fata: 512), or None for a linear head.
        dropout: Dropout before the classifier; with `pooling=native` and a trained backbone at the network's own places.

    Raises:
        ConfigError: Unknown network or option, weights that cannot be had, an input the network cannot read.
    """
    _check(name, input_shape, finetune, pooling)
    own_dropout = dropout if pooling == "native" and finetune != "head" else 0.0
    backbone = pretrained_weights.timm_backbone(
        name, pretrained=pretrained, weights=weights, drop_rate=own_dropout
    )
    backbone.reset_classifier(0)  # type: ignore[operator]
    cfg: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    return TransferModel(
        backbone,
        input_shape,
        num_classes,
        name=f"timm {name}",
        finetune=finetune,
        pooling=pooling,
        hidden=hidden,
        dropout=dropout,
        required_normalisation=pretrained_weights.required_normalisation(cfg)
        if pretrained
        else None,
    )


def alexnet(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    pretrained: bool = True,
    weights: str | None = None,
    finetune: Finetune = "head",
    pooling: Pooling = "native",
    hidden: int | None = None,
    dropout: float = 0.5,
) -> nn.Module:
    """torchvision's AlexNet on images (3, H, W), 63 pixels or more; arguments as in `timm_network`."""
    _check("alexnet", input_shape, finetune, pooling)
    backbone = AlexNet(dropout=dropout if finetune != "head" else 0.0)
    if pretrained:
        state = pretrained_weights.alexnet_state(weights)
        pretrained_weights.load_strictly(
            backbone, state, weights or "torchvision's AlexNet weights"
        )
    backbone.reset_classifier(0)
    return TransferModel(
        backbone,
        input_shape,
        num_classes,
        name="torchvision alexnet",
        finetune=finetune,
        pooling=pooling,
        hidden=hidden,
        dropout=dropout,
        required_normalisation=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        if pretrained
        else None,
    )


def _check(name: str, input_shape: tuple[int, ...], finetune: str, pooling: str) -> None:
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise ConfigError(
            f"model {name} reads images of shape (3, height, width), and the data have shape {tuple(input_shape)}; "
            "choose an expression model (model=gene_mlp) or an image data set (data=cnmc)"
        )
    if finetune not in ("head", "last_block", "all"):
        raise ConfigError(f"model.finetune={finetune} is unknown; choose head, last_block or all")
    if pooling not in ("avg", "flatten", "native"):
        raise ConfigError(f"model.pooling={pooling} is unknown; choose avg, flatten or native")


def _head(features: int, num_classes: int, hidden: int | None, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    if hidden is not None:
        layers += [nn.Linear(features, hidden), nn.ReLU()]
        features = hidden
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


def _drop_unused_layers(backbone: nn.Module, pooling: Pooling) -> None:
    """Remove what follows the last feature maps where the head reads those: VGG16's dense layers are 120 M weights."""
    if pooling != "native":
        for layer in ("pre_logits", "head", "classifier"):
            if isinstance(getattr(backbone, layer, None), nn.Module):
                setattr(backbone, layer, nn.Identity())


def _freeze(backbone: nn.Module, finetune: Finetune) -> list[nn.Module]:
    """Switch off the gradients of what is not trained; the modules to be kept in evaluation mode."""
    if finetune == "all":
        return []
    if finetune == "head":
        backbone.requires_grad_(False)
        return list(backbone.modules())
    modules = dict(backbone.named_modules())
    names = list(modules)
    end = _last_block_start(backbone, names)
    for name in names[:end]:
        for parameter in modules[name].parameters(recurse=False):
            parameter.requires_grad_(False)
    trained = names[end:]
    return [
        modules[n] for n in names[:end] if n and not any(t.startswith(n + ".") for t in trained)
    ]


def _last_block_start(backbone: nn.Module, names: list[str]) -> int:
    """Position, in the order of registration, of the first module after the last stage but one.

    timm lists a network's stages in `feature_info`, by the module that ends each. A final stage without weights (the
    last pooling of VGG) counts with the one before it.
    """
    stages = [stage["module"] for stage in getattr(backbone, "feature_info", None) or []]
    ends = [
        max((i for i, n in enumerate(names) if n == s or n.startswith(s + ".")), default=-1)
        for s in stages
    ]
    modules = dict(backbone.named_modules())
    for end in reversed(ends[:-1]):
        between = names[end + 1 : ends[-1] + 1]
        if end >= 0 and any(True for n in between for _ in modules[n].parameters(recurse=False)):
            return end + 1
    raise ConfigError(
        f"{type(backbone).__name__} does not say where its stages end; choose model.finetune=head or model.finetune=all"
    )

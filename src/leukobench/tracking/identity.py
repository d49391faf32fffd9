"""Identity: what makes two runs the same run.

The hash of the scientific part of the resolved config (keys at their default dropped, so that a new
key does not change old identities), the choices by name, the `version` of each config file, the
data set's fingerprint and the split's hash. Machines, packages, devices, threads and launchers are
recorded with a run, not hashed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import leukobench
from leukobench.errors import ConfigError
from leukobench.targets import COMPOSED, locate

NODES = (
    "data",
    "split",
    "protocol",
    "preprocess",
    "resample",
    "augment",
    "model",
    "loss",
    "optimizer",
    "schedule",
)
"""Config groups that decide numbers."""

BUILT_BY = {"protocol": "leukobench.training.protocol.Protocol"}
"""The name under which the defaults of a node without `_target_` are frozen."""

Scalar = str | float | bool | None

DEFAULTS: dict[str, Scalar] = {
    "seed": 0,
    "fold": 0,
    "batch_size": 32,
    "l2": 0.0,
    "gradient_clip": None,
    "balanced_sampling": False,
    "patience": None,
}
"""Scientific keys at the top level and their defaults; `epochs` has none and always counts."""

ARITHMETIC: dict[str, Scalar] = {
    "precision": "32-true",
    "compile": False,
    "tf32": False,
    "channels_last": False,
}
"""Keys of the trainer that change arithmetic, and their defaults."""

LOCATIONS = ("root", "paths", "allow_faulty")
"""Keys that say where something is, not what: fingerprint and split hash stand for the content."""


FROZEN = Path(leukobench.__file__).with_name("defaults.json")
"""Defaults of what a public name builds, by name and by the node's version that they count from.

A key at its default is no part of an identity, so these never change: a new option of a factory is
added to each version with the value that computes what was computed before it; another default is
another version.
"""


@cache
def _frozen() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    return json.loads(FROZEN.read_text(encoding="utf-8"))


def frozen_defaults(target: str, version: int = 1) -> Mapping[str, Any] | None:
    """Frozen defaults of a public name at a version of its node; None for a name that has none."""
    versions = _frozen().get(target)
    if versions is None:
        return None
    known = [int(v) for v in versions if int(v) <= version]
    return versions[str(max(known))] if known else {}


@cache
def _signature_defaults(target: str) -> Mapping[str, Any]:
    """Defaults that a user's own class or function states, and its bases; none if unreadable."""
    try:
        found = locate(target, COMPOSED)
        if target.rpartition(".")[0] not in sys.modules:
            return {}  # a method: what its class states is nothing of its own
        classes = inspect.getmro(found)[:-1] if inspect.isclass(found) else (found,)
        parameters = [p for c in reversed(classes) for p in inspect.signature(c).parameters.items()]
    except (ConfigError, TypeError, ValueError):
        return {}
    return {k: p.default for k, p in parameters if p.default is not inspect.Parameter.empty}


def _defaults(node: Mapping[str, Any], target: str | None) -> Mapping[str, Any]:
    if not target:
        return {}
    version = node.get("version", 1)
    frozen = frozen_defaults(target, version if isinstance(version, int) else 1)
    return _signature_defaults(target) if frozen is None else frozen


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _file_digest(path: str) -> str:
    """Digest of a file's content (weights count, not their place); the text where there is none."""
    try:
        with open(os.path.expanduser(path), "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()[:32]
    except OSError:
        return path


def scientific_node(node: Mapping[str, Any], built_by: str | None = None) -> dict[str, Any]:
    """A node without locations and without keys at their default.

    Args:
        built_by: What is built from a node that names no `_target_`.
    """
    target = node.get("_target_", built_by)
    defaults = _defaults(node, target)
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in LOCATIONS:
            continue
        if key == "weights" and value is not None:
            out[key] = _file_digest(str(value))
        elif isinstance(value, Mapping) and "_target_" in value:
            out[key] = scientific_node(value)
        elif key not in defaults or _plain(defaults[key]) != _plain(value):
            out[key] = _plain(value)
    return out


@dataclass(frozen=True)
class Science:
    """The part of a resolved config that decides numbers, without `epochs`.

    Attributes:
        body: JSON-able: nodes by group without keys at their default, `choices`, and the rest.
    """

    body: Any


def scientific(config: Mapping[str, Any], choices: Mapping[str, str]) -> Science:
    """The part of a resolved config that decides numbers."""
    out: Any = {"choices": {k: choices[k] for k in NODES if k in choices}}
    for name in NODES:
        out[name] = scientific_node(config.get(name) or {}, BUILT_BY.get(name))
    for key, default in DEFAULTS.items():
        if _plain(config.get(key, default)) != _plain(default):
            out[key] = _plain(config[key])
    trainer = config.get("trainer") or {}
    arithmetic = {
        k: _plain(trainer[k]) for k, d in ARITHMETIC.items() if k in trainer and trainer[k] != d
    }
    if arithmetic:
        out["trainer"] = arithmetic
    return Science(out)


def hash_of(body: Any) -> str:
    """32 hex digits of a JSON-able body, independent of key order."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def identity(science: Science, epochs: int, fingerprint: str, split_hash: str) -> str:
    """Identity of one result: one config, one seed, one fold, one epoch count."""
    body = {"config": science.body, "epochs": epochs, "data": fingerprint, "split": split_hash}
    return hash_of(body)


def training_id(science: Science, epochs: int | None, fingerprint: str, split_hash: str) -> str:
    """Identity of a training; `epochs` only where something in it depends on the total number."""
    body = {"training": science.body, "epochs": epochs, "data": fingerprint, "split": split_hash}
    return hash_of(body)

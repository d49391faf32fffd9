"""Which key or file was meant by one that does not exist, from the config files alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from leukobench.plain_yaml import load, read_text
from leukobench.settings import conf_dir, user_conf_dir

NOT_CHOSEN = ("paper", "hydra")
"""Folders of configs that are no group of a run."""


def suggestion(message: str) -> str:
    """`Did you mean ...?` for an error message about a key or file that does not exist; else nothing."""
    file = re.search(r"Could not find '(?P<group>[^']+)/(?P<name>[^'/]+)'", message)
    if file is not None:
        names = _files(file["group"])
        return _question(difflib.get_close_matches(file["name"], names, n=3), f"{file['group']}=")
    key = re.search(r"Could not override '([^'@]+)'", message)
    return _question(close_keys(key[1], known_keys())) if key is not None else ""


def close_keys(key: str, known: Iterable[str]) -> list[str]:
    """Keys that end like this one (`lr`: `optimizer.lr`), else those spelt nearly like it."""
    last = key.rpartition(".")[2]
    ends = {k: k.rpartition(".")[2] for k in known}
    same = [k for k, end in ends.items() if end == last]
    if same:
        nearest = min(k.count(".") for k in same)
        return [k for k in same if k.count(".") == nearest][:3]
    close = difflib.get_close_matches(key, list(ends), n=3, cutoff=0.7)
    if close or "." in key:
        return close
    near = difflib.get_close_matches(key, list(ends.values()), n=1, cutoff=0.8)
    return [k for k, end in ends.items() if end in near][:3]


def known_keys() -> list[str]:
    """Keys that can be overridden: groups, keys of `train`, and those of every file of every group."""
    keys = dict.fromkeys(_keys_of(conf_dir() / "train.yaml"))
    for root in _roots():
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and p.name not in NOT_CHOSEN):
            keys[folder.name] = None
            for path in sorted(folder.glob("*.yaml")):
                keys |= dict.fromkeys(f"{folder.name}.{key}" for key in _keys_of(path))
    return list(keys)


def _roots() -> list[Path]:
    user = user_conf_dir()
    return [conf_dir()] if user is None else [user, conf_dir()]


def _files(group: str) -> list[str]:
    return [path.stem for root in _roots() for path in sorted((root / group).glob("*.yaml"))]


def _keys_of(path: Path) -> list[str]:
    """Keys of a file and, below `planner` and the like, of its nodes."""
    body: Any = load(read_text(path), str(path)) or {}
    keys = []
    for key, value in body.items():
        if key in ("defaults", "hydra") or str(key).startswith("_"):
            continue
        keys.append(str(key))
        if isinstance(value, dict):
            keys += [f"{key}.{inner}" for inner in value if not str(inner).startswith("_")]
    return keys


def _question(meant: list[str], before: str = "") -> str:
    return f" Did you mean {' or '.join(before + m for m in meant)}?" if meant else ""

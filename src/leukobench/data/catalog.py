"""The data sets there are: the files of `conf/data`, read without Hydra.

A source is built from its file, and the data sets in its defaults list, with `${settings.data}` and
overrides filled in; nothing else of Hydra's language is needed to read, check or simulate data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from leukobench.data.base import DataSource
from leukobench.errors import ConfigError
from leukobench.plain_yaml import load, read_text
from leukobench.settings import Settings, config_folders
from leukobench.targets import Provenance, build


def data_files() -> dict[str, Path]:
    """File of each data set by name, a user's own before the project's."""
    files: dict[str, Path] = {}
    for folder in config_folders("data"):
        for path in sorted(folder.glob("*.yaml")):
            files.setdefault(path.stem, path)
    return dict(sorted(files.items()))


def source(
    name: str, settings: Settings, overrides: Iterable[str] = (), root: Path | None = None
) -> DataSource:
    """The data source of this name.

    Args:
        overrides: `key=value` strings for keys of its file.
        root: Folder of this data set, instead of the file's.

    Raises:
        ConfigError: No such data set, or a key that its source does not take.
    """
    files = data_files()
    if name not in files:
        raise ConfigError(f"no data set {name!r}; there are: {', '.join(files)}")
    node = _node(name, files)
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"{text!r}: an override is KEY=VALUE, for instance parts=[train]")
        node[key.removeprefix("data.")] = load(value, text)
    if root is not None:
        node["root"] = str(root)
    composed = Provenance(str(files[name]), trusted=True)
    built = build(_filled(node, settings), provenance=composed)
    if not isinstance(built, DataSource):
        raise ConfigError(f"{files[name]}: {node['_target_']} is not a data source")
    return built


def _node(name: str, files: Mapping[str, Path]) -> dict[str, Any]:
    """Keys of a file, over those of the data sets in its defaults list."""
    own: dict[str, Any] = load(read_text(files[name]), str(files[name])) or {}
    node: dict[str, Any] = {}
    for other in own.pop("defaults", []):
        if other != "_self_":
            if other not in files:
                raise ConfigError(
                    f"{files[name]}: its defaults name the data set {other!r}; there are: "
                    f"{', '.join(files)}"
                )
            node |= _node(str(other), files)
    return node | own


def _filled(value: Any, settings: Settings) -> Any:
    """A value with the places of the settings filled in."""
    if isinstance(value, str):
        value = value.replace("${settings.data}", str(settings.data))
        return value.replace("${settings.output}", str(settings.output))
    if isinstance(value, Mapping):
        return {k: _filled(v, settings) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, settings) for v in value]
    return value

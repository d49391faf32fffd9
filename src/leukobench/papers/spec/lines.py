"""Reading YAML with the line of every key, for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from leukobench.errors import PaperError
from leukobench.plain_yaml import compose, faults

Lines = Mapping[tuple[str | int, ...], int]
"""Line of every path of keys."""


def where(path: Path | None, lines: Lines, keys: Sequence[str | int]) -> str:
    """`FILE, line N (KEY)` of a path of keys, or of what of it the file has."""
    known = tuple(keys)
    while known and known not in lines:
        known = known[:-1]
    name = ".".join(str(k) for k in keys)
    return f"{path}, line {lines.get(known, 1)}" + (f" ({name})" if name else "")


def read(text: str, path: Path) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    """Plain Python content and the line of every path of keys.

    Scalars directly below `cells` stay text, so that `0.80` is kept as printed.

    Raises:
        ConfigError: It is no YAML of plain values.
        PaperError: A key is given twice, of which YAML would silently keep the last.
    """
    reader = _Reader(yaml.SafeLoader(""), path)
    try:
        node = compose(text, str(path))
        with faults(str(path)):
            return (None if node is None else reader.content(node, ())), reader.lines
    finally:
        reader.loader.dispose()


@dataclass
class _Reader:
    loader: yaml.SafeLoader
    path: Path
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def content(self, node: yaml.Node, at: tuple[str | int, ...]) -> Any:
        """The content of a node that stands at this path of keys."""
        self.lines[at] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.content(child, (*at, i)) for i, child in enumerate(node.value)]
        value = self.loader.construct_object(node)
        printed = value is not None and len(at) > 1 and at[-2] == "cells"
        return node.value if printed else value

    def _mapping(self, node: yaml.MappingNode, at: tuple[str | int, ...]) -> dict[Any, Any]:
        self.loader.flatten_mapping(node)
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.loader.construct_object(key_node)
            key = key if isinstance(key, str) else key_node.value
            line = key_node.start_mark.line + 1
            if key in out:
                raise PaperError(f"{self.path}, line {line}: key {key!r} is given twice")
            out[key] = self.content(value_node, (*at, key))
            self.lines[(*at, key)] = line
        return out

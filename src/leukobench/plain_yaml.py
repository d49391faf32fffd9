"""YAML that others wrote, read as plain data: no objects, no bombs, and every fault in a sentence.

`compose` checks a text and gives its nodes, for readers that want line numbers; `load` gives plain
Python content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from leukobench.errors import ConfigError

LARGEST = 4_000_000
"""Characters of a file; the longest paper has 40,000."""
MOST_NODES = 500_000
"""Values of a file with its aliases written out."""
DEEPEST = 60
_PREFIX = "tag:yaml.org,2002:"
_PLAIN = {
    _PREFIX + kind
    for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
}


def read_text(path: Path) -> str:
    """Text of a YAML file. Raises ConfigError where it cannot be read or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({e.strerror or e})") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not valid YAML: {e.reason} at byte {e.start}") from None


def load(text: str, where: str) -> Any:
    """Plain content of a YAML text: mappings, lists, text, numbers, dates.

    Args:
        where: What to call the text in errors.

    Raises:
        ConfigError: It is no YAML, holds anything but plain values, or is unreasonably large.
    """
    with faults(where):
        node = compose(text, where)
        loader = yaml.SafeLoader("")
        try:
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()


def compose(text: str, where: str) -> yaml.Node | None:
    """Nodes of a YAML text, None for an empty one. Raises ConfigError as `load` does."""
    if len(text) > LARGEST:
        raise ConfigError(
            f"{where}: {len(text):,} characters of YAML; at most {LARGEST:,} are read, split it"
        )
    with faults(where):
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        if node is not None:
            _Census(where).count(node, 0)
        return node


@contextmanager
def faults(where: str) -> Iterator[None]:
    """What PyYAML and the values themselves raise, as ConfigError."""
    try:
        yield
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise ConfigError(f"{where}, line {line}: not valid YAML: {e.problem}") from None
    except yaml.YAMLError as e:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(e).split())}") from None
    except RecursionError:
        raise ConfigError(f"{where}: not valid YAML: nested too deeply") from None
    except (ValueError, OverflowError) as e:  # such as a thirteenth month
        raise ConfigError(f"{where}: not valid YAML: {e}") from None


class _Census:
    """Counts the values of a document with its aliases written out."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.counts: dict[yaml.Node, int] = {}
        self.above: set[yaml.Node] = set()

    def count(self, node: yaml.Node, depth: int) -> int:
        if node in self.above:
            raise self._fault(node, "a value holds itself")
        if node not in self.counts:
            self._check(node, depth)
            self.above.add(node)
            total = 1 + sum(self.count(child, depth + 1) for child in _children(node))
            self.above.remove(node)
            if total > MOST_NODES:
                raise self._fault(node, f"its aliases make more than {MOST_NODES:,} values")
            self.counts[node] = total
        return self.counts[node]

    def _check(self, node: yaml.Node, depth: int) -> None:
        if depth > DEEPEST:
            raise self._fault(node, "nested too deeply")
        if node.tag not in _PLAIN:
            tag = str(node.tag).replace(_PREFIX, "!!")
            raise self._fault(node, f"the tag {tag} is not accepted, only plain values are")
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise self._fault(key, "a key is one word or number")

    def _fault(self, node: yaml.Node, what: str) -> ConfigError:
        line = node.start_mark.line + 1
        return ConfigError(f"{self.where}, line {line}: not valid YAML: {what}")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []

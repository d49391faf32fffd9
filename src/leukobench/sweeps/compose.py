"""From a grid of overrides to composed jobs.

Hydra composes once for each combination of config files; plain keys are then set on what it
composed, and of the rest only what refers to other keys is resolved again, because five thousand
jobs one by one would take minutes.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import Container, DictConfig, OmegaConf

from leukobench import settings
from leukobench.errors import ConfigError
from leukobench.training.job import Job

Compose = Callable[[list[str]], DictConfig]
Path = tuple[str, ...]

for _key in ("data", "output", "store"):
    # `conf/settings` follows the environment by these; a worker has them with the code that it runs
    OmegaConf.register_new_resolver(
        f"leukobench.{_key}",
        lambda key=_key: str(vars(settings.resolve())[key]),
        replace=True,
    )


def grid(
    params: Mapping[str, str], arguments: Sequence[str], parser: OverridesParser
) -> dict[str, list[str]]:
    """Values of each key, as override strings; an argument replaces a parameter of the sweep file.

    Returns:
        Override strings by key, in the order of the sweep file, then of the arguments.

    Raises:
        ConfigError: A sweep that Hydra cannot enumerate (`interval(...)`).
    """
    out: dict[str, list[str]] = {}
    texts = [f"{k}={_text(v)}" for k, v in params.items()] + list(arguments)
    for override in parser.parse_overrides(texts):
        out[override.get_key_element().lstrip("+~")] = _values(override)
    return out


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _values(override: Override) -> list[str]:
    key = override.get_key_element()
    if override.is_delete():
        return [override.input_line or key]
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{override.input_line}: a grid needs a list of values; intervals are for sweeps/search.yaml"
        )
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


class Composer:
    """Composes jobs; keeps what depends on config files alone.

    Args:
        compose: Hydra's composition from a list of override strings to the job's config, `hydra`
            node included.
        groups: Names of the config groups, whose overrides need a composition of their own.
    """

    def __init__(
        self, compose: Compose, is_group: Callable[[str], bool], parser: OverridesParser
    ) -> None:
        self.compose, self.is_group, self.parser = compose, is_group, parser
        self.compositions = 0
        self._bases: dict[tuple[str, ...], tuple[DictConfig, dict[str, str], str]] = {}
        self._templates: dict[tuple[tuple[str, ...], tuple[str, ...]], _Template] = {}
        self._parsed: dict[str, tuple[str, Any, bool]] = {}

    def _parse(self, text: str) -> tuple[str, Any, bool]:
        """Key, value, and whether it can be set on a composed config."""
        if text not in self._parsed:
            override = self.parser.parse_override(text)
            key = override.get_key_element()
            plain = not (key.startswith(("+", "~")) or "@" in key or self.is_group(key))
            self._parsed[text] = (key, override.value() if plain else None, plain)
        return self._parsed[text]

    def job(self, overrides: Sequence[str]) -> Job:
        """One job; how it is planned and launched is not among the overrides that make it."""
        own = tuple(
            o for o in overrides if not o.lstrip("+~").startswith(("planner.", "hydra.", "hydra/"))
        )
        fixed = tuple(o for o in overrides if not self._parse(o)[2])
        if fixed not in self._bases:
            config = self.compose(list(fixed))
            self.compositions += 1
            choices = {
                k: str(v)
                for k, v in config.hydra.runtime.choices.items()
                if v is not None and "/" not in str(k)
            }
            origin = str(config.hydra.job.config_name)
            OmegaConf.set_struct(config, False)
            config = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
            OmegaConf.set_struct(config, True)
            self._bases[fixed] = (config, choices, origin)
        base, choices, origin = self._bases[fixed]
        values = [self._parse(o)[:2] for o in overrides if self._parse(o)[2]]
        kind = (fixed, tuple(key for key, _ in values))
        if kind in self._templates and all(_is_plain(value) for _, value in values):
            return Job(self._templates[kind].resolved(values), choices, own, origin)
        if any(_missing(base, key) for key, _ in values):
            # Hydra's own composition says what is wrong, as its users know it
            config = self.compose(list(overrides))
            OmegaConf.set_struct(config, False)
            del config["hydra"]
            resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            assert isinstance(resolved, dict)
            return Job({str(k): v for k, v in resolved.items()}, choices, own, origin)
        template = _Template(base, values)
        if all(_is_plain(value) for _, value in values):
            self._templates[kind] = template
        return Job(template.resolved(values), choices, own, origin)

    def jobs(self, values: Mapping[str, Sequence[str]]) -> Iterator[Job]:
        """All jobs of a grid, the last key varying fastest."""
        for combination in itertools.product(*values.values()):
            yield self.job(combination)


def _missing(config: DictConfig, key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            return True
        node = node._get_node(part) if OmegaConf.is_missing(node, part) else node[part]
    return False


class _Template:
    """A composed config in which some keys are set again and again.

    Args:
        values: Keys and their first values; later ones are for the same keys, in the same order.
    """

    def __init__(self, base: DictConfig, values: Sequence[tuple[str, Any]]) -> None:
        self.config = copy.deepcopy(base)
        self.set: dict[str, Any] = {}
        self._update(values)
        resolved = OmegaConf.to_container(self.config, resolve=True, throw_on_missing=True)
        assert isinstance(resolved, dict)
        self.plain = {str(k): v for k, v in resolved.items()}
        self.following: list[Path] = []
        self.copies: dict[Path, Path] = {}
        raw = dict(_leaves(OmegaConf.to_container(self.config, resolve=False)))
        for path, value in raw.items():
            if not _refers(value):
                continue
            named = _NAMED.fullmatch(value) if isinstance(value, str) else None
            source = tuple(named[1].split(".")) if named is not None else ()
            # another key's own value can be copied; what follows further is OmegaConf's to resolve
            if source in raw and not _refers(raw[source]):
                self.copies[path] = source
            else:
                self.following.append(path)

    def _update(self, values: Sequence[tuple[str, Any]]) -> None:
        for key, value in values:
            if key not in self.set or self.set[key] is not value:
                OmegaConf.update(self.config, key, value, merge=isinstance(value, dict))
                self.set[key] = value

    def resolved(self, values: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """The resolved config with these values, in containers of its own."""
        self._update(values)
        out: dict[str, Any] = _copied(self.plain)
        for path in (*(tuple(key.split(".")) for key in self.set), *self.following):
            node = _get(self.config, path)
            if isinstance(node, Container):
                node = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
            _get(out, path[:-1])[path[-1]] = node
        for path, source in self.copies.items():
            _get(out, path[:-1])[path[-1]] = _copied(_get(out, source))
        return out


def _get(node: Any, path: Path) -> Any:
    for part in path:
        node = node[part]
    return node


def _leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Paths and values of an unresolved config; a list counts as a whole."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*path, str(key)))
    else:
        yield path, node


def _refers(node: Any) -> bool:
    """Whether a value follows other keys."""
    if isinstance(node, list):
        return any(_refers(value) for value in node)
    if isinstance(node, dict):
        return any(_refers(value) for value in node.values())
    # what a resolver says without being told anything stays the same
    return isinstance(node, str) and "${" in _ALONE.sub("", node)


_ALONE = re.compile(r"\$\{(leukobench\.\w+|oc\.env):[^${}]*\}")
_NAMED = re.compile(r"\$\{(\w[\w.]*)\}")


def _is_plain(value: Any) -> bool:
    """Whether a value refers to nothing and is no node of its own."""
    if isinstance(value, list):
        return all(_is_plain(v) for v in value)
    return not isinstance(value, dict) and not (isinstance(value, str) and "${" in value)


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _copied(v) for k, v in node.items()}
    return [_copied(v) for v in node] if isinstance(node, list) else node

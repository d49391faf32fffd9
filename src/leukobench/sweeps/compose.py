"""From a grid of overrides to composed jobs.

Hydra composes once for each combination of config files; values of plain keys are then set on a copy, because composing
five thousand jobs one by one would take minutes.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from leukobench.errors import ConfigError
from leukobench.training.job import Job

Compose = Callable[[list[str]], DictConfig]


def grid(params: Mapping[str, str], arguments: Sequence[str], parser: OverridesParser) -> dict[str, list[str]]:
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
        raise ConfigError(f"{override.input_line}: a grid needs a list of values; intervals are for sweeps/search.yaml")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


class Composer:
    """Composes jobs; keeps what depends on config files alone.

    Args:
        compose: Hydra's composition from a list of override strings to the job's config, `hydra` node included.
        groups: Names of the config groups, whose overrides need a composition of their own.
    """

    def __init__(self, compose: Compose, is_group: Callable[[str], bool], parser: OverridesParser) -> None:
        self.compose, self.is_group, self.parser = compose, is_group, parser
        self.compositions = 0
        self._bases: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
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
        """One job."""
        fixed = tuple(o for o in overrides if not self._parse(o)[2])
        if fixed not in self._bases:
            config = self.compose(list(fixed))
            self.compositions += 1
            choices = {
                k: str(v) for k, v in config.hydra.runtime.choices.items() if v is not None and "/" not in str(k)
            }
            OmegaConf.set_struct(config, False)
            config = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
            OmegaConf.set_struct(config, True)
            self._bases[fixed] = (config, choices)
        base, choices = self._bases[fixed]
        values = [self._parse(o)[:2] for o in overrides if self._parse(o)[2]]
        if any(_missing(base, key) for key, _ in values):
            # Hydra's own composition says what is wrong, as its users know it
            config = self.compose(list(overrides))
            OmegaConf.set_struct(config, False)
            del config["hydra"]
        else:
            config = copy.deepcopy(base)
            for key, value in values:
                OmegaConf.update(config, key, value, merge=isinstance(value, dict))
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        assert isinstance(resolved, dict)
        return Job({str(k): v for k, v in resolved.items()}, choices, tuple(overrides))

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

"""The families of data sets, one module each; a module's name is the family's, its `FAMILY` says
what it is.

A new family is a new module here, beside one of the same name in `leukobench.training.families`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from leukobench.data.families.base import Family
from leukobench.errors import ConfigError


def families() -> tuple[str, ...]:
    """Names of all families."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


def family(name: str) -> Family:
    """The family of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in families():
        raise ConfigError(f"no family of data {name!r}; there are: {', '.join(families())}")
    found: Family = import_module(f"{__name__}.{name}").FAMILY
    return found

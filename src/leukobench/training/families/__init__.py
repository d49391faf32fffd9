"""What training and trained models do differently for each family of data: one module a family.

A module's name is the family's, its `FAMILY` does the work; see
`leukobench.training.families.base.Family`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from leukobench.errors import ConfigError
from leukobench.training.families.base import Family


def family(name: str) -> Family:
    """The family of this name.

    Raises:
        ConfigError: There is none.
    """
    known = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")
    if name not in known:
        raise ConfigError(f"no network reads {name!r} data; families are: {', '.join(known)}")
    found: Family = import_module(f"{__name__}.{name}").FAMILY
    return found

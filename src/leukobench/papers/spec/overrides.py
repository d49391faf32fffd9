"""Override strings: the config choices that name the runs of a cell, and how they are merged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import BeforeValidator

GROUPS = (
    "data",
    "split",
    "preprocess",
    "resample",
    "augment",
    "model",
    "loss",
    "optimizer",
    "schedule",
    "protocol",
    "trainer",
)
SCALARS = ("epochs", "batch_size", "seed", "fold")
_OVERRIDE = re.compile(r"(?P<key>[A-Za-z_][\w.]*)=(?P<value>\S(.*\S)?)")


def merge_overrides(*levels: Iterable[str]) -> tuple[str, ...]:
    """Override strings of all levels, one a key, a later level winning; groups first, then scalars,
    then the rest.

    The order is fixed, so that the same choice is always written the same way.
    """
    merged: dict[str, str] = {}
    for level in levels:
        for override in level:
            key, _, value = override.partition("=")
            merged[key] = value
    rank = {key: i for i, key in enumerate((*GROUPS, *SCALARS))}
    return tuple(
        f"{k}={merged[k]}" for k in sorted(merged, key=lambda k: (rank.get(k, len(rank)), k))
    )


def check_override(text: str) -> str:
    """The text itself; raises ValueError where it is no override of a run."""
    if not _OVERRIDE.fullmatch(text):
        raise ValueError(f"{text!r} is not an override of the form key=value")
    key = text.partition("=")[0]
    if "." not in key and key not in (*GROUPS, *SCALARS):
        raise ValueError(
            f"{key!r} is neither a config group ({', '.join(GROUPS)}) nor one of "
            f"{', '.join(SCALARS)}"
        )
    return text


Override = Annotated[str, BeforeValidator(check_override)]
Overrides = tuple[Override, ...]

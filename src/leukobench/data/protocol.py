"""Protocols: the named switches in which a paper's way of working and a leak-free one differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import yaml

from leukobench.errors import ConfigError

ALLOW_THIN = "take another split, or set protocol.allow_thin_choice=true, which marks the results"
RETIRED = ("stratify",)
"""Keys that protocols of earlier versions had: stored configs have them, and they decide nothing."""


@dataclass(frozen=True)
class Protocol:
    """One file of `conf/protocol`.

    Attributes:
        name: `paper` or `leak_free`.
        keep_together: What a split may not separate: `auto` (subject and content where known), or a list.
        fit_on: Rows that preprocessing is fitted on: `train`, or `all` (test rows included: a leak).
        resample: Where resampling happens: `train` (inside the training part) or `before_split` (synthetic
            neighbours of test rows enter training: a leak).
        choose_on: Part on which epoch, model and threshold may be chosen: `validation`, or `test` (a leak).
        validation: Share of the training part that is set aside for choosing, where a paper chooses at all
            (fata, rai); 0 where it chose on test. A part of the switch `choose_on`.
        allow_thin_choice: Choose also on a part with fewer than two subjects of a class, which marks the results.
    """

    name: str = "leak_free"
    keep_together: Literal["auto"] | Sequence[str] = "auto"
    fit_on: Literal["train", "all"] = "train"
    resample: Literal["train", "before_split"] = "train"
    choose_on: Literal["validation", "test"] = "validation"
    validation: float = 0.2
    allow_thin_choice: bool = False

    def __post_init__(self) -> None:
        allowed = {
            "fit_on": ("train", "all"),
            "resample": ("train", "before_split"),
            "choose_on": ("validation", "test"),
        }
        for key, values in allowed.items():
            if getattr(self, key) not in values:
                raise ConfigError(
                    f"protocol.{key} knows {list(values)}, not {getattr(self, key)!r}"
                )

    @property
    def leaks(self) -> tuple[str, ...]:
        """The switches that stand where test data may leak, as `key=value`."""
        found = []
        if self.keep_together != "auto" and not self.keep_together:
            found.append("keep_together=[]")
        for key, bad in (("fit_on", "all"), ("resample", "before_split"), ("choose_on", "test")):
            if getattr(self, key) == bad:
                found.append(f"{key}={bad}")
        return tuple(found)


def protocol_of(overrides: Sequence[str], folders: Iterable[Path]) -> Protocol | None:
    """The protocol that override strings name, read from its file; None where they name none that is there.

    Args:
        overrides: `protocol=NAME` and perhaps `protocol.KEY=VALUE`.
        folders: Where files of protocols lie.
    """
    values = dict(override.partition("=")[::2] for override in overrides)
    name = values.get("protocol")
    paths = [Path(folder) / f"{name}.yaml" for folder in folders]
    path = next((p for p in paths if p.is_file()), None)
    if name is None or path is None:
        return None
    node = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        group, _, inner = key.partition(".")
        if group == "protocol" and inner:
            node[inner] = yaml.safe_load(value)
    known = {f.name for f in fields(Protocol)}
    return Protocol(**{key: value for key, value in node.items() if key in known})

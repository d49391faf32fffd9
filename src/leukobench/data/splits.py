"""Splits: which sample is trained on, which one chooses, which one is tested, as explicit lists with a hash.

A splitter (one file in `conf/split` each) turns a data set into `Split`s, one a fold. What may not be separated is
named by `keep_together`; sizes and rounding are scikit-learn's. Nothing here fits or scales anything.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from leukobench.data.base import Dataset, digest
from leukobench.errors import SplitError
from leukobench.schema.predictions import PARTS

GROUPINGS = ("subject", "content", "series")
KeepTogether = Literal["auto"] | Sequence[str]


@dataclass(frozen=True)
class Split:
    """One fold of one splitter on one data set.

    Attributes:
        name: Name of the splitter (`holdout`, `kfold`, ...).
        fold, folds: Which fold this is, of how many.
        parts: Sample ids by part, each in the data set's row order. `validation` may be empty.
        keep_together: What was not separated, as resolved for this data set.
        shared: For each of `subject`, `content` and `series` that the data know: how many of its values stand in
            more than one part. A leak-free split shares no subject and no content.
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
    """`auto` becomes `(subject, content)` where subjects are known, `(content,)` where they are not.

    Raises:
        SplitError: An explicit `subject` (or `series`) where the source has none, or an unknown name.
    """
    if keep_together == "auto":
        return ("subject", "content") if dataset.has_subjects else ("content",)
    for name in keep_together:
        if name not in GROUPINGS:
            raise SplitError(f"keep_together knows {list(GROUPINGS)}, not {name!r}")
        if dataset.samples[name].isna().any():
            raise SplitError(
                f"{dataset.name} has no {name} ids, so samples of one {name} cannot be kept together; "
                "use split.keep_together=[content] (or protocol.keep_together=auto)"
            )
    return tuple(keep_together)


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
        codes = pd.factorize(dataset.samples[name])[0]
        first = pd.Series(np.arange(n)).groupby(codes).transform("first").to_numpy()
        rows.append(np.arange(n))
        cols.append(first)
    r, c = np.concatenate(rows), np.concatenate(cols)
    labels = connected_components(
        coo_array((np.ones(len(r), np.int8), (r, c)), shape=(n, n)), directed=False
    )[1]
    return pd.factorize(labels)[0].astype(np.int64)


class Splitter(ABC):
    """Base of all splitters.

    Args:
        validation: Share (float) or number (int) of the TRAINING part that is cut from it for choosing epoch, model
            and threshold; 0 for none. Cut by the same rule as the test part.
        stratify: Keep class shares alike in all parts, as far as groups allow.
        keep_together: `auto`, or a list of `subject`, `content`, `series`.
        seed: Of the shuffles.
    """

    name: str

    def __init__(
        self,
        validation: float = 0.0,
        stratify: bool = True,
        keep_together: KeepTogether = "auto",
        seed: int = 0,
    ) -> None:
        self.validation = validation
        self.stratify = stratify
        self.keep_together: KeepTogether = (
            keep_together
            if isinstance(keep_together, str)
            else tuple(str(k) for k in keep_together)  # type: ignore[assignment]
        )
        self.seed = int(seed)

    @abstractmethod
    def folds(self, dataset: Dataset) -> int:
        """How many folds there are on this data set."""

    @abstractmethod
    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Rows of the training part (validation included), rows of the test part, and what was dropped and why."""

    def split(self, dataset: Dataset, fold: int = 0) -> Split:
        """Make one fold.

        Raises:
            SplitError: No such fold; a part or a class would be empty; groups that the data do not know.
        """
        folds = self.folds(dataset)
        if not 0 <= fold < folds:
            raise SplitError(
                f"{self.name} on {dataset.name} has folds 0 to {folds - 1}, not {fold}"
            )
        keep = resolve_keep_together(dataset, self.keep_together)
        train, test, dropped = self.test_rows(dataset, fold)
        validation = np.empty(0, np.int64)
        if self.validation:
            inner = train
            train_i, validation_i = cut(
                dataset.y[inner],
                groups_of(dataset.take(inner), keep),
                self.validation,
                self.stratify,
                self.seed,
            )
            train, validation = inner[train_i], inner[validation_i]
        rows = {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}
        for part in ("train", "test"):
            if not len(rows[part]):
                raise SplitError(
                    f"{self.name} leaves no sample for {part} in fold {fold} of {dataset.name}"
                )
        ids = dataset.ids.to_numpy()
        return Split(
            name=self.name,
            fold=fold,
            folds=folds,
            parts={part: tuple(ids[r]) for part, r in rows.items()},
            keep_together=keep,
            shared=shared_between(dataset, rows),
            dropped=dropped,
        )


def shared_between(dataset: Dataset, rows: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many subjects, contents and series stand in more than one part."""
    part = np.full(len(dataset), -1)
    for i, r in enumerate(rows.values()):
        part[r] = i
    inside = part >= 0
    result = {}
    for name in GROUPINGS:
        column = dataset.samples[name]
        if column.isna().any():
            continue
        frame = pd.DataFrame({"value": column.to_numpy()[inside], "part": part[inside]})
        result[name] = int((frame.groupby("value")["part"].nunique() > 1).sum())
    return result


def cut(
    y: np.ndarray, groups: np.ndarray, size: float, stratify: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a part of `size` (share or number) off, groups whole; returns rows that stay and rows cut off.

    Without binding groups this is scikit-learn's `train_test_split`, rounding included. With groups it is one fold of
    `StratifiedGroupKFold` (`GroupKFold` unstratified): on C-NMC that keeps sizes and class shares where
    `GroupShuffleSplit` scatters widely. Its shuffle hardly moves large groups, so the seed also says which fold:
    consecutive seeds cut off different groups.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, train_test_split

    n = len(y)
    if groups.max(initial=-1) + 1 == n:
        smallest = np.bincount(y)[np.unique(y)].min()
        if stratify and smallest < 2:
            raise SplitError(
                f"a class has a single sample among {n}, so it cannot be stratified; set split.stratify=false"
            )
        try:
            stay, off = train_test_split(
                np.arange(n), test_size=size, stratify=y if stratify else None, random_state=seed
            )
        except ValueError as e:
            raise SplitError(f"cannot cut {size} off {n} samples: {e}") from None
        return stay, off
    share = size / n if size >= 1 else size
    k = max(2, round(1 / share))
    if groups.max() + 1 < k:
        raise SplitError(
            f"cannot cut {size} off {n} samples in {groups.max() + 1} groups: too few groups"
        )
    splitter = (StratifiedGroupKFold if stratify else GroupKFold)(
        n_splits=k, shuffle=True, random_state=seed
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # a class with fewer groups than folds: as far as groups allow
        try:
            stay, off = list(splitter.split(np.zeros(n), y, groups))[seed % k]
        except ValueError as e:
            raise SplitError(
                f"cannot cut {size} off {n} samples in {groups.max() + 1} groups: {e}"
            ) from None
    return stay, off


class Holdout(Splitter):
    """One test part of a given share (`test` < 1) or size (`test` >= 1)."""

    name = "holdout"

    def __init__(self, test: float = 0.2, **options: Any) -> None:
        super().__init__(**options)
        self.test = test

    def folds(self, dataset: Dataset) -> int:
        return 1

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        groups = groups_of(dataset, resolve_keep_together(dataset, self.keep_together))
        return *cut(dataset.y, groups, self.test, self.stratify, self.seed), {}


class KFold(Splitter):
    """`k` folds, each sample tested once; `repeats` shuffles of it, numbered on: fold = repeat * k + fold."""

    name = "kfold"

    def __init__(self, k: int = 5, repeats: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.k, self.repeats = int(k), int(repeats)
        if repeats > 1:
            self.name = "repeated_kfold"

    def folds(self, dataset: Dataset) -> int:
        return self.k * self.repeats

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold
        from sklearn.model_selection import KFold as PlainKFold

        repeat, fold = divmod(fold, self.k)
        y = dataset.y
        groups = groups_of(dataset, resolve_keep_together(dataset, self.keep_together))
        grouped = groups.max() + 1 < len(y)
        if groups.max() + 1 < self.k:
            raise SplitError(
                f"{dataset.name} has {groups.max() + 1} groups, too few for {self.k} folds"
            )
        kinds = {
            (True, True): StratifiedGroupKFold,
            (True, False): GroupKFold,
            (False, True): StratifiedKFold,
            (False, False): PlainKFold,
        }
        splitter = kinds[grouped, self.stratify](
            n_splits=self.k, shuffle=True, random_state=self.seed + repeat
        )
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                train, test = list(splitter.split(np.zeros(len(y)), y, groups))[fold]
            except ValueError as e:
                raise SplitError(f"cannot make {self.k} folds of {dataset.name}: {e}") from None
        return train, test, {}


class LeaveOneOut(Splitter):
    """Each group of samples that must stay together (each sample, where nothing binds) is tested once, alone."""

    name = "leave_one_out"

    def folds(self, dataset: Dataset) -> int:
        return int(groups_of(dataset, resolve_keep_together(dataset, self.keep_together)).max() + 1)

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        groups = groups_of(dataset, resolve_keep_together(dataset, self.keep_together))
        return np.flatnonzero(groups != fold), np.flatnonzero(groups == fold), {}


class LeaveOneGroupOut(Splitter):
    """Each `by` (subject or series) is tested once, alone.

    Test samples of a class that training then no longer holds cannot be predicted by any model; they are dropped and
    listed. A group of which nothing is left has no fold.
    """

    name = "leave_one_group_out"

    def __init__(self, by: str = "series", **options: Any) -> None:
        super().__init__(**options)
        self.by = by

    def _groups(self, dataset: Dataset) -> tuple[np.ndarray, list[int]]:
        resolve_keep_together(dataset, [self.by])
        keep = {self.by, *resolve_keep_together(dataset, self.keep_together)}
        groups = groups_of(dataset, sorted(keep))
        y = dataset.y
        useful = [
            g for g in range(groups.max() + 1) if np.isin(y[groups == g], y[groups != g]).any()
        ]
        if not useful:
            raise SplitError(
                f"every class of {dataset.name} stands in one {self.by} only: none can be left out"
            )
        return groups, useful

    def folds(self, dataset: Dataset) -> int:
        return len(self._groups(dataset)[1])

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        groups, useful = self._groups(dataset)
        y, ids = dataset.y, dataset.ids
        train, test = np.flatnonzero(groups != useful[fold]), np.flatnonzero(groups == useful[fold])
        known = np.isin(y[test], y[train])
        dropped = {str(ids[r]): f"its class stands in no other {self.by}" for r in test[~known]}
        return train, test[known], dropped


class Official(Splitter):
    """The source's own parts: Golub 1999's 38 then 34 arrays; C-NMC's folds then the preliminary test set.

    Args:
        test: Values of the data set's `official` column that are tested; the training part is everything else, or
            `train` where given.
        drop_twins: Leave out training samples whose exact content also stands in the test part or in a training fold
            under another subject, instead of only reporting them.
    """

    name = "official"

    def __init__(
        self,
        test: Sequence[str] = ("test", "preliminary"),
        train: Sequence[str] | None = None,
        drop_twins: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.test, self.train, self.drop_twins = (
            tuple(test),
            tuple(train) if train else None,
            drop_twins,
        )

    def folds(self, dataset: Dataset) -> int:
        return 1

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        official = dataset.samples["official"]
        if official.isna().all():
            raise SplitError(f"{dataset.name} has no official parts; choose another split")
        is_test = official.isin(self.test).to_numpy()
        is_train = (
            official.isin(self.train) if self.train else official.notna()
        ).to_numpy() & ~is_test
        if not is_test.any() or not is_train.any():
            found = sorted(official.dropna().unique())
            raise SplitError(
                f"{dataset.name}: official parts found are {found}; none of them is "
                f"{'a test part ' + str(list(self.test)) if not is_test.any() else 'a training part'} "
                "(a data set may need its further parts loaded: see its file in conf/data)"
            )
        dropped: dict[str, str] = {}
        if self.drop_twins:
            content = dataset.samples["content"]
            subject = dataset.samples["subject"]
            in_test = content.isin(content[is_test]).to_numpy()
            split_subjects = (subject.groupby(content).transform("nunique") > 1).to_numpy()
            twins = is_train & (in_test | split_subjects)
            dropped = {
                str(i): "its exact content stands under another subject or in the test part"
                for i in dataset.ids[twins]
            }
            is_train &= ~twins
        return np.flatnonzero(is_train), np.flatnonzero(is_test), dropped


class FromFile(Splitter):
    """A published split: JSON files as LeukoBench writes them, one a fold."""

    name = "file"

    def __init__(self, paths: Sequence[str] | str, **options: Any) -> None:
        super().__init__(**options)
        self.paths = (paths,) if isinstance(paths, str) else tuple(paths)

    def folds(self, dataset: Dataset) -> int:
        return len(self.paths)

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        raise NotImplementedError("a split file hands over all its parts at once")

    def split(self, dataset: Dataset, fold: int = 0) -> Split:
        if not 0 <= fold < len(self.paths):
            raise SplitError(f"there are {len(self.paths)} split files, so no fold {fold}")
        split = Split.read(self.paths[fold])
        known = set(dataset.ids)
        unknown = [i for ids in split.parts.values() for i in ids if i not in known]
        if unknown:
            raise SplitError(
                f"{self.paths[fold]} names {len(unknown)} samples that {dataset.name} does not have, "
                f"for instance {unknown[:3]}"
            )
        rows = {part: dataset.rows(ids) for part, ids in split.parts.items()}
        return replace(split, shared=shared_between(dataset, rows))

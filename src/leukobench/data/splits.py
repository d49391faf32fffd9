"""Splitters: how a data set is divided (one file in `conf/split` each), each fold a `Split`.

What may not be separated is named by `keep_together`. Without groups, sizes and rounding are
scikit-learn's; whole groups are shared out by `leukobench.data.balance`. Nothing here fits or
scales anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from leukobench.data.balance import assign
from leukobench.data.base import Dataset
from leukobench.data.split import (
    KeepTogether,
    Split,
    groups_of,
    resolve_keep_together,
    shared_between,
)
from leukobench.errors import SplitError
from leukobench.schema.predictions import PARTS


class Splitter(ABC):
    """Base of all splitters.

    Args:
        validation: Share (float) or number (int) of the TRAINING part that is cut from it for
            choosing epoch, model and threshold; 0 for none. Cut by the same rule as the test part.
        stratify: Keep class shares alike in all parts where samples are drawn one by one. Parts of
            whole groups are always balanced, as far as groups allow: what a draw of single samples
            does by its numbers alone.
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
            SplitError: No such fold; a part or a class would be empty; groups that the data do not
                know.
        """
        folds = self.folds(dataset)
        if not 0 <= fold < folds:
            raise SplitError(
                f"{self.name} on {dataset.name} has folds 0 to {folds - 1}, not {fold}"
            )
        keep = resolve_keep_together(dataset, self.keep_together)
        train, test, dropped = self.test_rows(dataset, fold)
        validation = self.validation_rows(dataset, fold, train)
        train = np.setdiff1d(train, validation)
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

    def validation_rows(self, dataset: Dataset, fold: int, train: np.ndarray) -> np.ndarray:
        """Rows that are cut from the training part for choosing."""
        if not self.validation:
            return np.empty(0, np.int64)
        keep = resolve_keep_together(dataset, self.keep_together)
        inner = dataset.take(train)
        _, cut_off = cut(
            inner.y,
            groups_of(inner, keep),
            size=self.validation,
            stratify=self.stratify,
            seed=self.seed,
        )
        return train[cut_off]


def cut(
    y: np.ndarray, groups: np.ndarray, size: float, stratify: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a part of `size` (share or number) off, groups whole.

    Args:
        y: Shape (n,), class numbers.
        groups: Shape (n,), group numbers from 0.

    Returns:
        Rows that stay and rows cut off.

    Raises:
        SplitError: A class of one sample cannot be stratified; too few samples or groups.
    """
    n = len(y)
    number = int(groups.max(initial=-1)) + 1
    if number == n:
        return _cut_samples(y, size, stratify, seed)
    share = size / n if size >= 1 else size
    if number < max(2, round(1 / share)):
        raise SplitError(f"cannot cut {size} off {n} samples in {number} groups: too few groups")
    part = assign(y, groups, np.array([1 - share, share]), seed)
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def _cut_samples(
    y: np.ndarray, size: float, stratify: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    n = len(y)
    smallest = np.bincount(y)[np.unique(y)].min()
    if stratify and smallest < 2:
        raise SplitError(
            f"a class has a single sample among {n}, so it cannot be stratified; "
            "set split.stratify=false"
        )
    strata = y if stratify else None
    try:
        stay, off = train_test_split(
            np.arange(n), test_size=size, stratify=strata, random_state=seed
        )
    except ValueError as e:
        raise SplitError(f"cannot cut {size} off {n} samples: {e}") from None
    return stay, off


def fold_numbers(
    y: np.ndarray, groups: np.ndarray, k: int, stratify: bool, seed: int
) -> np.ndarray:
    """The fold of `k` in which each sample is tested, groups whole; shape (n,).

    Raises:
        SplitError: Fewer groups, or samples of every class, than folds.
    """
    number = int(groups.max()) + 1
    if number < k:
        raise SplitError(f"{len(y)} samples in {number} groups, too few for {k} folds")
    if number < len(y):
        return assign(y, groups, np.full(k, 1 / k), seed)
    import warnings

    from sklearn.model_selection import KFold as PlainKFold
    from sklearn.model_selection import StratifiedKFold

    splitter = (StratifiedKFold if stratify else PlainKFold)(k, shuffle=True, random_state=seed)
    numbers = np.empty(len(y), np.int64)
    with warnings.catch_warnings():
        # a class with fewer samples than folds: as far as it goes
        warnings.simplefilter("ignore", UserWarning)
        try:
            for fold, (_, test) in enumerate(splitter.split(np.zeros(len(y)), y)):
                numbers[test] = fold
        except ValueError as e:
            raise SplitError(f"cannot make {k} folds of {len(y)} samples: {e}") from None
    return numbers


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
        stay, off = cut(dataset.y, groups, size=self.test, stratify=self.stratify, seed=self.seed)
        return stay, off, {}


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
        repeat, fold = divmod(fold, self.k)
        numbers = self._numbers(dataset, self.seed + repeat)
        return np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold), {}

    def _numbers(self, dataset: Dataset, seed: int) -> np.ndarray:
        groups = groups_of(dataset, resolve_keep_together(dataset, self.keep_together))
        try:
            return fold_numbers(dataset.y, groups, self.k, self.stratify, seed)
        except SplitError as e:
            raise SplitError(f"{self.name} on {dataset.name}: {e}") from None


class NestedKFold(KFold):
    """`k` outer folds for testing; of the rest of each, `inner` folds take turns as its validation part.

    Numbered fold = inner fold * k + outer fold, so that the first `k` folds test each sample once, and each further `k`
    test the same parts with models that were chosen on other rows.
    """

    name = "nested_kfold"

    def __init__(self, k: int = 5, inner: int = 4, **options: Any) -> None:
        super().__init__(k=k, repeats=inner, **options)
        self.inner = int(inner)
        self.name = "nested_kfold"
        if self.validation:
            raise SplitError(
                "nested_kfold takes its validation part from its inner folds: "
                "leave split.validation at 0 and set split.inner"
            )

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        numbers = self._numbers(dataset, self.seed)
        outer = fold % self.k
        return np.flatnonzero(numbers != outer), np.flatnonzero(numbers == outer), {}

    def validation_rows(self, dataset: Dataset, fold: int, train: np.ndarray) -> np.ndarray:
        keep = resolve_keep_together(dataset, self.keep_together)
        groups = groups_of(dataset.take(train), keep)
        numbers = fold_numbers(dataset.y[train], groups, self.inner, self.stratify, self.seed)
        return train[numbers == fold // self.k]


class Matched(Splitter):
    """Single samples drawn into parts that have the size and the class counts of another split's parts.

    What two splits differ in beside what they keep together is taken away: a split by subject tests other numbers of
    each class than one by image, and trains on others. The test parts of the folds do not overlap where those of the
    other split do not.

    Args:
        like: The split whose sizes and class counts are taken, on the same data.
        seed: Of the draw.
    """

    name = "matched"

    def __init__(self, like: Splitter, seed: int = 0) -> None:
        super().__init__(keep_together=(), seed=seed)
        self.like = like

    def folds(self, dataset: Dataset) -> int:
        return self.like.folds(dataset)

    def split(self, dataset: Dataset, fold: int = 0) -> Split:
        counts = self._counts(dataset, fold)
        before = np.zeros(len(dataset.classes), np.int64)
        for earlier in range(fold):
            before += self._counts(dataset, earlier)["test"]
        rng = np.random.default_rng(self.seed)
        drawn: dict[str, list[int]] = {part: [] for part in counts}
        for c in range(len(dataset.classes)):
            order = rng.permutation(np.flatnonzero(dataset.y == c))
            order = np.roll(order, -int(before[c] % max(1, len(order))))
            for part in ("test", "validation", "train"):
                number = int(counts[part][c])
                drawn[part] += order[:number].tolist()
                order = order[number:]
        rows = {part: np.sort(np.array(drawn[part], np.int64)) for part in counts}
        ids = dataset.ids.to_numpy()
        return Split(
            name=self.name,
            fold=fold,
            folds=self.folds(dataset),
            parts={part: tuple(ids[r]) for part, r in rows.items()},
            shared=shared_between(dataset, rows),
        )

    def test_rows(
        self, dataset: Dataset, fold: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        raise NotImplementedError("all parts are drawn together")

    def _counts(self, dataset: Dataset, fold: int) -> dict[str, np.ndarray]:
        """Samples of each class, by part in the order of parts, shape (classes,)."""
        parts = self.like.split(dataset, fold).parts
        return {
            part: np.bincount(dataset.y[dataset.rows(parts[part])], minlength=len(dataset.classes))
            for part in PARTS
        }


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

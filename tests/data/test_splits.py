"""Splits: sizes, groups that stay together, hashes, files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from leukobench.data.base import Dataset
from leukobench.data.families.expression import expression_dataset
from leukobench.data.families.image import ImageDataset
from leukobench.data.sources.cnmc import official_dataset
from leukobench.data.split import Split
from leukobench.data.splits import (
    FromFile,
    Holdout,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    Matched,
    NestedKFold,
    Official,
    Splitter,
)
from leukobench.errors import SplitError


@cache
def cnmc(*parts: str) -> ImageDataset:
    return official_dataset(parts or ("train",))


def table(
    labels: Sequence[str],
    *,
    subjects: Sequence[str | None] | None = None,
    series: Sequence[str | None] | None = None,
    official: Sequence[str | None] | None = None,
    twins: Sequence[tuple[int, int]] = (),
) -> Dataset:
    """A data set of random values; `twins` are pairs of rows with equal content."""
    values = np.random.default_rng(0).normal(size=(len(labels), 3))
    for a, b in twins:
        values[b] = values[a]
    ids = [f"s{i:03d}" for i in range(len(labels))]
    classes = sorted(set(labels))
    return expression_dataset(
        "table",
        values,
        ["a", "b", "c"],
        ids,
        labels,
        classes,
        subjects=subjects,
        series=series,
        official=official,
    )


def cells(groups: int = 12, size: int = 4) -> Dataset:
    """Cells of `groups` subjects, each of one class, with series across subjects and twins across subjects."""
    n = groups * size
    return table(
        ["ALL" if (i // size) % 2 else "normal" for i in range(n)],
        subjects=[f"p{i // size}" for i in range(n)],
        series=[f"e{(i // size) % 3}" for i in range(n)],
        official=[["fold_0", "fold_1", "test"][(i // size) % 3] for i in range(n)],
        twins=[(0, size)],
    )


def check(dataset: Dataset, split: Split) -> None:
    """A split hands out each sample once, drops with a reason, and keeps its groups whole."""
    handed = [i for ids in split.parts.values() for i in ids]
    assert len(handed) == len(set(handed))
    assert set(handed) | set(split.dropped) == set(dataset.ids)
    assert not set(handed) & set(split.dropped)
    for name in split.keep_together:
        values = [set(dataset.samples.loc[list(ids), name]) for ids in split.parts.values()]
        assert sum(map(len, values)) == len(set.union(*values)), f"{name} stands in several parts"
        assert split.shared[name] == 0


# --- sizes and class shares -------------------------------------------------------------------------------------------


def test_fifteen_percent_of_cnmc_at_image_grain_is_rai_s_evaluation_set() -> None:
    split = Holdout(test=0.15, keep_together=[]).split(cnmc())
    labels = cnmc().samples.loc[list(split.parts["test"]), "label"]
    assert labels.value_counts().to_dict() == {"ALL": 1091, "normal": 509}


def test_twenty_percent_of_cnmc_at_image_grain_is_fata_s_test_set() -> None:
    split = Holdout(test=0.2, keep_together=[]).split(cnmc())
    assert (len(split.parts["train"]), len(split.parts["test"])) == (8528, 2133)
    assert split.shared["subject"] > 70


def test_without_groups_the_rows_are_those_of_train_test_split() -> None:
    data = table(["a"] * 30 + ["b"] * 17)
    split = Holdout(test=0.3, seed=5).split(data)
    _, test = train_test_split(np.arange(47), test_size=0.3, stratify=data.y, random_state=5)
    assert split.parts["test"] == tuple(data.ids[np.sort(test)])


def test_a_grouped_holdout_of_cnmc_keeps_size_and_class_share_and_separates_nothing() -> None:
    for seed in range(3):
        split = Holdout(test=0.2, validation=0.2, seed=seed).split(cnmc())
        check(cnmc(), split)
        test = cnmc().samples.loc[list(split.parts["test"]), "label"]
        assert len(test) / len(cnmc()) == pytest.approx(0.2, abs=0.005)
        assert (test == "ALL").mean() == pytest.approx(0.682, abs=0.01)
        validation = cnmc().samples.loc[list(split.parts["validation"]), "label"]
        assert len(validation) / (len(cnmc()) - len(test)) == pytest.approx(0.2, abs=0.02)
        assert (validation == "ALL").mean() == pytest.approx(0.682, abs=0.03)


def test_consecutive_seeds_of_a_grouped_holdout_test_different_subjects() -> None:
    tests = [set(Holdout(test=0.2, seed=seed).split(cnmc()).parts["test"]) for seed in range(3)]
    # three independent fifths hold 1 - 0.8 ** 3 of all cells, 2.44 fifths
    assert len(tests[0] | tests[1] | tests[2]) > 2.2 * len(tests[0])


def test_a_size_can_be_a_number_of_samples() -> None:
    split = Holdout(test=7, validation=5, stratify=False).split(table(["a"] * 20 + ["b"] * 20))
    assert {part: len(ids) for part, ids in split.parts.items()} == {
        "train": 28,
        "validation": 5,
        "test": 7,
    }


def test_every_sample_is_tested_once_over_the_folds_of_each_repeat() -> None:
    data = table(["a"] * 12 + ["b"] * 9)
    splitter = KFold(k=4, repeats=3, seed=2)
    assert splitter.folds(data) == 12
    tested = [splitter.split(data, fold).parts["test"] for fold in range(12)]
    for repeat in range(3):
        assert sorted(i for ids in tested[4 * repeat : 4 * repeat + 4] for i in ids) == sorted(
            data.ids
        )
    assert set(tested[0]) != set(tested[4]), "repeats shuffle anew"
    assert all({"a", "b"} == set(data.samples.loc[list(ids), "label"]) for ids in tested), (
        "stratified"
    )


def test_the_first_repeat_of_repeated_kfold_is_kfold() -> None:
    data = table(["a"] * 12 + ["b"] * 9)
    assert (
        KFold(k=3, repeats=2, seed=1).split(data, 2).hash == KFold(k=3, seed=1).split(data, 2).hash
    )


def test_leave_one_out_tests_each_sample_alone() -> None:
    data = table(["a"] * 4 + ["b"] * 4)
    splitter = LeaveOneOut()
    assert splitter.folds(data) == 8
    assert [splitter.split(data, k).parts["test"] for k in range(8)] == [(i,) for i in data.ids]


def test_leave_one_out_tests_twins_together() -> None:
    splitter = LeaveOneOut()
    data = table(["a"] * 4 + ["b"] * 4, twins=[(1, 6)])
    assert splitter.folds(data) == 7
    assert ("s001", "s006") in [splitter.split(data, k).parts["test"] for k in range(7)]


def test_each_inner_fold_tests_the_same_outer_folds_with_another_validation_part() -> None:
    data = cells(groups=18)
    splitter = NestedKFold(k=3, inner=2, seed=4)
    assert splitter.folds(data) == 6
    splits = [splitter.split(data, fold) for fold in range(6)]
    for outer in range(3):
        first, second = splits[outer], splits[outer + 3]
        assert first.parts["test"] == second.parts["test"]
        inner = set(first.parts["validation"]) | set(second.parts["validation"])
        assert not set(first.parts["validation"]) & set(second.parts["validation"])
        assert inner == set(data.ids) - set(first.parts["test"])


def test_a_nested_split_refuses_a_validation_share_of_its_own() -> None:
    with pytest.raises(SplitError, match=r"set split\.inner"):
        NestedKFold(validation=0.2)


# --- groups -----------------------------------------------------------------------------------------------------------

SPLITTERS: list[Splitter] = [
    Holdout(test=0.25, validation=0.25),
    Holdout(test=0.25, validation=0.25, stratify=False),
    KFold(k=3, validation=0.25),
    KFold(k=3, validation=0.25, stratify=False),
    KFold(k=3, repeats=2),
    NestedKFold(k=3, inner=2),
    LeaveOneOut(validation=0.25),
    LeaveOneGroupOut(by="subject"),
    LeaveOneGroupOut(by="series", keep_together=["series"]),
    Official(test=["test"], validation=0.25, drop_twins=True),
]


@pytest.mark.parametrize(
    "splitter", SPLITTERS, ids=lambda s: f"{s.name}-{'stratified' if s.stratify else 'plain'}"
)
def test_no_splitter_separates_what_it_keeps_together(splitter: Splitter) -> None:
    data = cells()
    for fold in range(splitter.folds(data)):
        check(data, splitter.split(data, fold))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=8, max_size=20),
    twins=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=4),
    seed=st.integers(0, 5),
)
def test_groups_of_any_sizes_joined_by_any_twins_stay_whole(
    sizes: list[int], twins: list[tuple[int, int]], seed: int
) -> None:
    subjects = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    n = len(subjects)
    data = table(
        ["ALL" if int(s[1:]) % 2 else "normal" for s in subjects],
        subjects=subjects,
        twins=[(a % n, b % n) for a, b in twins],
    )
    for splitter in (Holdout(test=0.3, seed=seed), KFold(k=3, seed=seed)):
        try:
            split = splitter.split(data, 0)
        except SplitError:
            continue  # twins may join nearly everything
        check(data, split)


def test_twins_join_their_subjects_into_one_group() -> None:
    data = table(["a"] * 6 + ["b"] * 6, subjects=[f"p{i // 2}" for i in range(12)], twins=[(0, 2)])
    splitter = LeaveOneOut()
    assert splitter.folds(data) == 5
    assert splitter.split(data, 0).parts["test"] == ("s000", "s001", "s002", "s003")


def test_auto_keeps_contents_together_where_subjects_are_unknown() -> None:
    data = table(["a"] * 10 + ["b"] * 10, twins=[(0, 1), (2, 3), (10, 11)])
    for seed in range(4):
        split = Holdout(test=0.3, seed=seed).split(data)
        assert split.keep_together == ("content",)
        check(data, split)


def test_series_of_the_same_patients_stand_in_one_part_and_others_are_divided() -> None:
    series = [f"chip {'ABCD'[i % 4]}" for i in range(40)]
    data = replace(table(["a", "b"] * 20, series=series), same_patients=(("chip A", "chip C"),))
    for splitter in (Holdout(test=0.25), KFold(k=2), Holdout(test=0.2, validation=0.2)):
        split = splitter.split(data)
        assert split.keep_together == ("content", "same_patients")
        assert split.shared["same_patients"] == 0
        assert split.shared["series"] >= 1
    apart = Holdout(test=0.25, keep_together=[]).split(data)
    assert apart.shared["same_patients"] == 1


def test_series_are_kept_together_on_request_only() -> None:
    data = cells(groups=24, size=2)
    assert "series" not in Holdout().split(data).keep_together
    assert Holdout().split(data).shared["series"] > 0
    asked = Holdout(keep_together=["series"], stratify=False, test=0.33).split(data)
    assert asked.shared["series"] == 0


@pytest.mark.parametrize("name", ["subject", "series", "same_patients"])
def test_keeping_together_what_the_data_do_not_know_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(SplitError, match=f"table has no {name} ids.*split.keep_together"):
        Holdout(keep_together=[name]).split(table(["a"] * 10 + ["b"] * 10))


def test_an_unknown_grouping_is_refused_by_name() -> None:
    known = r"\['subject', 'content', 'series', 'same_patients'\]"
    with pytest.raises(SplitError, match=f"knows {known}, not 'hospital'"):
        Holdout(keep_together=["hospital"]).split(cells())


def test_a_split_reports_what_stands_in_several_parts() -> None:
    data = cells()
    split = Holdout(test=0.5, keep_together=[], seed=1).split(data)
    parts = [set(data.samples.loc[list(ids), "subject"]) for ids in split.parts.values()]
    assert split.shared["subject"] == len(parts[0] & parts[2])


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_fold_that_does_not_exist_is_refused_with_the_range() -> None:
    with pytest.raises(SplitError, match="kfold on table has folds 0 to 4, not 5"):
        KFold(k=5).split(table(["a"] * 10 + ["b"] * 10), 5)


def test_too_few_groups_are_refused() -> None:
    data = table(["a", "b"] * 6, subjects=[f"p{i // 4}" for i in range(12)])
    with pytest.raises(SplitError, match="3 groups, too few for 5 folds"):
        KFold(k=5).split(data)
    with pytest.raises(SplitError, match="too few groups"):
        Holdout(test=0.1).split(data)


def test_a_class_of_one_sample_cannot_be_stratified() -> None:
    with pytest.raises(SplitError, match=r"set split\.stratify=false"):
        Holdout().split(table(["a"] * 10 + ["b"]))


# --- leave one group out ----------------------------------------------------------------------------------------------


def test_leave_one_group_out_drops_classes_that_training_then_lacks() -> None:
    # series e0 holds the only samples of class c; series e2 holds nothing but class d
    labels = ["a", "b", "c", "a", "b", "a", "b", "d", "d"]
    series = ["e0", "e0", "e0", "e1", "e1", "e1", "e1", "e2", "e2"]
    data = table(labels, series=series)
    splitter = LeaveOneGroupOut(by="series")
    assert splitter.folds(data) == 2, "a series of unknown classes alone has no fold"
    first = splitter.split(data, 0)
    assert first.parts["test"] == ("s000", "s001")
    assert list(first.dropped) == ["s002"]
    assert "no other series" in first.dropped["s002"]


def test_leave_one_group_out_refuses_where_every_class_has_its_own_group() -> None:
    with pytest.raises(SplitError, match="none can be left out"):
        LeaveOneGroupOut(by="series").folds(
            table(["a", "a", "b", "b"], series=["e0", "e0", "e1", "e1"])
        )


# --- official parts ---------------------------------------------------------------------------------------------------


def test_the_official_split_trains_on_the_folds_and_tests_on_the_preliminary_part() -> None:
    data = cnmc("train", "preliminary")
    split = Official(keep_together=[]).split(data)
    assert (len(split.parts["train"]), len(split.parts["test"])) == (10_661, 1_867)
    assert split.shared["subject"] == 0


def test_the_official_split_can_leave_out_twins_under_another_subject() -> None:
    data = cnmc("train", "preliminary")
    kept, dropped = Official(), Official(drop_twins=True)
    with_twins, without = kept.split(data), dropped.split(data)
    assert set(without.parts["train"]) == set(with_twins.parts["train"]) - set(without.dropped)
    contents = data.samples.loc[list(without.dropped)].groupby("content")["subject"].nunique()
    assert len(contents) > 0
    assert (contents > 1).all()


def test_the_official_split_says_which_parts_there_are_where_none_fits() -> None:
    with pytest.raises(SplitError, match=r"parts found are \['fold_0', 'fold_1', 'fold_2'\]"):
        Official().split(cnmc())
    with pytest.raises(SplitError, match="no official parts"):
        Official().split(table(["a"] * 5 + ["b"] * 5))


# --- hashes and files -------------------------------------------------------------------------------------------------


def test_a_hash_is_the_same_in_every_process_and_follows_the_parts_alone() -> None:
    data = table(["a"] * 8 + ["b"] * 8)
    split = Holdout(seed=3).split(data)
    assert split.hash == Holdout(seed=3).split(data).hash
    assert split.hash != Holdout(seed=4).split(data).hash
    by_hand = Split("another name", 0, 9, dict(split.parts), keep_together=("subject",))
    assert by_hand.hash == split.hash
    fixed = Split("x", 0, 1, {"train": ("a", "b"), "validation": (), "test": ("c",)})
    assert fixed.hash == "467d697ec84577cd775a55aab096c9ae"


def test_moving_a_sample_between_parts_changes_the_hash() -> None:
    one = Split("x", 0, 1, {"train": ("a", "b"), "validation": (), "test": ("c",)})
    other = Split("x", 0, 1, {"train": ("a",), "validation": ("b",), "test": ("c",)})
    assert one.hash != other.hash


def test_a_split_survives_its_file(tmp_path: Path) -> None:
    data = cells()
    split = Official(test=["test"], drop_twins=True, validation=0.25).split(data)
    again = Split.read(split.write(tmp_path / "folder" / "split.json"))
    assert again == split
    assert again.hash == split.hash


def test_a_changed_split_file_is_noticed(tmp_path: Path) -> None:
    path = Holdout().split(cells()).write(tmp_path / "split.json")
    body = json.loads(path.read_text())
    body["parts"]["train"].append(body["parts"]["test"].pop())
    path.write_text(json.dumps(body))
    with pytest.raises(SplitError, match="changed after writing"):
        Split.read(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "x"}', "not json", '{"parts": {"train": 1}}']
)
def test_a_file_that_is_no_split_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SplitError, match="is not a split file"):
        Split.read(tmp_path / "x.json")


def test_a_missing_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"no split file .*gone\.json"):
        Split.read(tmp_path / "gone.json")


def test_a_published_split_is_used_as_it_stands(tmp_path: Path) -> None:
    data = cells()
    made = [KFold(k=3, seed=4).split(data, fold) for fold in range(3)]
    paths = [str(s.write(tmp_path / f"{s.fold}.json")) for s in made]
    splitter = FromFile(paths)
    assert splitter.folds(data) == 3
    assert [splitter.split(data, fold).hash for fold in range(3)] == [s.hash for s in made]


def test_a_published_split_reports_what_it_shares_on_these_data(tmp_path: Path) -> None:
    data = cells()
    parts = {"train": tuple(data.ids[1:]), "validation": (), "test": (data.ids[0],)}
    path = Split("by hand", 0, 1, parts).write(tmp_path / "s.json")
    split = FromFile(str(path)).split(data)
    assert split.shared["subject"] == 1
    assert split.shared["content"] == 1


def test_a_published_split_of_other_samples_is_refused(tmp_path: Path) -> None:
    path = Split("x", 0, 1, {"train": ("s000", "nobody"), "test": ("s001",)}).write(
        tmp_path / "s.json"
    )
    with pytest.raises(SplitError, match=r"names 1 samples that table does not have.*nobody"):
        FromFile(str(path)).split(cells())


def test_a_split_file_that_uses_a_sample_twice_is_refused(tmp_path: Path) -> None:
    path = Split("x", 0, 1, {"train": ("s000", "s001"), "test": ("s001",)}).write(
        tmp_path / "s.json"
    )
    with pytest.raises(SplitError, match="1 samples twice"):
        FromFile(str(path)).split(cells())


def test_a_matched_split_has_the_sizes_and_class_counts_of_another_and_keeps_nothing_together() -> (
    None
):
    sizes = [3, 9, 4, 12, 5, 7, 6, 14, 4, 8]
    subjects = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = ["ALL" if int(s[1:]) % 3 else "normal" for s in subjects]
    data = table(labels, subjects=subjects)
    like = KFold(k=3, validation=0.3, seed=1)
    matched = Matched(like, seed=1)
    assert matched.folds(data) == 3
    tested: list[str] = []
    for fold in range(3):
        ours, theirs = matched.split(data, fold), like.split(data, fold)
        for part in ("train", "validation", "test"):
            own, other = (
                Counter(data.samples.loc[list(s.parts[part]), "label"]) for s in (ours, theirs)
            )
            assert own == other
        assert ours.shared["subject"] > 0
        assert ours.keep_together == ()
        tested += ours.parts["test"]
    assert sorted(tested) == sorted(data.ids)
    assert Matched(like, seed=2).split(data).hash != matched.split(data).hash
    assert Matched(like, seed=1).split(data).hash == matched.split(data).hash

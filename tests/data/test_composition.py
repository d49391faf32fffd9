"""What parts are made of, and what is said of it."""

from __future__ import annotations

import numpy as np

from leukobench.data.composition import (
    composition,
    concerns,
    split_concerns,
    too_thin_to_choose_on,
)
from leukobench.data.families.expression import expression_dataset
from leukobench.data.splits import KFold, LeaveOneGroupOut

BALANCED = composition(["ALL"] * 50 + ["normal"] * 50, [f"s{i // 5}" for i in range(100)])


def test_a_part_counts_samples_subjects_and_shares_by_class() -> None:
    part = composition(["ALL"] * 6 + ["normal"] * 2, ["a"] * 4 + ["b"] * 2 + ["c", "d"])
    assert (part.samples, part.subjects, part.largest) == (8, 4, 0.5)
    one = part.classes["ALL"]
    assert (one.samples, one.subjects, one.prevalence) == (6, 2, 0.75)
    assert one.largest == 4 / 6


def test_a_sample_of_an_unknown_subject_counts_as_its_own() -> None:
    part = composition(["ALL"] * 3, [None, None, None])
    assert part.classes["ALL"].subjects == 3


def test_a_balanced_part_of_many_subjects_raises_no_concern() -> None:
    assert concerns("test", BALANCED, BALANCED) == []


def test_a_class_of_few_subjects_is_named_with_their_number() -> None:
    part = composition(
        ["ALL"] * 50 + ["normal"] * 50,
        [f"s{i // 5}" for i in range(50)] + [f"n{i % 3}" for i in range(50)],
    )
    assert concerns("test", part, BALANCED) == ["normal in test rests on 3 subjects"]


def test_a_subject_that_holds_half_of_a_class_is_named_with_its_share() -> None:
    normal = ["big"] * 30 + [f"n{i}" for i in range(20)]
    part = composition(["ALL"] * 50 + ["normal"] * 50, [f"s{i // 5}" for i in range(50)] + normal)
    assert concerns("test", part, BALANCED) == ["one subject holds 60% of normal in test"]


def test_another_prevalence_is_said_once_for_two_classes() -> None:
    part = composition(["ALL"] * 80 + ["normal"] * 20, [f"s{i // 2}" for i in range(100)])
    assert concerns("test", part, BALANCED) == ["80% of test is ALL, 50% of the whole"]


def test_a_class_that_a_part_lacks_is_named() -> None:
    part = composition(["ALL"] * 50, [f"s{i // 5}" for i in range(50)])
    assert "test holds no normal" in concerns("test", part, BALANCED)


def test_two_subjects_of_each_class_are_enough_to_choose_on() -> None:
    classes = ["ALL", "normal"]
    enough = composition(["ALL", "ALL", "normal", "normal"], ["a", "b", "c", "d"])
    assert too_thin_to_choose_on(enough, classes) is None
    thin = composition(["ALL", "ALL", "normal", "normal"], ["a", "b", "c", "c"])
    assert too_thin_to_choose_on(thin, classes) == (
        "subjects to choose on: 1 of normal; 2 of each class are needed"
    )
    assert "0 of normal" in str(too_thin_to_choose_on(composition(["ALL"], ["a"]), classes))


def test_folds_of_a_split_are_judged_together_and_a_fold_without_a_class_is_named() -> None:
    labels = ["ALL"] * 40 + ["normal"] * 20
    subjects = [f"a{i // 4}" for i in range(40)] + [f"n{i // 10}" for i in range(20)]
    data = expression_dataset(
        "cells", np.arange(60.0)[:, None], ["g"], [f"s{i}" for i in range(60)], labels,
        ["ALL", "normal"], subjects=subjects,
    )  # fmt: skip
    said = split_concerns(data, KFold(k=5).split(data))
    assert "normal in the test of all folds rests on 2 subjects" in said
    assert "the test of a fold holds no normal" in [
        *said,
        *split_concerns(data, KFold(k=5).split(data, 1)),
    ]
    alone = split_concerns(data, LeaveOneGroupOut(by="subject").split(data))
    assert not any("of a fold" in text for text in alone)

"""What the parts of a split are made of, and whether they are worth testing on.

A test part of a thousand cells may rest on three donors. Sizes and class shares do not show it;
subjects a class do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from leukobench.data.base import Dataset
from leukobench.data.split import Split
from leukobench.schema.records import ClassComposition, PartComposition

FEWEST_SUBJECTS = 5
"""Subjects a class below which a part says little about new subjects."""
LARGEST_SHARE = 0.5
"""Share of a class's samples from which one subject stands for the class."""
PREVALENCE_DIFFERENCE = 0.1
"""Difference of a class's share from that in all parts together from which results do not carry over."""
FEWEST_TO_CHOOSE_ON = 2
"""Subjects of each class without which a part is not chosen on."""
LEFT_OUT_ALONE = ("leave_one_out", "leave_one_group_out")
"""Splits whose single test parts are small on purpose."""


def composition(
    labels: Sequence[str] | np.ndarray, subjects: Sequence[str | None] | np.ndarray
) -> PartComposition:
    """What a part is made of.

    Args:
        labels: Shape (n,), class names.
        subjects: Shape (n,), subject ids; None for a sample of an unknown subject, which then
            counts as one.
    """
    frame = pd.DataFrame({"label": np.asarray(labels, object)})
    known = pd.Series(np.asarray(subjects, object))
    alone = pd.Series([f"sample {i}" for i in range(len(known))])
    frame["subject"] = known.where(known.notna(), alone)
    classes = {}
    for name, rows in frame.groupby("label", sort=True):
        classes[str(name)] = ClassComposition(
            samples=len(rows),
            subjects=rows["subject"].nunique(),
            largest=_largest(rows["subject"]),
            prevalence=len(rows) / len(frame),
        )
    return PartComposition(
        samples=len(frame),
        subjects=frame["subject"].nunique(),
        largest=_largest(frame["subject"]),
        classes=classes,
    )


def _largest(subjects: pd.Series) -> float:
    return float(subjects.value_counts().iloc[0] / len(subjects)) if len(subjects) else 0.0


def concerns(part: str, made_of: PartComposition, whole: PartComposition) -> list[str]:
    """Why results on a part say less than its size promises; empty where nothing is to be said.

    Args:
        part: Name of the part, for the sentences.
        whole: The composition of all parts together.
    """
    found = []
    for name, in_whole in whole.classes.items():
        own = made_of.classes.get(name)
        if own is None:
            found.append(f"{part} holds no {name}")
            continue
        if own.subjects < FEWEST_SUBJECTS:
            found.append(f"{name} in {part} rests on {own.subjects} subjects")
        elif own.largest >= LARGEST_SHARE:
            found.append(f"one subject holds {own.largest:.0%} of {name} in {part}")
        if abs(own.prevalence - in_whole.prevalence) > PREVALENCE_DIFFERENCE:
            found.append(
                f"{own.prevalence:.0%} of {part} is {name}, {in_whole.prevalence:.0%} of the whole"
            )
    return _one_side_of_two(found, whole)


def _one_side_of_two(found: list[str], whole: PartComposition) -> list[str]:
    """With two classes the prevalence of one says that of the other."""
    if len(whole.classes) != 2:
        return found
    shares = [text for text in found if text.endswith("of the whole")]
    return [text for text in found if text not in shares[1:]]


def too_thin_to_choose_on(made_of: PartComposition, classes: Sequence[str]) -> str | None:
    """Why nothing may be chosen by results on this part; None where it may.

    Args:
        classes: Names of the classes there are.
    """
    thin = []
    for name in classes:
        own = made_of.classes.get(name)
        number = 0 if own is None else own.subjects
        if number < FEWEST_TO_CHOOSE_ON:
            thin.append(f"{number} of {name}")
    if not thin:
        return None
    return (
        f"subjects to choose on: {', '.join(thin)}; {FEWEST_TO_CHOOSE_ON} of each class are needed"
    )


def part_compositions(dataset: Dataset, split: Split) -> dict[str, PartComposition]:
    """What each part of a split that is not empty is made of, by part."""
    found = {}
    for part, ids in split.parts.items():
        if ids:
            rows = dataset.samples.loc[list(ids)]
            found[part] = composition(rows["label"].to_numpy(), rows["subject"].to_numpy())
    return found


def split_concerns(dataset: Dataset, split: Split) -> list[str]:
    """What is to be said of the parts of a split; its test folds count together, as tables pool them."""
    ids = [sample for part in split.parts.values() for sample in part]
    rows = dataset.samples.loc[ids]
    whole = composition(rows["label"].to_numpy(), rows["subject"].to_numpy())
    parts = part_compositions(dataset, split)
    found = []
    for part, made_of in parts.items():
        if part != "test" or split.folds == 1:
            found += concerns(part, made_of, whole)
    if split.folds > 1:
        found += concerns("the test of all folds", whole, whole)
        absent = sorted(set(whole.classes) - set(parts["test"].classes))
        if absent and split.name not in LEFT_OUT_ALONE:
            found.append(f"the test of a fold holds no {', '.join(absent)}")
    return found

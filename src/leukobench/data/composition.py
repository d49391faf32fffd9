"""What the parts of a split are made of, and whether they are worth testing on.

A test part of a thousand cells may rest on three donors. Sizes and class shares do not show it; subjects a class do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

FEWEST_SUBJECTS = 5
"""Subjects a class below which a part says little about new subjects."""
LARGEST_SHARE = 0.5
"""Share of a class's samples from which one subject stands for the class."""
PREVALENCE_DIFFERENCE = 0.1
"""Difference of a class's share from that in all parts together from which results do not carry over."""
FEWEST_TO_CHOOSE_ON = 2
"""Subjects of each class without which a part is not chosen on."""


@dataclass(frozen=True)
class ClassComposition:
    """One class in one part.

    Attributes:
        samples: Number of samples.
        subjects: Number of subjects; of samples where subjects are not known.
        largest: Share of the samples that belong to the largest subject; 0 without samples.
        prevalence: Share of the part's samples that are of this class.
    """

    samples: int
    subjects: int
    largest: float
    prevalence: float


@dataclass(frozen=True)
class PartComposition:
    """One part.

    Attributes:
        samples: Number of samples.
        subjects: Number of subjects; of samples where subjects are not known.
        largest: Share of the samples that belong to the largest subject.
        classes: By class name, in class order.
    """

    samples: int
    subjects: int
    largest: float
    classes: Mapping[str, ClassComposition]


def composition(
    labels: Sequence[str] | np.ndarray, subjects: Sequence[str | None] | np.ndarray
) -> PartComposition:
    """What a part is made of.

    Args:
        labels: Shape (n,), class names.
        subjects: Shape (n,), subject ids; None for a sample of an unknown subject, which then counts as one.
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

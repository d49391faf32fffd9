"""The release's list of images, with the labels that experts gave again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.data.facts import read_facts
from leukobench.errors import FaultyDataError

FACTS = read_facts("leukobench.data.sources.aml", "aml")
COUNTS: Mapping[str, int] = FACTS.counts["part"]
"""Official images of each code."""
REANNOTATED: int = FACTS.more["reannotated"]
UNCLASSIFIABLE = "UNC"
"""A re-annotator could not assign a class."""


def read_annotations(path: Path) -> pd.DataFrame:
    """The release's list of images.

    Returns:
        Frame indexed by sample id (`BAS_0001`), columns `label`, `first`, `second`: codes; None
        where an image was not re-annotated.

    Raises:
        FaultyDataError: A line is not of four columns with known codes; the message gives its
            number.
    """
    ids, rows = [], []
    known = {*COUNTS, UNCLASSIFIABLE, "nan"}
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        words = line.split()
        if not words:
            continue
        if len(words) != 4 or words[1] not in COUNTS or not {words[2], words[3]} <= known:
            raise FaultyDataError(f"{path.name}, line {number}: {line.strip()!r}")
        ids.append(Path(words[0]).stem)
        rows.append([words[1], *(None if w == "nan" else w for w in words[2:])])
    index = pd.Index(ids, name="sample", dtype=object)
    if not index.is_unique:
        raise FaultyDataError(f"{path.name}: {index[index.duplicated()][0]} is listed twice")
    return pd.DataFrame(
        np.array(rows, dtype=object).reshape(-1, 3),
        index=index,
        columns=["label", "first", "second"],
    )


def agreement(
    annotations: pd.DataFrame, classes: Mapping[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """How far experts agree on the cells that two of them labelled again: a ceiling for any
    classifier.

    Args:
        annotations: From `read_annotations`.
        classes: Groups of codes as in `AML`; agreement is then that of groups. Images whose label
            is in no group are left out; a re-annotation in no group, or unclassifiable, is a
            disagreement.

    Returns:
        One row a pair (`label` and `first`, `label` and `second`, `first` and `second`) with
        `images`, `agree` (images with equal answers), `rate` and Cohen's `kappa`.
    """
    from sklearn.metrics import cohen_kappa_score

    both = annotations[annotations["first"].notna() & annotations["second"].notna()]
    if classes is not None:
        group = {code: name for name, codes in classes.items() for code in codes}
        both = both[both["label"].isin(list(group))].map(
            lambda code: group.get(code, UNCLASSIFIABLE)
        )
    rows = []
    for a, b in (("label", "first"), ("label", "second"), ("first", "second")):
        equal = int((both[a] == both[b]).sum())
        kappa = float(cohen_kappa_score(both[a], both[b])) if len(both) else float("nan")
        rows.append(
            (
                f"{a} and {b}",
                len(both),
                equal,
                equal / len(both) if len(both) else float("nan"),
                kappa,
            )
        )
    return pd.DataFrame(rows, columns=["pair", "images", "agree", "rate", "kappa"]).set_index(
        "pair"
    )

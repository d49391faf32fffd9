"""Choosing among the trials of a search without the test rows having a say: each test part by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NestedChoice:
    """What a search gives on rows that it did not choose on.

    Attributes:
        test: Mean over test parts of the test value of the trial that was chosen for each.
        chosen: The trial of each test part, by its row.
    """

    test: float
    chosen: tuple[int, ...]


def choose_in_folds(
    validation: np.ndarray, test: np.ndarray, *, lower_is_better: bool
) -> NestedChoice:
    """Choose a trial for each test part on the validation rows that belong to it alone.

    The validation rows of one fold are test rows of another: a trial that is chosen by its mean over all folds has
    seen them.

    Args:
        validation: Shape (trials, test parts).
        test: Likewise; read only at the trials that were chosen.
    """
    decides = -validation if lower_is_better else validation
    chosen = np.argmax(decides, axis=0)
    values = test[chosen, np.arange(test.shape[1])]
    return NestedChoice(float(values.mean()), tuple(int(c) for c in chosen))

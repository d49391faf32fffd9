"""What the data side knows of a family of data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leukobench.data.preprocess import ExpressionPreprocess, ImagePreprocess


@dataclass(frozen=True)
class Family:
    """A family of data sets: those that the same models can read.

    Attributes:
        name: As data sets, models and preprocessing name it (`expression`, `image`).
        default_preprocess: What `preprocess=auto` stands for.
        files: Whether each sample is a file of its own.
        quick: Whether a data set is read in seconds, so that an audit reads it for what it may show.
        limits: What a reader of a model trained on such data should know.
    """

    name: str
    default_preprocess: Callable[[], ExpressionPreprocess | ImagePreprocess]
    files: bool
    quick: bool
    limits: tuple[str, ...] = ()

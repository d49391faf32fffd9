"""What the data side knows of a family of data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from leukobench.data.preprocess import ExpressionPreprocess, ImagePreprocess


@dataclass(frozen=True)
class Family:
    """A family of data sets: those that the same models can read.

    Attributes:
        name: As data sets, models and preprocessing name it (`expression`, `image`).
        default_preprocess: What `preprocess=auto` stands for; `auto` takes the keys of its fields.
        files: Whether each sample is a file of its own.
        limits: What a reader of a model trained on such data should know.
    """

    name: str
    default_preprocess: type[ExpressionPreprocess] | type[ImagePreprocess]
    files: bool
    limits: tuple[str, ...] = ()

    def usual_options(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Keys of `preprocess: auto` that this family reads and that are not at their default."""
        own = {f.name: f.default for f in fields(self.default_preprocess) if f.name != "family"}
        return {key: v for key, v in node.items() if key in own and v != own[key]}

    def usual_preprocess(self, node: Mapping[str, Any]) -> ExpressionPreprocess | ImagePreprocess:
        """What `preprocess: auto` builds for this family."""
        return self.default_preprocess(**self.usual_options(node))

"""Simulated data for tests of the runs wing: `data=tiny`, found through LEUKOBENCH_CONF, and coloured images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Report
from leukobench.data.families.expression import ExpressionDataset, expression_dataset
from leukobench.errors import MissingDataError

CONFIG = """\
_target_: tiny.Tiny
version: 1
root: null
samples: 40
genes: 12
rare: 0.4
"""


class Tiny(DataSource):
    """Two overlapping classes; gene 0 follows the class."""

    name = "tiny"
    family = "expression"
    classes = ("AML", "ALL")
    positive = "ALL"
    title = "Simulated data for tests"
    licence = "none"
    citation = "none"

    def __init__(
        self,
        root: str | Path | None = None,
        allow_faulty: bool = False,
        samples: int = 40,
        genes: int = 12,
        rare: float = 0.4,
        bad: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        self.samples, self.genes, self.rare, self.bad = samples, genes, rare, bad

    def load(self) -> ExpressionDataset:
        if self.root is not None and not self.root.is_dir():
            raise MissingDataError(f"tiny: no folder {self.root}; set data.root")
        n, g = self.samples, np.random.default_rng(5)
        labels = np.array(["AML"] * round(n * self.rare) + ["ALL"] * (n - round(n * self.rare)))
        values = g.normal(200, 30, size=(n, self.genes))
        values[:, 0] += 40 * (labels == "ALL")
        if self.bad:
            values[: n // 2] = 1e37  # squares beyond float32: a training on it gives no finite loss
        return expression_dataset(
            self.name,
            values,
            [f"g{i}" for i in range(self.genes)],
            [f"t{i:02d}" for i in range(n)],
            list(labels),
            self.classes,
            positive=self.positive,
            simulated=True,
        )

    def get(self) -> Path | None:
        return None

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        raise NotImplementedError


def coloured(
    root: Path, size: int = 32, noise: int = 160, tint: int = 60, discs: bool = False
) -> Path:
    """Twenty images of one class reddish and one greenish, in the folders of `data=image_folder`.

    Args:
        noise: Pixels are drawn below this.
        tint: Added to the colour of the class.
        discs: On black but for a disc.
    """
    from PIL import Image

    y, x = np.mgrid[:size, :size] - size // 2
    seen = (x**2 + y**2 < 80 * (size / 32) ** 2) if discs else np.ones((size, size), bool)
    g = np.random.default_rng(0)
    for i in range(20):
        folder = root / ("ALL" if i % 2 else "normal")
        pixels = g.integers(0, noise, size=(size, size, 3))
        pixels[..., i % 2] += tint
        folder.mkdir(exist_ok=True, parents=True)
        Image.fromarray((pixels * seen[..., None]).astype(np.uint8)).save(folder / f"{i}.png")
    return root

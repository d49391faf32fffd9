"""What one row of the registry says of a metric. The rows stand in
`leukobench.evaluation.registry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Averaging = Literal["macro", "weighted", "micro", "binary"]
"""How a metric of classes becomes one number; `binary` is the positive class against the rest."""
Kind = Literal["proportion", "score", "ranking", "loss", "count", "size", "kept"]
Direction = Literal["higher", "lower", "none"]
Needs = Literal[
    "confusion", "class_counts", "class_probabilities", "probabilities", "labels", "artifact"
]
UNBOUNDED = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class MetricDefinition:
    """A metric, declared once for tables, paper files, stores, searches, commands and notes.

    Attributes:
        name: By which everything names it.
        title: As people write it within a sentence; `heading` begins with a capital.
        meaning: What it is, in a few words.
        kind: `proportion`: hits over trials of one class or of all samples. `score`: any other
            number of called classes. `ranking`: of how probabilities order the samples. `loss`: of
            how far probabilities are from the truth. `count`: of samples called right or wrong.
            `size`: of samples there are. `kept`: what a run kept and its predictions cannot tell.
        direction: Which values are better; `none` where neither is.
        bounds: Smallest and largest possible value.
        needs: What its function takes:

            - `confusion`: f(Confusion) -> numerator and denominator, each of shape (...)
            - `class_counts`: f(ClassCounts) -> numerator and denominator of each class, each of
              shape (..., classes)
            - `class_probabilities`: f(truth, p) -> value of each class, shape (classes,); both of
              shape (n, classes)
            - `probabilities`: f(y, p, classes, positive) -> float; y true class indices, shape
              (n,), p probabilities, shape (n, classes)
            - `labels`: f(labels, of) -> float; true class names of the distinct samples of a part,
              shape (n,)
            - `artifact`: f(content, key, place) -> float or None; content of `artifact`
        function: That function. Metrics of counts work on whole stacks of confusion matrices.
        aliases: Other names under which papers print it, and their titles.
        every_class: Whether it means nothing on a resample that lacks a class of the test set.
        summarised: Whether notes of runs and sweeps show it.
        artifact: Name of the JSON artifact of a run that holds a `kept` metric.
        key: Its key in there, `{part}` standing for the part.
        version: Changes with the function of a project's own metric; empty for those of LeukoBench.
    """

    name: str
    title: str
    meaning: str
    kind: Kind
    direction: Direction
    bounds: tuple[float, float]
    needs: Needs
    function: Callable[..., Any]
    aliases: tuple[tuple[str, str], ...] = ()
    every_class: bool = True
    summarised: bool = False
    artifact: str = ""
    key: str = ""
    version: str = ""

    @property
    def heading(self) -> str:
        return self.title[:1].upper() + self.title[1:]

    @property
    def computed(self) -> bool:
        """Whether it is computed from predictions, with an interval; else it is a size or kept by
        the run."""
        return self.needs not in ("labels", "artifact")

    @property
    def of_counts(self) -> bool:
        """Whether a confusion matrix is enough to compute it."""
        return self.needs in ("confusion", "class_counts")

    @property
    def averaged(self) -> bool:
        """Whether it has a value a class, which an averaging makes one number."""
        return self.needs in ("class_counts", "class_probabilities") and self.kind != "count"

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1 and is 0 or 1 only if everything is wrong or right."""
        return self.bounds == (0.0, 1.0) and self.kind in ("proportion", "score", "ranking")

    @property
    def unit(self) -> Literal["fraction", "count", "number"]:
        """How its values are shown; fractions may also be shown as percentages."""
        if self.bounds == (0.0, 1.0):
            return "fraction"
        return "count" if self.kind in ("count", "size") else "number"

    @property
    def lower_is_better(self) -> bool:
        return self.direction == "lower"

    @property
    def by_part(self) -> bool:
        """Whether each part of a split has its own value."""
        return self.needs != "artifact" or "{part}" in self.key

    @property
    def identity(self) -> str:
        """Name and version: tells apart what two functions of one name gave."""
        return f"{self.name} {self.version}" if self.version else self.name

    def title_of(self, name: str) -> str:
        """The title under a name or an alias."""
        return dict(self.aliases).get(name, self.title)

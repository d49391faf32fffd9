"""What is said of cells, at any level, and what a paper prints in them."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from leukobench.evaluation.definition import Averaging
from leukobench.evaluation.registry import find, known_names
from leukobench.papers.spec.base import Strict, Text
from leukobench.papers.spec.overrides import Overrides, check_override
from leukobench.papers.spec.printed import printed_number
from leukobench.schema.predictions import Part as SplitPart

Kind = Literal["reproducible", "cited", "descriptive"]
Part = Literal[SplitPart, "all"]
Unit = Literal["fraction", "percent", "count", "number"]
Rounding = Literal["rounded", "truncated"]
Relation = Literal["=", ">", "<", "~"]
Positives = Annotated[
    tuple[int, int], BeforeValidator(lambda x: (x, x) if isinstance(x, int) else x)
]


class Choice(Strict):
    """A configuration that is chosen by its result, as a paper picks its best epoch, instead of
    being named.

    For each seed and fold the best of all combinations is taken, by `metric` on the part that the
    runs' protocol chooses on (`choose_on`): under the papers' protocols the test part, as they did,
    in leak-free runs the validation part.

    Attributes:
        metric: What decides.
        averaging: As for cells.
        among: The values to choose from, by config key (`{epochs: [10, 20], model: [vgg16,
            resnet50]}`).
    """

    metric: str = "accuracy"
    averaging: Averaging | None = None
    among: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_choose(self) -> Choice:
        metric = find(self.metric)
        if metric is None or not metric.computed or metric.direction == "none":
            raise ValueError(
                f"nothing can be chosen by {self.metric!r}, only by "
                f"{', '.join(known_names(computed=True))}"
            )
        for key, values in self.among.items():
            for value in values:
                check_override(f"{key}={value}")
        if len(self.candidates) < 2:
            raise ValueError("`among` leaves one configuration: nothing to choose")
        return self

    @property
    def candidates(self) -> list[tuple[str, ...]]:
        """Override strings of each configuration, in the order of the file, the last key running
        fastest."""
        return [
            tuple(f"{k}={v}" for k, v in zip(self.among, values))
            for values in product(*self.among.values())
        ]

    @property
    def overrides(self) -> tuple[str, ...]:
        """Override strings that stand for all configurations together: `epochs=10,20`."""
        return tuple(f"{key}={','.join(values)}" for key, values in self.among.items())


class Facets(Strict):
    """What may be said of cells at any level: table, row, column or single cell. None = what the
    level above says.

    Attributes:
        metric: One of the registry of metrics, or any quantity for cited and descriptive cells.
        averaging: How a metric over classes is averaged. None = of the positive class where there
            are two classes, macro where there are more.
        part: The part of the split that is scored; `all` for facts about the whole data set.
        epoch: `last` (the run's checkpoint epoch) or a number.
        of: The class that the metric refers to, against the rest (per-class AUROC, class counts).
        unit: How numbers are shown; values themselves are fractions, never percentages.
        decimals: Decimals to show; None = as the published text has them.
        rounding: How the paper rounded.
        kind: `reproducible` by a run, `cited` from other work, or `descriptive` (facts, claims,
            counts of the data).
        size: Number of test samples that published scores and counts are of.
        positives: Samples of the positive class among them, or fewest and most that there may be.
        classes: How many classes the scores are of.
        folds: Of how many folds the scores are means.
        margin: Largest reach of a replicate, in the metric's unit (0.05 for five points of accuracy),
            with which a published value that lies within it is called consistent.
        place: Where in the source (`Table 3`, `2.1`).
        arms: Arms that apply; None = all of the paper.
        overrides: Config choices of the runs that fill the cell.
        choose: The configuration is chosen among several by its result; its keys need no overrides.
    """

    metric: str | None = None
    averaging: Averaging | None = None
    part: Part | None = None
    epoch: Literal["last"] | int | None = None
    of: Text | None = None
    unit: Unit | None = None
    decimals: int | None = Field(default=None, ge=0, le=12)
    rounding: Rounding | None = None
    kind: Kind | None = None
    size: int | None = Field(default=None, ge=1)
    positives: Positives | None = None
    classes: int | None = Field(default=None, ge=2)
    folds: int | None = Field(default=None, ge=2)
    margin: float | None = Field(default=None, ge=0)
    place: Text | None = None
    arms: tuple[str, ...] | None = None
    overrides: Overrides = ()
    choose: Choice | None = None


class Published(Facets):
    """One entry of a row's `cells`. `0.76` or `84.73%` alone is short for `{printed: 84.73%}`; `~`
    is an empty cell.

    Attributes:
        printed: The text as printed.
        value: The number used; by default what `printed` states. Percentages as fractions.
        numbers: Several numbers where the paper gives a range or a list for one cell.
        words: What stands there where it is no number (`perfect`, `not in the text`).
        relation: `>` for a printed lower bound, and so on.
        note: A short remark for the reader.
    """

    printed: Text | None = None
    value: float | None = None
    numbers: tuple[float, ...] = ()
    words: Text | None = None
    relation: Relation = "="
    note: Text | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Published:
        if self.printed is None and self.words is None:
            raise ValueError(
                "a published cell needs `printed` or `words`; write ~ for an empty cell"
            )
        stated = printed_number(self.printed) if self.printed is not None else None
        if self.value is None and stated is None and not self.numbers and self.words is None:
            raise ValueError(
                f"{self.printed!r} is not a plain number: add `value`, `numbers` or `words`"
            )
        if (
            self.value is not None
            and stated is not None
            and abs(stated - self.value) > 1e-12
            and self.note is None
        ):
            raise ValueError(
                f"`printed` states {stated:g}, `value` is {self.value:g}; a `note` must say why"
            )
        return self

    @property
    def number(self) -> float | None:
        if self.value is not None or self.printed is None or self.numbers or self.words is not None:
            return self.value
        return printed_number(self.printed)


def _published(value: Any) -> Any:
    return {"printed": str(value)} if isinstance(value, str | int | float) else value


Entry = Annotated[Published | None, BeforeValidator(_published)]
Entries = Annotated[
    Annotated[tuple[Entry, ...], Tag("list")] | Annotated[dict[str, Entry], Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict) else "list"),
]

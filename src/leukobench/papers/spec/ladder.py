"""The ladder of a paper file: from the paper's protocol to a leak-free one, a switch at a time."""

from __future__ import annotations

from pydantic import Field, model_validator

from leukobench.evaluation.registry import find, known_names
from leukobench.papers.spec.base import Identifier, Strict, Text
from leukobench.papers.spec.facets import Choice
from leukobench.papers.spec.overrides import Overrides


class Switch(Strict):
    """One switch between the paper's protocol and the leak-free one.

    Attributes:
        leaky: Override strings as the paper has it.
        clean: Override strings without the leak; they win over those of the switches before.
    """

    id: Identifier
    title: Text
    leaky: Overrides = ()
    clean: Overrides = Field(min_length=1)


class Ladder(Strict):
    """What is climbed.

    Attributes:
        note: Shown below it.
        metrics: What is measured on each rung, the first one taken apart in the figure.
        vote: Also give the first metric with one vote a subject.
        overrides: Of the runs of every rung.
        start: Further overrides of the commands that make runs; runs are not selected by them.
        choose: What is chosen in each rung, as a paper picks its best epoch.
        switches: In the order in which they are climbed.
    """

    title: Text
    note: Text | None = None
    metrics: tuple[str, ...] = Field(default=("accuracy",), min_length=1)
    vote: bool = False
    overrides: Overrides = ()
    start: Overrides = ()
    choose: Choice | None = None
    switches: tuple[Switch, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _measurable(self) -> Ladder:
        for name in self.metrics:
            metric = find(name)
            if metric is None or not metric.computed:
                known = ", ".join(known_names(computed=True))
                raise ValueError(f"{name!r} is none of the metrics {known}")
        return self

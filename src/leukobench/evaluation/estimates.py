"""What a number of a table is: a value, what it estimates, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Estimand(StrEnum):
    """What an interval is meant to cover.

    TRAINED: the value of these trained models on all subjects like those tested. One seed can say
        no more.
    PROCEDURE: the mean value over trainings, on all subjects like those tested: on the training
        samples at hand where every seed tests the same samples with the same ones held out, on new
        ones where seeds split anew.
    REPLICATE: the value that the same pipeline gives once more on the same pool of samples, with
        another split (where seeds have different ones) and another training. Its interval is one of
        prediction.
    """

    TRAINED = "trained"
    PROCEDURE = "procedure"
    REPLICATE = "replicate"

    @property
    def words(self) -> str:
        """As footers of tables say it."""
        return {
            Estimand.TRAINED: "these trained models on new subjects",
            Estimand.PROCEDURE: "the procedure on new subjects and a new training",
            Estimand.REPLICATE: "a replicate: the same pool, another split and training",
        }[self]


@dataclass(frozen=True)
class Estimate:
    """A metric of one configuration: mean over seeds and its interval.

    Attributes:
        mean: Mean over seeds of the metric of each seed.
        low, high: Limits of the 95 % interval, None where there is none.
        values: The metric of each seed, in the order of the seeds' names.
        method: `jackknife`, `exact` (of a value at its bound), `mean of limits` or `none`.
        unit: What is independent: `subjects` or `samples`.
        seeds: Number of seeds.
        samples: Distinct test samples.
        subjects: Distinct test subjects, None where unknown.
        estimand: What the interval is of; None where nothing is inferred.
        weight: What weighs the same: each `sample`, or each `subject`.
        clusters: Effective number of units of each group of samples that the metric needs, (sum
            n)^2 / sum n^2 over the n samples of a unit.
        spread: Without an interval: smallest and largest value over subjects; None where subjects
            are unknown.
        reason: Why there is no interval, or no value.
        error: Standard error, on the metric's own scale; None where there is no interval.
        degrees: Degrees of freedom of `error`.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    method: str
    unit: str
    seeds: int
    samples: int
    subjects: int | None
    estimand: Estimand | None = None
    weight: str = "sample"
    clusters: tuple[tuple[str, float], ...] = ()
    spread: tuple[float, float] | None = None
    reason: str = ""
    error: float | None = None
    degrees: float | None = None

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Estimate:
        """From what `dataclasses.asdict` and JSON made of one."""
        estimand, spread = record["estimand"], record["spread"]
        return cls(
            **{
                **record,
                "values": tuple(record["values"]),
                "estimand": None if estimand is None else Estimand(estimand),
                "clusters": tuple((name, float(n)) for name, n in record["clusters"]),
                "spread": None if spread is None else (spread[0], spread[1]),
            }
        )

"""What is planned, what is to be delivered of a training, and what was: between a launch, run
folders and the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from leukobench.credentials import redacted
from leukobench.names import check_name
from leukobench.schema.documents import Document


@dataclass(frozen=True)
class PlanEntry:
    """A job of a sweep as planned.

    Attributes:
        identity: Of its result.
        training: Id of the training that gives it.
        overrides: The override strings that make it from its origin.
        origin: Name of the sweep file that it is from, or `train`; None where that is not known.
    """

    identity: str
    training: str
    overrides: tuple[str, ...] = ()
    name: str = ""
    origin: str | None = None


@dataclass(frozen=True)
class SweepPlan:
    """Jobs of a sweep as planned so far."""

    jobs: tuple[PlanEntry, ...] = ()

    def merged(self, jobs: tuple[PlanEntry, ...]) -> SweepPlan:
        """With further jobs; one that was planned before is replaced."""
        by_identity = {job.identity: job for job in (*self.jobs, *jobs)}
        return SweepPlan(tuple(by_identity.values()))


@dataclass(frozen=True)
class ResultOrder:
    """A result that is to be delivered.

    Attributes:
        epochs: Its checkpoint epoch.
        params: As the store logs them.
        origin: Name of the sweep file that it is from, or `train`; None where that is not known.
        overrides: The override strings that make it from its origin.
        name: Of its run in the store.
    """

    identity: str
    epochs: int
    params: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    origin: str | None = None
    name: str = ""


@dataclass(frozen=True)
class DeliveryOrder:
    """What is to be delivered of a training's run folder.

    Attributes:
        sweep: Its sweep.
        training: Its id.
        name: Of the training's run in the store, where several results share it.
        jobs: Results, by epoch.
        tags: Of all runs.
        replaces: Run ids in the store, by identity, that new results take the place of.

    Raises:
        ConfigError: No sweep can be called so.
    """

    sweep: str
    training: str
    name: str
    jobs: tuple[ResultOrder, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    replaces: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("sweep", self.sweep)

    def with_jobs(self, jobs: tuple[ResultOrder, ...]) -> DeliveryOrder:
        """With these results too, by epoch."""
        everything = sorted((*jobs, *self.jobs), key=lambda job: job.epochs)
        return replace(self, jobs=tuple(everything))


@dataclass(frozen=True)
class DeliveryMarks:
    """Which runs of which stores hold what of a run folder.

    Attributes:
        runs: Run ids, by identity (or `trajectory-<training>`), by `<store>#<run id of the sweep>`;
            the store's address without credentials.
    """

    runs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        runs = {redacted(sweep): ids for sweep, ids in self.runs.items()}
        object.__setattr__(self, "runs", runs)

    def of(self, sweep: str) -> Mapping[str, str]:
        """Run ids of one store's sweep."""
        return self.runs.get(redacted(sweep), {})

    def having(self, sweep: str, runs: Mapping[str, str]) -> DeliveryMarks:
        """With the run ids of one store's sweep."""
        return DeliveryMarks({**self.runs, redacted(sweep): dict(runs)})

    @property
    def keys(self) -> frozenset[str]:
        """Everything that was delivered, to whatever store."""
        return frozenset(key for runs in self.runs.values() for key in runs)


def _same(body: Any) -> Any:
    """Files of version 0 differ from those of version 1 in having no version."""
    return body


def _jobs_of_a_list(body: Any) -> Any:
    """Version 0 was the list of jobs by itself."""
    return {"jobs": body}


def _runs_of_a_mapping(body: Any) -> Any:
    """Version 0 was the mapping of runs by itself."""
    return {"runs": body}


PLAN = Document("plan.json", SweepPlan, (_jobs_of_a_list,))
DELIVERY = Document("delivery.json", DeliveryOrder, (_same,))
DELIVERED = Document("delivered.json", DeliveryMarks, (_runs_of_a_mapping,))

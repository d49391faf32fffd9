"""The plan: which results are asked for, which are there, and which trainings are left to do.

Nothing here trains, prints or talks to Hydra; jobs come composed, the store's entries come read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from leukobench.errors import (
    ConfigError,
    FaultyDataError,
    LeukoBenchError,
    MissingDataError,
    SplitError,
)
from leukobench.names import check_name
from leukobench.schema.delivery import PlanEntry
from leukobench.tracking.entries import Entry
from leukobench.tracking.identity import LOCATIONS, training_id
from leukobench.tracking.pace import Work, time_left
from leukobench.training.job import (
    CONTEXT_KEYS,
    Job,
    Training,
    check_choice,
    check_families,
    check_numbers,
    folds,
    identity_of,
    prepare,
    training_id_of,
)

DATA_ERRORS = (MissingDataError, FaultyDataError, SplitError)
"""What one data set of a sweep may have and the others not."""
NAMED = ("model", "optimizer", "epochs", "seed", "fold")
"""What every run's name says in its own place."""
UNNAMED = (*CONTEXT_KEYS, "trainer")
"""What changes no number, or is the same for a whole sweep."""


@dataclass(frozen=True)
class PlannedJob:
    """One result that is asked for."""

    identity: str
    training: str
    job: Job


@dataclass
class Plan:
    """Attributes:
    jobs: Every distinct result asked for, in grid order.
    trainings: What is left to do, in the order of doing.
    done: Store entries of the results that are finished.
    duplicates: How many jobs asked for a result that another asks for too.
    left_out: Combinations that make no sense, with the reason.
    not_merged: Reasons why jobs that differ only in epochs train each by itself, with counts.
    """

    jobs: list[PlannedJob]
    trainings: list[Training]
    done: dict[str, Entry]
    duplicates: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    not_merged: Counter[str] = field(default_factory=Counter)

    def seconds(self, entries: Mapping[str, Entry]) -> float | None:
        """Estimate of the time left, from earlier trainings of the same data and model.

        None where one has none.
        """
        done = [e.work for e in entries.values() if e.work is not None]
        todo = [
            Work((t.job.choices.get("data", ""), t.job.choices.get("model", "")), t.epochs[-1])
            for t in self.trainings
        ]
        return time_left(done, todo)

    def concerns(self) -> list[str]:
        """What is to be said of the parts of the splits.

        Each sentence has the number of jobs that it is true of.
        """
        counted = Counter(text for p in self.jobs for text in prepare(p.job).concerns)
        said = [f"{text} ({n} of {len(self.jobs)} jobs)" for text, n in counted.most_common()]
        return said + fewer_splits_than_seeds([p.job for p in self.jobs])

    def samples(self) -> int:
        """Training samples that are left to pass, each counted once an epoch."""
        return sum(t.epochs[-1] * len(prepare(t.job).split.parts["train"]) for t in self.trainings)


def expand(jobs: Iterable[Job], left_out: list[tuple[str, str]] | None = None) -> list[Job]:
    """One job a fold (`fold=all`) and one a checkpoint epoch (`evaluate_at`).

    Args:
        left_out: Where given, jobs whose model and data do not go together, and jobs whose data set
            or split cannot be had while others' can, are put here with the reason instead of
            raising an error.

    Raises:
        MissingDataError, FaultyDataError, SplitError: No job's data set and split can be had.
        ConfigError: The sweep cannot be called so, or a number is impossible.
    """
    out: list[Job] = []
    unread, unsplit = Broken("data"), Broken("data", "split")
    for job in jobs:
        check_name("sweep", str(job.config["sweep"]))
        check_numbers(job)
        fold = job.config["fold"]
        if left_out is not None:
            try:
                with unread.met(job):
                    check_families(job)
                with unsplit.met(job):
                    number = folds(job) if fold == "all" else 1
            except (ConfigError, *DATA_ERRORS) as e:
                left_out.append((" ".join(job.overrides), str(e)))
                continue
        elif fold == "all":
            number = folds(job)
        if fold == "all":
            each = [job.with_values(fold=k) for k in range(number)]
        elif isinstance(fold, int):
            each = [job]
        else:
            raise ConfigError(f"fold={fold}: a fold is a number from 0, or all")
        epochs = job.config.get("evaluate_at")
        if epochs:
            if not all(isinstance(e, int) and e > 0 for e in epochs):
                raise ConfigError(
                    f"evaluate_at={epochs}: a list of epoch counts is needed, for instance [10,20,50]"
                )
            each = [
                j.with_values(epochs=e, evaluate_at=None) for j in each for e in sorted(set(epochs))
            ]
        out += each
    first = unread.first or unsplit.first
    if first is not None and not out:
        raise first
    return out


class Broken:
    """What cannot be had of some jobs' data.

    It is found out once, and remembered for the jobs that ask for the same.

    Args:
        keys: Keys of a job's config on which it depends.

    Attributes:
        first: The first error of data or split.
    """

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.first: LeukoBenchError | None = None
        self._known: dict[str, LeukoBenchError] = {}

    @contextmanager
    def met(self, job: Job) -> Iterator[None]:
        """Raise what is known of the job's data; remember what is raised of them."""
        if self._known and (known := self._known.get(self._key(job))):
            raise known
        try:
            yield
        except DATA_ERRORS as e:
            self.first = self.first or e
            self._known[self._key(job)] = e
            raise

    def _key(self, job: Job) -> str:
        return json.dumps([job.config[k] for k in self.keys], sort_keys=True, default=str)


def make_plan(
    jobs: Sequence[Job],
    entries: Mapping[str, Entry],
    *,
    merge: bool = True,
    force: bool = False,
    left_out: list[tuple[str, str]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Drop what is done and what is asked for twice, and merge what one training can serve.

    Args:
        entries: Results in the store by identity.
        merge: Let jobs that differ in epochs share a training where nothing depends on the total.
        force: Run again what is finished.
        left_out: Where given, jobs whose split cannot be made while others' can are put here with
            the reason.

    Raises:
        LeukoBenchError: A job that cannot be run at all (an impossible config), or no job whose
            split can be made.
    """
    asked = identify(jobs, left_out, progress)
    wanted: dict[str, PlannedJob] = {}
    for planned in asked:
        wanted.setdefault(planned.identity, planned)
    done = {} if force else finished_among(wanted.values(), entries)
    todo = [planned for planned in wanted.values() if planned.identity not in done]
    groups: dict[str, list[PlannedJob]] = {}
    for planned in todo:
        key = planned.training if merge else planned.identity
        groups.setdefault(key, []).append(planned)
    return Plan(
        jobs=list(wanted.values()),
        trainings=early_across_the_grid(as_training(group, merge) for group in groups.values()),
        done=done,
        duplicates=len(asked) - len(wanted),
        left_out=left_out or [],
        not_merged=count_apart(todo) if merge else Counter(),
    )


def identify(
    jobs: Sequence[Job],
    left_out: list[tuple[str, str]] | None,
    progress: Callable[[int, int], None] | None,
) -> list[PlannedJob]:
    """Each job with its identity, in grid order; arguments and errors as in `make_plan`."""
    asked: list[PlannedJob] = []
    broken = Broken("data", "split", "fold", "resample", "preprocess", "seed")
    for i, job in enumerate(jobs):
        try:
            with broken.met(job):
                check_choice(job)
                asked.append(PlannedJob(identity_of(job), training_id_of(job), job))
        except LeukoBenchError as e:
            if left_out is not None and isinstance(e, DATA_ERRORS):
                left_out.append((" ".join(job.overrides), str(e)))
                continue
            raise type(e)(f"{e}\n  (job: {' '.join(job.overrides) or 'the defaults'})") from e
        if progress is not None:
            progress(i + 1, len(jobs))
    if broken.first is not None and not asked:
        raise broken.first
    return asked


def finished_among(jobs: Iterable[PlannedJob], entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Store entries, by identity, of the jobs whose results are finished; each has a name."""
    done = {}
    for planned in jobs:
        entry = entries.get(planned.identity)
        if entry is not None and entry.status == "FINISHED":
            done[planned.identity] = replace(entry, name=entry.name or run_name(planned.job))
    return done


def count_apart(jobs: Iterable[PlannedJob]) -> Counter[str]:
    """Reasons why jobs that differ only in epochs train each by itself, with counts of jobs."""
    alike: Counter[tuple[str, str]] = Counter()
    for planned in jobs:
        if reason := planned.job.depends_on_total:
            p = prepare(planned.job)
            shared = training_id(planned.job.science, None, p.fingerprint, p.split.hash)
            alike[shared, reason] += 1
    counted: Counter[str] = Counter()
    for (_, reason), count in alike.items():
        if count > 1:
            counted[reason] += count
    return counted


def fewer_splits_than_seeds(jobs: Sequence[Job]) -> list[str]:
    """Sentences on splits that follow the seed and come out alike for several seeds."""
    drawn: dict[str, dict[int, list[str]]] = {}
    for job in jobs:
        split = dict(job.config["split"])
        if split.pop("seed", None) != job.config["seed"]:
            continue
        key = json.dumps([job.config["data"], split], sort_keys=True, default=str)
        hashes = drawn.setdefault(key, {}).setdefault(int(job.config["seed"]), [])
        if prepare(job).split.hash not in hashes:
            hashes.append(prepare(job).split.hash)
    said = []
    for seeds in drawn.values():
        distinct = {tuple(sorted(hashes)) for hashes in seeds.values()}
        if len(distinct) < len(seeds):
            said.append(f"{len(seeds)} seeds draw {len(distinct)} distinct splits")
    return said


def as_training(group: Sequence[PlannedJob], merge: bool = True) -> Training:
    """The training that serves a group of jobs which differ in epochs alone."""
    shared = f"trajectory of {len(group)} epoch counts" if len(group) > 1 else ""
    # unmerged trainings have a folder each: the identity of their one result
    id = group[0].training if merge else group[0].identity
    return Training(
        id,
        {p.job.epochs: p.job for p in group},
        {p.job.epochs: p.identity for p in group},
        shared,
    )


def early_across_the_grid(trainings: Iterable[Training]) -> list[Training]:
    """Order so that every configuration has its first seed and fold before any has its second."""

    def key(training: Training) -> tuple[int, int]:
        config = training.job.config
        return int(config["seed"]), int(config["fold"])

    return sorted(trainings, key=key)


def plan_entry(planned: PlannedJob) -> PlanEntry:
    """What the plan in the store says of a job."""
    return PlanEntry(
        identity=planned.identity,
        training=planned.training,
        overrides=planned.job.overrides,
        name=run_name(planned.job),
        origin=planned.job.origin,
    )


def run_name(job: Job, with_epochs: bool = True) -> str:
    """A name for people: `fata · vgg16 · adam · 40 epochs · seed 1`.

    The fold follows where the split has more than one, then what else the job chose: files by their
    name alone, keys by their last part. Where data and outputs lie, and what changes no number, is
    left out.
    """
    parts = [str(job.config.get("sweep") or "train")]
    parts += [job.choices[k] for k in ("model", "optimizer") if k in job.choices]
    if with_epochs:
        parts.append(f"{job.epochs} epoch{'s' if job.epochs != 1 else ''}")
    parts.append(f"seed {job.config['seed']}")
    if prepare(job).split.folds > 1:
        parts.append(f"fold {job.config['fold']}")
    for override in job.overrides:
        key, _, value = override.lstrip("+").partition("=")
        group, _, inner = key.partition(".")
        if group in UNNAMED or (not inner and key in NAMED) or inner in LOCATIONS:
            continue
        parts.append(
            f"{key.rpartition('.')[2]} {value}" if inner or group not in job.choices else value
        )
    return " · ".join(parts)[:250]

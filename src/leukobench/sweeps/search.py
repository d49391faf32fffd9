"""Searching hyper-parameters: optuna proposes trials, which are planned, run and logged like the jobs of any sweep.

Params of a search are those of a grid, and what a grid cannot take:

```yaml
optimizer.lr: tag(log, interval(1e-4, 1e-1))   # any number between, on a logarithmic scale
model.dropout: interval(0, 0.7)
epochs: range(10, 60, 10)
model.hidden: choice([16], [64], [128])        # or simply [16],[64],[128]
fold: all                                      # seed and fold are not searched: a trial is run with all of them
```

A trial's value is the mean of a metric on **validation** over its seeds and folds; test is never chosen on. What the
search gives on test is nested: each test part has the trial that its own validation rows choose, because those of one
fold are test rows of another. Trials are
drawn by a sampler with a seed of its own (a tree-structured Parzen estimator, Bergstra et al. 2011), from what the trials
before them gave. So a search that was killed proposes the same trials again: those whose results are finished are not
run, their values are read by identity.
"""

from __future__ import annotations

import csv
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from leukobench.data.base import digest
from leukobench.data.composition import too_thin_to_choose_on
from leukobench.data.protocol import ALLOW_THIN
from leukobench.errors import ConfigError, StoreError
from leukobench.evaluation.logged import metrics_of
from leukobench.evaluation.metrics import Predicted
from leukobench.evaluation.registry import definition
from leukobench.schema.names import REPEATS, Tag
from leukobench.schema.records import RESULT
from leukobench.settings import Settings
from leukobench.sweeps.compose import Composer, grid
from leukobench.sweeps.console import Console
from leukobench.sweeps.launch import Multirun, composition, run_jobs, workforce
from leukobench.sweeps.nested import choose_in_folds
from leukobench.sweeps.outcome import NotDelivered, Outcome, TrainingsFailed
from leukobench.sweeps.plan import expand
from leukobench.sweeps.states import duration
from leukobench.tracking.connection import Store
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.notes import words
from leukobench.tracking.reading import Results
from leukobench.tracking.sweeps import find_sweep
from leukobench.training.job import (
    Job,
    identity_of,
    prediction_frame,
    prepare,
    rows_of,
    training_id_of,
)

if TYPE_CHECKING:
    import optuna

VALIDATION = "validation_"
DIGITS = 3
"""Significant digits of a proposed number: enough for a hyper-parameter, short enough for a name."""
TABLE = "search.csv"
"""Artifact of the sweep's run with every trial."""


@dataclass(frozen=True)
class Search:
    """Keys of the sweeper.

    Attributes:
        trials: How many; a later launch with more goes on.
        at_once: Trials proposed and run together, for launchers that run several jobs at once. Another number is another
            search: with it the sampler knows other trials.
        metric: Final metric of a result that decides, on validation.
        seed: Of the sampler.
    """

    trials: int = 20
    at_once: int = 1
    metric: str = VALIDATION + "balanced_accuracy"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.metric.startswith(VALIDATION):
            raise ConfigError(
                f"hydra.sweeper.metric={self.metric}: a search chooses on validation, never on test; name a metric "
                f"that begins with {VALIDATION}, for instance {VALIDATION}balanced_accuracy or {VALIDATION}log_loss"
            )
        metric = definition(self.metric.removeprefix(VALIDATION))
        object.__setattr__(self, "metric", VALIDATION + metric.name)
        counts = {"trials": self.trials, "at_once": self.at_once}
        for name, count in counts.items():
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"hydra.sweeper.{name}={count}: a whole number from 1")
        if not isinstance(self.seed, int):
            raise ConfigError(f"hydra.sweeper.seed={self.seed}: a whole number")

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        low = definition(self.metric.removeprefix(VALIDATION)).lower_is_better
        return "minimize" if low else "maximize"


@dataclass
class Trial:
    """A proposed trial: its jobs, one a seed and fold, and what they gave."""

    proposed: optuna.trial.Trial
    overrides: tuple[str, ...]
    jobs: list[Job]
    metrics: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def number(self) -> int:
        return self.proposed.number + 1

    def mean(self, metric: str) -> float | None:
        """Mean over the jobs; None where one has no result."""
        if len(self.metrics) < len(self.jobs):
            return None
        values = [m.get(metric) for m in self.metrics]
        if any(v is None for v in values):
            there = sorted({k for m in self.metrics for k in m if k.startswith(VALIDATION)})
            raise ConfigError(
                f"no result has the metric {metric}; there are {', '.join(there) or 'none on validation'}"
            )
        return sum(v for v in values if v is not None) / len(values)


def search(
    multirun: Multirun, params: Mapping[str, str], arguments: Sequence[str], *, options: Search
) -> None:
    """Run a search; called by the sweeper. A second call runs only what is missing.

    Raises:
        ConfigError: A space or metric that cannot be searched.
        Outcome: Some trials failed, or the search was interrupted; after the summary.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "hydra/sweeper=search needs optuna: pip install 'leukobench[optuna]'"
        ) from None
    composer, parser = composition(multirun)
    launch, workers = workforce(multirun)
    space, fixed = space_of(params, arguments, parser)
    name = str(multirun.config.hydra.job.config_name)
    again = "leukobench train" if name == "train" else f"leukobench sweep {name}"

    def launched(jobs: Sequence[Job]) -> dict[str, str]:
        return run_jobs(jobs, [], launch, workers=workers, answers=False)

    run(composer, space, fixed, options, launched, again)


def space_of(
    params: Mapping[str, str], arguments: Sequence[str], parser: OverridesParser
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What is searched: a distribution a key; and what every trial has: override strings a key.

    Raises:
        ConfigError: A key cannot be searched.
    """
    from optuna.distributions import CategoricalDistribution

    texts = {
        o.lstrip("+~").partition("=")[0]: o
        for o in (*(f"{k}={v}" for k, v in params.items()), *arguments)
    }
    space: dict[str, Any] = {}
    rest: list[str] = []
    for key, text in texts.items():
        override = parser.parse_override(text)
        if key in REPEATS or not override.is_sweep_override():
            rest.append(text)
            continue
        space[key] = _numbers(override) or CategoricalDistribution(
            list(override.sweep_string_iterator())
        )
    return space, grid({}, rest, parser)


def _numbers(override: Override) -> Any:
    """The distribution of an interval or a range of whole numbers, None for other values."""
    from optuna.distributions import FloatDistribution, IntDistribution

    value = override.value()
    log = "log" in getattr(value, "tags", ())
    try:
        if isinstance(value, IntervalSweep):
            assert value.start is not None
            assert value.end is not None
            if isinstance(value.start, int) and isinstance(value.end, int):
                return IntDistribution(value.start, value.end, log=log)
            return FloatDistribution(float(value.start), float(value.end), log=log)
        if isinstance(value, RangeSweep) and all(
            isinstance(v, int) for v in (value.start, value.stop, value.step)
        ):
            values = list(value.range())
            return IntDistribution(int(values[0]), int(values[-1]), step=int(value.step))
    except (ValueError, IndexError) as e:
        raise ConfigError(f"{override.input_line} cannot be searched: {e}") from e
    return None


def run(
    composer: Composer,
    space: Mapping[str, Any],
    fixed: Mapping[str, Sequence[str]],
    options: Search,
    go: Callable[[Sequence[Job]], Any],
    again: str = "leukobench train",
) -> None:
    """Propose, run and tell trials until there are enough; then say which was best.

    Args:
        go: Runs jobs as a sweep does.
        again: Command that the best trial's overrides follow.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=options.seed, constant_liar=options.at_once > 1)
    study = optuna.create_study(direction=options.direction, sampler=sampler)
    console = Console()
    # with every key at one value there is one trial: that of the command which the summary prints
    trials = options.trials if space else 1
    told: list[Trial] = []
    known: Known | None = None
    undelivered: NotDelivered | None = None
    spent, ran = 0.0, 0
    while len(told) < trials:
        batch = [
            _trial(study.ask(dict(space)), space, fixed, composer)
            for _ in range(min(options.at_once, trials - len(told)))
        ]
        first = batch[0].jobs[0]
        if known is None:
            known = Known(first.settings, str(first.config["sweep"]))
            _check(batch[0])
        planner = first.config["planner"]
        new = [t for t in batch if planner["force"] or planner["dry_run"] or not known.complete(t)]
        if new:
            for trial in new:
                console.rich.print(
                    f"trial {trial.number} of {trials}: {_plain(trial)}", markup=False
                )
            began = time.monotonic()
            interrupted = None
            try:
                go([job for t in new for job in t.jobs])
            except NotDelivered as e:
                undelivered = e
            except Outcome as e:
                interrupted = e
            if planner["dry_run"]:
                console.rich.print("what the next trials are follows from this one's result")
                return
            known.refresh(new)
            if interrupted is not None and (
                planner["fail_fast"] or not all(known.ended(t) for t in new)
            ):
                raise interrupted
            spent, ran = spent + time.monotonic() - began, ran + len(new)
        for trial in batch:
            trial.metrics = known.metrics(trial)
            value = trial.mean(options.metric)
            study.tell(
                trial.proposed,
                value,
                state=None if value is not None else optuna.trial.TrialState.FAIL,
            )
            told.append(trial)
        if new:
            left = spent / ran * (trials - len(told))
            console.rich.print(
                _progress(batch, study, options) + f", about {duration(left)} left" * bool(left)
            )
    assert known is not None
    _finish(console, study, told, known, options, again)
    if undelivered is not None:
        raise undelivered


def _trial(
    proposed: Any, space: Mapping[str, Any], fixed: Mapping[str, Sequence[str]], composer: Composer
) -> Trial:
    own = tuple(
        f"{key}={_text(proposed.params[key], distribution)}" for key, distribution in space.items()
    )
    values = {**fixed, **{text.partition("=")[0]: [text] for text in own}}
    return Trial(proposed, own, expand(composer.jobs(values)))


def _text(value: Any, distribution: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    rounded = float(f"{value:.{DIGITS}g}")
    return repr(min(max(rounded, distribution.low), distribution.high))


def _check(trial: Trial) -> None:
    for job in trial.jobs:
        if not prepare(job).split.parts.get("validation"):
            raise ConfigError(
                f"split={job.choices.get('split')} has no validation part to choose on; set split.validation=0.2, or "
                "choose another split"
            )
        thin = too_thin_to_choose_on(
            prepare(job).compositions["validation"], prepare(job).dataset.classes
        )
        if thin and not job.protocol.allow_thin_choice:
            raise ConfigError(f"split={job.choices.get('split')}: {thin}; {ALLOW_THIN}")


class Known:
    """Final metrics of the results that are there, by identity: those of the store, and of this machine's run folders."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings, self.name = settings, name
        self.stored = self._read()
        self.here: dict[str, Mapping[str, float]] = {}

    def _read(self) -> dict[str, Mapping[str, float]]:
        try:
            return {r.identity: r.metrics for r in Results(self.settings, [self.name]).results}
        except StoreError:
            return {}  # said when the trial runs; results are then in their folders

    def complete(self, trial: Trial) -> bool:
        """Whether the store has all of a trial's results: then nothing is left to run or to deliver."""
        return all(identity_of(job) in self.stored for job in trial.jobs)

    def refresh(self, trials: Sequence[Trial]) -> None:
        """Take in what has been run."""
        for job in (job for trial in trials for job in trial.jobs):
            record = RESULT.read(self._folder(job).result(identity_of(job)) / RESULT.file)
            if record is not None:
                self.here[identity_of(job)] = record.metrics
        if any(len(self.metrics(trial)) < len(trial.jobs) for trial in trials):
            self.stored |= self._read()

    def metrics(self, trial: Trial) -> list[Mapping[str, float]]:
        found = (self.here.get(i, self.stored.get(i)) for i in map(identity_of, trial.jobs))
        return [m for m in found if m is not None]

    def ended(self, trial: Trial) -> bool:
        """Whether all of a trial's jobs have a result or have failed."""
        there = {**self.stored, **self.here}
        return all(
            identity_of(job) in there or self._folder(job).run().state == "failed"
            for job in trial.jobs
        )

    def _folder(self, job: Job) -> RunFolder:
        id = training_id_of(job) if job.config["planner"]["merge"] else identity_of(job)
        return RunFolder.of(self.settings.output, id)


def _plain(trial: Trial) -> str:
    return ", ".join(text.replace("=", " ", 1) for text in trial.overrides) or "nothing is searched"


def _completed(study: Any) -> list[Any]:
    return [t for t in study.trials if t.value is not None]


def _progress(batch: Sequence[Trial], study: Any, options: Search) -> str:
    values = [study.trials[t.proposed.number].value for t in batch]
    said = ", ".join("failed" if v is None else f"{v:.4f}" for v in values)
    line = f"  {words(options.metric)} {said}"
    if _completed(study):
        line += f"; best {study.best_value:.4f} in trial {study.best_trial.number + 1}"
    return line


def _finish(
    console: Console, study: Any, trials: Sequence[Trial], known: Known, options: Search, again: str
) -> None:
    """Say the best trial, and keep all of them with the sweep's run."""
    failed = len(trials) - len(_completed(study))
    if len(trials) > failed:
        best = trials[study.best_trial.number]
        jobs = f"mean of {len(best.jobs)} run{'' if len(best.jobs) == 1 else 's'}"
        test = options.metric.replace(VALIDATION, "test_", 1)
        say = console.rich.print
        say(
            f"[bold]best of {len(trials) - failed} trials[/bold]: trial {best.number}, {_plain(best)}"
        )
        say(f"  {words(options.metric)} {study.best_value:.4f} ({jobs}), chosen on")
        for line in _tested(trials, options, test):
            say(f"  {line}")
        own = [o for o in best.jobs[0].overrides if o.partition("=")[0] not in REPEATS]
        say(
            f"  again, or with more seeds: {' '.join([again, *map(shlex.quote, own)])}",
            markup=False,
        )
    try:
        _keep(study, trials, known, options)
    except StoreError as e:
        console.warn(str(e))
    if failed:
        raise TrainingsFailed(
            f"{failed} of {len(trials)} trials failed; they run again at the next launch"
        )


def _tested(trials: Sequence[Trial], options: Search, test: str) -> list[str]:
    """What the search gives on test rows, each test part with the trial that its own validation rows choose."""
    complete = [t for t in trials if len(t.metrics) == len(t.jobs)]
    if not all(test in m and options.metric in m for t in complete for m in t.metrics):
        return []
    parts = [digest(*prepare(job).split.parts["test"]) for job in complete[0].jobs]
    names = list(dict.fromkeys(parts))

    def by_part(metric: str) -> np.ndarray:
        values = np.array([[m[metric] for m in t.metrics] for t in complete])
        of = np.array([names.index(part) for part in parts])
        return np.column_stack([values[:, of == k].mean(axis=1) for k in range(len(names))])

    lower = options.direction == "minimize"
    found = choose_in_folds(by_part(options.metric), by_part(test), lower_is_better=lower)
    guess = np.mean([_guess(job, test) for job in complete[0].jobs])
    return [
        f"{words(test)} {found.test:.4f}, nested: each of {len(names)} test parts with the trial that its own "
        f"validation rows choose ({len(set(found.chosen))} different)",
        f"{words(test)} {guess:.4f} by guessing: class shares of training, whatever the sample",
    ]


def _guess(job: Job, metric: str) -> float:
    """A test metric of predicting every sample with the class shares of the training part."""
    prepared = prepare(job)
    rows = {part: r for part, r in rows_of(prepared).items() if part in ("train", "test")}
    y = prepared.dataset.y[rows["train"]]
    shares = np.bincount(y, minlength=len(prepared.dataset.classes)) / len(y)
    frame = prediction_frame(prepared, rows, lambda r: np.tile(shares, (len(r), 1)), 0)
    predicted = Predicted.of(frame, "test")
    return metrics_of(predicted, prepared.dataset.positive).get(
        metric.removeprefix("test_"), np.nan
    )


def _keep(study: Any, trials: Sequence[Trial], known: Known, options: Search) -> None:
    """Log a table of all trials to the sweep's run; test results are not in it."""
    store = Store(known.settings)
    sweep = find_sweep(store, known.name)
    if sweep is None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / TABLE
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            keys = [text.partition("=")[0] for text in trials[0].overrides]
            writer.writerow(["trial", options.metric, *keys, "identities"])
            for trial in trials:
                values = [text.partition("=")[2] for text in trial.overrides]
                identities = " ".join(identity_of(job) for job in trial.jobs)
                value = study.trials[trial.proposed.number].value
                writer.writerow(
                    [trial.number, "" if value is None else repr(value), *values, identities]
                )
        store.attach(sweep.run_id, path)
        if _completed(study):
            best = trials[study.best_trial.number]
            store.set_tag(sweep.run_id, Tag.BEST, f"trial {best.number}: {_plain(best)}")

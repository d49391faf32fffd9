"""Which run a user means: by a shortened id, as `@last`, or as `@best` on validation."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from leukobench.errors import ConfigError, StoreError
from leukobench.schema.names import Tag
from leukobench.settings import Settings
from leukobench.tracking.connection import Store
from leukobench.tracking.reading import Results
from leukobench.tracking.result_cache import StoredResult

SHORT = 8
"""Digits of an id that are shown."""
FEWEST = 4
"""Digits of an id that must be given."""
WHOLE = re.compile(r"[0-9a-f]{32}")
RULE = "validation_balanced_accuracy"


def short(run_id: str) -> str:
    """The first digits of a run's id, which commands take for the whole."""
    return run_id[:SHORT]


def whole_id(reference: str, settings: Settings) -> str:
    """The id of a run, or the identity of a result, that a reference stands for.

    Args:
        reference: Such an id; its first digits; `@last`, the latest result of the store, or
            `@best`, the best on validation of the sweep that `@last` is of; `@last:SWEEP` and
            `@best:SWEEP` are those of a sweep.

    Raises:
        ConfigError: It is none of these, or several runs begin with it.
        StoreError: There is no such run.
    """
    if WHOLE.fullmatch(reference):
        return reference
    word, _, sweep = reference.partition(":")
    if word == "@last":
        return _last(settings, sweep).run_id
    if word == "@best":
        return _best(settings, sweep).run_id
    if re.fullmatch(rf"[0-9a-f]{{{FEWEST},31}}", reference):
        return _begun(reference, settings)
    raise ConfigError(
        f"{reference!r} is neither a folder nor a run id (32 hexadecimal digits or the first "
        f"{FEWEST} and more, as `leukobench runs` and the MLflow UI show them), nor @last or @best"
    )


def best_first(
    results: Sequence[StoredResult], rule: str = RULE, lower_is_better: bool = False
) -> list[StoredResult]:
    """Those results that logged a metric, the best first.

    Ties go to the lower validation log loss, then to the smaller identity, so that the choice is
    the same at any time.
    """
    sign = 1.0 if lower_is_better else -1.0
    having = [r for r in results if math.isfinite(r.metrics.get(rule, math.nan))]

    def rank(result: StoredResult) -> tuple[float, float, str]:
        loss = result.metrics.get("validation_log_loss", math.inf)
        return sign * result.metrics[rule], loss, result.identity

    return sorted(having, key=rank)


def latest_first(results: Sequence[StoredResult]) -> list[StoredResult]:
    """Results by when they were started."""
    return sorted(results, key=lambda r: (r.start_time, r.run_id), reverse=True)


def _last(settings: Settings, sweep: str) -> StoredResult:
    results = Results(settings, [sweep] if sweep else None).results
    if not results:
        of = f" of a sweep {sweep!r}" if sweep else ""
        raise StoreError(f"the store {settings.shown_store} has no finished result{of}")
    return latest_first(results)[0]


def _best(settings: Settings, sweep: str) -> StoredResult:
    last = _last(settings, sweep)
    name = sweep or last.tags.get(Tag.SWEEP, "")
    ranked = best_first(Results(settings, [name]).results)
    if not ranked:
        raise StoreError(
            f"the runs of sweep {name!r} have no validation part to choose the best on "
            "(split.validation=0.2 sets one aside); @last is the latest"
        )
    return ranked[0]


def _begun(digits: str, settings: Settings) -> str:
    """The one run or identity that begins with these digits."""
    found = {path.name for path in (settings.output / "runs").glob(f"*/results/{digits}*")}
    store = Store(settings)
    with store.errors("read"):
        experiments = [e.experiment_id for e in store.client.search_experiments(max_results=1000)]
        runs = store.client.search_runs(
            experiments, f"attributes.run_id LIKE '{digits}%'", max_results=5
        )
    found |= {run.info.run_id for run in runs}
    if len(found) == 1:
        return found.pop()
    if found:
        raise ConfigError(f"several runs begin with {digits}: {', '.join(sorted(found)[:5])}")
    raise StoreError(
        f"no run in {settings.shown_store} begins with {digits}; `leukobench runs` lists them"
    )

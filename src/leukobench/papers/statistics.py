"""Numbers of cells, each computed once from the predictions of the runs that fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.baselines import majority, series_majority
from leukobench.evaluation.difference import difference as minus
from leukobench.evaluation.difference import difference_replicates
from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.kept import Place
from leukobench.evaluation.metrics import metric_of
from leukobench.evaluation.registry import definition
from leukobench.evaluation.replicates import EXACT, Reach, Replicates, reach, reach_of_values
from leukobench.papers.memory import Memory
from leukobench.papers.results import Result, ResultSet
from leukobench.papers.results import pooled as pool
from leukobench.papers.spec import Cell
from leukobench.schema.documents import Json

if TYPE_CHECKING:
    import pandas as pd

ReadArtifact = Callable[[Result, str], Json]
Selected = tuple[Cell, Sequence[Result]]
LEARNED = {"majority": majority, "series_oracle": series_majority}


class Statistics:
    """Computes numbers of cells of one paper and keeps them."""

    def __init__(self, results: ResultSet, memory: Memory) -> None:
        self.results = results
        self.memory = memory
        self._repeats: dict[tuple[Any, ...], Repeats] = {}

    def forget(self) -> None:
        """Let go of predictions: those of one table at a time fit into memory."""
        self._repeats.clear()

    def difference(self, a: Cell, first: Sequence[Result], second: Selected) -> Estimate:
        """A metric of a cell's runs, minus that of the runs of another cell or arm."""
        b, others = second
        facts = ["difference", *facts_of(a)]

        def compute() -> Estimate:
            repeats = self.pooled(first, a)
            metric = metric_of(metric_name(a), a.averaging, a.of, repeats.classes)
            return minus(repeats, self.pooled(others, b), metric)

        return self.memory.estimate(f"{ids(first)} - {ids(others)}", facts, compute)

    def difference_replicates(
        self, a: Cell, first: Sequence[Result], second: Selected
    ) -> Replicates | None:
        """How replicates of such a difference differ; None where the two have different seeds."""
        b, others = second
        seeds = [{r.params.get("seed", "0") for r in runs} for runs in (first, others)]
        if seeds[0] != seeds[1]:
            return None
        facts = ["difference", *facts_of(a)]

        def compute() -> Replicates:
            repeats = self.pooled(first, a)
            metric = metric_of(metric_name(a), a.averaging, a.of, repeats.classes)
            return difference_replicates(repeats, self.pooled(others, b), metric)

        return self.memory.replicates(f"{ids(first)} - {ids(others)}", facts, compute)

    def estimate(self, chosen: Sequence[Result], cell: Cell) -> Estimate:
        metric = definition(metric_name(cell))

        def compute() -> Estimate:
            if metric.needs == "labels":
                return self._sizes(chosen, cell)
            if metric.needs == "artifact":
                return self._logged(chosen, cell)
            repeats = self.pooled(chosen, cell)
            return repeats.estimate(
                metric_of(metric.name, cell.averaging, cell.of, repeats.classes)
            )

        estimate = self.memory.estimate(ids(chosen), facts_of(cell), compute)
        if not np.isfinite(estimate.mean) and estimate.reason:
            raise LeukoBenchError(estimate.reason)
        return estimate

    def replicates(self, chosen: Sequence[Result], cell: Cell) -> Replicates | None:
        """How replicates of these runs differ; None of what predictions cannot tell."""
        metric = definition(metric_name(cell))
        if not metric.computed:
            return None

        def compute() -> Replicates:
            repeats = self.pooled(chosen, cell)
            return repeats.replicates(
                metric_of(metric.name, cell.averaging, cell.of, repeats.classes)
            )

        return self.memory.replicates(ids(chosen), facts_of(cell), compute)

    def baseline(self, chosen: Sequence[Result], cell: Cell, baseline: str) -> Estimate:
        """What a baseline scores where these runs were tested.

        Without an interval: it does not depend on seeds, and its test set is the one of the rows above.
        """

        def compute() -> Estimate:
            repeats = self.pooled(chosen, cell, baseline)
            metric = metric_of(metric_name(cell), cell.averaging, cell.of, repeats.classes)
            return repeats.estimate(metric, with_interval=False)

        return self.memory.estimate(ids(chosen), [baseline, *facts_of(cell)], compute)

    def reach(
        self,
        own: Replicates | None,
        estimate: Estimate,
        siblings: Sequence[Replicates],
        size: int | None,
    ) -> Reach:
        """How far one more run may be from the mean; of what predictions cannot tell, from the runs' values."""
        if own is not None:
            return reach(own, siblings, size)
        values = np.array(estimate.values)
        if np.ptp(values) == 0 and estimate.unit == "samples":
            return EXACT
        return reach_of_values(values)

    def pooled(self, chosen: Sequence[Result], cell: Cell, baseline: str = "") -> Repeats:
        key = (*(r.run_id for r in chosen), cell.part, cell.epoch, baseline)
        if key not in self._repeats:
            part = None if cell.part == "all" else cell.part

            def change(frame: pd.DataFrame, result: np.ndarray) -> pd.DataFrame:
                if cell.epoch != "last":
                    wanted = np.asarray(frame["epoch"] == cell.epoch)
                    frame, result = frame[wanted], result[wanted]
                return LEARNED[baseline](frame, result) if baseline else frame

            repeats = pool(self.results, chosen, part, change)
            if not any(len(p) for p in repeats.predicted):
                raise LeukoBenchError(f"the runs hold no predictions of part {cell.part}")
            self._repeats[key] = repeats
        return self._repeats[key]

    def test_size(self, cell: Cell, chosen: Sequence[Result]) -> float:
        """Mean number of scored samples a seed."""

        def compute() -> float:
            return float(np.mean([len(p) for p in self.pooled(chosen, cell).predicted]))

        return self.memory.value(ids(chosen), ["size", cell.part, cell.epoch], compute)

    def _sizes(self, chosen: Sequence[Result], cell: Cell) -> Estimate:
        """Numbers of samples, a run each: folds are not pooled, since a size is that of one split."""
        size = definition(metric_name(cell))
        values = []
        samples: set[str] = set()
        for result in chosen:
            frame = self.results.predictions(result)
            if cell.part != "all":
                frame = frame[frame["part"] == cell.part]
            frame = frame.drop_duplicates("sample")
            samples |= set(frame["sample"])
            values.append(size.function(np.asarray(frame["label"]), cell.of))
        seeds = len({r.params.get("seed", "0") for r in chosen})
        return Estimate(
            float(np.mean(values)),
            None,
            None,
            tuple(values),
            "none",
            "samples",
            seeds,
            len(samples),
            None,
        )

    def _logged(self, chosen: Sequence[Result], cell: Cell) -> Estimate:
        """Mean over runs of what each of them kept; only for what predictions cannot tell."""
        values = [kept_value(r, cell, self.results.artifact) for r in chosen]
        seeds = len({r.params.get("seed", "0") for r in chosen})
        return Estimate(
            float(np.mean(values)), None, None, tuple(values), "none", "runs", seeds, 0, None
        )


def kept_value(result: Result, cell: Cell, read: ReadArtifact) -> float:
    """A metric of kind `kept`: a quantity of a run that its predictions cannot tell.

    Args:
        cell: Whose metric, part, class and epoch (`last`, or one of the training that the quantity belongs to) are wanted.
        read: Gives the content of a run's JSON artifact by name.

    Raises:
        LeukoBenchError: The run did not keep it.
    """
    metric = definition(cell.metric or "")
    epochs = str(result.params.get("epochs", ""))
    place = Place(part=cell.part, epoch=cell.epoch, epochs=epochs, of=cell.of)
    content = read(result, metric.artifact)
    value = metric.function(content, metric.key.format(part=cell.part), place)
    if value is not None:
        return float(value)
    for name in (f"{cell.part}_{metric.name}", metric.name):
        if name in result.metrics and cell.epoch == "last":
            return float(result.metrics[name])
    raise LeukoBenchError(f"the runs kept no {metric.title} of part {cell.part}")


def metric_name(cell: Cell) -> str:
    return cell.metric or "accuracy"


def facts_of(cell: Cell) -> list[Any]:
    """What a statistic of a cell depends on beside its runs."""
    metric = definition(metric_name(cell))
    return [metric.identity, cell.averaging, cell.of, cell.part, cell.epoch]


def ids(chosen: Iterable[Result | str]) -> str:
    return " ".join(sorted(r if isinstance(r, str) else r.run_id for r in chosen))

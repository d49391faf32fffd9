"""How often the intervals of tables hold the truth, how wide they are, and how often they are
refused.

    python benchmarks/inference.py --quick        # minutes: 200 replications
    python benchmarks/inference.py                # two hours: 2,000, into results/inference.json
    python benchmarks/inference.py --table        # what is kept there, as Markdown

Three kinds of test sets are simulated and given to `Repeats.estimate` and `Repeats.replicate` as
tables do:

- *cells*: one shared test set of subjects with many cells each. A cell's score is the sum of
  effects of its class, its subject, the seed, the subject in the seed, the cell, and the cell in
  the seed.
- *folds*: `quickstart`'s 38 samples, five folds, classifiers fitted for real on simulated genes,
  and what each of them scores on a thousand new samples.
- *holdout*: a pool of 2,000 samples of which every seed tests another 400.

Width is the mean one over that of an interval that knows the standard deviation of the estimate,
3.92 of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from simulated_tests import CELLS, CLASSIFIERS, FOLDS, Cells, Folds, Holdout, Replication

from leukobench.evaluation.metrics import Metric

METRICS = {
    "accuracy": Metric("accuracy"),
    "sensitivity": Metric("recall", "binary"),
    "specificity": Metric("specificity", "binary"),
    "balanced_accuracy": Metric("balanced_accuracy"),
    "auroc": Metric("auroc", "binary"),
}
SEEDS = (1, 3, 5, 10)
NORMAL_WIDTH = 2 * 1.959964


@dataclass
class Tally:
    """What the intervals of one design, metric and number of seeds did."""

    design: str
    metric: str
    seeds: int
    errors: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    refused: int = 0

    def add(self, low: float | None, high: float | None, mean: float, truth: float) -> None:
        if low is None or high is None:
            self.refused += 1
            return
        self.errors.append(mean - truth)
        self.widths.append(high - low)
        self.held.append(low - 1e-9 <= truth <= high + 1e-9)

    def row(self) -> dict[str, object]:
        n = len(self.held)
        known = NORMAL_WIDTH * float(np.std(self.errors)) if n else 0.0
        return {
            "design": self.design,
            "metric": self.metric,
            "seeds": self.seeds,
            "coverage": round(float(np.mean(self.held)), 3) if n else None,
            "width": round(float(np.mean(self.widths)) / known, 2) if known > 0 else None,
            "refused": round(self.refused / (n + self.refused), 3),
            "replications": n + self.refused,
        }


def of_cells(design: Cells, seeds: int, replications: int) -> Iterator[dict[str, object]]:
    """Coverage of every metric in a design of cells."""
    rng = np.random.default_rng([design.number, seeds])
    tallies = {name: Tally(design.name, name, seeds) for name in METRICS}
    for _ in range(replications):
        drawn = design.draw(rng, seeds)
        for name, tally in tallies.items():
            found = drawn.repeats.estimate(METRICS[name])
            tally.add(found.low, found.high, found.mean, drawn.truth[name])
    for tally in tallies.values():
        yield tally.row()


def of_folds(design: Folds, seeds: tuple[int, ...], replications: int) -> list[dict[str, object]]:
    """Coverage in the design of `quickstart`: of its models for one seed, of the procedure for
    more."""
    rng = np.random.default_rng([design.number])
    runs = [design.draw(rng, max(seeds)) for _ in range(replications)]
    rows = []
    for name in ("accuracy", "sensitivity", "auroc"):
        procedure = float(np.mean([run.truth[name].mean() for run in runs]))
        for n in seeds:
            tally = Tally(design.name, name, n)
            for run in runs:
                first = replace(
                    run.repeats, seeds=run.repeats.seeds[:n], predicted=run.repeats.predicted[:n]
                )
                found = first.estimate(METRICS[name])
                truth = procedure if n > 1 else float(run.truth[name][0])
                tally.add(found.low, found.high, found.mean, truth)
            rows.append(tally.row())
    return rows


def of_replicates(design: Holdout, seeds: int, replications: int) -> dict[str, object]:
    """How often one more run of the pipeline lies in the interval of a replicate."""
    rng = np.random.default_rng([design.number, seeds])
    tally = Tally(design.name, "accuracy of a replicate", seeds)
    for _ in range(replications):
        drawn: Replication = design.draw(rng, seeds)
        found = drawn.repeats.replicate(METRICS["accuracy"], pool=design.pool)
        tally.add(found.low, found.high, found.mean, drawn.replicate)
    return tally.row()


def every_row(replications: int, kinds: tuple[str, ...]) -> Iterator[dict[str, object]]:
    if "cells" in kinds:
        for design in CELLS:
            for seeds in SEEDS:
                yield from of_cells(design, seeds, replications)
    if "folds" in kinds:
        for classifier in CLASSIFIERS:
            for distance in FOLDS:
                design = Folds(classifier, distance)
                yield from of_folds(design, (1, 2, 3, 5, 10), replications)
    if "holdout" in kinds:
        for noise in (0.0, 0.006, 0.017):
            for seeds in SEEDS[1:]:
                yield of_replicates(Holdout(noise), seeds, replications)


def keep(out: Path, rows: list[dict[str, object]]) -> None:
    """Put rows into a file of results, in place of those of the same design, metric and number of
    seeds."""
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    by_key = {(row["design"], row["metric"], row["seeds"]): row for row in [*kept, *rows]}
    lines = ",\n".join(json.dumps(row) for row in by_key.values())
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def markdown(rows: list[dict[str, object]]) -> str:
    """A line a design and metric: coverage, width and share refused at each number of seeds."""
    seeds = sorted({int(str(row["seeds"])) for row in rows})
    lines = [
        "| design | metric | "
        + " | ".join(f"{n} seed{'s' if n > 1 else ''}" for n in seeds)
        + " | refused |"
    ]
    lines.append("| --- | --- |" + " --- |" * (len(seeds) + 1))
    for design, metric in dict.fromkeys((row["design"], row["metric"]) for row in rows):
        own = [row for row in rows if (row["design"], row["metric"]) == (design, metric)]
        cells = {row["seeds"]: row for row in own if row["coverage"] is not None}
        said = [
            f"{cells[n]['coverage']:.3f}, {cells[n]['width']:.2f}" if n in cells else "–"
            for n in seeds
        ]
        refused = max(float(str(row["refused"])) for row in own)
        lines.append(f"| {design} | {metric} | {' | '.join(said)} | {refused:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="200 replications, nothing written")
    parser.add_argument("--table", action="store_true", help="print what is kept as Markdown")
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--kinds", default="cells,folds,holdout")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "inference.json"
    )
    arguments = parser.parse_args()
    if arguments.table:
        print(markdown(json.loads(arguments.out.read_text(encoding="utf-8"))))
        return
    replications = 200 if arguments.quick else arguments.replications
    began = time.perf_counter()
    for row in every_row(replications, tuple(arguments.kinds.split(","))):
        print("  ".join(str(value) for value in row.values()), flush=True)
        if not arguments.quick:
            keep(arguments.out, [row])
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()

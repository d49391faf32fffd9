"""How often configurations that are equal are told apart, and how often a worse one is found.

    python benchmarks/comparisons.py --quick        # minutes: 100 comparisons a design
    python benchmarks/comparisons.py                # 2,000; writes results/comparisons.json

Two equal configurations, and six or eight equal ones and one that is worse, on one test set that all share or on splits
of a pool. They go through `compare` as tables do. Power is against the shift that a rule which knows the variances finds
in 95 %.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from simulated_trainings import DENSITY, Pool

from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric
from leukobench.evaluation.significance import Candidates, Comparison, compare

METRIC = Metric("accuracy")
SEEDS = (3, 5, 10)
SHARED = Pool("400 shared", 400, 400, 400)
DESIGNS = tuple(
    replace(
        pool, name=f"{pool.name}, training {100 * noise:.1f}", noise=noise, number=pool.number + i
    )
    for pool in (SHARED, Pool("400 of 2,000", 410, 2000, 400))
    for i, noise in enumerate((0.0, 0.006, 0.017))
)


def compared(drawn: list[Repeats]) -> tuple[Comparison, dict[str, float]]:
    """The best of configurations against the others, and the mean of each; names are their numbers."""
    repeats = {str(i): r for i, r in enumerate(drawn)}
    means = {name: r.estimate(METRIC, with_interval=False).mean for name, r in repeats.items()}
    best = max(means, key=lambda name: means[name])
    (found,) = compare([Candidates(best, METRIC, repeats)])
    assert found is not None
    return found, means


def known_shift(equal: int, deviation: float) -> float:
    """What a worse one must differ by for a rule that knows the variances to find it in 95 %.

    Args:
        deviation: Standard deviation of the difference of two.
    """
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100_000, equal + 1)) / np.sqrt(2)
    limit = np.quantile(np.ptp(z, axis=1), 0.95) if equal > 1 else 1.959964
    if equal == 1:
        return float((limit + 1.644854) * deviation)
    gap = z[:, :-1].max(axis=1) - z[:, -1]
    return float((limit - np.quantile(gap, 0.05)) * deviation)


def row_of(design: Pool, seeds: int, equal: int, replications: int) -> dict[str, object]:
    """`equal` configurations and one more: as good for two, worse for more."""
    rng = np.random.default_rng([design.number, seeds, equal])
    calibration = [
        [r.estimate(METRIC, with_interval=False).mean for r in design.draw(rng, [0.0, 0.0], seeds)]
        for _ in range(400)
    ]
    gap = np.array(calibration)
    deviation = float((gap[:, 0] - gap[:, 1]).std())
    shift = known_shift(equal, deviation)
    false = found_worse = 0
    gains = [0.0] * equal + [-shift / DENSITY]
    for _ in range(replications):
        worse, _ = compared(design.draw(rng, gains, seeds))
        last = str(equal)
        found_worse += worse.best != last and worse.differs(last)
        if equal > 1:
            others = [name for name in worse.p if name != last]
            false += any(worse.differs(name) for name in others)
        else:
            same, _ = compared(design.draw(rng, [0.0, 0.0], seeds))
            false += same.best_stands_out
    return {
        "design": design.name,
        "configurations": "2 equal" if equal == 1 else f"{equal} equal, 1 worse",
        "seeds": seeds,
        "false": round(false / replications, 3),
        "power": round(found_worse / replications, 3),
        "replications": replications,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 replications, nothing written")
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "comparisons.json"
    )
    arguments = parser.parse_args()
    replications = 100 if arguments.quick else arguments.replications
    began, rows = time.perf_counter(), []
    for design in DESIGNS:
        for equal in (1, 6, 8):
            for seeds in SEEDS:
                rows.append(row_of(design, seeds, equal, replications))
                print("  ".join(str(value) for value in rows[-1].values()), flush=True)
    print(f"{time.perf_counter() - began:.0f} s")
    if not arguments.quick:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How often a replicate is called higher or lower, and how often a shift is found.

    python benchmarks/verdicts.py --quick        # minutes: 60 tables a design
    python benchmarks/verdicts.py                # 350 tables of six configurations; writes results/verdicts.json

Six configurations of a table and, of each, one more training on the same pool that is "published". `Repeats.replicates`
and `reach` judge it as tables do: alone, and with the variance by training of all six. Power is against the shift that a
rule which knows the variances finds in 95 %.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from simulated_trainings import Pool, first_seeds

from leukobench.evaluation.metrics import Metric, score
from leukobench.evaluation.replicates import reach

METRICS = {"accuracy": Metric("accuracy"), "auroc": Metric("auroc", "binary")}
SEEDS = (3, 5, 10)
CONFIGURATIONS = 6
KNOWN = 1.959964 + 1.644854
"""Shift in standard deviations that a rule which knows them finds in 95 %."""
HOLDOUT = Pool("400 of 2,000", 300, 2000, 400)
DESIGNS = (
    HOLDOUT,
    replace(HOLDOUT, name="400 of 2,000, training .6", number=301, noise=0.006),
    replace(HOLDOUT, name="400 of 2,000, training 1.7", number=302, noise=0.017),
    Pool("14 of 72", 303, 72, 14),
    Pool("fixed test of 34", 304, 34, 34),
    Pool("fixed test of 34, training 1.7", 305, 34, 34, noise=0.017),
    Pool("30/30 subjects by image", 306, 1200, 240, 0.006, subjects=60, subject=0.25),
)


def rows_of(design: Pool, seeds: int, tables: int) -> Iterator[dict[str, object]]:
    """False and true verdicts of a design, each metric alone and pooled over the table."""
    rng = np.random.default_rng([design.number, seeds])
    gaps: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(tables):
        drawn = design.draw(rng, [0.0] * CONFIGURATIONS, seeds + 1)
        for name, metric in METRICS.items():
            shown = [first_seeds(r, seeds).replicates(metric) for r in drawn]
            for own, repeats in zip(shown, drawn):
                gap = float(np.mean(own.values)) - score(repeats.predicted[-1], metric)
                for pooled, siblings in (("alone", []), ("pooled", shown)):
                    half = reach(own, siblings).half
                    gaps.setdefault((name, pooled), []).append((gap, half or np.inf))
    for (name, pooled), found in gaps.items():
        gap, half = np.array(found).T
        yield {
            "design": design.name,
            "metric": name,
            "seeds": seeds,
            "variance": pooled,
            "false": round(float((np.abs(gap) > half).mean()), 3),
            "power": round(power(gap, half), 3),
            "verdicts": len(gap),
        }


def power(gap: np.ndarray, half: np.ndarray) -> float:
    """Share of shifts, up and down, that are found."""
    shift = KNOWN * gap.std()
    return float(((gap + shift > half).mean() + (gap - shift < -half).mean()) / 2)


def one_seed(design: Pool, tables: int) -> dict[str, object]:
    """A configuration with one seed among five with five seeds."""
    rng = np.random.default_rng([design.number, 1])
    metric = METRICS["accuracy"]
    gaps, halves = [], []
    for _ in range(tables):
        drawn = design.draw(rng, [0.0] * CONFIGURATIONS, 6)
        own = first_seeds(drawn[0], 1).replicates(metric)
        siblings = [first_seeds(r, 5).replicates(metric) for r in drawn[1:]]
        gaps.append(own.values[0] - score(drawn[0].predicted[-1], metric))
        halves.append(reach(own, siblings).half or np.inf)
    gap, half = np.array(gaps), np.array(halves)
    return {
        "design": design.name,
        "metric": "accuracy",
        "seeds": 1,
        "variance": "pooled",
        "false": round(float((np.abs(gap) > half).mean()), 3),
        "power": round(power(gap, half), 3),
        "verdicts": len(gap),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="60 tables, nothing written")
    parser.add_argument("--tables", type=int, default=350)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "verdicts.json"
    )
    arguments = parser.parse_args()
    tables = 60 if arguments.quick else arguments.tables
    began, rows = time.perf_counter(), []
    for seeds in SEEDS:
        for design in DESIGNS:
            for row in rows_of(design, seeds, tables):
                rows.append(row)
                print("  ".join(str(value) for value in row.values()), flush=True)
    for design in DESIGNS[:3]:
        rows.append(one_seed(design, tables))
        print("  ".join(str(value) for value in rows[-1].values()), flush=True)
    print(f"{time.perf_counter() - began:.0f} s")
    if not arguments.quick:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

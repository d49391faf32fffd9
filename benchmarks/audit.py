"""How many wrong tables the audit finds, and how many consistent ones it calls contradictory.

python benchmarks/audit.py --quick        # a minute
python benchmarks/audit.py                # ten minutes or more
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from audit_tables import KINDS, Printed, consistent, detectable, planted, planted_deviation

from leukobench.papers.audit import AuditFinding
from leukobench.papers.audit.typed import audit_table

DEVIATION = "a standard deviation of folds"


def severities(printed: Printed) -> list[AuditFinding]:
    return audit_table(printed.rows, "table")


def wrong_table(job: tuple[str, int]) -> tuple[str, bool, bool]:
    """Kind, whether the error shows at all, whether the audit found it."""
    kind, seed = job
    rng = np.random.default_rng([7, seed, *kind.encode()])
    printed = planted_deviation(rng) if kind == DEVIATION else planted(rng, kind)
    found = severities(printed)
    told = {"contradiction", "caution"} | ({"hint"} if kind == "a mean called a total" else set())
    return kind, detectable(printed), any(f.severity in told for f in found)


def consistent_table(seed: int) -> tuple[int, str]:
    """The seed, and the worst that the audit says of its table."""
    found = severities(consistent(np.random.default_rng([8, seed])))
    said = {f.severity for f in found}
    return seed, next((s for s in ("contradiction", "caution", "hint") if s in said), "nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tables", type=int, default=10_000, help="consistent ones")
    parser.add_argument("--each", type=int, default=20, help="wrong ones of each kind")
    options = parser.parse_args()
    each, tables = (4, 300) if options.quick else (options.each, options.tables)
    jobs = [(kind, seed) for kind in (*KINDS, DEVIATION) for seed in range(each)]
    with ProcessPoolExecutor(options.workers) as pool:
        print_wrong(list(pool.map(wrong_table, jobs, chunksize=4)))
        start = time.perf_counter()
        answers = []
        for answer in pool.map(consistent_table, range(tables), chunksize=25):
            answers.append(answer)
            if len(answers) % 500 == 0:
                print_consistent(answers, time.perf_counter() - start)
    if tables % 500:
        print_consistent(answers, time.perf_counter() - start)


def print_wrong(answers: list[tuple[str, bool, bool]]) -> None:
    print("| planted error | tables | shows | found of these | found of all |")
    print("| --- | --- | --- | --- | --- |")
    for kind in (*dict.fromkeys(kind for kind, _, _ in answers), "all"):
        some = [(shows, found) for k, shows, found in answers if kind in (k, "all")]
        shown = [found for shows, found in some if shows]
        print(
            f"| {kind} | {len(some)} | {len(shown)} | {sum(shown)} | {sum(f for _, f in some)} |",
            flush=True,
        )


def print_consistent(answers: list[tuple[int, str]], seconds: float) -> None:
    counted = Counter(said for _, said in answers)
    print(f"\n{len(answers)} consistent tables in {seconds:.0f} s: {dict(counted)}")
    wrong = [seed for seed, said in answers if said == "contradiction"]
    print("false contradictions:", wrong, flush=True)


if __name__ == "__main__":
    main()

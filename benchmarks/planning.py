"""Planning 5,000 jobs against a store of 10,000 runs, in parts: Hydra's composing, the rest of composing, reading, planning.

    python benchmarks/planning.py

The store is made as in `tables.py`: one seed of the sweep `quickstart` is run for real and copied under further seeds.
The grid is that sweep's with 84 seeds: 84 x 60 = 5,040 jobs, of which 60 are done. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")

SEEDS = 84


def plan_once() -> dict[str, float]:
    """Seconds of each part, in this process, CPU seconds beside them."""
    from hydra import compose
    from hydra.core.override_parser.overrides_parser import OverridesParser

    import leukobench.models.augment
    import leukobench.models.gene  # noqa: F401  # importing torch is no planning
    from leukobench.settings import resolve, sweeps_dir
    from leukobench.sweeps.app import opened
    from leukobench.sweeps.compose import Composer, grid
    from leukobench.sweeps.plan import expand, make_plan
    from leukobench.tracking.connection import Store
    from leukobench.tracking.entries import entries
    from leukobench.tracking.sweeps import find_sweep

    parts: dict[str, float] = {}
    clocks = [time.perf_counter(), time.process_time()]

    def lap(name: str) -> None:
        now = [time.perf_counter(), time.process_time()]
        parts[name], parts[name + ", CPU"] = now[0] - clocks[0], now[1] - clocks[1]
        clocks[:] = now

    settings = resolve()
    store = Store(settings)
    sweep = find_sweep(store, "quickstart")
    assert sweep is not None
    lap("connecting")
    known = entries(settings, store, sweep)
    lap("reading the store")
    hydra = [0.0, 0.0]
    with opened(sweeps_dir()) as app:
        loader = app.config_loader
        parser = OverridesParser.create(config_loader=loader)

        def composing(overrides: list[str]):  # type: ignore[no-untyped-def]
            began = time.perf_counter(), time.process_time()
            config = compose("quickstart", overrides, return_hydra_config=True)
            hydra[0] += time.perf_counter() - began[0]
            hydra[1] += time.process_time() - began[1]
            return config

        composer = Composer(composing, lambda key: bool(loader.get_group_options(key)), parser)
        params = compose("quickstart", return_hydra_config=True).hydra.sweeper.params
        jobs = list(composer.jobs(grid(params, [f"seed=range({SEEDS})"], parser)))
    lap("composing")
    parts["of it Hydra"], parts["of it Hydra, CPU"] = hydra
    plan = make_plan(expand(jobs, []), known)
    lap("planning")
    parts |= {
        "jobs": len(plan.jobs),
        "done": len(plan.done),
        "runs": len(known),
        "trainings": len(plan.trainings),
    }
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "planning.json"
    )
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(plan_once()))
        return
    from tables import command, multiply

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        command(output, "sweep", "quickstart", "seed=0")
        multiply(output, arguments.runs)
        shutil.rmtree(
            output / "cache", ignore_errors=True
        )  # the copies are older than what was read last
        environment = {**os.environ, "LEUKOBENCH_OUTPUT": folder}
        environment.pop("MLFLOW_TRACKING_URI", None)
        for name in ("first reading", "later"):
            text = subprocess.run(
                [sys.executable, __file__, "--once"],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            results[name] = parts = json.loads(text.splitlines()[-1])
            names = ("connecting", "reading the store", "composing", "planning")
            parts["total"] = sum(parts[n] for n in names)
            parts["total, CPU"] = sum(parts[f"{n}, CPU"] for n in names)
            print(name, {k: round(v, 2) for k, v in parts.items()}, flush=True)
    body = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg(),
        "seconds": results,
    }
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Trainings that differ in their seed, as whole runs: stacked against one by one.

    python benchmarks/stacked.py               # some minutes; prints the table of README-stacked.md
    python benchmarks/stacked.py --seeds 8      # a try

`gene_mlp` (128 hidden units, dropout 0.5) on 38 arrays of Golub et al., 64 seeds, 50 and 200 epochs, batches of 32, one
thread, on the 50, 512 and 5,000 genes that differ most between the classes. *To the folder* is the whole run: split,
preprocessing, training, curves, metrics, predictions, weights and facts in run folders; *to MLflow* delivers it too.
Where the rule of `leukobench.sweeps.stacking` does not stack, both ways are the same by its choice and nothing is
timed; `--every-width` stacks there in spite of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from small_runs import composer

from leukobench.settings import Settings
from leukobench.sweeps.console import Console
from leukobench.sweeps.launch import Outlet, execute
from leukobench.sweeps.plan import make_plan
from leukobench.sweeps.stacking import stacks
from leukobench.tracking.environment import environment
from leukobench.tracking.folder import RunFolder
from leukobench.tracking.store import Store
from leukobench.training.job import Training

GENES = (50, 512, 5000)
EPOCHS = (50, 200)
WHERE = ("to the folder", "to MLflow")


def seconds(groups: list[list[Training]], outlet: Outlet) -> float:
    """Of running these groups."""
    began = time.perf_counter()
    for group in groups:
        states = execute(group, outlet)
        assert set(states.values()) == {"finished"}, states
        told = [RunFolder.of(t.job.settings.output, t.id).run().get("stacked") or 1 for t in group]
        assert told == [len(group)] * len(group), "a stack was trained one by one"
    return time.perf_counter() - began


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    job_of = composer()
    rows = []

    def run(
        genes: int, epochs: int, where: str, stacked: bool, seeds: int
    ) -> tuple[float | None, list[int]]:
        """Seconds, and the sizes of stacks; no seconds where stacking is asked for and the rule does not stack."""
        output = folder / f"{genes}-{epochs}-{where}-{stacked}-{seeds}"
        settings = Settings(output, output, f"sqlite:///{output / 'mlflow.db'}")
        store = Store(settings) if where == "to MLflow" else None
        common = (
            f"settings.output={output}",
            f"settings.store={settings.store}",
            "data=golub38",
            "model=gene_mlp",
        )
        what = (
            "preprocess=top50",
            f"preprocess.genes={genes}",
            f"epochs={epochs}",
            "batch_size=32",
        )
        trainings = make_plan(
            [job_of(*common, *what, f"seed={s}") for s in range(seeds)], {}
        ).trainings
        groups = [[t] for t in trainings]
        if stacked:
            groups = stacks(trainings)
            if len(groups) == len(trainings):
                if not options.every_width:
                    return None, []
                groups = [trainings]
        outlet = Outlet(
            store,
            store.open_sweep("stacked") if store is not None else None,
            Console(quiet=True),
            {},
        )
        return seconds(groups, outlet), [len(g) for g in groups]

    for genes in options.genes:
        for epochs in EPOCHS:
            row: dict[str, Any] = {"genes": genes, "epochs": epochs}
            for where in WHERE:
                run(genes, 2, where, False, 2)
                run(genes, 2, where, True, 5)
                row[f"stacked, {where}"], row["stacks"] = run(
                    genes, epochs, where, True, options.seeds
                )
                if row["stacks"]:
                    row[f"alone, {where}"], _ = run(genes, epochs, where, False, options.seeds)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| genes | epochs | the rule | to the folder, one by one | stacked | | to MLflow, one by one | stacked | |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        rule = f"stacks of {', '.join(map(str, row['stacks']))}" if row["stacks"] else "one by one"
        cells = []
        for where in WHERE:
            alone, together = row.get(f"alone, {where}"), row[f"stacked, {where}"]
            cells += (
                [f"{alone:.1f} s", f"{together:.1f} s", f"{alone / together:.1f}x"]
                if alone
                else ["", "", ""]
            )
        lines.append(f"| {row['genes']:,} | {row['epochs']} | {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--genes", type=int, nargs="*", default=GENES)
    parser.add_argument(
        "--every-width", action="store_true", help="stack where the rule does not, too"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder))
    processor = environment()["processor"]
    machine = f"{processor}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{machine}; load when it began {load:.1f}; {options.seeds} seeds\n\n{table(rows)}")
    path = Path(__file__).parent / "results" / "stacked.json"
    path.write_text(
        json.dumps({"machine": machine, "load": load, **vars(options), "rows": rows}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    main()

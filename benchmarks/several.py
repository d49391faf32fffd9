"""Several small trainings on one device: one by one, or side by side in processes; whole commands.

    python benchmarks/several.py                # on the GPU where there is one, else on the CPU
    python benchmarks/several.py --workers 2 4  # how many side by side
    python benchmarks/several.py --render       # only write the tables of README-several.md again

Each way runs the same trainings, which differ in their seed alone, by `leukobench train -m` into a store of its own:

- one by one, in one process;
- side by side: by as many workers as named (`hydra/launcher=joblib planner.workers=N`).

Results go to `results/several_<cpu|gpu>.json` and into the tables of README-several.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from leukobench.simulation.images import simulate_cnmc
from leukobench.tracking.environment import environment

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """Trainings that differ in their seed.

    Attributes:
        overrides: Of one training.
        count: How many.
    """

    name: str
    overrides: tuple[str, ...]
    count: int


def cases(cells: Path) -> list[Case]:
    genes = ("data=golub38", "model=gene_mlp", "preprocess=top50", "epochs=200", "batch_size=32")
    images = (
        "data=cnmc",
        f"data.root={cells}",
        "model=lenet5",
        "preprocess=image",
        "preprocess.size=64",
        "epochs=5",
    )
    return [
        Case("gene_mlp, 50 genes, 200 epochs", genes, 32),
        Case("gene_mlp, 5,000 genes, 200 epochs", (*genes, "preprocess.genes=5000"), 32),
        Case("lenet5, 600 cells at 64 x 64, 5 epochs", images, 8),
    ]


def seconds(case: Case, device: str, output: Path, *way: str) -> float:
    """Of the whole command, start-up included."""
    trainer = ["trainer=gpu"] if device == "gpu" else ["trainer.accelerator=cpu"]
    environ = {**os.environ, "LEUKOBENCH_OUTPUT": str(output), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environ.pop("MLFLOW_TRACKING_URI", None)
    command = [
        sys.executable,
        "-m",
        "leukobench",
        "train",
        "-m",
        *case.overrides,
        *trainer,
        *way,
        "save_model=false",
    ]
    began = time.perf_counter()
    subprocess.run(
        [*command, f"seed=range({case.count})"], env=environ, check=True, stdout=subprocess.DEVNULL
    )
    taken = time.perf_counter() - began
    states = [json.loads(p.read_text()) for p in (output / "runs").rglob("run.json")]
    assert len(states) == case.count, f"{len(states)} of {case.count} trainings"
    assert all(s["state"] == "finished" for s in states), "a training failed"
    return taken


def measure(device: str, workers: list[int], work: Path) -> list[dict[str, Any]]:
    cells = simulate_cnmc(work / "cells", samples=600, subjects=60, seed=0)
    rows = []
    for n, case in enumerate(cases(cells)):
        ways: dict[str, tuple[str, ...]] = {"one by one": ()}
        for count in workers:
            ways[f"{count} side by side"] = ("hydra/launcher=joblib", f"planner.workers={count}")
        row: dict[str, Any] = {"trainings": case.count, "case": case.name}
        for i, (name, way) in enumerate(ways.items()):
            row[name] = seconds(case, device, work / f"{n}-{i}", *way)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def render(results: dict[str, Any]) -> str:
    names = [k for k in results["rows"][0] if k not in ("trainings", "case")]
    lines = [
        f"{results['machine']}; load when it began {results['load']:.1f}.",
        "",
        "| trainings | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for row in results["rows"]:
        alone = row["one by one"]
        found = [f"{row[k]:.1f} s ({alone / row[k]:.1f}x)" if k in row else "" for k in names]
        lines.append(f"| {row['trainings']} of {row['case']} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def write_readme() -> None:
    path = HERE / "README-several.md"
    text = path.read_text(encoding="utf-8")
    for kind in ("cpu", "gpu"):
        file = HERE / "results" / f"several_{kind}.json"
        table = (
            render(json.loads(file.read_text()))
            if file.is_file()
            else "Not measured yet: no result file."
        )
        head, _, rest = text.partition(f"<!-- {kind} -->")
        _, _, tail = rest.partition(f"<!-- /{kind} -->")
        text = f"{head}<!-- {kind} -->\n{table}\n<!-- /{kind} -->{tail}"
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="*", default=None)
    parser.add_argument("--cpu", action="store_true", help="on the CPU even where there is a GPU")
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    if not options.render:
        device = "gpu" if torch.cuda.is_available() and not options.cpu else "cpu"
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(
                device, options.workers or ([2, 4, 8] if device == "gpu" else [2]), Path(folder)
            )
        name = torch.cuda.get_device_name() if device == "gpu" else environment().processor
        machine = f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}"
        file = HERE / "results" / f"several_{device}.json"
        file.write_text(
            json.dumps({"machine": machine, "load": load, "rows": rows}, indent=1) + "\n"
        )
    write_readme()


if __name__ == "__main__":
    main()

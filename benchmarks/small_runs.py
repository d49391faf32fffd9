"""What a small run costs beyond its training: LeukoBench against bare PyTorch loops, on the same machine in one go.

    python benchmarks/small_runs.py            # prints the table of README-small-runs.md and writes results/small_runs.json

`gene_mlp` (128 hidden units, dropout 0.5) on 38 arrays, 50 epochs, batches of 32, one thread:

- `bare`: a plain loop over tensors in memory: steps, and loss and accuracy of all parts after each epoch; no
  preprocessing, no predictions, no files. With `torch.optim.Adam(parameters, lr)`, as one writes it.
- `bare, fused`: the same with `fused=True`, which LeukoBench's `optimizer=adam` has set.
- `... + MLflow`: its curves logged to SQLite, one run, one batch.
- `run`: a LeukoBench run to its folder: split, preprocessing, training, curves, metrics, predictions, weights, facts.
- `run + MLflow`: the same, delivered to the same kind of store with params, tags and artifacts.

All are repeated in turn, each time with another seed, and the fastest of each counts, because other work on the
machine only ever adds. Imports, the data set and the store are there before the clock starts, as they are from the
second job of a sweep on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import Tensor, nn

from leukobench.data.base import DataSource
from leukobench.data.families.expression import ExpressionDataset, expression_dataset
from leukobench.models.gene import mlp
from leukobench.settings import Settings, conf_dir
from leukobench.sweeps.app import opened
from leukobench.sweeps.compose import Composer
from leukobench.sweeps.console import Console
from leukobench.sweeps.outlet import Outlet
from leukobench.sweeps.plan import make_plan
from leukobench.sweeps.session import execute
from leukobench.tracking.connection import Store
from leukobench.tracking.sweeps import open_sweep
from leukobench.training.job import Job, Training, prepare, rows_of

EPOCHS, BATCH = 50, 32
WIDTHS = {
    "50": ("data=golub38", "preprocess=top50"),
    "5,000": ("data=golub38", "preprocess=standard"),
    "7,129": ("data=golub38", "preprocess=standard"),
}
VARIANTS = ("bare", "bare, fused", "run")


LOGGED = " + MLflow"


class Wide(DataSource):
    """38 simulated arrays of 7,129 genes, as many as on the arrays of 1999; values do not change what a step costs."""

    name = "wide"
    family = "expression"
    classes = ("AML", "ALL")
    positive = "ALL"

    def load(self) -> ExpressionDataset:
        values = np.random.default_rng(0).normal(500, 100, size=(38, 7129))
        labels = ["AML"] * 11 + ["ALL"] * 27
        ids, genes = [f"w{i}" for i in range(38)], [f"g{i}" for i in range(7129)]
        return expression_dataset(
            self.name,
            values,
            genes,
            ids,
            labels,
            self.classes,
            positive=self.positive,
            simulated=True,
        )

    def get(self) -> Path | None:
        return None

    def check(self, progress: Any = None) -> Any:
        raise NotImplementedError


def composer() -> Callable[..., Job]:
    def config(overrides: list[str]) -> Any:
        with opened(conf_dir()):
            return compose("train", overrides, return_hydra_config=True)

    groups = {p.name for p in conf_dir().iterdir() if p.is_dir()}
    made = Composer(config, groups.__contains__, OverridesParser.create())
    return lambda *overrides: made.job(overrides)


def bare(
    values: Tensor, y: Tensor, parts: dict[str, Tensor], seed: int, fused: bool | None = None
) -> list[dict[str, float]]:
    """A plain loop. Returns its curves."""
    torch.manual_seed(seed)
    network = mlp((values.shape[1],), 2, hidden=(128,), dropout=0.5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=fused)
    loss_of = nn.CrossEntropyLoss()
    train, curves = parts["train"], []
    for epoch in range(EPOCHS):
        network.train()
        total, right = torch.zeros(()), torch.zeros(())
        for rows in train[torch.randperm(len(train))].split(BATCH):
            logits = network(values[rows])
            loss = loss_of(logits, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            right += (logits.detach().argmax(dim=1) == y[rows]).sum()
        row = {
            "epoch": epoch + 1.0,
            "train_loss": total.item() / len(train),
            "train_accuracy": right.item() / len(train),
        }
        network.eval()
        with torch.inference_mode():
            for part in ("validation", "test"):
                logits, truth = network(values[parts[part]]), y[parts[part]]
                row[f"{part}_loss"] = loss_of(logits, truth).item()
                row[f"{part}_accuracy"] = (logits.argmax(dim=1) == truth).float().mean().item()
        curves.append(row)
    return curves


def log(store: Store, experiment: str, curves: list[dict[str, float]]) -> None:
    """One MLflow run, one batch."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    run = store.client.create_run(experiment)
    metrics = [
        Metric(k, v, now, int(row["epoch"]))
        for row in curves
        for k, v in row.items()
        if k != "epoch"
    ]
    store.client.log_batch(run.info.run_id, metrics=metrics)
    store.client.set_terminated(run.info.run_id)


def measure(repeats: int, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds, wall and CPU, by width and variant."""
    job_of = composer()
    settings = Settings(folder / "data", folder, f"sqlite:///{folder / 'mlflow.db'}")
    store = Store(settings)
    sweep, plain = open_sweep(store, "small runs"), store.client.create_experiment("bare")
    console = Console(quiet=True)
    delivered = Outlet(store, sweep, console=console, replaces={})
    kept = Outlet(None, None, console=console, replaces={})
    torch.set_num_threads(1)
    out: dict[str, dict[str, dict[str, float]]] = {}
    for width, overrides in WIDTHS.items():
        times: dict[str, list[tuple[float, float]]] = {
            v + m: [] for v in VARIANTS for m in ("", LOGGED)
        }
        for seed in range(2 * repeats + 2):
            common = (
                f"settings.output={folder}",
                f"settings.store={settings.store}",
                "model=gene_mlp",
            )
            job = job_of(
                *common, *overrides, f"epochs={EPOCHS}", f"batch_size={BATCH}", f"seed={seed}"
            )
            if width == "7,129":
                job.config["data"] = {"_target_": "__main__.Wide"}
            (training,) = make_plan([job], {}).trainings
            prepared = prepare(job)
            data = prepared.dataset
            assert isinstance(data, ExpressionDataset)
            genes = data.values[:, :50] if width == "50" else data.values
            values = torch.as_tensor((genes - genes.mean(axis=0)) / (genes.std(axis=0) + 1e-6))
            y = torch.as_tensor(data.y)
            parts = {part: torch.as_tensor(rows) for part, rows in rows_of(prepared).items()}
            delivering = seed % 2 == 0

            def run(training: Training = training, delivering: bool = delivering) -> None:
                state = execute(training, delivered if delivering else kept)
                assert state == "finished", state

            def loop(
                values: Tensor = values,
                y: Tensor = y,
                parts: Any = parts,
                seed: int = seed,
                fused: bool | None = None,
            ) -> None:
                curves = bare(values, y, parts, seed, fused)
                if seed % 2 == 0:
                    log(store, plain, curves)

            ways: tuple[Callable[[], object], ...] = (loop, partial(loop, fused=True), run)
            for variant, function in zip(VARIANTS, ways):
                wall, cpu = time.perf_counter(), time.process_time()
                function()
                took = time.perf_counter() - wall, time.process_time() - cpu
                if seed >= 2:  # the first of each warms caches and connections
                    times[variant + (LOGGED if delivering else "")].append(took)
        out[width] = {
            v: {"wall": min(t[0] for t in ts), "cpu": min(t[1] for t in ts)}
            for v, ts in times.items()
        }
    return out


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [
        "| genes | to MLflow | clock | bare | bare, fused | run | run / bare | run / bare, fused |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for width, variants in results.items():
        for logged in ("", LOGGED):
            for clock in ("wall", "cpu"):
                bare, fused, run = (variants[v + logged][clock] for v in VARIANTS)
                seconds = f"{bare:.3f} s | {fused:.3f} s | {run:.3f} s"
                where = "yes" if logged else "no"
                lines.append(
                    f"| {width} | {where} | {clock} | {seconds} | {run / bare:.2f} | {run / fused:.2f} |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(arguments.repeats, Path(folder))
    machine = f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}"
    print(
        f"{machine}; load {os.getloadavg()[0]:.1f}; the fastest of {arguments.repeats}\n\n{table(results)}"
    )
    path = Path(__file__).parent / "results" / "small_runs.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({"machine": machine, "load": os.getloadavg(), "results": results}, indent=1)
        + "\n"
    )


def _processor() -> str:
    from leukobench.tracking.environment import environment

    return str(environment().processor)


if __name__ == "__main__":
    main()

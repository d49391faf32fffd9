"""The grid of paper fata with the planner's sharing switched on against off: wall clock, the same numbers, full size.

    python benchmarks/planner.py               # 200 simulated cells, some minutes; prints the tables of README-planner.md
    python benchmarks/planner.py --size 224 --without-off
    python benchmarks/planner.py --images 40 --epochs 3 --size 64     # a try

Two networks (efficientnet_lite0 and resnet18, frozen at random weights) x Adam and RMSprop x epochs 1 to 8, 32 results,
each way as one `leukobench sweep` into a store of its own. *On*: epochs of one training, features kept, one pass over
the images for both backbones. *Off*: `planner.merge=false planner.features=false`, 32 trainings.

*Bare* is what no planner can go below: the same features and the same heads in plain loops, without splits, curves,
predictions, files or MLflow. Start-up is the time of the same command when all is done; the planned cost is the time
beyond it.

For full size, speeds of VGG16 and ResNet50 at 224 x 224 are measured here and multiplied by the passes that each way
needs: 390 epochs x 2 optimizers x 8,528 images a network run by run, 10,661 images a network with features kept.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

from leukobench.data.image_store import build_store
from leukobench.data.sources.cnmc import CNMC
from leukobench.models.augment import Normalise
from leukobench.models.transfer import timm_network
from leukobench.settings import Settings
from leukobench.simulation.images import simulate_cnmc
from leukobench.tracking.reading import Results

NETWORKS = ("efficientnet_lite0", "resnet18")
OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
OFF = ("planner.merge=false", "planner.features=false")
PAPER_EPOCHS = (10, 20, 30, 40, 50, 60, 80, 100)
TRAIN, ALL = 8_528, 10_661
BATCH = 32


def launch(cells: Path, output: Path, options: argparse.Namespace, *more: str) -> float:
    """Seconds of one `leukobench sweep`, from start to end."""
    command = [
        str(Path(sys.executable).parent / "leukobench"), "sweep", "fata", "data=cnmc", f"data.root={cells}",
        f"settings.output={output}", f"settings.store=sqlite:///{output / 'mlflow.db'}", "seed=0", "fold=0",
        "model=timm", f"model.name={','.join(NETWORKS)}", "model.pretrained=false", "model.pooling=avg", "model.hidden=512", "preprocess=image", f"preprocess.size={options.size}",
        f"epochs=range(1,{options.epochs + 1})", "curves_on=[]", "save_model=false", *more,
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def predictions(output: Path) -> dict[str, Any]:
    """Test predictions by identity."""
    results = Results(Settings(output, output, f"sqlite:///{output / 'mlflow.db'}"), ["fata"])
    return {
        r.identity: results.predictions(r).set_index(["part", "sample"]).sort_index()
        for r in results.results
    }


def compare(on: dict[str, Any], off: dict[str, Any]) -> dict[str, Any]:
    """How far the numbers of the two ways lie apart."""
    assert on.keys() == off.keys()
    apart, other = 0.0, 0
    for identity, one in on.items():
        columns = [c for c in one.columns if c.startswith("p_")]
        a, b = one[columns].to_numpy(), off[identity].loc[one.index, columns].to_numpy()
        apart = max(apart, float(np.abs(a - b).max()))
        other += int((a.argmax(axis=1) != b.argmax(axis=1)).sum())
    return {"results": len(on), "largest_difference": apart, "other_classes": other}


def network_of(name: str, size: int) -> Any:
    torch.manual_seed(0)
    return timm_network(
        (3, size, size), 2, name=name, pretrained=False, finetune="head", pooling="avg", hidden=512
    )


def bare(cells: Path, work: Path, options: argparse.Namespace) -> float:
    """Seconds of features and heads in plain loops."""
    dataset = CNMC(cells).load()
    images = build_store(dataset, options.size, work).array
    y = torch.as_tensor(dataset.y)
    rows = torch.arange(round(0.8 * len(y)))
    normalise = Normalise("unit")
    networks = [network_of(name, options.size) for name in NETWORKS]
    began = time.perf_counter()
    for network in networks:
        network.eval()
        with torch.inference_mode():
            batches = [
                torch.from_numpy(images[i : i + BATCH].copy()) for i in range(0, len(images), BATCH)
            ]
            kept = torch.cat([network.frozen_features(normalise(b)) for b in batches])
        features = kept.clone()
        for optimizer_of in OPTIMIZERS.values():
            train_head(network.head, features, y, rows, optimizer_of, options.epochs)
    return time.perf_counter() - began


def train_head(
    head: nn.Module,
    features: Tensor,
    y: Tensor,
    rows: Tensor,
    optimizer_of: Callable[..., Any],
    epochs: int,
) -> None:
    optimizer, loss_of = optimizer_of(head.parameters(), 1e-4), nn.CrossEntropyLoss()
    for _ in range(epochs):
        for chosen in rows[torch.randperm(len(rows))].split(BATCH):
            optimizer.zero_grad()
            loss_of(head(features[chosen]), y[chosen]).backward()
            optimizer.step()


def full_size() -> dict[str, float]:
    """Seconds of the paper's grid on this machine, from measured speeds."""
    way = {"run by run": 0.0, "features shared": 0.0, "trajectories too": 0.0}
    for name in ("vgg16.tv_in1k", "resnet50.tv_in1k"):
        network = network_of(name, 224).eval()
        batch, times = torch.rand(8, 3, 224, 224), []
        with torch.inference_mode():
            for _ in range(4):
                began = time.perf_counter()
                features = network.frozen_features(batch).clone()
                times.append((time.perf_counter() - began) / len(batch))
        image = min(times)
        n = 400 * len(batch)
        many, y = features.repeat(400, 1), torch.zeros(n, dtype=torch.long)
        began = time.perf_counter()
        train_head(network.head, many, y, torch.arange(n), torch.optim.Adam, 1)
        head = (time.perf_counter() - began) / n
        passes = len(OPTIMIZERS) * sum(PAPER_EPOCHS) * TRAIN
        predicted = len(OPTIMIZERS) * len(PAPER_EPOCHS) * ALL
        way["run by run"] += passes * (image + head) + predicted * image
        way["features shared"] += ALL * image + passes * head
        way["trajectories too"] += ALL * image + len(OPTIMIZERS) * max(PAPER_EPOCHS) * TRAIN * head
    return way


def render(r: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    s, beyond = r["seconds"], r["seconds"]["on"] - r["seconds"]["start-up"]
    lines = [
        f"{r['machine']}; load when it began {r['load']:.1f}. {r['images']} cells at {r['size']} x {r['size']}, "
        f"epochs 1 to {r['epochs']}, {4 * r['epochs']} results.",
        "",
        "| | seconds | |",
        "| --- | ---: | --- |",
        *([f"| planner off | {s['off']:.1f} | |"] if "off" in s else []),
        f"| planner on | {s['on']:.1f} | {format(s['off'] / s['on'], '.1f') + 'x faster' if 'off' in s else ''} |",
        f"| start-up alone | {s['start-up']:.1f} | |",
        f"| planner on, beyond start-up | {beyond:.1f} | {beyond / s['bare']:.2f}x of bare |",
        f"| bare: features once and heads | {s['bare']:.1f} | |",
        "",
        f"The paper's grid at full size, {ALL:,} images, by the speeds of this machine on one thread:",
        "",
        "| way | hours | |",
        "| --- | ---: | --- |",
    ]
    if r["same"]:
        lines[-5:-5] = [
            "",
            f"Same numbers: probabilities differ by at most {r['same']['largest_difference']:.1e}; "
            f"{r['same']['other_classes']} predictions fall into another class.",
        ]
    alone = r["full_size"]["run by run"]
    lines += [f"| {k} | {v / 3600:,.2f} | {alone / v:,.0f}x |" for k, v in r["full_size"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument(
        "--without-off",
        action="store_true",
        help="leave out the long half: what sharing costs, not gains",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cells = simulate_cnmc(work / "cells", samples=options.images, seed=0)
        seconds = {"on": launch(cells, work / "on", options)}
        seconds["start-up"] = launch(cells, work / "on", options)
        seconds["bare"] = bare(cells, work, options)
        same = {}
        if not options.without_off:
            seconds["off"] = launch(cells, work / "off", options, *OFF)
            same = compare(predictions(work / "on"), predictions(work / "off"))
    from leukobench.tracking.environment import environment

    machine = f"{environment().processor}, {os.cpu_count()} cores, torch {torch.__version__} on one thread"
    results = {
        "machine": f"{machine}, Python {platform.python_version()}",
        "load": load,
        **vars(options),
        "seconds": seconds,
        "same": same,
        "full_size": full_size(),
    }
    path = Path(__file__).parent / "results" / f"planner_{options.size}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(render(results))


if __name__ == "__main__":
    main()

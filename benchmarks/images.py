"""Speed of image training: input, step and both together, against loops as they are usually written.

    python benchmarks/images.py                     # rows of this machine: CPU, or GPU where there is one
    python benchmarks/images.py --cells FOLDER      # store part on real C-NMC files instead of simulated cells
    python benchmarks/images.py --grid              # also the whole grid of paper fata (minutes on a GPU)
    python benchmarks/images.py --clock cpu         # CPU time of one thread: for a machine with other work on it
    python benchmarks/images.py --render            # only write the tables of README-images.md again

Results go to `results/images_<cpu|gpu>.json` and into the tables of README-images.md. Three pipelines, each on the
same cells, network, batch size and augmentation:

- `folder`: torchvision's ImageFolder, decoding and augmenting each BMP in each epoch, a DataLoader, a plain loop;
- `cached`: the same with the decoded, resized images as a uint8 tensor in memory;
- `leukobench`: image store, batches gathered, augmented and normalised on the device, `leukobench.training`.

DataLoaders are measured with 0 and with 2 or more workers, and the faster counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import datasets, transforms

from leukobench.data.families.image import ImageDataset, image_dataset
from leukobench.data.image_files import content_digests
from leukobench.data.image_store import ImageStore, build_store
from leukobench.data.sources.cnmc import CNMC
from leukobench.integrity import headers, verify
from leukobench.models.augment import Augment, Normalise
from leukobench.models.image import lenet5
from leukobench.models.transfer import timm_network
from leukobench.simulation.images import simulate_cnmc
from leukobench.training.feed import Feed, ImageFeed
from leukobench.training.module import Classifier, Recipe, quiet_trainer
from leukobench.training.schedules import Constant

HERE = Path(__file__).resolve().parent
SIZE = 224
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` counts this process's own computing, whatever else the machine does; it cannot see worker processes."""
RAI = Augment(rotation=20.0, zoom=(0.8, 1.2), flip=True)


@dataclass(frozen=True)
class Case:
    """One network under one setting.

    Attributes:
        images: Images an epoch.
        finetune: `all`, or `head` with a frozen backbone (as in paper fata).
    """

    network: str
    finetune: Literal["head", "all"]
    augment: str
    batch: int
    images: int
    repeats: int

    def build(self) -> nn.Module:
        """A network with random weights: speed does not depend on them, and nothing is downloaded."""
        torch.manual_seed(0)
        if self.network == "lenet5":
            return lenet5((3, SIZE, SIZE), 2)
        return timm_network(
            (3, SIZE, SIZE),
            2,
            name=self.network,
            pretrained=False,
            finetune=self.finetune,
            pooling="avg",
        )


CPU_CASES = (
    Case("lenet5", "all", "rai", 32, 192, 2),
    Case("resnet18", "all", "rai", 32, 128, 2),
    Case("vgg16", "head", "rai", 16, 48, 2),
)
GPU_CASES = tuple(
    Case(network, "all", "rai", batch, 4096, 2)
    for network in ("vgg16", "resnet50", "efficientnet_b0")
    for batch in (40, 256)
) + tuple(Case(network, "head", "none", 32, 4096, 2) for network in ("vgg16", "resnet50"))


# Measuring ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Images a second of one pipeline in one case.

    Attributes:
        waiting: Share of the time of both together that the network alone would not need.
        flops: Floating-point operations a second of the step alone, multiply and add counted as two.
    """

    case: Case
    pipeline: str
    workers: int
    input: float
    step: float
    together: float
    waiting: float
    flops: float


class Clock:
    """The clock that every measurement reads; chosen once, by `main`."""

    name = "wall"

    def __call__(self) -> float:
        return CLOCKS[self.name]()


clock = Clock()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(function: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        synchronise(device)
        start = clock()
        function()
        synchronise(device)
        times.append(clock() - start)
    return statistics.median(times)


def operations(network: nn.Module, batch: Tensor, labels: Tensor) -> int:
    """Floating-point operations of one training step on this batch."""
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(network(batch), labels).backward()
    network.zero_grad()
    return counter.get_total_flops()


# Loops as usually written ---------------------------------------------------------------------------------------------


def usual_transforms(augment: str) -> list[Any]:
    """One combined bilinear affine, which is less work than separate rotation and zoom."""
    if augment == "none":
        return []
    affine = transforms.RandomAffine(
        20, scale=(0.8, 1.2), interpolation=transforms.InterpolationMode.BILINEAR
    )
    return [affine, transforms.RandomHorizontalFlip()]


def folder_dataset(root: Path, case: Case) -> TorchDataset[Any]:
    pipeline = transforms.Compose(
        [transforms.Resize((SIZE, SIZE)), *usual_transforms(case.augment), transforms.ToTensor()]
    )
    folds = sorted((root / "C-NMC_Leukemia" / "training_data").iterdir())
    every: ConcatDataset[Any] = ConcatDataset(
        [datasets.ImageFolder(str(fold), pipeline) for fold in folds if fold.is_dir()]
    )
    return torch.utils.data.Subset(every, range(case.images))


class Cached(TensorDataset):
    """Decoded images (n, 3, H, W) in memory; each one augmented by itself, as torchvision does."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, augment: str) -> None:
        super().__init__(
            torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
        )
        self.pipeline = transforms.Compose(
            [*usual_transforms(augment), transforms.ConvertImageDtype(torch.float32)]
        )

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        image, label = super().__getitem__(i)
        return self.pipeline(image), label


def usual(
    case: Case, pipeline: str, data: TorchDataset[Any], device: torch.device, precision: str
) -> Row:
    """The plain loop: model.train(), for images, labels in loader."""
    network = case.build().to(device).train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-3)
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=precision != "32-true")

    def step(images: Tensor, labels: Tensor) -> None:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        with mixed:
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()  # the running loss that such loops print

    def loader(workers: int) -> DataLoader[Any]:
        pinned = device.type == "cuda"
        return DataLoader(
            data,
            case.batch,
            shuffle=True,
            num_workers=workers,
            pin_memory=pinned,
            persistent_workers=workers > 0,
        )

    def read(batches: DataLoader[Any]) -> Callable[[], None]:
        def go() -> None:
            for images, labels in batches:
                images.to(device), labels.to(device)

        return go

    def train(batches: DataLoader[Any]) -> Callable[[], None]:
        def go() -> None:
            for images, labels in batches:
                step(images, labels)

        return go

    several = max(2, min(16, os.cpu_count() or 2))
    # On a GPU one process cannot keep up: only workers are measured.
    loaders = {w: loader(w) for w in ((several,) if device.type == "cuda" else (0, several))}
    fixed = next(iter(next(iter(loaders.values()))))
    flops = operations(network, fixed[0].to(device), fixed[1].to(device)) / len(fixed[1])
    steps = case.images // case.batch

    def repeat() -> None:
        for _ in range(steps):
            step(*fixed)

    alone = seconds(repeat, device, case.repeats) / steps / case.batch
    if clock.name == "cpu":
        loaders = {0: loaders[0]}
    elif device.type == "cpu" and alone > 10 * seconds(read(loaders[0]), device, 1) / case.images:
        loaders = {0: loaders[0]}  # workers cannot matter: spare the time
    both = {
        w: seconds(train(batches), device, case.repeats) / case.images
        for w, batches in loaders.items()
    }
    workers = min(both, key=lambda w: both[w])
    reading = seconds(read(loaders[workers]), device, case.repeats) / case.images
    return Row(
        case, pipeline, workers, 1 / reading, 1 / alone, 1 / both[workers], max(0.0, 1 - alone / both[workers]),
        flops / alone,
    )  # fmt: skip


# LeukoBench -----------------------------------------------------------------------------------------------------------


class FixedFeed:
    """The same batch for every request: what is left is the training step."""

    augmented = False

    def __init__(self, batch: Tensor) -> None:
        self.batch = batch
        self.input_shape = tuple(batch.shape[1:])

    def start_epoch(self, epoch: int, batches: Sequence[Tensor] = ()) -> None:
        """Nothing to draw."""

    @property
    def rows_on(self) -> torch.device:
        return self.batch.device

    def to(self, device: torch.device) -> None:
        self.batch = self.batch.to(device)

    def plain_batch(self, rows: Tensor) -> Tensor:
        return self.batch[: len(rows)]

    training_batch = plain_batch


class Stopwatch(pl.Callback):
    """Duration of each epoch, seconds."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        synchronise(self.device)
        self.start = clock()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        synchronise(self.device)
        self.times.append(clock() - self.start)


def own(
    case: Case, store: ImageStore, labels: np.ndarray, device: torch.device, precision: str
) -> Row:
    """The product's own feed, module and Trainer; channels innermost in memory, fused Adam."""
    images = store.array[: case.images]
    layout = torch.channels_last

    def feed() -> ImageFeed:
        augment = RAI if case.augment == "rai" else None
        return ImageFeed(images, Normalise("unit", channels_last=True), augment, seed=0)

    def epochs(data: Feed) -> float:
        network = case.build().to(memory_format=layout)
        recipe = Recipe(
            optimizer=lambda parameters: torch.optim.Adam(parameters, 1e-3, fused=True),
            schedule=Constant(),
            epochs=case.repeats + 1,
            seed=0,
            batch_size=case.batch,
            curves_on=(),
        )
        parts = {"train": np.arange(case.images)}
        module = Classifier(
            network, nn.CrossEntropyLoss(), data, labels[: case.images], parts, recipe
        )
        watch = Stopwatch(device)
        trainer = quiet_trainer(
            max_epochs=recipe.epochs,
            accelerator=device.type,
            precision=precision,
            callbacks=[watch],
        )
        trainer.fit(module)
        return statistics.median(watch.times[1:])

    data = feed()
    data.to(device)
    data.start_epoch(0)
    order = torch.randperm(case.images)

    def read() -> None:
        for rows in order.to(data.rows_on).split(case.batch):
            data.training_batch(rows)

    input_time = seconds(read, device, max(3, case.repeats)) / case.images
    batch = data.training_batch(order[: case.batch].to(data.rows_on))
    network = case.build().to(memory_format=layout).to(device)
    flops = operations(
        network, batch, torch.zeros(len(batch), dtype=torch.long, device=device)
    ) / len(batch)
    alone = epochs(FixedFeed(batch)) / case.images
    both = epochs(feed()) / case.images
    return Row(
        case, "leukobench", 0, 1 / input_time, 1 / alone, 1 / both, max(0.0, 1 - alone / both), flops / alone
    )  # fmt: skip


def ceiling(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large matrix product: what the device can reach."""
    dtype = torch.float32 if precision == "32-true" else torch.bfloat16
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b, device, 10)


# The store against decoding each epoch --------------------------------------------------------------------------------


def files_dataset(folder: Path) -> ImageDataset:
    """Every BMP below a folder, labelled or not."""
    paths = sorted(folder.rglob("*.bmp"))
    if not paths:
        raise SystemExit(f"no BMP below {folder}")
    names = [str(p.relative_to(folder)) for p in paths]
    return image_dataset(
        "cells", paths, content_digests(paths, folder), names, ["cell"] * len(paths), ["cell"]
    )


class Files(TorchDataset[Tensor]):
    """Decode and resize on request."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self.pipeline = transforms.Compose(
            [transforms.Resize((SIZE, SIZE)), transforms.PILToTensor()]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        return self.pipeline(datasets.folder.default_loader(str(self.paths[i])))


def measure_store(folder: Path, work: Path, what: str) -> dict[str, Any]:
    """Time of building the store and of one epoch from it, against one epoch of decoding, all from a warm file cache."""
    dataset = files_dataset(folder)
    n, cpu = len(dataset), torch.device("cpu")

    def build() -> None:
        shutil.rmtree(work / "images", ignore_errors=True)
        build_store(dataset, SIZE, work / "images")

    built = seconds(build, cpu, 3)
    opened = seconds(lambda: build_store(dataset, SIZE, work / "images"), cpu, 5)
    store = build_store(dataset, SIZE, work / "images")
    (header,) = headers(work)
    verified = seconds(lambda: verify(header), cpu, 3)
    order = np.random.default_rng(0).permutation(n)
    buffer = np.empty((32, SIZE, SIZE, 3), np.uint8)

    def read() -> None:
        for start in range(0, n, 32):
            rows = order[start : start + 32]
            store.read(rows, out=buffer[: len(rows)])

    epoch = seconds(read, cpu, 5)
    decoding = {}
    for workers in (0,) if clock.name == "cpu" else (0, 2):
        loader = DataLoader(
            Files(dataset.paths),
            32,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

        def decode(batches: DataLoader[Any] = loader) -> None:
            for _ in batches:
                pass

        decoding[workers] = seconds(decode, cpu, 2)
    return {
        "cells": what,
        "images": n,
        "bytes_of_files": sum(p.stat().st_size for p in dataset.paths),
        "bytes_of_store": store.array.nbytes,
        "build_seconds": built,
        "open_seconds": opened,
        "verify_seconds": verified,
        "epoch_from_store_seconds": epoch,
        "epoch_decoding_seconds": decoding[0],
        "epoch_decoding_two_workers_seconds": decoding.get(2),
    }


# The grid of paper fata -----------------------------------------------------------------------------------------------


def measure_grid(
    cells: Path, images: int, work: Path, rows: list[Row], arguments: list[str]
) -> dict[str, Any]:
    """The sweep `fata` from start to end, and what it would take run by run.

    Run by run, each of the 32 combinations pushes its training images through the backbone in every epoch: 390 epochs
    for each of two optimizers. The estimate multiplies these passes by the measured speed of the frozen network.
    """
    command = [
        str(Path(sys.executable).parent / "leukobench"), "sweep", "fata", "protocol=paper", "data=cnmc",
        f"data.root={cells}", "model.pretrained=false", "seed=0", "fold=0", "save_model=false",
        f"settings.output={work / 'outputs'}", f"settings.store=sqlite:///{work / 'outputs' / 'mlflow.db'}", *arguments,
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True)
    taken = time.perf_counter() - start
    speed = {
        r.case.network: r.together
        for r in rows
        if r.pipeline == "leukobench" and r.case.finetune == "head"
    }
    train = round(images * 0.8)
    run_by_run = (
        sum(2 * 390 * train / speed[n] for n in ("vgg16", "resnet50")) if len(speed) == 2 else None
    )
    return {
        "images": images,
        "combinations": 32,
        "seconds": taken,
        "run_by_run_seconds": run_by_run,
        "command": command[1:],
    }


# Report ---------------------------------------------------------------------------------------------------------------


def machine(device: torch.device) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        models = [
            x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")
        ]
        cpu = models[0].split(":", 1)[1].strip() if models else cpu
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }


_CLOCK_WORDS = {
    "wall": "of the clock on the wall",
    "cpu": "of CPU time of the process, one thread in torch: the machine had other work, and the clock would show that",
}


def render(results: dict[str, Any]) -> str:
    """Tables in Markdown."""
    m = results["machine"]
    lines = [
        f"{m['device']}, {m['cores']} cores, torch {m['torch']} with {m['torch_threads']} threads, "
        f"precision {results['precision']}; a matrix product reaches {results['ceiling'] / 1e9:,.0f} GFLOP/s. "
        f"Seconds are {_CLOCK_WORDS[results['clock']]}. "
        f"Load of the machine when the run began: {results['load']:.1f}. Run time: {results['seconds']:.0f} s.",
        "",
        "| network | trained | augment | batch | pipeline | input, images/s | step, images/s | both, images/s | waiting | "
        "of ceiling | against folder |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    slowest = {
        json.dumps(r["case"]): r["together"] for r in results["rows"] if r["pipeline"] == "folder"
    }
    for r in results["rows"]:
        c = r["case"]
        pipeline = r["pipeline"] + (f" ({r['workers']} workers)" if r["workers"] else "")
        lines.append(
            f"| {c['network']} | {c['finetune']} | {c['augment']} | {c['batch']} | {pipeline} | {r['input']:,.0f} | "
            f"{r['step']:,.1f} | {r['together']:,.1f} | {r['waiting']:.1%} | {r['flops'] / results['ceiling']:.0%} | "
            f"{r['together'] / slowest[json.dumps(c)]:.2f}x |"
        )
    lines += [
        "",
        "Input time as a share of the step's, `leukobench`: "
        + ", ".join(_shares(results["rows"]))
        + ".",
    ]
    s = results.get("store")
    if s:
        n = s["images"]
        lines += [
            "",
            f"Image store of {n:,} {s['cells']} cells ({s['bytes_of_files'] / 1e6:,.0f} MB of BMP to "
            f"{s['bytes_of_store'] / 1e6:,.0f} MB at {SIZE} x {SIZE}), files in the system's cache:",
            "",
            "| | seconds | images/s |",
            "| --- | ---: | ---: |",
        ]
        for label, key in (
            ("build the store, once", "build_seconds"),
            ("one epoch in random order from the store", "epoch_from_store_seconds"),
            ("one epoch decoding BMP, DataLoader without workers", "epoch_decoding_seconds"),
            (
                "one epoch decoding BMP, DataLoader with 2 workers",
                "epoch_decoding_two_workers_seconds",
            ),
            ("verify every image of the store", "verify_seconds"),
        ):
            if s[key] is not None:
                lines.append(f"| {label} | {s[key]:.2f} | {n / s[key]:,.0f} |")
        lines.append(f"| open the store | {s['open_seconds']:.4f} | |")
    g = results.get("grid")
    if g:
        lines += [
            "",
            f"Grid of `fata`, {g['combinations']} combinations on {g['images']:,} simulated cells: {g['seconds']:,.0f} s",
        ]
        if g["run_by_run_seconds"]:
            lines[-1] += (
                f"; run by run it would take {g['run_by_run_seconds']:,.0f} s (passes times measured speed)"
            )
        lines[-1] += "."
    return "\n".join(lines)


def _shares(rows: list[dict[str, Any]]) -> Iterator[str]:
    for r in rows:
        if r["pipeline"] == "leukobench":
            c = r["case"]
            yield f"{c['network']} ({c['augment']}, batch {c['batch']}) {r['step'] / r['input']:.1%}"


def write_readme() -> None:
    """Put the tables of all result files between their marks in README-images.md."""
    path = HERE / "README-images.md"
    text = path.read_text()
    for kind in ("cpu", "gpu"):
        file = HERE / "results" / f"images_{kind}.json"
        table = (
            render(json.loads(file.read_text()))
            if file.is_file()
            else "Not measured yet: no result file."
        )
        begin, end = f"<!-- {kind} -->", f"<!-- /{kind} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{table}\n{end}{tail}"
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=Path, help="folder of C-NMC files for the store part")
    parser.add_argument("--cpu", action="store_true", help="CPU rows even where there is a GPU")
    parser.add_argument("--grid", action="store_true", help="also the whole grid of paper fata")
    parser.add_argument("--grid-images", type=int, default=10_661)
    parser.add_argument(
        "--grid-arguments", nargs="*", default=[], help="further overrides of the sweep"
    )
    parser.add_argument("--only", help="network whose rows are measured")
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="cpu implies one thread, no workers"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="result file; the tables are then left alone")
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    if options.render:
        write_readme()
        return
    began, load = time.perf_counter(), os.getloadavg()[0]
    clock.name = options.clock
    torch.set_num_threads(1 if options.clock == "cpu" else options.threads)
    gpu = torch.cuda.is_available() and not options.cpu
    device = torch.device("cuda" if gpu else "cpu")
    precision = "bf16-mixed" if gpu else "32-true"
    torch.set_float32_matmul_precision("high" if gpu else "highest")
    cases = [c for c in (GPU_CASES if gpu else CPU_CASES) if options.only in (None, c.network)]
    results: dict[str, Any] = {
        "machine": machine(device),
        "precision": precision,
        "load": load,
        "clock": options.clock,
    }
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        root = simulate_cnmc(
            work / "cells", samples=max([c.images for c in cases], default=32), seed=0
        )
        results["store"] = measure_store(
            options.cells or root, work / "real", "real C-NMC" if options.cells else "simulated"
        )
        print(json.dumps(results["store"], indent=1), flush=True)
        dataset = CNMC(root).load()
        assert isinstance(dataset, ImageDataset)
        store = build_store(dataset, SIZE, work / "images")
        results["ceiling"] = ceiling(device, precision)
        rows: list[Row] = []
        for case in cases:
            cached = Cached(
                np.array(store.array[: case.images]), dataset.y[: case.images], case.augment
            )
            for measured in (
                lambda c=case: usual(c, "folder", folder_dataset(root, c), device, precision),
                lambda c=case, d=cached: usual(c, "cached", d, device, precision),
                lambda c=case: own(c, store, dataset.y, device, precision),
            ):
                rows.append(measured())
                r = rows[-1]
                print(
                    f"{case.network:16} {case.augment:5} batch {case.batch:3} {r.pipeline:10} workers {r.workers:2} "
                    f"input {r.input:8.1f}/s step {r.step:8.1f}/s both {r.together:8.1f}/s waiting {r.waiting:.1%}",
                    flush=True,
                )
        results["rows"] = [asdict(r) for r in rows]
        if options.grid:
            cells = simulate_cnmc(work / "grid", samples=options.grid_images, seed=0)
            results["grid"] = measure_grid(
                cells, options.grid_images, work, rows, options.grid_arguments
            )
    results["seconds"] = time.perf_counter() - began
    file = options.out or HERE / "results" / f"images_{'gpu' if gpu else 'cpu'}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{file.name} written in {results['seconds']:.0f} s")
    if options.out is None:
        write_readme()


if __name__ == "__main__":
    main()

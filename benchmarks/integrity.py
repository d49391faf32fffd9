"""What it costs to check stores before they are used, as a share of the smallest sweeps that use them.

    python benchmarks/integrity.py --cells FOLDER      # of C-NMC 2019, `all`, `hem` and the like below it

Two commands of one training and one epoch, each in a process of its own with its stores already built: the head of a
frozen ResNet-18, and LeNet-5 on the images. Their CPU seconds stand beside those of checking the same stores in a fresh
process. A sweep checks each store once a process, so that every further training makes the share smaller. Results go to
`results/integrity.json` and into the table of README-integrity.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from leukobench.integrity import headers, verify

HERE = Path(__file__).resolve().parent
COMMANDS = {
    "head of a frozen resnet18, 1 epoch": ("model=resnet18", "model.pretrained=false"),
    "lenet5, 1 epoch": ("model=lenet5",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, required=True, help="folder of C-NMC 2019")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, overrides in COMMANDS.items():
            output = Path(scratch)
            train(given.cells, output, ["epochs=1", *overrides])
            whole = train(given.cells, output, ["epochs=1", "l2=0.001", *overrides])
            used = [h for h in headers(output) if h.parent.parent.name == "images"]
            if "head" in name:
                used += [h for h in headers(output) if h.parent.parent.name == "features"]
            checks = [check(used) for _ in range(given.repeats)]
            rows.append(
                {
                    "training": name,
                    "bytes": sum(size(header) for header in used),
                    "command_cpu": round(whole, 2),
                    "check_cpu": round(min(c[0] for c in checks), 3),
                    "check_wall": round(min(c[1] for c in checks), 3),
                }
            )
            print(rows[-1], flush=True)
    result = {
        "machine": f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
        "rows": rows,
    }
    (HERE / "results" / "integrity.json").write_text(json.dumps(result, indent=1) + "\n")


def train(cells: Path, output: Path, overrides: Sequence[str]) -> float:
    """CPU seconds of one training as a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    fixed = [
        "data=cnmc",
        f"data.root={cells}",
        "preprocess=image",
        "preprocess.size=224",
        "split=holdout",
        "batch_size=32",
        "figures=false",
        f"settings.output={output}",
        f"settings.store=sqlite:///{output}/mlflow.db",
        "trainer.accelerator=cpu",
    ]
    command = [str(Path(sys.executable).parent / "leukobench"), "train", *fixed, *overrides]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check(stores: Sequence[Path]) -> tuple[float, float]:
    """CPU and wall seconds of checking stores."""
    cpu, wall = time.process_time(), time.perf_counter()
    damages = [damage for header in stores for damage in verify(header)]
    assert not damages, damages
    return time.process_time() - cpu, time.perf_counter() - wall


def size(header: Path) -> int:
    return sum(file.stat().st_size for file in header.parent.iterdir())


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))


if __name__ == "__main__":
    main()

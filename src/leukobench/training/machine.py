"""What the machine does while a training runs: utilisation and memory of CPU and GPU, sampled beside it.

Names are those of MLflow's own system metrics, so that its UI draws them on its page for them.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as pl
import torch

from leukobench.schema.records import SYSTEM_METRICS
from leukobench.tracking.folder import write

MOST_SAMPLES = 400
"""When a training has more, every second one is dropped and sampling goes on half as often."""
MEGABYTE = 1e6


class SystemMetrics(pl.Callback):
    """Samples the machine in a thread from the start of a training to its end, and writes the samples down.

    Args:
        folder: Run folder of the training.
        every: Seconds between samples.
    """

    def __init__(self, folder: Path, every: float = 1.0) -> None:
        self.folder, self.every = folder, every
        self.samples: list[dict[str, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._thread = threading.Thread(target=self._watch, name="system-metrics", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        psutil.cpu_percent()  # counts from here, for each thread by itself
        ended = False
        while not ended:
            ended = self._ended.wait(self.every)
            self.samples.append(sample())
            if len(self.samples) > MOST_SAMPLES:
                self.samples = self.samples[1::2]
                self.every *= 2

    def _end(self) -> None:
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        write(SYSTEM_METRICS, self.samples, self.folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._end()


def sample() -> dict[str, float]:
    """Utilisation since the last sample, and memory, now; `time` in Unix milliseconds."""
    memory = psutil.virtual_memory()
    values = {
        "time": round(time.time() * 1000),
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": round(memory.used / MEGABYTE, 1),
        "system_memory_usage_percentage": memory.percent,
    }
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            values[f"gpu_{i}_memory_usage_megabytes"] = round((total - free) / MEGABYTE, 1)
            values[f"gpu_{i}_memory_usage_percentage"] = round(100 * (total - free) / total, 1)
            try:
                values[f"gpu_{i}_utilization_percentage"] = float(torch.cuda.utilization(i))
            except (ImportError, RuntimeError):
                continue  # needs the package nvidia-ml-py and a driver that answers
    return values


def profiler(name: str | None, folder: Path) -> Any:
    """A profiler of Lightning that writes `fit-profile.txt` into a run folder.

    Args:
        name: `simple`, `advanced`, `pytorch`, or None for no profiler.

    Raises:
        ConfigError: No such profiler.
    """
    from pytorch_lightning.profilers import (
        AdvancedProfiler,
        Profiler,
        PyTorchProfiler,
        SimpleProfiler,
    )

    from leukobench.errors import ConfigError

    kinds: dict[str, type[Profiler]] = {
        "simple": SimpleProfiler,
        "advanced": AdvancedProfiler,
        "pytorch": PyTorchProfiler,
    }
    if name is None:
        return None
    if name not in kinds:
        raise ConfigError(f"trainer.profiler knows {', '.join(kinds)} and null, not {name!r}")
    return kinds[name](dirpath=folder, filename="profile")

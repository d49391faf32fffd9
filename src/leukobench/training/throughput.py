"""How fast a training ran: samples a second, share of time spent on input, memory, arithmetic against the device.

Times are host times; on a GPU the device is waited for once an epoch, so steps stay asynchronous.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass
class Clock:
    """What a training has spent so far, in this process.

    Attributes:
        samples: Training samples that went through a step.
        seconds: Time of all training steps, input included.
        input_seconds: Of these, until a batch was handed over: gathering, augmenting and
            normalising on a CPU; on a GPU only what the host waits for, because the device does the
            rest in its turn.
    """

    samples: int = 0
    seconds: float = 0.0
    input_seconds: float = 0.0
    _began: float = 0.0

    def start(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._began = time.perf_counter()

    def stop(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += time.perf_counter() - self._began

    def facts(self, device: torch.device) -> dict[str, float]:
        """`samples_per_second`, `input_share` and `peak_memory_gb`, as a run's metrics."""
        if not self.samples or not self.seconds:
            return {}
        return {
            "samples_per_second": round(self.samples / self.seconds, 2),
            "input_share": round(self.input_seconds / self.seconds, 4),
            "peak_memory_gb": round(peak_memory(device) / 2**30, 3),
        }


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device's allocator on a GPU, resident memory of the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def step_flop(step: Callable[[], Tensor]) -> int:
    """Floating-point operations of one forward and backward pass, counted by torch for the operations it knows."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step().backward()
    return int(counter.get_total_flops())


@cache
def ceiling(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product on this device: what a network could reach at best."""
    n = 8192 if device.startswith("cuda") else 1024
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best

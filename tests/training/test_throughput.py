"""How fast a training ran is counted, not assumed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from leukobench.training.throughput import Clock, ceiling, step_flop


def test_a_clock_that_saw_no_sample_says_nothing() -> None:
    assert Clock().facts(torch.device("cpu")) == {}


def test_rates_and_shares_follow_from_what_was_counted() -> None:
    facts = Clock(samples=200, seconds=4.0, input_seconds=1.0).facts(torch.device("cpu"))
    assert facts["samples_per_second"] == 50
    assert facts["input_share"] == 0.25
    assert facts["peak_memory_gb"] > 0


def test_the_operations_of_a_linear_layer_are_those_of_its_products() -> None:
    layer, x = nn.Linear(8, 4, bias=False), torch.randn(16, 8)
    # forward 2 * 16 * 8 * 4, and as much again for the gradient of the weights; the input needs none
    assert step_flop(lambda: layer(x).sum()) == 2 * (2 * 16 * 8 * 4)


def test_the_ceiling_of_this_device_is_positive_and_measured_once() -> None:
    assert ceiling("cpu", torch.float32) == pytest.approx(ceiling("cpu", torch.float32))
    assert ceiling("cpu", torch.float32) > 0

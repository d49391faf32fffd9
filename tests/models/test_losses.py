"""Training losses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from leukobench.errors import ConfigError
from leukobench.models import losses

Y = torch.tensor([0, 0, 0, 1])
COUNTS = torch.tensor([3, 1])


def test_cross_entropy_is_torchs():
    logits = torch.randn(4, 2)
    loss = losses.cross_entropy(COUNTS, label_smoothing=0.1)
    torch.testing.assert_close(
        loss(logits, Y), torch.nn.functional.cross_entropy(logits, Y, label_smoothing=0.1)
    )


def test_balanced_weights_are_scikit_learns():
    y = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert losses.balanced_weights(torch.tensor([3, 1, 2])).numpy() == pytest.approx(expected)


def test_balanced_cross_entropy_weighs_the_classes_alike():
    logits = torch.randn(4, 2)
    each = torch.nn.functional.cross_entropy(logits, Y, reduction="none")
    loss = losses.cross_entropy(COUNTS, class_weights="balanced")
    torch.testing.assert_close(loss(logits, Y), (each[:3].mean() + each[3]) / 2)


def test_a_class_without_training_samples_does_not_break_the_weights():
    weights = losses.balanced_weights(torch.tensor([3, 0, 1]))
    assert weights.tolist() == pytest.approx([4 / 6, 0, 2])


def test_unknown_class_weights_are_refused():
    with pytest.raises(ConfigError, match="null or balanced"):
        losses.cross_entropy(COUNTS, class_weights="inverse")


def test_weighted_squared_error_of_two_classes_is_twice_the_sum_of_the_class_errors():
    logits = torch.randn(4, 2)
    p = logits.softmax(1)[:, 1]
    expected = 2 * (p[:3].square().mean() + (1 - p[3]) ** 2)
    torch.testing.assert_close(losses.weighted_squared_error(COUNTS)(logits, Y), expected)


@pytest.mark.parametrize("counts", [[3, 1], [1, 4, 5]])
def test_guessing_costs_one_and_certainty_in_the_truth_nothing(counts):
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    loss = losses.weighted_squared_error(torch.tensor(counts))
    assert loss(torch.zeros(len(y), len(counts)), y).item() == pytest.approx(1)
    certain = 100.0 * torch.nn.functional.one_hot(y, len(counts))
    assert loss(certain, y).item() == pytest.approx(0)


def test_batches_average_to_the_whole():
    logits = torch.randn(4, 2)
    loss = losses.weighted_squared_error(COUNTS)
    torch.testing.assert_close(
        (loss(logits[:2], Y[:2]) + loss(logits[2:], Y[2:])) / 2, loss(logits, Y)
    )


def test_gene_models_and_losses_import_no_image_library():
    code = (
        "import sys, leukobench.models.gene, leukobench.models.losses;"
        "sys.exit(', '.join(sorted({'timm', 'torchvision', 'pytorch_lightning'} & set(sys.modules))) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr

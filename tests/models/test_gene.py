"""Networks on gene expression vectors."""

from __future__ import annotations

import pytest
import torch

from leukobench.errors import ConfigError
from leukobench.models import gene


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("factory", [gene.logistic, gene.mlp])
def test_one_logit_a_class(factory, classes):
    assert factory((5,), classes)(torch.randn(4, 5)).shape == (4, classes)


def test_two_class_logistic_regression_has_one_weight_a_gene_and_gives_the_sigmoid():
    model = gene.logistic((5,), 2)
    x = torch.randn(4, 5)
    assert sum(p.numel() for p in model.parameters()) == 6
    torch.testing.assert_close(model(x).softmax(1)[:, 1], torch.sigmoid(model.linear(x)[:, 0]))


def test_both_logits_of_logistic_regression_have_a_gradient_for_explanations():
    x = torch.randn(1, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(gene.logistic((5,), 2)(x)[0, 0], x)
    assert gradient.abs().min() > 0


def test_hidden_layers_and_dropout_are_options():
    model = gene.mlp((7,), 2, hidden=[6, 4], dropout=0.5)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(6, 7), (4, 6), (2, 4)]
    assert sum(isinstance(m, torch.nn.Dropout) for m in model) == 2


def test_the_same_seed_gives_the_same_start():
    starts = []
    for _ in range(2):
        torch.manual_seed(3)
        starts.append(torch.cat([p.flatten() for p in gene.mlp((7,), 2).parameters()]))
    assert torch.equal(*starts)


def test_images_are_refused_with_a_way_out():
    with pytest.raises(ConfigError, match="choose an image model"):
        gene.logistic((3, 64, 64), 2)

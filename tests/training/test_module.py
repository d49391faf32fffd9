"""The LightningModule: steps, order, frozen statistics, weights, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leukobench.errors import ConfigError, TrainingError
from leukobench.models.losses import cross_entropy
from leukobench.training.feed import ArrayFeed
from leukobench.training.module import Classifier, Recipe, quiet_trainer
from leukobench.training.randomness import generator, seed_of
from leukobench.training.schedules import Constant, Cosine, Exponential

N, FEATURES = 30, 4


def classifier(
    network: nn.Module, y: np.ndarray | None = None, loss: nn.Module | None = None, **recipe: Any
) -> Classifier:
    """Twenty training, five validation and five test rows."""
    g = torch.Generator().manual_seed(0)
    values = torch.randn(N, FEATURES, generator=g)
    labels = np.arange(N) % 2 if y is None else y
    parts: Mapping[str, np.ndarray] = {
        "train": np.arange(20),
        "validation": np.arange(20, 25),
        "test": np.arange(25, 30),
    }
    options = {
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "schedule": Constant(),
        "epochs": 3,
        "seed": 0,
        "batch_size": 6,
        **recipe,
    }
    return Classifier(
        network, loss or nn.CrossEntropyLoss(), ArrayFeed(values), labels, parts, Recipe(**options)
    )


def fit(module: Classifier) -> Classifier:
    quiet_trainer(max_epochs=module.recipe.epochs, accelerator="cpu").fit(module)
    return module


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(FEATURES, 2)


def test_training_is_the_plain_loop_over_the_addressed_order() -> None:
    module = fit(classifier(linear()))
    network = linear()
    values, y = module.feed.values, module.y  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for epoch in range(3):
        order = torch.randperm(20, generator=generator(0, "order", epoch))
        for rows in order.split(6):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(values[rows]), y[rows]).backward()
            optimizer.step()
    torch.testing.assert_close(module.network.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_every_training_row_is_seen_once_an_epoch() -> None:
    module = classifier(linear())
    orders = [module.order(epoch) for epoch in range(2)]
    assert [sorted(order.tolist()) for order in orders] == [list(range(20))] * 2
    assert orders[0].tolist() != orders[1].tolist()


def test_balanced_sampling_draws_each_class_equally_often() -> None:
    y = np.array([0] * 18 + [1] * 12)
    module = classifier(linear(), y=y, balanced_sampling=True)
    drawn = torch.cat([module.order(epoch) for epoch in range(200)])
    assert set(drawn.tolist()) <= set(range(20))
    assert module.y[drawn].float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_class_weights_weigh_the_gradient() -> None:
    y = np.array([0] * 15 + [1] * 15)  # training rows: 15 of class 0, 5 of class 1
    counts = torch.tensor([15, 5])
    plain = fit(classifier(linear(), y=y, loss=cross_entropy(counts), epochs=20))
    weighted = fit(
        classifier(linear(), y=y, loss=cross_entropy(counts, class_weights="balanced"), epochs=20)
    )
    share = lambda m: m.probabilities(torch.arange(N))[:, 1].mean()  # noqa: E731
    assert share(weighted) > share(plain) + 0.05


def test_l2_acts_on_weights_and_not_on_biases() -> None:
    free = fit(classifier(linear(), epochs=20)).network
    bound = fit(
        classifier(linear(), epochs=20, l2=10.0, optimizer=lambda p: torch.optim.SGD(p, lr=0.01))
    ).network
    assert bound.weight.abs().max() < 0.1 * free.weight.abs().max()
    assert (bound.bias != 0).all()


def test_gradients_are_clipped_to_the_norm_asked_for() -> None:
    module = fit(classifier(linear(), epochs=1, batch_size=None, gradient_clip=1e-3))
    moved = torch.cat(
        [(a - b).flatten() for a, b in zip(module.network.parameters(), linear().parameters())]
    )
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


class Frozen(nn.Module):
    """A frozen batch normalisation that stays in evaluation mode, one that is trained, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.free = nn.BatchNorm1d(FEATURES), nn.BatchNorm1d(FEATURES)
        self.head = nn.Linear(FEATURES, 2)
        self.frozen.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.free(self.frozen(x)))


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    network = fit(classifier(Frozen(), curves_on=("validation", "test"))).network
    fresh = nn.BatchNorm1d(FEATURES)
    torch.testing.assert_close(network.frozen.state_dict(), fresh.state_dict())
    assert not torch.equal(network.free.running_mean, fresh.running_mean)
    assert network.free.num_batches_tracked == 3 * 4, "training batches alone, no inference"
    assert network.training
    assert network.free.training


def test_inference_is_without_dropout_and_leaves_training_mode_as_it_was() -> None:
    module = fit(
        classifier(nn.Sequential(nn.Linear(FEATURES, 16), nn.Dropout(0.5), nn.Linear(16, 2)))
    )
    rows = torch.arange(N)
    np.testing.assert_array_equal(module.probabilities(rows), module.probabilities(rows))
    assert module.network[1].training
    np.testing.assert_allclose(module.probabilities(rows).sum(axis=1), 1, atol=1e-6)


def test_lbfgs_sees_the_whole_training_part_at_once() -> None:
    lbfgs = lambda p: torch.optim.LBFGS(p, lr=1.0, max_iter=5, line_search_fn="strong_wolfe")  # noqa: E731
    module = fit(classifier(linear(), optimizer=lbfgs, batch_size=None, epochs=4))
    losses = np.array([row["train_loss"] for row in module.progress.curves])
    assert losses[1] < 0.9 * losses[0]
    assert (np.diff(losses) < 1e-6).all(), (
        "no line search ends above where it began, up to rounding at the minimum"
    )
    with pytest.raises(ConfigError, match="set batch_size=null"):
        fit(classifier(linear(), optimizer=lbfgs, batch_size=6))


def test_lbfgs_with_dropout_keeps_one_mask_through_a_line_search() -> None:
    lbfgs = lambda p: torch.optim.LBFGS(p, lr=1.0, max_iter=5, line_search_fn="strong_wolfe")  # noqa: E731

    def run() -> list[dict[str, float]]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(FEATURES, 16), nn.Dropout(0.5), nn.Linear(16, 2))
        return fit(classifier(network, optimizer=lbfgs, batch_size=None)).progress.curves

    assert run() == run()


def test_a_diverged_training_says_in_which_epoch() -> None:
    with pytest.raises(
        TrainingError, match=r"training loss is (nan|inf) in epoch \d+.*optimizer\.lr"
    ):
        fit(classifier(linear(), optimizer=lambda p: torch.optim.SGD(p, lr=1e38), epochs=5))


def test_a_checkpoint_holds_plain_containers_alone(tmp_path: Any) -> None:
    module = classifier(linear(), optimizer=lambda p: torch.optim.Adam(p))
    states: list[dict[str, Any]] = []
    hook = module.on_train_epoch_end
    module.on_train_epoch_end = lambda: (hook(), states.append(module.state()))[0]  # type: ignore[method-assign]
    fit(module)
    torch.save(states[-1], tmp_path / "c.pt")
    again = torch.load(tmp_path / "c.pt", weights_only=True)
    assert (again["epoch"], again["step"], len(again["curves"])) == (3, 12, 3)


# --- randomness and schedules -----------------------------------------------------------------------------------------


def test_seeds_are_functions_of_their_address() -> None:
    assert seed_of(1, "order", 2) == seed_of(1, "order", 2)
    addresses = [
        (1, "order", 2),
        (1, "order", 3),
        (2, "order", 2),
        (1, "step", 2),
        (1, "order2"),
        (12, "order"),
    ]
    assert len({seed_of(*a) for a in addresses}) == len(addresses)
    assert all(0 <= seed_of(s, "x") < 2**63 for s in range(50))


def test_schedules_give_factors_by_step() -> None:
    assert [Constant().factor(s, 10) for s in (0, 9)] == [1, 1]
    assert Exponential(rate=0.5, every=10).factor(5, 100) == pytest.approx(0.5**0.5)
    assert [Exponential(0.5, 10, staircase=True).factor(s, 100) for s in (9, 10, 19, 20)] == [
        1,
        0.5,
        0.5,
        0.25,
    ]
    assert [Cosine(floor=0.1).factor(s, 10) for s in (0, 5, 10)] == pytest.approx([1, 0.55, 0.1])


def test_a_schedule_knows_whether_it_depends_on_the_total() -> None:
    for schedule in (Constant(), Exponential()):
        assert schedule.depends_on_total == (schedule.factor(3, 10) != schedule.factor(3, 20))
    assert Cosine().depends_on_total

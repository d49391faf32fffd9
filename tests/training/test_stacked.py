"""Stacked training: every member ends where it ends alone, and only what gains by it is stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leukobench.sweeps.plan import Plan, expand, make_plan
from leukobench.tracking.folder import RunFolder
from leukobench.training.interruption import Interruption
from leukobench.training.job import Job, Training
from leukobench.training.run import run_training
from leukobench.training.stacked import run_stack

MakeJob = Callable[..., Job]
LOGISTIC = ("model=logistic", "epochs=20", "batch_size=8")
MLP = ("model=gene_mlp", "model.hidden=[16]", "epochs=20", "batch_size=8")


@pytest.fixture
def plan_of(make_job: MakeJob) -> Callable[..., Plan]:
    """Plans a grid of override lists, stacks switched on."""

    def plan(variants: Sequence[Sequence[str]], *common: str, **options: Any) -> Plan:
        jobs = expand([make_job(*common, *v) for v in variants])
        return make_plan(jobs, {}, **{"stack": "auto", **options})

    return plan


def seeds(n: int) -> list[list[str]]:
    return [[f"seed={s}"] for s in range(n)]


def elsewhere(training: Training, output: Path) -> Training:
    """The same training with another output folder."""
    jobs = {
        e: j.with_values(settings={**j.config["settings"], "output": str(output)})
        for e, j in training.jobs.items()
    }
    return Training(training.id, jobs, training.identities, training.shared)


def folder(training: Training) -> RunFolder:
    return RunFolder.of(training.job.settings.output, training.id)


def hold_equal(stacked: Training, alone: Training, rel: float = 1e-5) -> None:
    """Losses within 1e-5 after every epoch, the same predicted classes."""
    import pandas as pd

    ours, twin = folder(stacked).curves(), folder(alone).curves()
    assert len(ours) == len(twin)
    for one, other in zip(ours, twin):
        assert one == pytest.approx(other, rel=rel, abs=1e-7)
    for identity in stacked.identities.values():
        p, q = (
            pd.read_parquet(folder(t).result(identity) / "predictions.parquet")
            for t in (stacked, alone)
        )
        assert list(p["sample"]) == list(q["sample"])
        assert ((p["p_ALL"] > 0.5) == (q["p_ALL"] > 0.5)).all()
        assert np.abs(p["p_ALL"] - q["p_ALL"]).max() < 1e-5


CHOICES = {
    "dropout": (),
    "no dropout": ("model.dropout=0",),
    "logistic": ("l2=0.01",),
    "momentum, clipped": ("optimizer=sgd", "gradient_clip=0.05", "l2=0.02"),
    "RMSprop": ("optimizer=rmsprop",),
    "decay of the rate": ("schedule=exponential", "schedule.every=5"),
    "class weights": ("loss.class_weights=balanced",),
    "squared error": ("loss=weighted_squared_error",),
    "balanced sampling": ("balanced_sampling=true",),
    "SMOTE": ("resample=smote", "data.rare=0.25"),
    "whole training part": ("batch_size=null",),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_member_of_a_stack_ends_where_it_ends_alone(
    plan_of: Callable[..., Plan], tmp_path: Path, choice: str
) -> None:
    (stack,) = plan_of(
        seeds(4), *(LOGISTIC if choice == "logistic" else MLP), *CHOICES[choice]
    ).stacks
    assert len(stack) == 4
    assert set(run_stack(stack).values()) == {"finished"}
    for training in stack[1:3]:
        alone = elsewhere(training, tmp_path / "alone")
        assert run_training(alone) == "finished"
        hold_equal(training, alone)
        assert folder(training).run()["stacked"] == 4
        assert folder(alone).run()["stacked"] is None


def test_rates_seeds_and_folds_of_equal_size_share_a_stack(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    variants = [
        [f"seed={s}", f"optimizer.lr={lr}", f"optimizer.weight_decay={w}", f"fold={f}"]
        for s, lr, w, f in (
            (0, 0.01, 0, 0),
            (0, 0.001, 0, 1),
            (1, 0.01, 0.1, 2),
            (2, 0.01, 0, 3),
            (2, 0.001, 0, 0),
        )
    ]
    (stack,) = plan_of(variants, *MLP, "split=kfold", "split.k=4").stacks
    run_stack(stack)
    for training in stack:
        alone = elsewhere(training, tmp_path / "alone")
        run_training(alone)
        hold_equal(training, alone)


def test_members_that_serve_several_epoch_counts_write_them_all(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    (stack,) = plan_of(seeds(4), *MLP, "evaluate_at=[2,5,20]").stacks
    run_stack(stack)
    for training in stack[:2]:
        assert [r["epoch"] for r in folder(training).results()] == [2, 5, 20]
        alone = elsewhere(training, tmp_path / "alone")
        run_training(alone)
        hold_equal(training, alone)


def test_members_log_how_fast_their_stack_was(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    (stack,) = plan_of(seeds(4), *MLP, "epochs=3").stacks
    run_stack(stack)
    speeds = [folder(t).run()["speed"] for t in stack]
    assert speeds == speeds[:1] * 4, "of all members together"
    alone = elsewhere(stack[0], tmp_path / "alone")
    run_training(alone)
    assert speeds[0].keys() == folder(alone).run()["speed"].keys()
    assert speeds[0]["samples_per_second"] > 0
    assert 0 < speeds[0]["input_share"] < 1


# --- failures and interruptions ---------------------------------------------------------------------------------------


def test_a_member_whose_loss_is_no_number_fails_alone(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    variants = [*seeds(4), ["seed=9", "optimizer.lr=1e30"]]
    (stack,) = plan_of(variants, *MLP, "optimizer=sgd").stacks
    states = run_stack(stack)
    (bad,) = [t for t in stack if t.job.config["seed"] == 9]
    assert states.pop(bad.id) == "failed"
    assert "training loss is" in folder(bad).run()["error"]
    assert "TrainingError" in (folder(bad).path / "traceback.txt").read_text()
    assert set(states.values()) == {"finished"}
    for training in stack:
        if training is not bad:
            alone = elsewhere(training, tmp_path / "alone")
            run_training(alone)
            hold_equal(training, alone)


def stopped_after(stack: list[Training], epoch: int) -> dict[str, str]:
    interruption = Interruption()

    def on_epoch(now: int, total: int, row: Any) -> None:
        interruption.requested = interruption.requested or now == epoch

    return dict(run_stack(stack, on_epoch=on_epoch, interruption=interruption))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_stack_goes_on_after_an_interruption_as_if_it_had_not_stopped(
    plan_of: Callable[..., Plan], tmp_path: Path, optimizer: str
) -> None:
    variants = [[f"seed={s}", f"optimizer.lr={lr}"] for s in (0, 1) for lr in (0.01, 0.001)]
    (stack,) = plan_of(
        variants, *MLP, f"optimizer={optimizer}", "schedule=exponential", "schedule.every=7"
    ).stacks
    assert set(stopped_after(stack, 7).values()) == {"interrupted"}
    assert all(folder(t).checkpoint.is_file() for t in stack)
    assert set(run_stack(stack).values()) == {"finished"}
    whole = [elsewhere(t, tmp_path / "whole") for t in stack]
    run_stack(whole)
    for training, twin in zip(stack, whole):
        assert folder(training).curves() == folder(twin).curves()
        assert not folder(training).checkpoint.exists()


def test_members_that_stopped_at_different_epochs_go_on_together_or_alone(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    (stack,) = plan_of(seeds(5), *MLP).stacks
    stopped_after(stack[:2], 4)
    stopped_after(stack[2:4], 9)
    assert set(run_stack(stack).values()) == {"finished"}
    for training in stack:
        alone = elsewhere(training, tmp_path / "alone")
        run_training(alone)
        hold_equal(training, alone)


def test_a_stack_that_cannot_run_is_trained_one_by_one(
    plan_of: Callable[..., Plan], monkeypatch: Any
) -> None:
    from leukobench.training.stacked import StackedClassifier

    def broken(*args: object) -> None:
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(StackedClassifier, "training_step", broken)
    (stack,) = plan_of(seeds(4), *MLP, "epochs=2").stacks
    assert set(run_stack(stack).values()) == {"finished"}
    assert folder(stack[0]).run()["stacked"] is None
    assert "no batching rule" in folder(stack[0]).run()["not_stacked"]


def test_finished_members_are_left_as_they_are(plan_of: Callable[..., Plan]) -> None:
    (stack,) = plan_of(seeds(4), *MLP, "epochs=2").stacks
    run_training(stack[1])
    stamp = folder(stack[1]).results()[0]["finished"]
    assert set(run_stack(stack).values()) == {"finished"}
    assert folder(stack[1]).results()[0]["finished"] == stamp


# --- the rule ---------------------------------------------------------------------------------------------------------


def sizes(plan: Plan) -> list[int]:
    return [len(stack) for stack in plan.stacks]


def test_narrow_networks_are_stacked_and_wide_ones_are_not(plan_of: Callable[..., Plan]) -> None:
    assert sizes(plan_of(seeds(6), *MLP)) == [6]
    wide = plan_of(seeds(6), "model=gene_mlp", "model.hidden=[16000]")
    assert sizes(wide) == [1] * 6
    assert any("parameters" in reason for reason in wide.not_merged)


def test_all_that_can_be_stacked_is_on_request(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    wide = ("model=gene_mlp", "model.hidden=[16000]", "epochs=2", "batch_size=8")
    (stack,) = plan_of(seeds(2), *wide, stack=True).stacks
    assert set(run_stack(stack).values()) == {"finished"}
    alone = elsewhere(stack[1], tmp_path / "alone")
    run_training(alone)
    hold_equal(stack[1], alone, rel=1e-4)
    assert sizes(plan_of(seeds(2), *MLP, "patience=3", stack=True)) == [1, 1]


def test_a_stack_keeps_to_the_precision_of_its_members(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    (stack,) = plan_of(seeds(2), *MLP, "trainer.precision=bf16-mixed", stack=True).stacks
    assert set(run_stack(stack).values()) == {"finished"}
    assert folder(stack[0]).run()["stacked"] == 2
    alone = elsewhere(stack[0], tmp_path / "alone")
    run_training(alone)
    for ours, theirs in zip(folder(stack[0]).curves(), folder(alone).curves()):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_stack_on_a_gpu_ends_where_its_members_end_alone(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    assert sizes(plan_of(seeds(4), *MLP, "trainer.accelerator=gpu")) == [1] * 4, (
        "not measured to be faster there"
    )
    (stack,) = plan_of(seeds(4), *MLP, "trainer.accelerator=gpu", stack=True).stacks
    run_stack(stack)
    assert folder(stack[0]).run()["stacked"] == 4
    alone = elsewhere(stack[0], tmp_path / "alone")
    run_training(alone)
    for ours, theirs in zip(folder(stack[0]).curves(), folder(alone).curves()):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)


def test_fewer_than_four_alike_train_each_by_itself(plan_of: Callable[..., Plan]) -> None:
    assert sizes(plan_of(seeds(3), *MLP)) == [1, 1, 1]


def test_stacking_can_be_switched_off(plan_of: Callable[..., Plan]) -> None:
    assert sizes(plan_of(seeds(6), *MLP, stack=False)) == [1] * 6


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (("patience=3",), "early stopping"),
        (("optimizer=lbfgs", "batch_size=null"), "optimizer=lbfgs"),
        (("trainer.compile=true",), "trainer settings"),
        (("trainer.measure=true",), "trainer settings"),
    ],
)
def test_what_cannot_be_stacked_says_why(
    plan_of: Callable[..., Plan], choice: tuple[str, ...], reason: str
) -> None:
    plan = plan_of(seeds(5), *MLP, *choice)
    assert sizes(plan) == [1] * 5
    assert any(reason in why for why in plan.not_merged)


def test_models_and_parts_of_other_sizes_are_not_mixed(plan_of: Callable[..., Plan]) -> None:
    variants = [[f"seed={s}", f"model.hidden=[{h}]"] for s in range(4) for h in (8, 16)]
    plan = plan_of(variants, *MLP)
    assert sorted(sizes(plan)) == [4, 4]
    for stack in plan.stacks:
        assert len({str(t.job.config["model"]["hidden"]) for t in stack}) == 1


def test_many_seeds_make_several_stacks_of_even_size(plan_of: Callable[..., Plan]) -> None:
    assert sorted(sizes(plan_of(seeds(70), *MLP))) == [35, 35]

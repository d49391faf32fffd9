"""One training: bit-equal however it is scheduled, resumed or measured; failures written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from leukobench.errors import ConfigError
from leukobench.training.job import Job, Training, prepare
from trained import Trained

Train = Callable[..., Trained]
MLP = ("model=gene_mlp", "model.hidden=[8]", "batch_size=8")


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# --- equal numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choice", [(), ("optimizer=rmsprop",), ("schedule=exponential",), ("balanced_sampling=true",)]
)
def test_evaluating_at_three_epochs_equals_three_separate_trainings(
    train: Train, tmp_path: Path, choice: tuple[str, ...]
) -> None:
    together = train(*MLP, *choice, "evaluate_at=[2,4,6]")
    for epochs in (2, 4, 6):
        alone = train(*MLP, *choice, f"epochs={epochs}", output=tmp_path / str(epochs))
        assert alone.training.identities[epochs] == together.training.identities[epochs]
        same(alone.predictions(epochs), together.predictions(epochs))
        assert alone.curves == together.curves[:epochs]
        assert alone.result(epochs).metrics == together.result(epochs).metrics


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    train: Train, tmp_path: Path
) -> None:
    one, again = (train(*MLP, output=tmp_path / name) for name in ("one", "again"))
    same(one.predictions(), again.predictions())
    assert one.curves == again.curves
    other = train(*MLP, "seed=1", "split.seed=0", output=tmp_path / "other")
    assert other.curves != one.curves
    assert list(other.predictions()["sample"]) == list(one.predictions()["sample"]), (
        "the same split"
    )


def test_dropout_masks_do_not_depend_on_what_was_drawn_before(train: Train, tmp_path: Path) -> None:
    one = train(*MLP, "model.dropout=0.5", output=tmp_path / "one")
    torch.rand(1000)
    same(one.predictions(), train(*MLP, "model.dropout=0.5", output=tmp_path / "two").predictions())
    assert one.curves != train(*MLP, "model.dropout=0.2", output=tmp_path / "three").curves


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize(
    "choice", [(), ("optimizer=sgd", "schedule=cosine"), ("optimizer=lbfgs", "batch_size=null")]
)
def test_going_on_after_an_interruption_equals_never_having_stopped(
    train: Train, tmp_path: Path, choice: tuple[str, ...], stop: int
) -> None:
    overrides = (*MLP, "model.dropout=0.3", *choice, "epochs=5")
    stopped = train(*overrides, stop_after=stop)
    assert stopped.state == "interrupted"
    assert stopped.folder.checkpoint.is_file()
    assert stopped.folder.run().state == "interrupted"
    resumed = train(*overrides)
    assert resumed.state == "finished"
    assert not resumed.folder.checkpoint.exists()
    whole = train(*overrides, output=tmp_path / "whole")
    same(resumed.predictions(), whole.predictions())
    assert resumed.curves == whole.curves


def test_a_stop_between_checkpoint_epochs_keeps_the_results_before_it(
    train: Train, tmp_path: Path
) -> None:
    overrides = (*MLP, "evaluate_at=[2,4,6]")
    stopped = train(*overrides, stop_after=3)
    assert [r.epoch for r in stopped.folder.results()] == [2]
    resumed, whole = train(*overrides), train(*overrides, output=tmp_path / "whole")
    for epochs in (2, 4, 6):
        same(resumed.predictions(epochs), whole.predictions(epochs))
    assert resumed.curves == whole.curves


@pytest.mark.parametrize("asked", [2, 3])
def test_an_earlier_epoch_asked_for_after_an_interruption_is_that_epoch_s(
    train: Train, tmp_path: Path, asked: int
) -> None:
    train(*MLP, "epochs=5", stop_after=3)
    later = train(*MLP, f"evaluate_at=[{asked},5]")
    same(
        later.predictions(asked),
        train(*MLP, f"epochs={asked}", output=tmp_path / "alone").predictions(),
    )


def test_a_finished_training_is_not_trained_again(train: Train) -> None:
    first = train(*MLP)
    stamp = first.result().finished
    again = train(*MLP)
    assert (again.state, again.result().finished) == ("finished", stamp)


def test_a_longer_training_later_goes_through_the_same_epochs(train: Train) -> None:
    first = train(*MLP, "epochs=2")
    longer = train(*MLP, "epochs=4")
    assert longer.curves[:2] == first.curves
    assert longer.folder.path == first.folder.path


def test_the_size_of_inference_batches_changes_no_training(train: Train, tmp_path: Path) -> None:
    one = train(*MLP, output=tmp_path / "one")
    other = train(
        *MLP, "trainer.inference_batch=3", "trainer.checkpoint_every=0", output=tmp_path / "other"
    )
    assert [row["train_loss"] for row in one.curves] == [row["train_loss"] for row in other.curves]
    p = (
        one.predictions().filter(like="p_").to_numpy()
        - other.predictions().filter(like="p_").to_numpy()
    )
    assert np.abs(p).max() < 1e-6


def test_measuring_other_parts_changes_no_training(train: Train, tmp_path: Path) -> None:
    one = train(*MLP, output=tmp_path / "one")
    other = train(*MLP, "curves_on=[]", "save_model=false", output=tmp_path / "other")
    same(one.predictions(), other.predictions())
    assert "test_loss" in one.curves[0]
    assert "test_loss" not in other.curves[0]


# --- what a run holds -------------------------------------------------------------------------------------------------


def test_predictions_hold_every_sample_of_every_part_once(
    train: Train, make_job: Callable[..., Job]
) -> None:
    done = train()
    p = done.predictions()
    assert list(p.columns) == [
        "sample",
        "subject",
        "part",
        "fold",
        "epoch",
        "label",
        "p_AML",
        "p_ALL",
    ]
    split = prepare(make_job()).split
    assert {part: tuple(rows["sample"]) for part, rows in p.groupby("part")} == dict(split.parts)
    np.testing.assert_allclose(p["p_AML"] + p["p_ALL"], 1, atol=1e-6)
    assert set(p["epoch"]) == {3}
    assert p["p_ALL"].dtype == np.float32


def test_a_run_folder_holds_config_split_curves_and_facts(train: Train) -> None:
    done = train("evaluate_at=[1,3]")
    read = lambda name: json.loads((done.folder.path / name).read_text())  # noqa: E731
    assert read("job.json")["config"]["model"]["_target_"] == "leukobench.models.gene.logistic"
    run = read("run.json")
    assert run["state"] == "finished"
    assert run["seconds"] > 0
    assert run["data"]["split_hash"] == read("split.json")["hash"]
    assert run["data"]["simulated"] is True
    assert {"torch", "mlflow", "leukobench"} <= run["environment"]["packages"].keys()
    assert [row["epoch"] for row in read("curves.json")] == [1, 2, 3]
    assert {
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "test_accuracy",
        "learning_rate",
    } <= done.curves[0].keys()


def test_the_curve_of_a_part_ends_at_the_predictions_of_that_part(train: Train) -> None:
    done = train(*MLP)
    p = done.predictions()
    for part in ("validation", "test"):
        rows = p[p["part"] == part]
        right = (rows["p_ALL"] > 0.5) == (rows["label"] == "ALL")
        assert done.curves[-1][f"{part}_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
        truth = np.where(rows["label"] == "ALL", rows["p_ALL"], rows["p_AML"])
        assert done.curves[-1][f"{part}_loss"] == pytest.approx(-np.log(truth).mean(), rel=1e-4)
        assert done.result().metrics[f"{part}_accuracy"] == pytest.approx(right.mean())


def test_the_saved_weights_are_those_that_predicted(train: Train) -> None:
    from safetensors.torch import load_file

    done = train("evaluate_at=[1,3]")
    weights = [
        load_file(done.folder.result(i) / "model.safetensors")
        for i in done.training.identities.values()
    ]
    assert weights[0].keys() == weights[1].keys()
    assert not torch.equal(weights[0]["linear.weight"], weights[1]["linear.weight"])


def test_the_schedule_lowers_the_learning_rate_step_by_step(train: Train) -> None:
    done = train(
        *MLP,
        "schedule=exponential",
        "schedule.rate=0.5",
        "schedule.every=1",
        "schedule.staircase=true",
    )
    steps = -(-len(done.predictions().query("part == 'train'")) // 8)
    expected = [0.001 * 0.5 ** (steps * (e + 1) - 1) for e in range(3)]
    assert [row["learning_rate"] for row in done.curves] == pytest.approx(expected)


# --- protocol switches ------------------------------------------------------------------------------------------------


def test_fitting_preprocessing_on_all_rows_is_another_result(train: Train) -> None:
    clean = train("preprocess=standard")
    leaking = train("preprocess=standard", "protocol.fit_on=all")
    assert clean.folder.path != leaking.folder.path
    assert not np.allclose(clean.predictions()["p_ALL"], leaking.predictions()["p_ALL"])
    assert clean.folder.run().leaks == ()
    assert leaking.folder.run().leaks == ("fit_on=all",)


def test_smote_inside_training_adds_rows_to_training_alone(train: Train) -> None:
    plain = train("data.rare=0.2")
    smote = train("data.rare=0.2", "resample=smote")
    assert list(smote.predictions()["sample"]) == list(plain.predictions()["sample"]), (
        "no synthetic row is predicted"
    )
    assert smote.curves != plain.curves


def test_smote_before_the_split_puts_synthetic_rows_into_the_parts_and_says_so(
    train: Train,
) -> None:
    leaking = train(
        "data.rare=0.2", "resample=smote", "protocol.resample=before_split", "split=kfold"
    )
    samples = leaking.predictions()["sample"]
    assert samples.str.startswith("smote-").sum() == 24
    assert "resample=before_split" in leaking.folder.run().leaks


# --- early stopping ---------------------------------------------------------------------------------------------------


def early(train: Train, **options: object) -> Trained:
    return train(*MLP, "optimizer.lr=0.3", "epochs=60", "patience=3", **options)


def test_early_stopping_keeps_the_weights_of_the_best_validation_epoch(
    train: Train, tmp_path: Path
) -> None:
    done = early(train)
    losses = [row["validation_loss"] for row in done.curves]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 3
    assert done.result().best_epoch == best
    assert done.result().epoch == 60
    short = train(*MLP, "optimizer.lr=0.3", f"epochs={best}", output=tmp_path / "short")
    columns = ["sample", "part", "p_AML", "p_ALL"]
    same(done.predictions()[columns], short.predictions()[columns])


@pytest.mark.parametrize("before_the_end", [0, 1, 2])
def test_early_stopping_ends_in_the_same_epoch_after_an_interruption(
    train: Train, tmp_path: Path, before_the_end: int
) -> None:
    whole = early(train, output=tmp_path / "whole")
    early(train, stop_after=len(whole.curves) - before_the_end)
    resumed = early(train)
    assert resumed.state == "finished"
    assert resumed.curves == whole.curves
    same(resumed.predictions(), whole.predictions())


def test_early_stopping_without_validation_rows_is_refused(train: Train) -> None:
    done = train("patience=2", "split.validation=0")
    assert done.state == "failed"
    assert "set split.validation" in done.error


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_fails_with_advice_and_a_traceback(train: Train) -> None:
    done = train(*MLP, "optimizer=sgd", "optimizer.lr=1e30", "epochs=20")
    assert done.state == "failed"
    assert "training loss is" in done.error
    assert "optimizer.lr" in done.error
    assert "TrainingError" in (done.folder.path / "traceback.txt").read_text()
    assert done.folder.run().state == "failed"
    assert done.folder.results() == []


def test_results_before_a_failure_are_kept(train: Train) -> None:
    done = train(
        *MLP, "optimizer=sgd", "optimizer.lr=1e6", "evaluate_at=[1,20]", "batch_size=null", "seed=3"
    )
    assert done.state == "failed"
    assert [r.epoch for r in done.folder.results()] == [1]


def test_a_failed_training_can_finish_later_and_forgets_its_traceback(
    train: Train, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    import leukobench.training.run as module

    def broken(*args: object) -> None:
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr(module, "prediction_frame", broken)
        failed = train()
    assert (failed.state, failed.error) == ("failed", "RuntimeError: no such luck")
    done = train()
    assert done.state == "finished"
    assert done.folder.run().error is None
    assert not (done.folder.path / "traceback.txt").exists()


def test_outputs_that_are_no_numbers_are_no_result(train: Train) -> None:
    done = train(*MLP, "optimizer=sgd", "optimizer.lr=1e30", "epochs=1", "batch_size=null")
    assert (done.state, done.folder.results()) == ("failed", [])
    assert "outputs are not numbers" in done.error


def test_lbfgs_on_mini_batches_is_refused_with_the_way_out(train: Train) -> None:
    done = train("optimizer=lbfgs", "batch_size=8")
    assert done.state == "failed"
    assert "set batch_size=null" in done.error


def test_no_epoch_at_all_is_refused(train: Train) -> None:
    with pytest.raises(ConfigError, match="epochs=0: a whole number from 1 is needed"):
        train("epochs=0")


def test_ctrl_c_twice_leaves_the_run_unfinished_not_failed(
    train: Train, make_job: Callable[..., Job]
) -> None:
    from leukobench.training.run import run_training

    training = train("epochs=1").training
    job = training.job.with_values(epochs=4)
    longer = Training(training.id, {4: job}, {4: "0" * 32})

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(longer, on_epoch=interrupt)
    from leukobench.tracking.folder import RunFolder

    assert RunFolder.of(job.settings.output, training.id).run().state == "interrupted"


# --- pictures ---------------------------------------------------------------------------------------------------------


def drawn(trained: Trained, epochs: int) -> set[str]:
    return {
        p.name
        for p in (trained.folder.result(trained.training.identities[epochs]) / "figures").glob(
            "*.png"
        )
    }


def test_pictures_are_drawn_where_asked_for_and_change_no_identity(
    train: Train, tmp_path: Path
) -> None:
    plain = train(*MLP, "evaluate_at=[2,3]", output=tmp_path / "plain")
    assert not drawn(plain, 2), "a training of less than a second is not worth it"
    asked = train(*MLP, "evaluate_at=[2,3]", "figures=true", output=tmp_path / "asked")
    assert {"confusion_matrix.png", "learning_curves.png"} <= drawn(asked, 2) & drawn(asked, 3)
    assert asked.training.identities == plain.training.identities
    assert asked.training.id == plain.training.id
    assert "figures" not in asked.result().params


def test_pictures_are_drawn_by_themselves_where_training_took_long(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leukobench.sweeps.pictures.WORTH_DRAWING", 0.0)
    assert drawn(train(*MLP), 3)


def test_a_picture_that_cannot_be_drawn_costs_no_result(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no font")

    monkeypatch.setattr("leukobench.report.run_figures.write_run_figures", fail)
    left = train(*MLP, "figures=true")
    assert left.state == "finished"
    assert left.result().metrics
    assert "no font" in left.folder.run().figures
    assert train(*MLP, "figures=often", "seed=9").error == "figures=often: true, false or auto"

"""The published systems as sweeps: they fill their papers' cells, split as the papers did, and run from end to end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from leukobench.data.preprocess import FittedExpression
from leukobench.data.sources.all_idb import AllIdb1
from leukobench.data.sources.aml import AML
from leukobench.data.sources.cnmc import CNMC, official_dataset
from leukobench.data.split import Split
from leukobench.errors import MissingDataError
from leukobench.files import read_json
from leukobench.papers.results import normal
from leukobench.papers.spec import load_paper
from leukobench.settings import conf_dir, sweeps_dir
from leukobench.simulation import simulate
from leukobench.simulation.expression import simulate_cumida, simulate_golub
from leukobench.sweeps.app import opened
from leukobench.sweeps.compose import Composer, grid
from leukobench.sweeps.plan import expand, make_plan
from leukobench.training.families.expression import Expression
from leukobench.training.job import Job, build_resample, forget_data, prepare
from trained import Trained, train_job

PAPERS = ("fata", "rai", "kandi", "neuraldesigner", "kadhim", "grain")
SMALL = ("preprocess=image", "preprocess.size=32")
KANDI = ("data.n_columns=60", "preprocess.encoder.epochs=2", "epochs=1")


@contextmanager
def asked(name: str, *arguments: str) -> Iterator[tuple[dict[str, list[str]], Composer]]:
    """The grid of `leukobench sweep NAME ARGUMENTS`, and what composes its jobs."""
    with opened(sweeps_dir()) as hydra:
        loader = hydra.config_loader
        parser = OverridesParser.create(config_loader=loader)
        composer = Composer(
            lambda overrides: compose(name, overrides, return_hydra_config=True),
            lambda key: bool(loader.get_group_options(key)),
            parser,
        )
        params = OmegaConf.load(sweeps_dir() / f"{name}.yaml").hydra.sweeper.params
        yield grid(params, arguments, parser), composer


def jobs_of(name: str, *arguments: str) -> list[Job]:
    """The jobs of a sweep, folds not expanded."""
    with asked(name, *arguments) as (values, composer):
        return list(composer.jobs(values))


def narrow(job: Job) -> Any:
    """The job's data source, of sixty columns."""
    data = job.config["data"] | {"n_columns": 60}
    return replace(job, config={**job.config, "data": data}).built("data")


def first(name: str, *arguments: str) -> Job:
    """The first job of a sweep, its first fold."""
    with asked(name, "seed=0", "fold=0", *arguments) as (values, composer):
        return next(composer.jobs(values))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated data sets, all but ALL-IDB2."""
    folder = tmp_path_factory.mktemp("data")
    simulate_golub(folder / "golub", genes=40)
    simulate_cumida(folder / "cumida", genes=100)
    simulate(CNMC(), folder / "cnmc", samples=24, subjects=8)
    simulate(AllIdb1(), folder / "all_idb1", samples=4)
    simulate(AML(), folder / "aml", samples=40)
    return folder


@pytest.fixture(autouse=True)
def places(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_DATA", str(data))
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(tmp_path / "out"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    forget_data()


# --- sweeps and papers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", PAPERS)
def test_a_sweep_holds_a_run_for_every_cell_of_its_paper_under_every_arm(key: str) -> None:
    paper = load_paper(conf_dir() / "paper" / f"{key}.yaml")
    assert paper.sweep == key
    cells = [c for c in paper.cells() if c.kind == "reproducible" and not c.mean_of]
    for name, arm in (paper.arms or {"": None}).items():
        if arm is not None and not arm.possible:
            continue
        with asked(key, *(arm.overrides if arm else ())) as (values, composer):
            base = next(composer.jobs(values)).params()
        offered = {k: {normal(v.partition("=")[2]) for v in found} for k, found in values.items()}
        assert not paper.data or base["data"] in paper.data
        for cell in cells:
            for override in cell.overrides(name) if arm else cell.runs:
                k, _, value = override.partition("=")
                there = offered.get(k, {normal(base.get(k, "absent"))})
                assert {normal(v) for v in value.split(",")} <= there, f"{cell.ref}: {override}"


@pytest.mark.parametrize("key", PAPERS)
def test_a_papers_sweep_is_its_whole_grid_under_its_own_protocol(key: str) -> None:
    with asked(key, "seed=0") as (values, composer):
        assert next(composer.jobs(values)).protocol.name == "paper"
    assert (
        math.prod(map(len, values.values()))
        == {"fata": 32, "rai": 6, "kandi": 8, "neuraldesigner": 1, "kadhim": 3, "grain": 2}[key]
    )


@pytest.mark.parametrize("model", ["vgg16", "alexnet"])
def test_rai_starts_at_random_or_from_imagenet(model: str) -> None:
    (scratch,) = jobs_of("rai", f"model={model}", "seed=0")
    (pretrained,) = jobs_of("rai", f"model={model}", "seed=0", "start=pretrained")
    node = scratch.config["model"]
    assert (node["pretrained"], node["finetune"], node["hidden"]) == (False, "all", None)
    node = pretrained.config["model"]
    assert (node["pretrained"], node["finetune"], node["hidden"]) == (True, "head", None)
    assert pretrained.params()["start"] == "pretrained"


# --- splits -----------------------------------------------------------------------------------------------------------


official = cache(official_dataset)


def official_split(key: str, *arguments: str) -> tuple[Split, Any]:
    """The split of a sweep on the names of all 10,661 training images."""
    dataset = official()
    job = first(key, *arguments)
    return job.built("split").split(dataset, 0), dataset


def counts(split: Split, dataset: Any, part: str) -> dict[str, int]:
    labels: dict[str, int] = (
        dataset.samples.loc[list(split.parts[part]), "label"].value_counts().to_dict()
    )
    return labels


def test_fata_tests_2133_of_the_10661_images_and_chooses_on_them() -> None:
    split, _ = official_split("fata")
    assert {part: len(ids) for part, ids in split.parts.items()} == {
        "train": 8528,
        "validation": 0,
        "test": 2133,
    }
    assert split.shared["subject"] > 60
    assert first("fata").protocol.choose_on == "test"


def test_rai_tests_1091_leukemic_and_509_normal_images() -> None:
    split, dataset = official_split("rai")
    assert counts(split, dataset, "test") == {"ALL": 1091, "normal": 509}
    assert len(split.parts["train"]) == 9061


@pytest.mark.parametrize(("key", "seed"), [("fata", 0), ("fata", 1), ("rai", 0)])
def test_leak_free_the_same_images_are_split_by_subject_and_content_with_a_validation_part(
    key: str, seed: int
) -> None:
    split, dataset = official_split(key, "protocol=leak_free", f"seed={seed}")
    assert split.shared["subject"] == split.shared["content"] == 0
    assert sum(map(len, split.parts.values())) == 10661
    share = 0.2 if key == "fata" else 0.15
    for part, wanted in (("test", share * 10661), ("validation", 0.2 * (1 - share) * 10661)):
        assert len(split.parts[part]) == pytest.approx(wanted, rel=0.15)
        found = counts(split, dataset, part)
        assert found["ALL"] / sum(found.values()) == pytest.approx(7272 / 10661, abs=0.05)


def test_neuraldesigner_draws_fourteen_arrays_to_choose_and_fourteen_to_test() -> None:
    for arguments in ((), ("data=golub", "protocol=leak_free")):
        job = first("neuraldesigner", *arguments)
        split = job.built("split").split(job.built("data").load(), 0)
        sizes = {part: len(ids) for part, ids in split.parts.items()}
        assert sizes == {"train": 44, "validation": 14, "test": 14}
    job = first(
        "neuraldesigner", "data=golub", "protocol=leak_free", "split=official", "split.validation=0"
    )
    split = job.built("split").split(job.built("data").load(), 0)
    assert {part: len(ids) for part, ids in split.parts.items()} == {
        "train": 38,
        "validation": 0,
        "test": 34,
    }


# --- from end to end --------------------------------------------------------------------------------------------------


def finished(job: Job) -> Trained:
    trained = train_job(job)
    assert trained.state == "finished", trained.error
    assert trained.folder.run().data.simulated is True
    return trained


@pytest.mark.parametrize(
    "arms", [(), ("protocol=leak_free",), ("protocol=leak_free", "split=official", "cnmc")]
)
def test_fata_trains_a_head_and_answers_at_every_epoch_count(arms: tuple[str, ...]) -> None:
    arms = tuple(a if a != "cnmc" else "data=cnmc_challenge" for a in arms)
    network = ("model=resnet18", "model.pretrained=false", "model.hidden=512", "optimizer=rmsprop")
    jobs = jobs_of("fata", *network, *SMALL, *arms, "seed=0", "epochs=1,2")
    plan = make_plan(expand(jobs), {})
    assert [t.epochs for t in plan.trainings] == [(1, 2)]
    trained = finished(jobs[0])
    assert trained.curves[0]["learning_rate"] <= 1e-4
    parts = set(trained.predictions()["part"])
    assert parts == ({"train", "validation", "test"} if arms else {"train", "test"})


@pytest.mark.parametrize("model", ["lenet5", "alexnet"])
def test_rai_trains_augmented_images_in_batches_of_forty(model: str) -> None:
    job = first("rai", f"model={model}", "preprocess=image", "preprocess.size=64", "epochs=1")
    assert (
        job.config["batch_size"],
        job.config["augment"]["rotation"],
        job.config["optimizer"]["lr"],
    ) == (
        40,
        20,
        1e-3,
    )
    assert set(finished(job).predictions()["part"]) == {"train", "test"}


def test_kandi_resamples_before_the_split_under_the_paper_and_inside_training_without_leaks() -> (
    None
):
    paper = finished(first("kandi", "model=kandi_mlp", "resample=smote", *KANDI))
    tested = paper.predictions().query("part == 'test'")
    assert tested["sample"].str.startswith("smote-").any(), "synthetic arrays are tested"
    whole = paper.predictions()
    assert whole["label"].value_counts().nunique() == 1, "as many arrays of each class"
    assert len(tested) == pytest.approx(0.2 * len(whole), abs=1)
    assert (
        read_json(paper.folder.path / "resampled.json") == whole["label"].value_counts().to_dict()
    )
    clean = finished(
        first("kandi", "model=kandi_mlp", "resample=smote", "protocol=leak_free", *KANDI)
    )
    assert not clean.predictions()["sample"].str.startswith("smote-").any()
    assert set(clean.predictions()["part"]) == {"train", "test"}, "nothing is chosen"
    assert clean.folder.run().leaks == ()
    arrays = clean.predictions().groupby(["part", "label"]).size()
    counts = read_json(clean.folder.path / "resampled.json")
    largest = arrays["train"].max()
    assert counts == {
        c: largest + arrays.drop("train").groupby("label").sum().get(c, 0) for c in counts
    }


def test_kandi_keeps_losses_and_reconstruction_errors_of_its_autoencoder() -> None:
    trained = finished(
        first("kandi", "model=kandi_cnn", "resample=none", "protocol=leak_free", *KANDI)
    )
    losses = read_json(trained.folder.path / "autoencoder_losses.json")
    assert {part: len(values) for part, values in losses.items()} == {"train": 2, "validation": 2}
    errors = read_json(trained.folder.path / "reconstruction_errors.json")
    assert set(errors) == set(narrow(first("kandi")).load().ids)
    metrics = trained.result().metrics
    assert metrics["reconstruction_error_mean"] == pytest.approx(np.mean(list(errors.values())))
    assert metrics["validation_autoencoder_loss"] == losses["validation"][-1]
    kept = read_json(trained.folder.path / "reconstruction.json")
    assert len(kept["original"]) == len(kept["reconstructed"]) == 60


@pytest.mark.parametrize("key", ["kandi", "neuraldesigner", "kadhim", "grain", "fata", "rai"])
def test_the_arms_of_a_paper_differ_in_the_switches_of_the_protocol_alone(key: str) -> None:
    paper, clean = (first(key, f"protocol={name}") for name in ("paper", "leak_free"))
    assert {k for k in paper.config if paper.config[k] != clean.config[k]} == {"protocol", "split"}
    own, other = paper.config["split"], clean.config["split"]
    chosen = {"validation"} if key in ("fata", "rai") else set()
    assert {k for k in own if own[k] != other[k]} == {"keep_together", *chosen}


def test_kandi_leaves_out_each_series_whose_classes_stand_elsewhere() -> None:
    arms = ("protocol=leak_free", "split=leave_one_group_out")
    jobs = expand(jobs_of("kandi", "model=kandi_rnn", "resample=none", "seed=0", *arms, *KANDI))
    assert len(jobs) == 5, "GSE28497 shares no class; two series of the same patients are one fold"
    predictions = finished(jobs[0]).predictions()
    tested = set(predictions.query("part == 'test'")["series"])
    assert len(tested) == 1
    assert not tested & set(predictions.query("part == 'train'")["series"])


def test_kandi_keeps_two_chips_of_the_same_patients_in_one_part_only_without_leaks() -> None:
    twins = {"GSE22529_U133A", "GSE22529_U133B"}
    for protocol, expected in (("leak_free", 1), ("paper", 2)):
        job = first("kandi", "resample=none", f"protocol={protocol}", *KANDI)
        prepared = prepare(job)
        series = prepared.dataset.samples["series"]
        parts = [p for p, ids in prepared.split.parts.items() if twins & set(series.loc[list(ids)])]
        assert len(parts) == expected
        assert prepared.split.shared["same_patients"] == expected - 1


def test_kandi_resamples_z_scores_before_its_autoencoder_under_both_protocols() -> None:
    """What SMOTE adds has 60 genes and passes the autoencoder, so it stands where no feature of an array can."""
    job = first("kandi", "model=kandi_mlp", "resample=smote", "protocol=leak_free", *KANDI)
    made = Expression().network_input(job, prepare(job), lambda shape: torch.nn.Identity(), None)
    fitted = made.preprocess
    assert isinstance(fitted, FittedExpression)
    assert fitted.encoder is not None
    values = prepare(job).dataset.matrix
    assert values is not None
    scaled = fitted.scaled(values)
    train = prepare(job).dataset.rows(prepare(job).split.parts["train"])
    resample, _ = build_resample(job)
    more, _ = resample(scaled[train], prepare(job).dataset.y[train], 0)
    synthetic = made.feed.values[len(values) :]  # type: ignore[attr-defined]
    np.testing.assert_allclose(synthetic, fitted.encoder.transform(more[len(train) :]), atol=1e-5)


def test_kandis_control_predicts_the_series_from_the_same_arrays() -> None:
    job = first("kandi_control", "model=kandi_mlp", *KANDI)
    predictions = finished(job).predictions()
    assert (predictions["label"] == predictions["series"]).all()
    assert set(predictions["sample"]) == set(narrow(first("kandi")).load().ids)


@pytest.mark.parametrize("arms", [(), ("data=golub", "protocol=leak_free")])
def test_neuraldesigner_trains_with_a_quasi_newton_method(arms: tuple[str, ...]) -> None:
    trained = finished(first("neuraldesigner", *arms, "epochs=3"))
    assert trained.curves[-1]["train_loss"] < trained.curves[0]["train_loss"]
    assert trained.curves[-1]["validation_loss"] > 0


def test_kadhim_runs_on_aml_cells_and_on_fields_of_all_idb1() -> None:
    for data in ("aml_five", "all_idb1"):
        job = first(
            "kadhim", f"data={data}", "preprocess.size=32", "epochs=1", "split.stratify=false"
        )
        assert set(finished(job).predictions()["part"]) == {"train", "test"}


def test_cross_leaves_out_what_makes_no_sense_and_what_is_not_there() -> None:
    left_out: list[tuple[str, str]] = []
    jobs = expand(
        jobs_of("cross", "data=golub,all_idb2", "model=logistic,lenet5", "epochs=1", "seed=0"),
        left_out,
    )
    assert {(j.choices["data"], j.choices["model"]) for j in jobs} == {("golub", "logistic")}
    reasons = {reason.split(";")[0].split(".")[0] for _, reason in left_out}
    assert any("lenet5 reads image data" in r for r in reasons)
    assert any("all_idb2" in r for r in reasons)
    finished(jobs[0])


def test_a_sweep_without_any_of_its_data_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="all_idb1"):
        expand(jobs_of("kadhim", "data=all_idb1", "seed=0"), [])


def test_options_against_imbalance_and_overfitting_change_a_training() -> None:
    base = (
        "data=golub",
        "model=gene_mlp",
        "optimizer=adam",
        "model.hidden=[8]",
        "optimizer.lr=0.01",
        "fold=0",
    )
    options = [
        ("epochs=2", "loss.class_weights=balanced"),
        ("epochs=2", "balanced_sampling=true"),
        ("epochs=2", "loss.label_smoothing=0.1"),
        ("epochs=2", "gradient_clip=0.01"),
        ("epochs=2", "trainer.precision=bf16-mixed"),
        ("epochs=6", "patience=1"),
    ]
    with asked("cross") as (_, composer):
        plain, *changed = [
            finished(composer.job([*base, *more])) for more in [("epochs=2",), *options]
        ]
    for option, trained in zip(options, changed):
        assert trained.training.id != plain.training.id, option
        assert (
            trained.predictions().to_numpy().tolist() != plain.predictions().to_numpy().tolist()
        ), option
    assert 1 <= changed[-1].result().best_epoch <= len(changed[-1].curves) <= 6

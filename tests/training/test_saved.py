"""A finished result as a model: it predicts what the run logged, and says what is missing or does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from leukobench.data.image_store import decode_image
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError, StoreError
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store
from leukobench.tracking.locate import locate_run
from leukobench.tracking.sweeps import open_sweep
from leukobench.training.families.base import ModelInput
from leukobench.training.families.expression import unlike_training
from leukobench.training.job import load_dataset
from leukobench.training.saved import (
    SavedModel,
    load_result,
    trained_weights,
    write_bundle,
)
from tiny import coloured
from trained import Trained

Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured(tmp_path_factory.mktemp("images"), size=40)


def image_overrides(images: Path, model: str) -> list[str]:
    return [
        "data=image_folder",
        f"data.root={images}",
        "preprocess=image",
        "preprocess.size=32",
        f"model={model}",
    ]


def result_folder(done: Trained, epochs: int | None = None) -> Path:
    return done.folder.result(done.training.identities[epochs or done.training.epochs[-1]])


def logged(
    done: Trained, model: SavedModel, epochs: int | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    frame = done.predictions(epochs)
    return frame, frame[[f"p_{c}" for c in model.classes]].to_numpy()


def raw(done: Trained, model: SavedModel, frame: pd.DataFrame) -> np.ndarray:
    dataset = load_dataset(done.training.job)
    rows = dataset.rows(frame["sample"])
    return dataset.values[rows][:, [dataset.genes.index(g) for g in model.genes]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("preprocess=top50", "preprocess.genes=5", "model=gene_mlp"),
        ("preprocess=standard", "preprocess.scale=minmax", "protocol=paper", "split.validation=0"),
        ("preprocess=kandi", "model=kandi_mlp", "resample=smote", "protocol=paper"),
        ("patience=1", "epochs=6"),
    ],
)
def test_a_loaded_model_predicts_from_raw_values_what_the_run_logged(
    train: Train, overrides: tuple[str, ...]
) -> None:
    done = train(*overrides)
    assert done.state == "finished", done.error
    model = load_result(done.folder.path)
    frame, expected = logged(done, model)
    real = frame[~frame["sample"].str.startswith("smote")]
    found = model.predict(raw(done, model, real))
    assert found == pytest.approx(expected[real.index], abs=1e-5)
    assert model.classes == ("AML", "ALL")
    assert set(unlike_training(model.input, raw(done, model, real))) == {None}


def test_each_checkpoint_epoch_is_a_model_of_its_own(train: Train) -> None:
    done = train("evaluate_at=[1,5]")
    for epochs in (1, 5):
        model = load_result(result_folder(done, epochs))
        frame, expected = logged(done, model, epochs)
        assert model.predict(raw(done, model, frame)) == pytest.approx(expected, abs=1e-6)
    assert load_result(done.folder.path).record.epoch == 5, "a run folder stands for its last epoch"


@pytest.mark.parametrize(
    ("model_name", "more"),
    [
        ("resnet18", ("model.pretrained=false", "model.hidden=8")),
        ("resnet18", ("model.pretrained=false", "model.finetune=last_block")),
        ("resnet18", ("model.pretrained=false", "planner.features=false")),
        ("lenet5", ("preprocess.normalise=imagenet",)),
    ],
)
def test_a_loaded_image_model_predicts_from_files_what_the_run_logged(
    train: Train, images: Path, model_name: str, more: tuple[str, ...]
) -> None:
    done = train(*image_overrides(images, model_name), *more, "epochs=2")
    assert done.state == "finished", done.error
    model = load_result(done.folder.path)
    frame, expected = logged(done, model)
    dataset = load_dataset(done.training.job)
    paths = [dataset.paths[i] for i in dataset.rows(frame["sample"])]  # type: ignore[attr-defined]
    decoded = np.stack([decode_image(p, 32) for p in paths])
    assert model.predict(decoded) == pytest.approx(expected, abs=1e-5)


def test_only_what_was_trained_is_kept_under_the_names_of_the_whole_network(
    train: Train, images: Path
) -> None:
    from safetensors.torch import load_file

    done = train(*image_overrides(images, "resnet18"), "model.pretrained=false", "epochs=1")
    assert set(load_file(str(result_folder(done) / "model.safetensors"))) == {
        "head.0.weight",
        "head.0.bias",
    }


def test_statistics_of_trained_layers_are_kept_and_of_frozen_ones_not() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
    )
    network[:2].requires_grad_(False)
    kept = set(trained_weights(network))
    assert {"3.running_mean", "3.weight", "2.weight"} <= kept
    assert not {"0.weight", "1.weight", "1.running_mean", "1.num_batches_tracked"} & kept


def test_a_bundle_needs_no_other_files_and_no_other_weights(
    train: Train, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = train(*image_overrides(images, "resnet18"), "model.pretrained=false", "epochs=1")
    model = load_result(done.folder.path)
    bundle = write_bundle(model, tmp_path / "bundle")
    shutil.rmtree(done.folder.path)
    again = load_result(bundle)
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert again.predict(x) == pytest.approx(model.predict(x), abs=1e-6)
    assert str(images) not in "".join(p.read_text() for p in bundle.glob("*.json")), (
        "no place of the trainer's machine"
    )


def test_loading_leaves_the_global_random_generator_alone(train: Train) -> None:
    done = train()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_result(done.folder.path)
    assert (torch.rand(3) == expected).all()


def test_what_a_model_reads_survives_its_file(tmp_path: Path) -> None:
    one = ModelInput(
        "expression",
        ("a", "b"),
        "a",
        (2,),
        genes=("g1", "g2"),
        gene_names=("one", "two"),
        data={"name": "tiny", "subset": ""},
        frozen="x",
        arrays={"offset": np.array([1.0, 2.0])},
    )
    one.save(tmp_path / "x.safetensors")
    again = ModelInput.load(tmp_path / "x.safetensors")
    assert again.arrays["offset"].tolist() == [1, 2]
    assert {k: v for k, v in vars(again).items() if k != "arrays"} == {
        k: v for k, v in vars(one).items() if k != "arrays"
    }
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(LeukoBenchError, match=r"x\.safetensors is damaged"):
        ModelInput.load(tmp_path / "x.safetensors")


# --- what is refused --------------------------------------------------------------------------------------------------


def test_values_on_another_scale_are_told_apart(train: Train) -> None:
    done = train()
    model = load_result(done.folder.path)
    values = raw(done, model, done.predictions().head(4))
    for changed, hint in (
        (np.log10(values), "logarithms"),
        ((values - 100) / 300, r"\[0, 1\]"),
        ((values - values.mean()) / values.std(), "z-scores"),
        (values * 50, "another scale"),
        (values + 2000, "another scale"),
    ):
        faults = unlike_training(model.input, changed)
        assert all(f is not None for f in faults), hint
        assert hint[:6] in str(faults[0]) or hint.strip("\\")[:2] in str(faults[0])
    values[1, 3] = np.nan
    faults = unlike_training(model.input, values * 1.3)
    assert [f is None for f in faults] == [True, False, True, True]
    assert f"the first of gene {model.genes[3]}" in str(faults[1])


def test_a_run_without_a_model_says_how_to_get_one(train: Train) -> None:
    done = train("save_model=false")
    with pytest.raises(ConfigError, match=r"has no model.*save_model=true"):
        load_result(done.folder.path)


def test_arrays_of_another_shape_or_kind_are_refused(train: Train, images: Path) -> None:
    genes = load_result(train().folder.path)
    with pytest.raises(FaultyDataError, match=r"shape \(n, 12\), not \(2, 11\)"):
        genes.predict(np.zeros((2, 11)))
    cells = load_result(train(*image_overrides(images, "lenet5"), "epochs=1").folder.path)
    with pytest.raises(FaultyDataError, match="uint8"):
        cells.predict(np.zeros((2, 32, 32, 3), np.float32))


def test_frozen_weights_that_changed_are_noticed(train: Train, images: Path) -> None:
    done = train(*image_overrides(images, "resnet18"), "model.pretrained=false", "epochs=1")
    path = done.folder.path / "job.json"
    job = json.loads(path.read_text())
    job["config"]["seed"] = 7  # another random start of the frozen part
    path.write_text(json.dumps(job))
    with pytest.raises(ConfigError, match="not those found now"):
        load_result(done.folder.path)


def test_a_tag_of_a_run_leads_to_no_folder_elsewhere(
    train: Train, local: Settings, tmp_path: Path
) -> None:
    done = train()
    store = Store(local)
    sweep = open_sweep(store, "trial")
    delivery.deliver(store, sweep, done.folder, delivery_order(done.training))
    (run,) = store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'")
    shutil.move(done.folder.path, tmp_path / "elsewhere")
    store.client.set_tag(run.info.run_id, "leukobench.training", str(tmp_path / "elsewhere"))
    assert locate_run(run.info.run_id, local).training != tmp_path / "elsewhere"


def test_a_run_is_found_by_its_id_in_the_store_also_where_its_folder_is_gone(
    train: Train, local: Settings
) -> None:
    done = train("evaluate_at=[1,3]")
    store = Store(local)
    sweep = open_sweep(store, "a sweep")
    delivery.deliver(store, sweep, done.folder, delivery_order(done.training))
    runs = {
        r.data.params.get("epochs"): r
        for r in store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'")
    }
    here = load_result(runs["1"].info.run_id, local)
    assert here.record.epoch == 1
    assert load_result(done.training.identities[3], local).record.epoch == 3
    frame, expected = logged(done, here, 1)
    values = raw(done, here, frame)
    shutil.rmtree(done.folder.path)
    gone = load_result(runs["1"].info.run_id, local)
    assert gone.predict(values) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(StoreError, match="is a sweep, not a result"):
        load_result(sweep.run_id, local)
    with pytest.raises(StoreError, match="has no run 0123"):
        load_result("0123456789abcdef0123456789abcdef", local)
    with pytest.raises(ConfigError, match="neither a folder nor a run id"):
        load_result("nothing", local)


def test_a_failed_run_has_no_result(train: Train, local: Settings) -> None:
    done = train("patience=2", "split.validation=0")
    assert done.state == "failed"
    store = Store(local)
    sweep = open_sweep(store, "a sweep")
    delivery.deliver(store, sweep, done.folder, delivery_order(done.training))
    (run,) = store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'")
    with pytest.raises(StoreError, match="is failed"):
        load_result(run.info.run_id, local)

"""Explaining saved models: what is written for images, and how genes are ranked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukobench.errors import ConfigError, FaultyDataError, MissingDataError
from leukobench.settings import Settings
from leukobench.training.explain_genes import explain_genes
from leukobench.training.explain_images import activation_maxima, explain_images, own_images
from leukobench.training.saved import SavedModel, load_result
from tiny import coloured
from trained import Trained

Train = Callable[..., Trained]


@pytest.fixture
def cells(train: Train, tmp_path: Path, local: Settings) -> SavedModel:
    """A network on discs of 32 x 32 on black, red ones and green ones."""
    coloured(tmp_path / "data", noise=60, tint=150, discs=True)
    done = train(
        "data=image_folder",
        f"data.root={tmp_path / 'data'}",
        "preprocess=image",
        "preprocess.size=32",
        "model=lenet5",
        "epochs=3",
    )
    return load_result(done.folder.path, local)


def test_each_image_gets_a_strip_and_shares_are_kept_by_method_and_class(
    cells: SavedModel, tmp_path: Path
) -> None:
    paths, labels = own_images(cells, 2)
    assert sorted(labels) == ["ALL", "ALL", "normal", "normal"]
    (tmp_path / "bad.png").write_bytes(b"nothing")
    found = explain_images(
        cells, [*paths, tmp_path / "bad.png"], tmp_path / "out", labels=[*labels, ""]
    )
    assert [Path(s).name for s, _ in found.faults] == ["bad.png"]
    assert len(found.table) == 4 * 3
    assert list(found.table["label"].iloc[::3]) == labels
    known = found.table.dropna(subset=["outside"])
    assert known["background"].between(0.7, 0.8).all()
    assert known["outside"].between(0, 1).all()
    assert set(found.outside().columns) == {
        "method",
        "predicted",
        "outside",
        "background",
        "images",
    }
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {f"{p.stem}.png" for p in paths} <= names
    assert {
        "saliency.csv",
        "mean_grad_cam.png",
        "mean_integrated_gradients.png",
        "mean_occlusion.png",
    } <= names
    strip = Image.open(tmp_path / "out" / f"{paths[0].stem}.png")
    assert strip.size == (4 * (224 + 4) - 4, 224 + 18), (
        "small images are enlarged for their captions"
    )


def test_images_of_one_name_do_not_overwrite_each_other(cells: SavedModel, tmp_path: Path) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "cell.png")
        Image.new("RGB", (20, 20), (100, 0, 0)).save(paths[-1])
    found = explain_images(cells, paths, tmp_path / "out", methods=("grad_cam",))
    assert sum(p.name.endswith("cell.png") for p in found.pictures) == 2
    assert found.table["outside"].isna().all(), "no black background"


def test_images_that_cannot_be_read_and_the_other_kind_are_refused(
    cells: SavedModel, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(FaultyDataError, match="none of 1 images can be read"):
        explain_images(cells, [tmp_path / "bad.png"], tmp_path / "out")
    with pytest.raises(ConfigError, match="reads image data"):
        explain_genes(cells)


def test_activation_maxima_are_drawn_for_each_class(cells: SavedModel, tmp_path: Path) -> None:
    found = activation_maxima(cells, tmp_path, steps=10)
    assert set(found) == set(cells.classes)
    assert (tmp_path / "activation.png").is_file()


@pytest.mark.parametrize(
    "preprocess", [("preprocess=standard",), ("preprocess=kandi", "model=kandi_mlp")]
)
def test_the_gene_that_follows_the_class_leads_beside_its_univariate_rank(
    train: Train, preprocess: tuple[str, ...]
) -> None:
    model = load_result(
        train(*preprocess, "epochs=60", "optimizer.lr=0.02", "data.samples=80").folder.path,
        trust=True,
    )
    found = explain_genes(model)
    first = found.table.iloc[0]
    assert (first["gene"], first["high_speaks_for"]) == ("g0", "ALL")
    assert found.table.set_index("gene").loc["g0", "signal_to_noise_rank"] == 1
    assert list(found.table["rank"]) == list(range(1, 13))
    assert found.table["attribution"].is_monotonic_decreasing
    assert found.spearman > 0


def test_genes_are_ranked_from_a_table_too_and_without_the_data(
    train: Train, tmp_path: Path
) -> None:
    model = load_result(train("epochs=5").folder.path, trust=True)
    table = pd.DataFrame(
        [model.input.arrays["centre"] * s for s in (0.9, 1.1)], columns=list(model.genes)
    )
    table.to_csv(tmp_path / "new.csv", index=False)
    assert explain_genes(model, [tmp_path / "new.csv"]).samples == 2
    model.config["data"]["root"] = str(tmp_path / "gone")  # type: ignore[index]
    found = explain_genes(model, [tmp_path / "new.csv"])
    assert "signal_to_noise" not in found.table
    assert np.isnan(found.spearman)
    with pytest.raises(MissingDataError):
        explain_genes(model)

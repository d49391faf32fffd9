"""Predicting new inputs: by name, whatever their order; one bad input costs itself alone; refusals say which and why."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukobench.data import image_store
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError
from leukobench.training import image_inputs as module
from leukobench.training.job import load_dataset
from leukobench.training.predict import predict, predict_frame
from leukobench.training.saved import SavedModel, load_result
from tiny import coloured
from trained import Trained

Train = Callable[..., Trained]


@pytest.fixture
def genes(train: Train) -> SavedModel:
    return load_result(train("preprocess=top50", "preprocess.genes=5").folder.path)


@pytest.fixture
def table(genes: SavedModel) -> pd.DataFrame:
    """Six samples of the training data with the genes read, in another order, between other columns."""
    dataset = load_dataset(_job(genes))
    frame = pd.DataFrame(dataset.values, columns=dataset.genes, index=dataset.ids).iloc[
        [0, 1, 2, -1, -2, -3]
    ]  # type: ignore[attr-defined]
    frame = frame[sorted(frame.columns, reverse=True)]
    frame.insert(0, "diagnosis", ["AML"] * 3 + ["ALL"] * 3)
    return frame.rename_axis("patient").reset_index()


@pytest.fixture
def cells(train: Train, tmp_path: Path) -> SavedModel:
    """A network on images of 32 x 32 that tells red from green."""
    coloured(tmp_path / "data", noise=100, tint=120)
    return load_result(
        train(
            "data=image_folder",
            f"data.root={tmp_path / 'data'}",
            "preprocess=image",
            "preprocess.size=32",
            "model=lenet5",
            "epochs=3",
        ).folder.path
    )


def _job(model: SavedModel):  # type: ignore[no-untyped-def]
    from leukobench.training.job import Job

    return Job(dict(model.config), {})


def png(colour: tuple[int, int, int] = (10, 200, 10), size: tuple[int, int] = (48, 40)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_genes_are_taken_by_name_from_any_kind_of_table(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"new{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    found = predict(genes, [path])
    expected = genes.predict(table[list(genes.genes)].to_numpy())
    assert found.frame[["p_AML", "p_ALL"]].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert list(found.frame["sample"]) == list(table["patient"])
    assert list(found.frame["predicted"]) == [genes.classes[i] for i in expected.argmax(axis=1)]
    assert found.faults.empty
    notes = " ".join(found.notes)
    assert "8 columns are not read" in notes
    assert "another order" in notes


def test_a_missing_gene_is_named(genes: SavedModel, table: pd.DataFrame, tmp_path: Path) -> None:
    gone = genes.genes[2]
    table.drop(columns=gone).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(FaultyDataError, match=rf"1 of the 5 genes .* missing: {gone}\."):
        predict(genes, [tmp_path / "new.csv"])
    table.rename(columns={gone: gone.upper()}).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(FaultyDataError, match=f"'{gone.upper()}' is there in other letters"):
        predict(genes, [tmp_path / "new.csv"])


def test_another_platform_and_a_transposed_table_are_told_apart(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    other = table.rename(columns={g: f"probe_{g}" for g in table.columns if g.startswith("g")})
    other.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(FaultyDataError, match=r"all 5 genes .* another platform"):
        predict(genes, [tmp_path / "new.csv"])
    table.set_index("patient").drop(columns="diagnosis").T.to_csv(tmp_path / "new.csv")
    with pytest.raises(FaultyDataError, match="transpose the table"):
        predict(genes, [tmp_path / "new.csv"])


def test_a_gene_in_two_columns_is_refused(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    twice = pd.concat([table, table[[genes.genes[0]]]], axis=1)
    twice.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(FaultyDataError, match=f"several columns, for instance '{genes.genes[0]}'"):
        predict(genes, [tmp_path / "new.csv"])


def test_another_scale_is_refused_unless_it_is_insisted_on(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    numbers = table.columns[2:]
    table[numbers] = np.log2(table[numbers].clip(lower=1))
    table.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(FaultyDataError, match=r"none of 6 samples can be predicted.*another scale"):
        predict(genes, [tmp_path / "new.csv"])
    assert predict(genes, [tmp_path / "new.csv"], any_scale=True).faults.empty


def test_a_sample_with_a_gap_costs_itself_alone(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    table[genes.genes[1]] = table[genes.genes[1]].astype(object)
    table.loc[2, genes.genes[1]] = "n/a"
    table.loc[4, genes.genes[1]] = "oops"
    table.to_csv(tmp_path / "new.csv", index=False)
    found = predict(genes, [tmp_path / "new.csv"])
    assert list(found.faults["sample"]) == [table["patient"][2], table["patient"][4]]
    assert found.faults["error"].str.contains(genes.genes[1]).all()
    assert found.frame.loc[[0, 1, 3, 5], "p_ALL"].notna().all()
    assert (found.faults["predicted"] == "").all()


def test_the_column_of_sample_names_can_be_named(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "new.csv", index=False)
    assert list(
        predict(genes, [tmp_path / "new.csv"], id_column="diagnosis").frame["sample"]
    ) == list(table["diagnosis"])
    with pytest.raises(FaultyDataError, match=r"no column 'diagnose'.*diagnosis"):
        predict(genes, [tmp_path / "new.csv"], id_column="diagnose")
    table.drop(columns=["patient", "diagnosis"]).to_csv(tmp_path / "bare.csv", index=False)
    assert list(predict(genes, [tmp_path / "bare.csv"]).frame["sample"])[:2] == [
        "bare.csv:1",
        "bare.csv:2",
    ]


def test_tables_in_folders_and_zips_are_found(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    table.to_csv(tmp_path / "folder" / "one.csv", index=False)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "folder" / "one.csv", "inside/one.csv")
    found = predict(genes, [tmp_path / "folder", tmp_path / "all.zip"])
    assert list(found.frame["input"].unique()) == [
        str(tmp_path / "folder" / "one.csv"),
        str(tmp_path / "all.zip" / "inside" / "one.csv"),
    ]
    assert not (tmp_path / "all").exists(), "a zip is unpacked elsewhere"


def test_a_threshold_and_a_temperature_change_calls_as_they_say(
    genes: SavedModel, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "new.csv", index=False)
    plain = predict(genes, [tmp_path / "new.csv"]).frame
    assert set(predict(genes, [tmp_path / "new.csv"], threshold=0.0).frame["predicted"]) == {"ALL"}
    flat = predict(genes, [tmp_path / "new.csv"], temperature=50.0).frame
    assert (flat["p_ALL"] - 0.5).abs().max() < (plain["p_ALL"] - 0.5).abs().max()
    assert list(flat["predicted"]) == list(plain["predicted"])


def test_a_frame_is_predicted_as_its_file(genes: SavedModel, table: pd.DataFrame) -> None:
    found = predict_frame(genes, table)
    assert found[["p_AML", "p_ALL"]].to_numpy() == pytest.approx(
        genes.predict(table[list(genes.genes)].to_numpy()), abs=1e-5
    )
    with pytest.raises(FaultyDataError, match="missing"):
        predict_frame(genes, table.drop(columns=genes.genes[0]))


def test_text_in_a_gene_s_column_of_a_frame_costs_its_row_and_a_column_twice_is_refused(
    genes: SavedModel, table: pd.DataFrame
) -> None:
    gene = genes.genes[0]
    mixed = table.assign(**{gene: ["high", *table[gene].astype(str)[1:]]})
    found = predict_frame(genes, mixed)
    assert found["error"].iloc[0] == f"1 values are missing or infinite, the first of gene {gene}"
    assert (found["error"].iloc[1:] == "").all()
    with pytest.raises(FaultyDataError, match=f"more than one column '{gene}'"):
        predict_frame(genes, pd.concat([table, table[[gene]]], axis=1))


# --- images -----------------------------------------------------------------------------------------------------------


def test_a_folder_with_one_bad_image_predicts_the_others_and_names_it(
    cells: SavedModel, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "deep"
    folder.mkdir(parents=True)
    (folder / "good.png").write_bytes(png())
    (folder / "cut.png").write_bytes(png()[:60])
    (folder / "empty.bmp").write_bytes(b"")
    (folder / "text.jpg").write_text("no image")
    (folder / "readme.txt").write_text("passed over")
    found = predict(cells, [folder.parent])
    assert [Path(s).name for s in found.frame["sample"]] == [
        "cut.png",
        "empty.bmp",
        "good.png",
        "text.jpg",
    ]
    assert [Path(s).name for s in found.faults["sample"]] == ["cut.png", "empty.bmp", "text.jpg"]
    good = found.frame[found.frame["error"] == ""]
    assert good["p_ALL"].notna().all()
    assert good["predicted"].isin(cells.classes).all()
    assert "1 files are no images and were passed over (1 .txt)" in found.notes[0]


def test_images_in_a_zip_are_predicted_as_those_in_a_folder(
    cells: SavedModel, tmp_path: Path
) -> None:
    (tmp_path / "one.png").write_bytes(png((200, 10, 10)))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "one.png", "a/one.png")
        archive.writestr("a/bad.png", b"nothing")
        archive.writestr("__MACOSX/a/._one.png", b"nothing")
    inside, alone = (
        predict(cells, [tmp_path / "all.zip"]).frame,
        predict(cells, [tmp_path / "one.png"]).frame,
    )
    good = inside[inside["error"] == ""].iloc[0]
    assert good["p_ALL"] == pytest.approx(alone["p_ALL"].iloc[0], abs=1e-6)
    assert list(inside["sample"]) == [f"{tmp_path / 'all.zip'}/a/{n}.png" for n in ("one", "bad")]


def test_huge_images_are_refused_before_they_are_decoded(
    cells: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.png").write_bytes(png())
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    found = predict(cells, [tmp_path / "good.png", tmp_path / "bomb.png"])
    assert f"{image_store.MAX_PIXELS:,}" in found.faults["error"].iloc[0]
    monkeypatch.setattr(module, "MAX_FILE", 50)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("x.png", png())
    with pytest.raises(FaultyDataError, match="unpacks to more than the 50 bytes"):
        predict(cells, [tmp_path / "all.zip"])


def test_inputs_of_the_other_kind_empty_and_missing_ones_are_refused(
    cells: SavedModel, genes: SavedModel, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.png").write_bytes(png())
    (tmp_path / "x.zip").write_bytes(b"PK no zip")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="is a table, and this model reads images"):
        predict(cells, [tmp_path / "x.csv"])
    with pytest.raises(ConfigError, match="is an image, and this model reads tables"):
        predict(genes, [tmp_path / "x.png"])
    with pytest.raises(MissingDataError, match=r"has no image .it is empty"):
        predict(cells, [tmp_path / "nothing"])
    with pytest.raises(MissingDataError, match="no table of expression"):
        predict(genes, [tmp_path / "nothing"])
    with pytest.raises(FaultyDataError, match="cannot be read as a zip"):
        predict(cells, [tmp_path / "x.zip"])
    with pytest.raises(MissingDataError, match="no such file or folder"):
        predict(cells, [tmp_path / "absent"])
    with pytest.raises(ConfigError, match="nothing to predict"):
        predict(cells, [])


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_table_and_its_exit_status_tells(
    cells: SavedModel, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from leukobench.cli import cli

    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "good.png").write_bytes(png())
    arguments = [
        "predict",
        "--run",
        str(cells.files.training),
        str(folder),
        "-o",
        str(tmp_path / "out.csv"),
    ]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    (folder / "bad.png").write_bytes(b"nothing")
    assert CliRunner().invoke(cli, arguments).exit_code == 3, "some inputs have no prediction"
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == [
        "input",
        "sample",
        "predicted",
        *(f"p_{c}" for c in cells.classes),
        "error",
    ]
    assert table["error"].notna().tolist() == [True, False]
    (folder / "good.png").unlink()
    assert CliRunner().invoke(cli, arguments).exit_code == 1, "nothing can be predicted"

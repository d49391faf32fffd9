"""A user's own images: class folders and manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukobench.data.check import Report
from leukobench.data.image_store import decode_image
from leukobench.data.sources.image_folder import ImageFolder
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_folders(root: Path) -> Path:
    for i, name in enumerate(
        ("ALL/1.png", "ALL/deep/2.jpg", "normal/1.png", "normal/2.bmp", "normal/3.webp")
    ):
        write_image(root / name, i)
    return root


def write_manifest(root: Path, *lines: str, header: str = "path,label,subject") -> Path:
    write_folders(root)
    (root / "manifest.csv").write_text("\n".join((header, *lines)) + "\n")
    return root


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def finding(report: Report, rule: str):
    return next(f for f in report.findings if f.rule == rule)


def test_the_first_folder_is_the_class(tmp_path):
    data = ImageFolder(write_folders(tmp_path), name="mine", positive="ALL").load()
    assert data.name == "mine"
    assert data.classes == ("ALL", "normal")
    assert dict(zip(data.ids, data.samples["label"])) == {
        "ALL/1.png": "ALL",
        "ALL/deep/2.jpg": "ALL",
        "normal/1.png": "normal",
        "normal/2.bmp": "normal",
        "normal/3.webp": "normal",
    }


def test_a_folder_around_everything_does_not_become_a_class(tmp_path):
    write_folders(tmp_path / "download" / "images")
    assert ImageFolder(tmp_path).load().classes == ("ALL", "normal")


def test_class_folders_warn_that_subjects_are_unknown(tmp_path):
    report = ImageFolder(write_folders(tmp_path)).check()
    assert rules(report) == {"no_subjects"}
    assert "manifest.csv" in report.findings[0].message


def test_a_manifest_names_subjects_and_parts(tmp_path):
    write_manifest(
        tmp_path,
        "ALL/1.png,ALL,p1,train",
        "normal/1.png,normal,p2,test",
        "normal/2.bmp,normal,p2,test",
        header="path,label,subject,official",
    )
    data = ImageFolder(tmp_path).load()
    assert data.has_subjects
    assert data.samples["subject"].tolist() == ["p1", "p2", "p2"]
    assert data.samples["official"].tolist() == ["train", "test", "test"]
    assert finding(ImageFolder(tmp_path).check(), "unlisted_file").count == 2


def test_classes_choose_and_order(tmp_path):
    write_image(write_folders(tmp_path) / "other" / "1.png", 9)
    assert ImageFolder(tmp_path, classes=["other", "normal", "ALL"]).load().classes == (
        "other",
        "normal",
        "ALL",
    )
    with pytest.raises(FaultyDataError, match=r"other/1\.png: other"):
        ImageFolder(tmp_path, classes=["normal", "ALL"]).load()
    assert len(ImageFolder(tmp_path, classes=["normal", "ALL"], allow_faulty=True).load()) == 5


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("gone.png,ALL,p9", "missing_files"),
        ("ALL/1.png,,p9", "missing_label"),
        ("ALL/1.png,ALL,", "missing_subject"),
    ],
)
def test_faulty_manifest_lines_are_named(tmp_path, line, rule):
    write_manifest(tmp_path, "ALL/deep/2.jpg,ALL,p1", "normal/1.png,normal,p2", line)
    assert "manifest.csv, line 4" in finding(ImageFolder(tmp_path).check(), rule).where[0]
    with pytest.raises(FaultyDataError, match="line 4"):
        ImageFolder(tmp_path).load()


def test_an_image_listed_twice_is_found(tmp_path):
    write_manifest(tmp_path, "ALL/1.png,ALL,p1", "ALL/1.png,ALL,p1", "normal/1.png,normal,p2")
    assert finding(ImageFolder(tmp_path).check(), "sample_twice").severity == "error"


def test_a_manifest_without_its_columns_is_refused(tmp_path):
    write_manifest(tmp_path, header="file;class")
    with pytest.raises(FaultyDataError, match="needs path and label"):
        ImageFolder(tmp_path).load()


def test_a_manifest_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no manifest"):
        ImageFolder(write_folders(tmp_path), manifest="labels.csv").load()


def test_one_class_only_is_refused(tmp_path):
    write_image(tmp_path / "ALL" / "1.png", 1)
    with pytest.raises(FaultyDataError, match="only the class 'ALL'"):
        ImageFolder(tmp_path / "ALL" / "..").load()


def test_files_that_are_no_images_are_told(tmp_path):
    (write_folders(tmp_path) / "ALL" / "notes.txt").write_text("x")
    write_image(tmp_path / "loose.png", 7)
    report = ImageFolder(tmp_path).check()
    assert finding(report, "other_file").where == ("ALL/notes.txt",)
    assert finding(report, "misplaced_file").where == ("loose.png",)


def test_a_decompression_bomb_is_named_and_not_decoded(tmp_path):
    path = write_folders(tmp_path) / "ALL" / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    report = ImageFolder(tmp_path).check()
    assert "ALL/bomb.png" in finding(report, "oversized_file").where[0]


def test_an_image_that_training_refuses_for_its_depth_is_found_by_the_check(tmp_path):
    path = write_folders(tmp_path) / "ALL" / "deep.png"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(path)
    assert "ALL/deep.png" in finding(ImageFolder(tmp_path).check(), "pixel_mode").where[0]
    with pytest.raises(FaultyDataError, match="8 bits a channel"):
        decode_image(path, 8)


def test_a_file_of_another_format_than_its_name_says_is_found(tmp_path):
    path = write_folders(tmp_path) / "ALL" / "1.png"
    path.write_bytes((tmp_path / "normal" / "2.bmp").read_bytes() + b"\0")
    assert "BMP" in finding(ImageFolder(tmp_path).check(), "wrong_suffix").where[0]


def test_an_absent_folder_says_what_is_read(tmp_path):
    with pytest.raises(MissingDataError, match="one folder a class"):
        ImageFolder(tmp_path / "absent").load()

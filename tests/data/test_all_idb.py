"""ALL-IDB1 and ALL-IDB2: names, labels, centroids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukobench.data.check import Report
from leukobench.data.simulated import mark_simulated
from leukobench.data.sources.all_idb import AllIdb1, AllIdb2
from leukobench.errors import FaultyDataError, MissingDataError


def write_image(path: Path, seed: int, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size).save(path)


def write_idb1(root: Path) -> Path:
    for number in range(1, 7):
        label = number % 2
        write_image(root / "ALL_IDB1" / "im" / f"Im{number:03d}_{label}.jpg", number, (64, 48))
        centroids = root / "ALL_IDB1" / "xyc" / f"Im{number:03d}_{label}.xyc"
        centroids.parent.mkdir(exist_ok=True)
        centroids.write_text("10\t20\n30.5 40\n" if label else "")
    return root


def write_idb2(root: Path) -> Path:
    for number in range(1, 7):
        write_image(
            root / "ALL_IDB2" / "img" / f"Im{number:03d}_{number % 2}.tif", number, (257, 257)
        )
    return root


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def test_fields_are_labelled_by_their_names(tmp_path):
    data = AllIdb1(write_idb1(tmp_path)).load()
    assert dict(zip(data.ids, data.samples["label"]))["Im001_1"] == "ALL"
    assert data.samples["label"].value_counts().to_dict() == {"ALL": 3, "normal": 3}
    assert (data.classes, data.positive) == (("ALL", "normal"), "ALL")
    assert not data.has_subjects
    assert data.is_subset


def test_blast_centroids_are_read(tmp_path):
    source = AllIdb1(write_idb1(tmp_path))
    np.testing.assert_array_equal(source.centroids("Im001_1"), [[10, 20], [30.5, 40]])
    assert source.centroids("Im002_0").shape == (0, 2)
    with pytest.raises(MissingDataError, match="Im099_1"):
        source.centroids("Im099_1")


def test_crops_stand_apart_from_fields_under_one_root(tmp_path):
    write_idb1(write_idb2(tmp_path))
    assert {p.suffix for p in AllIdb1(tmp_path).load().paths} == {".jpg"}
    assert {p.suffix for p in AllIdb2(tmp_path).load().paths} == {".tif"}


def test_missing_subject_ids_are_told_with_their_reason(tmp_path):
    report = AllIdb2(write_idb2(tmp_path)).check()
    assert rules(report) == {"missing_files", "no_subjects"}
    assert any("cut from the fields of ALL-IDB1" in f.message for f in report.findings)


def test_a_simulated_subset_misses_nothing(tmp_path):
    mark_simulated(write_idb1(tmp_path), "tiny images of a test")
    report = AllIdb1(tmp_path).check()
    assert report.clean
    assert AllIdb1(tmp_path).load().simulated


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "centroids_disagree"),
        ("10 20 30\n", "centroids_unreadable"),
        ("1000 20\n", "centroids_outside"),
    ],
)
def test_centroids_that_contradict_the_field_are_found(tmp_path, text, rule):
    write_idb1(tmp_path)
    (tmp_path / "ALL_IDB1" / "xyc" / "Im001_1.xyc").write_text(text)
    report = AllIdb1(tmp_path).check()
    assert rule in rules(report)
    assert "Im001_1" in next(f for f in report.findings if f.rule == rule).where[0]


def test_wrong_and_surplus_names_stop_a_training(tmp_path):
    write_idb2(tmp_path)
    write_image(tmp_path / "ALL_IDB2" / "img" / "cell.tif", 90, (257, 257))
    write_image(tmp_path / "ALL_IDB2" / "img" / "Im261_1.tif", 91, (257, 257))
    write_image(tmp_path / "ALL_IDB2" / "img" / "Im001_0.tif", 92, (257, 257))
    assert {"wrong_name", "surplus_file", "number_twice"} <= rules(AllIdb2(tmp_path).check())
    with pytest.raises(FaultyDataError, match=r"cell\.tif"):
        AllIdb2(tmp_path).load()
    assert len(AllIdb2(tmp_path, allow_faulty=True).load().faults) == 3


def test_missing_data_say_whom_to_ask(tmp_path):
    with pytest.raises(MissingDataError, match="request"):
        AllIdb1(tmp_path / "absent").load()
    with pytest.raises(MissingDataError, match="scotti"):
        AllIdb2(tmp_path).get()

"""AML-Cytomorphology_LMU: classes chosen and merged, annotations, re-annotations."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukobench.data.check import Report
from leukobench.data.sources.aml import AML, COUNTS, REANNOTATED, agreement, read_annotations
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError

BLAST = {"blast": ["MYO", "MOB"], "other": ["NGS", "LYT"]}


def write_aml(root: Path) -> Path:
    """Two cells of each of four codes, in TCIA's layout."""
    folder = root / "AML-Cytomorphology_LMU"
    lines = []
    for i, code in enumerate(("LYT", "MOB", "MYO", "NGS")):
        for number in (1, 2):
            path = folder / code / f"{code}_{number:04d}.tiff"
            path.parent.mkdir(parents=True, exist_ok=True)
            small = np.random.default_rng(10 * i + number).integers(
                0, 255, (8, 8, 4), dtype=np.uint8
            )
            Image.fromarray(small).resize((400, 400)).save(path)
            lines.append(
                f"{code}/{path.name} {code} {code if number == 1 else 'nan'} {'UNC' if number == 1 else 'nan'}"
            )
    (root / "annotations.dat").write_text("\n".join(lines) + "\n")
    return root


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def finding(report: Report, rule: str):
    return next(f for f in report.findings if f.rule == rule)


def test_every_code_is_a_class_by_default(tmp_path):
    data = AML(write_aml(tmp_path), allow_faulty=True).load()
    assert data.classes == tuple(sorted(COUNTS))
    assert len(data) == 8
    assert not data.has_subjects
    assert data.expected_samples == 18_365


def test_codes_are_merged_into_classes(tmp_path):
    data = AML(write_aml(tmp_path), classes=BLAST, positive="blast").load()
    assert data.classes == ("blast", "other")
    assert data.positive == "blast"
    assert data.samples["label"].value_counts().to_dict() == {"blast": 4, "other": 4}
    assert data.expected_samples == 3268 + 26 + 8484 + 3937


def test_codes_without_a_class_are_left_out_and_said_so(tmp_path):
    source = AML(write_aml(tmp_path), classes={"LYT": ["LYT"], "NGS": ["NGS"]})
    assert len(source.load()) == 4
    assert finding(source.check(), "classes_left_out").count == 4


@pytest.mark.parametrize(
    "classes",
    [{"a": ["XYZ"]}, {"a": ["MYO"], "b": ["MYO"]}, {"a": []}, {}],
    ids=["unknown", "twice", "empty", "none"],
)
def test_impossible_choices_of_classes_are_refused(classes):
    with pytest.raises(ConfigError, match="each code once"):
        AML("x", classes=classes)


def test_a_sound_data_set_says_why_it_has_no_subjects(tmp_path):
    report = AML(write_aml(tmp_path), classes=BLAST).check()
    assert rules(report) == {"no_subjects"}
    assert "no patient" in report.findings[0].message
    assert report.clean


def test_files_and_annotations_that_disagree_are_found(tmp_path):
    write_aml(tmp_path)
    folder = tmp_path / "AML-Cytomorphology_LMU"
    (folder / "LYT" / "LYT_0001.tiff").rename(folder / "NGS" / "LYT_0001.tiff")
    (folder / "LYT" / "LYT_0002.tiff").rename(folder / "LYT" / "LYT_0009.tiff")
    (folder / "MYO" / "MYO_0001.tiff").rename(folder / "MYO" / "one.tiff")
    report = AML(tmp_path, classes=BLAST).check()
    assert "name says LYT, folder NGS" in finding(report, "label_disagrees").where[0]
    assert "annotated LYT" in finding(report, "annotation_disagrees").where[0]
    assert "LYT_0009" in finding(report, "surplus_file").where[0]
    assert "one.tiff" in finding(report, "wrong_name").where[0]
    assert finding(report, "missing_files").where == ("LYT_0002", "MYO_0001")
    with pytest.raises(FaultyDataError, match="annotated LYT"):
        AML(tmp_path, classes=BLAST).load()


def test_without_annotations_the_folders_give_the_labels(tmp_path):
    write_aml(tmp_path)
    (tmp_path / "annotations.dat").unlink()
    assert len(AML(tmp_path, classes=BLAST).load()) == 8
    assert (
        finding(AML(tmp_path, classes=BLAST).check(), "annotations_missing").severity == "warning"
    )


def test_a_damaged_annotation_line_is_named(tmp_path):
    write_aml(tmp_path)
    (tmp_path / "annotations.dat").write_text(
        "LYT/LYT_0001.tiff LYT nan nan\nLYT/LYT_0002.tiff LYT\n"
    )
    with pytest.raises(FaultyDataError, match="line 2"):
        AML(tmp_path, classes=BLAST).load()


def test_agreement_of_experts_counts_pairs_and_merged_classes(tmp_path):
    annotations = read_annotations(write_aml(tmp_path) / "annotations.dat")
    table = agreement(annotations)
    assert table.loc["label and first", ["images", "agree"]].tolist() == [4, 4]
    assert table.loc["label and second", "agree"] == 0
    assert table.loc["label and first", "kappa"] == 1
    assert agreement(annotations, BLAST).loc["label and first", "agree"] == 4


def test_missing_data_say_how_to_get_them(tmp_path):
    with pytest.raises(MissingDataError, match=r"10\.7937/tcia\.2019\.36f5o9ld"):
        AML(tmp_path).load()


@pytest.mark.real_data
def test_the_official_annotations_have_the_published_counts(shared_data):
    annotations = read_annotations(shared_data / "aml_lmu" / "annotations.dat")
    assert annotations["label"].value_counts().to_dict() == COUNTS
    table = agreement(annotations)
    assert (table["images"] == REANNOTATED).all()
    assert table["agree"].tolist()[:2] == [1617, 1529]


@pytest.mark.real_data
def test_real_cells_are_read_from_the_zip(shared_data, tmp_path):
    (tmp_path / "aml.zip").symlink_to(shared_data / "aml_lmu" / "aml_lmu_subset_tiff.zip")
    (tmp_path / "annotations.dat").symlink_to(shared_data / "aml_lmu" / "annotations.dat")
    report = AML(tmp_path).check()
    assert rules(report) == {"missing_files", "no_subjects"}
    assert report.facts["sizes"] == {"400 x 400 RGBA": 208}
    assert finding(report, "missing_files").count == 18_365 - 208
    assert zipfile.is_zipfile(tmp_path / "aml.zip")

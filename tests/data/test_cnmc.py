"""C-NMC 2019: layouts, the official list, and every fault that a download can have."""

from __future__ import annotations

import csv
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from leukobench.data.check import Report
from leukobench.data.simulated import mark_simulated
from leukobench.data.sources.cnmc import (
    CNMC,
    LABELS_CSV,
    official_dataset,
    official_files,
    official_names,
    subject_of,
)
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError

KAGGLE = {
    "fold": "C-NMC_Leukemia/training_data/fold_{}/{}",
    "preliminary": "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data",
    "labels": f"C-NMC_Leukemia/validation_data/{LABELS_CSV}",
    "final": "C-NMC_Leukemia/testing_data/C-NMC_test_final_phase_data",
}
TCIA = {
    "fold": "C-NMC_training_data/fold_{}/{}",
    "preliminary": "C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data",
    "labels": f"C-NMC_test_prelim_phase_data/{LABELS_CSV}",
    "final": "C-NMC_test_final_phase_data/C-NMC_test_final_phase_data",
}
TRAINING = [
    (0, "all", "UID_1_1_1_all.bmp"),
    (0, "hem", "UID_H1_1_1_hem.bmp"),
    (1, "all", "UID_2_1_1_all.bmp"),
    (1, "hem", "UID_H2_1_1_hem.bmp"),
    (2, "all", "UID_3_1_1_all.bmp"),
    (2, "hem", "UID_h3_1_1_hem.bmp"),
]
PRELIMINARY = [("UID_57_1_1_all.bmp", "1.bmp", "1"), ("UID_H25_1_1_hem.bmp", "2.bmp", "0")]


def write_image(path: Path, seed: int, size: tuple[int, int] = (450, 450)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.NEAREST).save(path)


def write_layout(root: Path, layout: dict[str, str] = KAGGLE, simulated: bool = True) -> Path:
    """A tiny data set in the official layout: 6 training, 2 preliminary, 1 final image."""
    for i, (fold, folder, name) in enumerate(TRAINING):
        write_image(root / layout["fold"].format(fold, folder) / name, i)
    for i, (_, name, _) in enumerate(PRELIMINARY):
        write_image(root / layout["preliminary"] / name, 100 + i)
    write_image(root / layout["final"] / "1.bmp", 200, (600, 600))
    with open(root / layout["labels"], "w", newline="") as file:
        csv.writer(file).writerows([("Patient_ID", "new_names", "labels"), *PRELIMINARY])
    if simulated:
        mark_simulated(root, "tiny images of a test")
    return root


def finding(report: Report, rule: str):
    return next(f for f in report.findings if f.rule == rule)


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


# The official list


def test_the_official_list_has_the_published_counts():
    names = official_names()
    assert names.groupby(["official", "label"]).size().to_dict() == {
        ("fold_0", "ALL"): 2397,
        ("fold_0", "normal"): 1130,
        ("fold_1", "ALL"): 2418,
        ("fold_1", "normal"): 1163,
        ("fold_2", "ALL"): 2457,
        ("fold_2", "normal"): 1096,
    }
    assert names.groupby("label")["subject"].nunique().to_dict() == {"ALL": 47, "normal": 26}
    preliminary = official_names(("preliminary",))
    assert preliminary["label"].value_counts().to_dict() == {"ALL": 1219, "normal": 648}
    assert len(official_files()) == 15_114
    assert not set(names["subject"]) & set(preliminary["subject"])


def test_papers_test_parts_follow_from_the_official_list_alone():
    """rai: 15 % stratified, 1091 / 509; fata: 80/20, 8528 / 2133."""
    labels = official_dataset().samples["label"]
    _, test = train_test_split(labels, test_size=0.15, stratify=labels, random_state=0)
    assert test.value_counts().to_dict() == {"ALL": 1091, "normal": 509}
    train, test = train_test_split(labels, test_size=0.2, random_state=0)
    assert (len(train), len(test)) == (8528, 2133)


def test_the_official_list_knows_the_byte_identical_pairs():
    samples = official_names()
    pairs = samples[samples.duplicated("content", keep=False)].groupby("content")
    assert len(pairs) == 104
    assert (pairs["official"].nunique() > 1).sum() == 94
    assert (pairs["subject"].nunique() > 1).sum() == 99
    assert (pairs["label"].nunique() > 1).sum() == 0
    preliminary = official_names(("preliminary",))
    assert not set(samples["content"]) & set(preliminary["content"])


def test_the_lower_case_subject_is_read_as_the_upper_case_one():
    assert subject_of("UID_h3_10_2_hem.bmp") == "H3"
    assert (official_names()["subject"] == "H3").sum() == 36


# Loading


@pytest.mark.parametrize("layout", [KAGGLE, TCIA], ids=["Kaggle", "TCIA"])
def test_both_layouts_give_the_same_samples(tmp_path, layout):
    data = CNMC(write_layout(tmp_path, layout), parts=["train", "preliminary"]).load()
    assert set(data.ids) == {n.removesuffix(".bmp") for *_, n in TRAINING} | {
        "UID_57_1_1_all",
        "UID_H25_1_1_hem",
    }
    assert data.samples.loc["UID_h3_1_1_hem"].to_dict() | {"content": ""} == {
        "label": "normal",
        "subject": "H3",
        "content": "",
        "series": None,
        "official": "fold_2",
    }
    assert data.samples.loc["UID_57_1_1_all", "official"] == "preliminary"
    assert data.classes == ("ALL", "normal")
    assert data.positive == "ALL"
    assert data.simulated


def test_layout_and_place_do_not_change_the_fingerprint(tmp_path):
    first = CNMC(write_layout(tmp_path / "a", KAGGLE)).load()
    second = CNMC(write_layout(tmp_path / "b", TCIA)).load()
    assert first.fingerprint == second.fingerprint
    assert [p.name for p in first.paths] == [f"{i}.bmp" for i in first.ids]


def test_preliminary_images_are_samples_only_when_asked_for(tmp_path):
    root = write_layout(tmp_path)
    assert set(CNMC(root).load().samples["official"]) == {"fold_0", "fold_1", "fold_2"}
    assert len(CNMC(root, parts=["preliminary"]).load()) == 2


def test_final_images_are_never_samples(tmp_path):
    data = CNMC(write_layout(tmp_path), parts=["train", "preliminary"]).load()
    assert len(data) == 8


def test_an_unknown_part_is_refused():
    with pytest.raises(ConfigError, match=r"no parts.*final"):
        CNMC("x", parts=["final"])


def test_the_zip_as_downloaded_is_unpacked_once(tmp_path):
    write_layout(tmp_path / "source")
    root = tmp_path / "cnmc"
    root.mkdir()
    with zipfile.ZipFile(root / "archive.zip", "w") as archive:
        for path in sorted((tmp_path / "source").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "source"))
    first = CNMC(root).load()
    marker = root / "archive" / "kept"
    marker.touch()
    assert CNMC(root).load().fingerprint == first.fingerprint
    assert marker.exists()
    assert CNMC(root / "archive.zip").load().fingerprint == first.fingerprint


def test_a_zip_that_leads_outside_its_folder_is_refused(tmp_path):
    root = tmp_path / "cnmc"
    root.mkdir()
    with zipfile.ZipFile(root / "archive.zip", "w") as archive:
        archive.writestr("../outside.bmp", b"x")
    with pytest.raises(FaultyDataError, match="leads outside its folder"):
        CNMC(root).load()
    assert not (tmp_path / "outside.bmp").exists()


def test_a_truncated_zip_leaves_no_half_folder(tmp_path):
    write_layout(tmp_path / "source")
    root = tmp_path / "cnmc"
    root.mkdir()
    whole = Path(
        shutil.make_archive(str(tmp_path / "whole"), "zip", tmp_path / "source")
    ).read_bytes()
    (root / "archive.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FaultyDataError, match="download it again"):
        CNMC(root).load()
    assert [p.name for p in root.iterdir()] == ["archive.zip"]


def test_missing_data_say_how_to_get_them(tmp_path):
    for source in (CNMC(tmp_path / "absent"), CNMC(tmp_path), CNMC()):
        with pytest.raises(
            MissingDataError, match=r"10\.7937/tcia\.2019\.dc64i46r.*LEUKOBENCH_DATA"
        ):
            source.load()
    with pytest.raises(MissingDataError, match="Kaggle"):
        CNMC(tmp_path / "absent").get()


def test_get_answers_with_the_folder_where_the_files_are(tmp_path):
    root = write_layout(tmp_path)
    assert CNMC(root).get() == root


def test_unchanged_files_are_not_read_again_and_changed_ones_are(tmp_path):
    root = write_layout(tmp_path)
    first = CNMC(root).load()
    path = first.paths[0]
    old = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    second = CNMC(root).load()
    changed = first.samples["content"] != second.samples["content"]
    assert list(changed[changed].index) == [first.ids[0]]


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path, monkeypatch):
    root = write_layout(tmp_path / "data")
    (root / ".leukobench").write_text("a file where the cache folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert len(CNMC(root).load()) == 6
    assert len(CNMC(root).load()) == 6


def test_a_folder_inside_simulated_data_is_simulated_too(tmp_path):
    root = write_layout(tmp_path)
    assert CNMC(root / "C-NMC_Leukemia" / "training_data").load().simulated


# Faults


def test_a_sound_data_set_has_only_notes(tmp_path):
    report = CNMC(write_layout(tmp_path)).check()
    assert report.clean
    assert rules(report) == {"simulated", "final_images_600", "lower_case_subject"}
    assert finding(report, "lower_case_subject").where == ("h3",)


def test_a_check_reports_its_progress(tmp_path):
    seen = []
    CNMC(write_layout(tmp_path)).check(lambda *step: seen.append(step))
    assert seen[-1] == ("reading and decoding images", 9, 9)


def test_wrong_names_and_places_are_found_and_stop_a_training(tmp_path):
    root = write_layout(tmp_path)
    fold = root / "C-NMC_Leukemia/training_data/fold_0"
    write_image(fold / "all" / "cell 7.bmp", 7)
    write_image(fold / "all" / "UID_H8_1_1_hem.bmp", 8)
    write_image(root / "elsewhere" / "UID_9_1_1_all.bmp", 9)
    report = CNMC(root).check()
    assert "cell 7.bmp" in finding(report, "wrong_name").where[0]
    assert "name says hem, folder all" in finding(report, "label_disagrees").where[0]
    assert finding(report, "misplaced_file").severity == "warning"
    with pytest.raises(FaultyDataError, match=r"(?s)cell 7.*allow_faulty=true"):
        CNMC(root).load()
    data = CNMC(root, allow_faulty=True).load()
    assert len(data.faults) == 2
    assert "cell 7" not in set(data.ids)


def test_two_copies_under_one_root_are_found(tmp_path):
    root = write_layout(tmp_path)
    write_layout(root, TCIA)
    with pytest.raises(FaultyDataError, match="keep one copy"):
        CNMC(root).load()
    assert len(CNMC(root, allow_faulty=True).load()) == 6


def test_a_missing_class_is_found(tmp_path):
    root = write_layout(tmp_path)
    for folder in root.rglob("hem"):
        shutil.rmtree(folder)
    with pytest.raises(FaultyDataError, match="no image of normal"):
        CNMC(root).load()


def test_damaged_blank_and_wrongly_sized_images_are_told_apart(tmp_path):
    root = write_layout(tmp_path)
    data = CNMC(root).load()
    whole = data.paths[0].read_bytes()
    data.paths[0].write_bytes(whole[:100_000])
    data.paths[1].write_bytes(b"not an image")
    data.paths[2].write_bytes(b"")
    write_image(data.paths[3], 3, (224, 224))
    Image.new("RGB", (450, 450)).save(data.paths[4])
    report = CNMC(root).check()
    assert finding(report, "truncated_file").count == 2
    assert finding(report, "unreadable_file").count == 1
    assert "224 x 224, expected 450 x 450" in finding(report, "wrong_size").where[0]
    assert data.paths[4].name in finding(report, "blank_image").where[0]


def test_copies_across_subjects_folds_and_classes_are_told_apart(tmp_path):
    root = write_layout(tmp_path)
    places = {n: root / KAGGLE["fold"].format(f, c) / n for f, c, n in TRAINING}
    shutil.copy(places["UID_1_1_1_all.bmp"], places["UID_2_1_1_all.bmp"])
    report = CNMC(root).check()
    twin = finding(report, "duplicate_content_across_subjects")
    assert (twin.severity, twin.count) == ("warning", 1)
    assert "UID_1_1_1_all.bmp = " in twin.where[0]
    assert CNMC(root).load().samples["content"].duplicated().sum() == 1

    shutil.copy(places["UID_1_1_1_all.bmp"], places["UID_H1_1_1_hem.bmp"])
    with pytest.raises(FaultyDataError, match="different class labels"):
        CNMC(root).load()


def test_a_copy_saved_in_other_bytes_is_found_by_its_pixels(tmp_path):
    root = write_layout(tmp_path)
    data = CNMC(root).load()
    data.paths[1].write_bytes(data.paths[0].read_bytes() + b"\0\0")
    assert finding(CNMC(root).check(), "duplicate_pixels").count == 1


def test_a_subject_in_two_folds_is_found(tmp_path):
    root = write_layout(tmp_path)
    write_image(root / KAGGLE["fold"].format(1, "all") / "UID_1_2_1_all.bmp", 50)
    assert finding(CNMC(root).check(), "subject_in_two_parts").where == ("1",)


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ([("UID_57_1_1_all.bmp", "1.bmp", "0"), PRELIMINARY[1]], "labels_disagree"),
        ([("UID_57_1_1.bmp", "1.bmp", "1"), PRELIMINARY[1]], "labels_disagree"),
        ([*PRELIMINARY, ("UID_58_1_1_all.bmp", "2.bmp", "1")], "labels_disagree"),
        ([PRELIMINARY[0]], "unlabelled_file"),
    ],
)
def test_a_wrong_labels_csv_is_found(tmp_path, rows, rule):
    root = write_layout(tmp_path)
    with open(root / KAGGLE["labels"], "w", newline="") as file:
        csv.writer(file).writerows([("Patient_ID", "new_names", "labels"), *rows])
    assert finding(CNMC(root).check(), rule).severity == "error"
    assert len(CNMC(root).load()) == 6
    with pytest.raises(FaultyDataError):
        CNMC(root, parts=["train", "preliminary"]).load()


def test_a_labels_csv_with_other_columns_is_named(tmp_path):
    root = write_layout(tmp_path)
    (root / KAGGLE["labels"]).write_text("name;label\n")
    assert "name;label" in finding(CNMC(root).check(), "labels_unreadable").where[0]


def test_files_that_only_pretend_to_be_official_are_found(tmp_path):
    root = tmp_path
    name = official_names().query("official == 'fold_0' and label == 'ALL'").index[0]
    write_image(root / KAGGLE["fold"].format(0, "all") / f"{name}.bmp", 1)
    write_image(root / KAGGLE["fold"].format(1, "all") / f"{name}.bmp", 1)
    write_image(root / KAGGLE["fold"].format(0, "hem") / "UID_H99_1_1_hem.bmp", 2)
    report = CNMC(root).check()
    assert finding(report, "altered_file").count == 2
    assert "fold_1/all" in finding(report, "wrong_fold").where[0]
    assert "UID_H99_1_1_hem.bmp" in finding(report, "surplus_file").where[0]
    assert finding(report, "sample_twice").count == 1
    assert not report.clean
    with pytest.raises(FaultyDataError, match="official list"):
        CNMC(root).load()


# Real files


@pytest.fixture(scope="module")
def real_root(shared_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("cnmc")
    with zipfile.ZipFile(shared_data / "cnmc2019" / "cnmc_tiny_bmp.zip") as archive:
        archive.extractall(root)
    return root


@pytest.fixture
def real_copy(real_root, tmp_path):
    """The real files, hard-linked: a test may remove or replace them, not write into them."""
    shutil.copytree(real_root, tmp_path / "cnmc", copy_function=os.link)
    return tmp_path / "cnmc"


@pytest.mark.real_data
def test_real_files_are_the_official_ones_byte_for_byte(real_root):
    report = CNMC(real_root).check()
    assert report.facts["verified"] == "204 of 204 files are byte for byte the official ones"
    assert not report.errors
    assert finding(report, "final_images_600").count == 4
    assert finding(report, "lower_case_subject").where == ("h3",)
    assert finding(report, "missing_files").count == 15_114 - 204
    data = CNMC(real_root).load()
    assert data.samples["label"].value_counts().to_dict() == {"ALL": 98, "normal": 98}
    assert data.is_subset
    official = official_names()
    assert (official.loc[data.ids, "content"] == data.samples["content"]).all()


@pytest.mark.real_data
def test_an_official_pair_of_equal_images_under_two_subjects_is_found(shared_data, tmp_path):
    """The real files hold one image of seven such pairs; the official twin has the same bytes and is put in place."""
    official = official_names()
    pairs = official[official.duplicated("content", keep=False)]
    folder = {"ALL": "all", "normal": "hem"}
    with zipfile.ZipFile(shared_data / "cnmc2019" / "cnmc_subset_bmp.zip") as archive:
        members = {Path(m).stem: m for m in archive.namelist()}
        here = [s for s in pairs.index if s in members]
        for sample in here:
            for name, row in official[
                official["content"] == official.loc[sample, "content"]
            ].iterrows():
                target = (
                    tmp_path
                    / "training_data"
                    / row["official"]
                    / folder[row["label"]]
                    / f"{name}.bmp"
                )
                target.parent.mkdir(exist_ok=True, parents=True)
                target.write_bytes(archive.read(members[sample]))
    report = CNMC(tmp_path).check()
    found = {f.rule: f.count for f in report.findings if f.rule.startswith("duplicate_content")}
    across = sum(
        official[official["content"] == official.loc[s, "content"]]["subject"].nunique() > 1
        for s in here
    )
    assert sum(found.values()) == len(here) == 7
    assert found["duplicate_content_across_subjects"] == across > 0
    assert not {"altered_file", "swapped_file", "surplus_file"} & rules(report)
    data = CNMC(tmp_path, allow_faulty=True).load()
    assert data.samples["content"].duplicated().sum() == 7


@pytest.mark.real_data
def test_a_file_removed_truncated_or_swapped_by_hand_is_found(real_copy):
    paths = CNMC(real_copy).load().paths
    whole = paths[0].read_bytes()
    paths[0].unlink()
    paths[0].write_bytes(whole[:300_000])
    paths[1].unlink()
    a, b, spare = paths[2], paths[3], paths[2].with_suffix(".spare")
    a.rename(spare)
    b.rename(a)
    spare.rename(b)
    with pytest.raises(
        FaultyDataError, match=r"(?s)not byte for byte.*content of another official file"
    ):
        CNMC(real_copy).load()
    report = CNMC(real_copy).check()
    assert paths[0].name in finding(report, "truncated_file").where[0]
    assert paths[0].name in finding(report, "altered_file").where[0]
    assert finding(report, "missing_files").count == 15_114 - 203
    swapped = finding(report, "swapped_file")
    assert swapped.count == 2
    assert f"{a.name} is " in "".join(swapped.where)
    assert b.name in "".join(swapped.where)


@pytest.mark.real_data
def test_the_official_labels_csv_agrees_with_the_official_list(real_copy, shared_data):
    source = shared_data / "cnmc2019" / "metadata" / LABELS_CSV
    shutil.copy(source, next(real_copy.rglob("validation_data")) / LABELS_CSV)
    report = CNMC(real_copy).check()
    assert not rules(report) & {"labels_disagree", "labels_from_list", "unlabelled_file"}
    assert len(CNMC(real_copy, parts=["train", "preliminary"]).load()) == 200

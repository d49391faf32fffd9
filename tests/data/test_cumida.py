"""CuMiDa's series: one table, seven merged by probe name or by column position, and what is wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from leukobench.data.check import Report
from leukobench.data.simulated import mark_simulated
from leukobench.data.sources.cumida import SERIES, Cumida, series_name
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError, MissingDataError
from leukobench.simulation import simulate


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def write(path: Path, probes: list[str], types: list[str], start: float = 0) -> Path:
    """A CuMiDa table with values start, start + 1, ... row by row."""
    lines = ["samples,type," + ",".join(probes)]
    for r, kind in enumerate(types):
        values = [f"{start + r * len(probes) + c}" for c in range(len(probes))]
        lines.append(",".join([f"GSM{r}", kind, *values]))
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(Cumida(), tmp_path_factory.mktemp("cumida"), samples=150, seed=5, genes=400)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two small series that share probes b and c, in another order, simulated so that no counts are expected."""
    write(tmp_path / "Leukemia_GSE14317.csv", ["a", "b", "c"], ["ATL", "normal"])
    write(tmp_path / "Leukemia_GSE63270.csv", ["c", "d", "b"], ["AML", "normal"], start=100)
    mark_simulated(tmp_path, "test")
    return tmp_path


class TestOneSeries:
    def test_classes_are_the_sorted_types_of_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "Leukemia_GSE1.csv.gz", ["p", "q"], ["CLL", "ALL", "normal"])
        data = Cumida(path).load()
        assert data.classes == ("ALL", "CLL", "normal")
        assert data.genes == ("p", "q")
        assert data.values.tolist() == [[0, 1], [2, 3], [4, 5]]
        assert list(data.ids) == ["GSM0", "GSM1", "GSM2"]
        assert set(data.samples["series"]) == {"GSE1"}
        assert not data.has_subjects

    def test_another_table_is_refused_by_its_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text("id,class,p\n1,A,2\n")
        with pytest.raises(FaultyDataError, match="not a CuMiDa table"):
            Cumida(path).load()

    def test_a_damaged_gz_file_says_so(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "Leukemia_GSE1.csv.gz", [f"p{i}" for i in range(500)], ["A", "B"] * 20
        )
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(FaultyDataError, match="damaged or cut off"):
            Cumida(path).load()

    def test_a_cut_off_row_is_found(self, tmp_path: Path) -> None:
        path = write(tmp_path / "Leukemia_GSE1.csv", ["p", "q", "r"], ["A", "B", "A"])
        path.write_text(path.read_text()[:-3])
        assert "truncated_rows" in rules(Cumida(path).check())
        with pytest.raises(FaultyDataError, match="line 4 has 4 fields instead of 5"):
            Cumida(path, allow_faulty=True).load()

    def test_file_names_give_the_series(self) -> None:
        assert series_name(Path("Leukemia_GSE22529_U133A.csv")) == "GSE22529_U133A"
        assert series_name(Path("GSE33615.csv.gz")) == "GSE33615"
        assert series_name(Path("mine.csv")) == "mine"

    @pytest.mark.real_data
    def test_a_real_table_of_this_shape_loads(self, shared_data: Path) -> None:
        source = Cumida(shared_data / "all_bioc")
        data = source.load()
        assert data.values.shape == (128, 12625)
        assert dict(zip(data.classes, np.bincount(data.y).tolist())) == {
            "ALL1/AF4": 10,
            "BCR/ABL": 37,
            "E2A/PBX1": 5,
            "NEG": 74,
            "NUP-98": 1,
            "p15/p16": 1,
        }
        report = source.check()
        assert report.clean
        assert {"surplus_files", "small_classes"} <= rules(report)


class TestMerging:
    def test_intersection_keeps_each_probe_with_its_own_values(self, two: Path) -> None:
        data = Cumida(two).load()
        assert data.genes == ("b", "c")
        assert data.values.tolist() == [[1, 2], [4, 5], [102, 100], [105, 103]]
        assert list(data.ids) == [
            "GSE14317/GSM0",
            "GSE14317/GSM1",
            "GSE63270/GSM0",
            "GSE63270/GSM1",
        ]
        assert data.classes == ("AML", "ATL", "normal")

    def test_position_puts_columns_under_each_other_whatever_their_names(self, two: Path) -> None:
        source = Cumida(two, merge="position", n_columns=2)
        data = source.load()
        assert data.genes == ("column_1", "column_2")
        assert data.values.tolist() == [[0, 1], [3, 4], [100, 101], [103, 104]]
        assert data.name == "cumida_position"
        assert "columns_mix_probes" in rules(source.check())

    def test_position_wants_enough_columns(self, two: Path) -> None:
        with pytest.raises(FaultyDataError, match=r"data\.n_columns=3 or less"):
            Cumida(two, merge="position").load()

    def test_series_are_taken_in_the_order_asked_for(self, two: Path) -> None:
        data = Cumida(two, series=["GSE63270", "GSE14317"]).load()
        assert data.samples["series"].tolist() == ["GSE63270", "GSE63270", "GSE14317", "GSE14317"]

    def test_platforms_without_common_probe_are_named(self, two: Path) -> None:
        write(two / "Leukemia_GSE33615.csv", ["x", "y"], ["ATL", "normal"])
        with pytest.raises(FaultyDataError, match="GSE14317 and GSE33615 0"):
            Cumida(two).load()

    def test_only_the_classes_asked_for_are_kept_and_the_rest_is_said(self, two: Path) -> None:
        source = Cumida(two, classes=["normal", "AML"])
        data = source.load()
        assert data.classes == ("AML", "normal")
        assert len(data) == 3
        found = next(f for f in source.check().findings if f.rule == "classes_left_out")
        assert found.where == ("ATL",)

    def test_a_class_that_no_array_has_is_an_error_that_lists_those_found(self, two: Path) -> None:
        with pytest.raises(FaultyDataError, match=r"\['AML', 'ATL', 'normal'\]"):
            Cumida(two, classes=["AML", "JMML"]).load()

    def test_missing_series_are_named(self, two: Path) -> None:
        with pytest.raises(MissingDataError, match="GSE28497"):
            Cumida(two, series=list(SERIES)).load()

    def test_one_series_in_two_files_is_refused(self, two: Path) -> None:
        write(two / "GSE14317.csv", ["a"], ["ATL"])
        with pytest.raises(FaultyDataError, match="both series GSE14317"):
            Cumida(two).load()

    def test_an_unknown_way_of_merging_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="union"):
            Cumida(merge="union")  # type: ignore[arg-type]

    def test_real_series_are_held_to_their_published_counts(self, tmp_path: Path) -> None:
        write(tmp_path / "Leukemia_GSE14317.csv", ["a", "b"], ["ATL", "normal"])
        with pytest.raises(FaultyDataError, match="series GSE14317: 2 instead of 25"):
            Cumida(tmp_path).load()


class TestSimulation:
    def test_seven_series_give_thirteen_classes_either_way(self, seven: Path) -> None:
        by_name = Cumida(seven, series=list(SERIES)).load()
        by_position = Cumida(seven, merge="position", n_columns=340, series=list(SERIES)).load()
        assert by_name.simulated
        assert len(by_name) == len(by_position) == 150
        assert len(by_name.classes) == len(by_position.classes) == 13
        assert 0 < len(by_name.genes) < 340 == len(by_position.genes)

    def test_full_size_has_the_published_number_of_arrays_by_series(self, tmp_path: Path) -> None:
        data = Cumida(simulate(Cumida(), tmp_path, genes=40)).load()
        assert data.samples["series"].value_counts().to_dict() == dict(SERIES)

    def test_the_check_finds_that_series_tell_classes(self, seven: Path) -> None:
        report = Cumida(seven).check()
        found = next(f for f in report.findings if f.rule == "class_in_one_series")
        assert found.count == 10
        assert "AML in GSE63270" in found.where
        assert "patients_in_two_series" in rules(report)

    def test_subjects_are_refused_since_the_files_name_none(self, tmp_path: Path) -> None:
        with pytest.raises(LeukoBenchError, match="no subjects"):
            simulate(Cumida(), tmp_path, subjects=5)

    def test_too_few_samples_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LeukoBenchError, match="too few"):
            simulate(Cumida(), tmp_path, samples=5)


class TestGet:
    def test_each_series_is_fetched_from_its_address(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        monkeypatch.setattr("pooch.retrieve", lambda url, **kw: asked.append((url, kw["fname"])))
        Cumida(tmp_path).get()
        assert len(asked) == 7
        assert asked[-1][0].endswith("/Leukemia/GSE22529_U133B/Leukemia_GSE22529_U133B.csv")
        assert series_name(Path(asked[-1][1])) == "GSE22529_U133B"

    def test_offline_lists_what_to_download_by_hand(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*_: object, **__: object) -> None:
            raise ConnectionError("no network")

        monkeypatch.setattr("pooch.retrieve", unreachable)
        with pytest.raises(MissingDataError, match="Leukemia_GSE28497"):
            Cumida(tmp_path).get()

    def test_an_empty_folder_says_how_to_fill_it(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match="data get cumida"):
            Cumida(tmp_path).load()

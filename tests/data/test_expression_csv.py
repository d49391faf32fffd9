"""A user's own table: columns with roles, helpful errors, and the checks of expression tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.data.check import Report
from leukobench.data.sources.expression_csv import ExpressionCsv
from leukobench.errors import ConfigError, FaultyDataError, MissingDataError


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


@pytest.fixture
def frame() -> pd.DataFrame:
    """12 samples of 6 subjects in 2 series, 30 genes."""
    rng = np.random.default_rng(0)
    facts = pd.DataFrame(
        {
            "sample": [f"s{i}" for i in range(12)],
            "who": [f"p{i // 2}" for i in range(12)],
            "batch": ["x", "x", "y", "y"] * 3,
            "part": ["train"] * 8 + ["test"] * 4,
            "kind": (["AML", "AML", "ALL", "ALL"] * 3),
        }
    )
    genes = pd.DataFrame(rng.normal(5, 1, (12, 30)).round(4), columns=[f"g{j}" for j in range(30)])
    return pd.concat([facts, genes], axis=1)


ROLES = {"label": "kind", "id": "sample", "subject": "who", "series": "batch", "official": "part"}


def save(frame: pd.DataFrame, path: Path, **how: object) -> Path:
    frame.to_csv(path, index=False, **how)  # type: ignore[call-overload]
    return path


def source(frame: pd.DataFrame, folder: Path, **options: object) -> ExpressionCsv:
    return ExpressionCsv(save(frame, folder / "t.csv"), **{**ROLES, **options})  # type: ignore[arg-type]


class TestReading:
    def test_columns_take_their_roles(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        data = source(frame, tmp_path, positive="ALL").load()
        assert data.classes == ("ALL", "AML")
        assert data.positive == "ALL"
        assert data.genes == tuple(f"g{j}" for j in range(30))
        assert data.samples["subject"].tolist() == frame["who"].tolist()
        assert data.samples["series"].tolist() == frame["batch"].tolist()
        assert data.samples["official"].tolist() == frame["part"].tolist()
        np.testing.assert_array_equal(data.values, frame.iloc[:, 5:].to_numpy(np.float32))

    def test_every_format_gives_the_same_data(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame.to_parquet(tmp_path / "t.parquet")
        paths = [
            save(frame, tmp_path / "t.csv"),
            save(frame, tmp_path / "t.tsv", sep="\t"),
            save(frame, tmp_path / "s.csv", sep=";"),
            save(frame, tmp_path / "q.csv", quoting=1),
            save(frame, tmp_path / "t.csv.gz"),
            save(frame, tmp_path / "b.csv", encoding="utf-8-sig"),
            tmp_path / "t.parquet",
        ]
        assert len({ExpressionCsv(p, **ROLES).load().fingerprint for p in paths}) == 1

    def test_rows_are_numbered_without_an_id_column(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        data = source(frame, tmp_path, id=None, ignore=["sample"]).load()
        assert list(data.ids)[:2] == ["1", "2"]

    def test_a_folder_with_one_table_is_enough(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        save(frame, tmp_path / "t.csv")
        assert len(ExpressionCsv(tmp_path, **ROLES).load()) == 12

    def test_class_order_can_be_given(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        assert source(frame, tmp_path, classes=["AML", "ALL"]).load().classes == ("AML", "ALL")

    def test_subjects_are_unknown_without_a_subject_column(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        assert not source(frame, tmp_path, subject=None, ignore=["who"]).load().has_subjects


class TestErrors:
    def test_no_table_given_says_what_to_set(self) -> None:
        with pytest.raises(MissingDataError, match=r"data\.root"):
            ExpressionCsv().load()

    def test_an_absent_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"nowhere\.csv"):
            ExpressionCsv(tmp_path / "nowhere.csv").load()

    def test_an_absent_column_lists_those_found_and_the_likely_one(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        with pytest.raises(
            FaultyDataError, match=r"no column 'kinds'; found: sample, who.*Did you mean kind"
        ):
            source(frame, tmp_path, label="kinds").load()

    def test_a_column_of_text_among_the_genes_is_named(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        frame["sex"] = "F"
        with pytest.raises(FaultyDataError, match=r"'sex' \(for instance 'F'\)"):
            source(frame, tmp_path).load()
        assert len(source(frame, tmp_path, ignore=["sex"]).load().genes) == 30

    def test_a_word_among_numbers_is_named_by_row_and_gene(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        frame = frame.astype({"g3": object})
        frame.loc[4, "g3"] = "high"
        with pytest.raises(FaultyDataError, match="row 5, gene g3: 'high'"):
            source(frame, tmp_path).load()

    def test_a_missing_value_is_named_and_cannot_be_lived_with(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        frame.loc[2, "g7"] = np.nan
        assert "missing_values" in rules(source(frame, tmp_path).check())
        with pytest.raises(FaultyDataError, match="sample s2, gene g7"):
            source(frame, tmp_path, allow_faulty=True).load()

    def test_decimal_commas_are_recognised(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        path = save(frame, tmp_path / "t.csv", sep=";", decimal=",")
        with pytest.raises(FaultyDataError, match="no number"):
            ExpressionCsv(path, **ROLES).load()

    def test_duplicate_ids_are_named(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame.loc[1, "sample"] = "s0"
        with pytest.raises(FaultyDataError, match="for instance 's0'"):
            source(frame, tmp_path).load()

    def test_an_empty_label_is_named_by_row(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame.loc[3, "kind"] = ""
        with pytest.raises(FaultyDataError, match="empty in 1 rows, the first row 4"):
            source(frame, tmp_path).load()

    def test_an_unlisted_class_is_named(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(FaultyDataError, match=r"labels \['AML'\]"):
            source(frame, tmp_path, classes=["ALL", "CLL"]).load()

    def test_one_class_only_is_refused(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame["kind"] = "ALL"
        with pytest.raises(FaultyDataError, match="one class only"):
            source(frame, tmp_path).load()

    def test_a_column_cannot_have_two_roles(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="two roles"):
            source(frame, tmp_path, subject="sample").load()

    def test_get_says_that_the_table_is_yours(self) -> None:
        with pytest.raises(MissingDataError, match="your own"):
            ExpressionCsv().get()


class TestChecks:
    def test_a_sound_table_is_clean(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        report = source(
            frame, tmp_path, series=None, official=None, ignore=["batch", "part"]
        ).check()
        assert report.clean
        assert report.facts["distinct rows"] == 12

    def test_copies_of_a_row_are_found_within_and_across(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        genes = [c for c in frame if c.startswith("g")]
        frame.loc[1, genes] = frame.loc[0, genes]
        frame.loc[8, genes] = frame.loc[0, genes]
        found = {f.rule: f for f in source(frame, tmp_path).check().findings}
        assert found["duplicate_rows"].count == 2
        assert found["duplicate_rows"].where == ("s0 = s1 = s8",)
        assert found["duplicate_content_across_subjects"].severity == "warning"
        assert "duplicate_content_across_parts" in found
        assert "duplicate_content_across_classes" not in found

    def test_equal_rows_of_two_classes_are_an_error(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        genes = [c for c in frame if c.startswith("g")]
        frame.loc[2, genes] = frame.loc[0, genes]
        with pytest.raises(FaultyDataError, match="one of the labels is wrong"):
            source(frame, tmp_path).load()
        assert source(frame, tmp_path, allow_faulty=True).load().faults

    def test_constant_and_equal_genes_are_noted(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame["g1"] = 3.0
        frame["g5"] = frame["g2"]
        found = {f.rule: f for f in source(frame, tmp_path).check().findings}
        assert found["constant_genes"].where == ("g1",)
        assert found["duplicate_genes"].where == ("g5 = g2",)

    def test_a_subject_in_two_parts_is_found(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        frame.loc[11, "who"] = "p0"
        found = {f.rule: f for f in source(frame, tmp_path).check().findings}
        assert found["subject_in_two_parts"].where == ("p0",)
        assert found["subject_in_two_classes"].severity == "note"

    def test_a_class_in_one_series_is_found(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        found = {f.rule: f for f in source(frame, tmp_path).check().findings}
        assert found["class_in_one_series"].count == 2
        assert "100.0%" in found["class_in_one_series"].message

    @pytest.mark.parametrize("column", ["part", "batch", None])
    @pytest.mark.parametrize("how", ["unit", "standard"])
    def test_scaling_by_part_is_told_from_scaling_over_all(
        self, frame: pd.DataFrame, tmp_path: Path, column: str | None, how: str
    ) -> None:
        genes = [c for c in frame if c.startswith("g")]

        def scaled(x: pd.DataFrame) -> pd.DataFrame:
            return (
                (x - x.min()) / (x.max() - x.min()) if how == "unit" else (x - x.mean()) / x.std()
            )

        if column is None:
            frame[genes] = scaled(frame[genes])
        else:
            for _, rows in frame.groupby(column).groups.items():
                frame.loc[rows, genes] = scaled(frame.loc[rows, genes])
        found = rules(source(frame, tmp_path).check())
        expected = "scaled_before_split" if column is None else "scaled_per_part"
        assert found & {"scaled_before_split", "scaled_per_part"} == {expected}

    def test_scaling_by_blocks_is_found_without_being_told_the_parts(
        self, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        genes = [c for c in frame if c.startswith("g")]
        for rows in (slice(0, 4), slice(5, 11)):
            block = frame.loc[rows, genes]
            frame.loc[rows, genes] = (block - block.min()) / (block.max() - block.min())
        report = source(
            frame, tmp_path, series=None, official=None, ignore=["batch", "part"]
        ).check()
        found = next(f for f in report.findings if f.rule == "scaled_per_part")
        assert "after row 5" in found.message

    def test_the_report_is_json(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        assert '"dataset": "expression_csv"' in source(frame, tmp_path).check().to_json()

    @pytest.mark.real_data
    def test_the_damage_of_the_circulating_copy_is_found_untold(self, shared_data: Path) -> None:
        path = shared_data / "golub" / "corrupt_copy" / "leukemiamicroarray.csv"
        report = ExpressionCsv(path, label="Leukemia_class").check()
        found = {f.rule: f for f in report.findings}
        assert report.facts["distinct rows"] == 36
        assert found["duplicate_rows"].count == 36
        assert "scaled_per_part" in found
        assert not report.clean


def test_a_table_with_another_separator_is_told_without_its_whole_header(tmp_path: Path) -> None:
    header = "|".join(["sample", "kind", *(f"gene{i}" for i in range(5000))])
    (tmp_path / "t.csv").write_text(f"{header}\n" + "|".join("1" * 5002) + "\n")
    with pytest.raises(FaultyDataError, match="comma, semicolon or tabulator") as raised:
        ExpressionCsv(tmp_path / "t.csv", label="kind").load()
    assert len(str(raised.value)) < 500 + len(str(tmp_path))

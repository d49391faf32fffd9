"""Paper files: what they may say, how cells resolve, and that every published number is in them once."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from leukobench.errors import PaperError
from leukobench.papers.spec import (
    Cell,
    Paper,
    available_papers,
    load_paper,
    merge_overrides,
    printed_decimals,
    printed_number,
)

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "conf" / "paper"
# Entries, those cited from others, and those whose value is no single number (words, lists, nothing printed).
COUNTS = {
    "neuraldesigner": (18, 0, 2),
    "kandi": (107, 12, 2),
    "rai": (49, 10, 3),
    "fata": (170, 13, 2),
    "kadhim": (3, 0, 0),
}
SMALL = """\
key: small
version: 1
title: Small paper
citation: Nobody, 2020
source: invented
arms:
  paper: {label: As published, overrides: [protocol=paper]}
  leak_free: {label: Leak-free, overrides: [protocol=leak_free], leak_free: true}
  never: {label: By subject, reason: no subject ids}
tables:
  - id: table1
    title: Accuracy
    place: Table 1
    metric: accuracy
    overrides: [model=logistic, epochs=5]
    columns:
      - {id: adam, overrides: [optimizer=adam]}
      - {id: rmsprop, overrides: [optimizer=rmsprop]}
    rows:
      - {id: 5, cells: [0.80, "83,30%"]}
      - {id: 20, overrides: [epochs=20]}
      - {id: mean, mean_of: [5, 20], cells: {adam: 0.8}}
"""


def load(tmp_path: Path, text: str, name: str = "small") -> Paper:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_paper(path)


def broken(tmp_path: Path, old: str, new: str) -> str:
    assert old in SMALL
    with pytest.raises(PaperError) as caught:
        load(tmp_path, SMALL.replace(old, new))
    return str(caught.value)


@pytest.fixture(scope="module")
def papers() -> dict[str, Paper]:
    return {key: load_paper(FOLDER / f"{key}.yaml") for key in COUNTS}


class TestCells:
    def test_a_cell_merges_what_table_row_column_and_arm_say_and_the_later_one_wins(
        self, tmp_path: Path
    ) -> None:
        paper = load(tmp_path, SMALL)
        assert paper.cell("table1/20/rmsprop").overrides("leak_free") == (
            "model=logistic",
            "optimizer=rmsprop",
            "protocol=leak_free",
            "epochs=20",
        )
        assert "epochs=5" in paper.cell("table1/5/adam").runs

    def test_a_number_keeps_how_it_was_printed(self, tmp_path: Path) -> None:
        paper = load(tmp_path, SMALL)
        first, second = paper.cell("table1/5/adam"), paper.cell("table1/5/rmsprop")
        assert (first.printed, first.value, first.decimals, first.unit) == (
            "0.80",
            0.8,
            2,
            "fraction",
        )
        assert (second.printed, second.value, second.decimals, second.unit) == (
            "83,30%",
            0.833,
            2,
            "percent",
        )
        assert (first.step, second.step) == (0.01, 0.0001)

    def test_cells_that_the_paper_leaves_out_are_there_to_be_filled_but_are_not_published(
        self, tmp_path: Path
    ) -> None:
        paper = load(tmp_path, SMALL)
        assert [c.ref for c in paper.published()] == [
            "table1/5/adam",
            "table1/5/rmsprop",
            "table1/mean/adam",
        ]
        assert len(paper.cells("table1")) == 6

    def test_the_mean_of_rows_is_filled_from_cells_and_by_no_run(self, tmp_path: Path) -> None:
        cell = load(tmp_path, SMALL).cell("table1/mean/rmsprop")
        assert cell.mean_of == ("table1/5/rmsprop", "table1/20/rmsprop")
        assert cell.runs == ()

    def test_a_chosen_cell_names_all_its_configurations(self, tmp_path: Path) -> None:
        among = "{id: 20, choose: {metric: auroc, among: {epochs: [5, 20], model: [a, b]}},"
        cell = load(tmp_path, SMALL.replace("{id: 20,", among)).cell("table1/20/adam")
        assert cell.choose is not None
        assert cell.choose.candidates[:3] == [
            ("epochs=5", "model=a"),
            ("epochs=5", "model=b"),
            ("epochs=20", "model=a"),
        ]
        assert cell.overrides("paper") == (
            "model=a,b",
            "optimizer=adam",
            "protocol=paper",
            "epochs=5,20",
        )

    def test_a_difference_names_the_two_cells_it_subtracts_and_no_run(self, tmp_path: Path) -> None:
        text = SMALL.replace(
            "{id: rmsprop, overrides: [optimizer=rmsprop]}",
            "{id: rmsprop}\n      - {id: d, difference: [adam, rmsprop]}",
        )
        paper = load(tmp_path, text.replace('[0.80, "83,30%"]', '[0.80, "83,30%", ~]'))
        cell = paper.cell("table1/20/d")
        assert cell.difference == ("table1/20/adam", "table1/20/rmsprop")
        assert cell.runs == ()
        assert paper.cell("table1/mean/d").difference is None

    def test_an_impossible_arm_says_why(self, tmp_path: Path) -> None:
        cell = load(tmp_path, SMALL).cell("table1/5/adam")
        assert cell.arms["never"].reason == "no subject ids"
        with pytest.raises(PaperError, match="no subject ids"):
            cell.overrides("never")

    def test_tables_are_found_by_id_and_by_number(self, tmp_path: Path) -> None:
        paper = load(tmp_path, SMALL)
        assert paper.table("1") is paper.table("table1")
        with pytest.raises(PaperError, match="it has table1"):
            paper.table("7")

    def test_overrides_are_written_in_one_order_whatever_order_they_come_in(self) -> None:
        once = merge_overrides(["epochs=5", "model=vgg16"], ["optimizer.lr=0.1", "optimizer=adam"])
        assert once == ("model=vgg16", "optimizer=adam", "epochs=5", "optimizer.lr=0.1")
        assert merge_overrides(reversed(once)) == once

    @pytest.mark.parametrize(
        ("text", "value", "decimals"),
        [
            ("84.73%", 0.8473, 2),
            ("77.1%", 0.771, 1),
            ("83,30%", 0.833, 2),
            ("10,661", 10661.0, 0),
            ("0.80", 0.8, 2),
            ("81.19 %", 0.8119, 2),
            ("1", 1.0, 0),
            ("perfect", None, 0),
        ],
    )
    def test_printed_text_is_read_as_people_read_it(
        self, text: str, value: float | None, decimals: int
    ) -> None:
        assert printed_number(text) == value
        assert printed_decimals(text) == decimals


class TestErrors:
    @pytest.mark.parametrize(
        ("old", "new", "line", "message"),
        [
            ("title: Small paper\n", "", 1, "title): this key is required"),
            ("version: 1", "version: one", 2, "version): "),
            ("metric: accuracy", "metric: acuracy", 20, "'acuracy' is none of accuracy"),
            ("metric: accuracy", "metrik: accuracy", 14, "unknown key"),
            ("optimizer=adam", "optimiser=adam", 17, "neither a config group"),
            ("optimizer=adam", "adam", 17, "form key=value"),
            ("id: rmsprop", "id: adam", 18, "given twice"),
            ('[0.80, "83,30%"]', "[0.80]", 20, "1 cells for the 2 columns"),
            ("{adam: 0.8}", "{eve: 0.8}", 22, "no column 'eve'"),
            ("0.80", "good", 20, "not a plain number"),
            ("0.80", "{printed: 0.80, value: 0.81}", 20, "a `note` must say why"),
            ("mean_of: [5, 20]", "mean_of: [5, 21]", 22, "no row '21'"),
            ("place: Table 1", "arms: [official]", 13, "not among the paper's arms"),
            (
                "label: By subject,",
                "label: By subject, overrides: [split=kfold],",
                9,
                "cannot be run",
            ),
            (
                "overrides: [protocol=leak_free], leak_free: true",
                "overrides: [protocol=paper], leak_free: true",
                8,
                "called leak-free, but its protocol leaks: keep_together=[], fit_on=all",
            ),
            (
                "overrides: [protocol=leak_free], leak_free: true",
                "overrides: [protocol=leak_free, protocol.fit_on=all], leak_free: true",
                8,
                "called leak-free, but its protocol leaks: fit_on=all",
            ),
            (
                "overrides: [protocol=leak_free], leak_free: true",
                "overrides: [split=kfold], leak_free: true",
                8,
                "called leak-free and names no protocol",
            ),
            ("key: small", "key: big", 1, "the file is named 'small.yaml'"),
            ("source: invented", "source: invented\nsource: found", 6, "given twice"),
            ("tables:", "tables: [", 11, "not valid YAML"),
            ("{id: 20,", "{id: 20, difference: [5, 6],", 21, "no row '6' to subtract"),
            ("{id: 20,", "{id: 20, difference: [5, mean],", 21, "must be filled by runs"),
            ("{id: 20,", "{id: 20, choose: {among: {epochs: [5]}},", 21, "nothing to choose"),
            (
                "{id: 20,",
                "{id: 20, choose: {metric: loss, among: {epochs: [5, 6]}},",
                21,
                "chosen by 'loss'",
            ),
            (
                "{id: 20,",
                "{id: 20, choose: {among: {epoch: [5, 6]}},",
                21,
                "neither a config group",
            ),
            (
                "{id: 20,",
                "{id: 20, choose: {among: {protocol: [a, b]}},",
                21,
                "which the arm 'paper' fixes",
            ),
            (
                "    place: Table 1",
                "    difference: [paper, official]",
                13,
                "not among the paper's arms",
            ),
        ],
    )
    def test_an_error_names_file_line_and_key(
        self, tmp_path: Path, old: str, new: str, line: int, message: str
    ) -> None:
        text = broken(tmp_path, old, new)
        assert f"{tmp_path / 'small.yaml'}, line {line}" in text
        assert message in text

    def test_all_mistakes_of_the_schema_are_told_at_once(self, tmp_path: Path) -> None:
        assert (
            len(broken(tmp_path, "version: 1\ntitle: Small paper", "version: x").splitlines()) == 2
        )

    def test_a_missing_file_and_one_that_is_no_mapping_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(PaperError, match="no paper file"):
            load_paper(tmp_path / "absent.yaml")
        with pytest.raises(PaperError, match="a mapping of keys"):
            load(tmp_path, "[1, 2]")

    def test_an_earlier_folder_wins_and_absent_folders_are_passed_over(
        self, tmp_path: Path
    ) -> None:
        for name in ("mine", "theirs"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.yaml").touch()
        (tmp_path / "theirs" / "b.yaml").touch()
        found = available_papers([tmp_path / "mine", tmp_path / "theirs", tmp_path / "none"])
        assert found == {"a": tmp_path / "mine" / "a.yaml", "b": tmp_path / "theirs" / "b.yaml"}


class TestFivePapers:
    @pytest.mark.parametrize("key", COUNTS)
    def test_every_published_entry_of_a_paper_is_in_its_file(
        self, papers: dict[str, Paper], key: str
    ) -> None:
        cells = papers[key].published()
        cited = sum(c.kind == "cited" for c in cells)
        assert (len(cells), cited, sum(c.value is None for c in cells)) == COUNTS[key]

    def test_the_five_files_hold_347_entries(self, papers: dict[str, Paper]) -> None:
        assert sum(len(p.published()) for p in papers.values()) == 347

    def test_every_published_cell_appears_exactly_once(self, papers: dict[str, Paper]) -> None:
        for paper in papers.values():
            keys = Counter(
                (c.place, tuple(sorted(c.keys.items())), c.metric, c.title)
                for c in paper.published()
            )
            assert [k for k, n in keys.items() if n > 1] == []

    def test_every_published_cell_says_where_it_stands(self, papers: dict[str, Paper]) -> None:
        assert all(c.place for p in papers.values() for c in p.published())

    def test_a_reproducible_cell_names_runs_under_every_arm_that_is_possible(
        self, papers: dict[str, Paper]
    ) -> None:
        for paper in papers.values():
            for cell in paper.cells():
                if cell.has_runs:
                    assert cell.arms
                    for name, arm in cell.arms.items():
                        if arm.possible:
                            assert any(o.startswith("protocol=") for o in cell.overrides(name)), (
                                cell.ref
                            )

    def test_every_paper_has_a_leak_free_arm_or_says_why_there_is_none(
        self, papers: dict[str, Paper]
    ) -> None:
        for paper in papers.values():
            assert any(arm.leak_free for arm in paper.arms.values()), paper.key

    def test_a_cell_of_fata_names_the_run_that_fills_it(self, papers: dict[str, Paper]) -> None:
        cell = papers["fata"].cell("table3/10/recall")
        assert cell.overrides("official") == (
            "data=cnmc_challenge",
            "split=official",
            "model=vgg16",
            "optimizer=adam",
            "protocol=leak_free",
            "epochs=10",
        )
        assert (cell.metric, cell.averaging, cell.part, cell.value, cell.place) == (
            "recall",
            "macro",
            "test",
            0.76,
            "Table 3",
        )


def published_rows() -> dict[str, list[dict[str, Any]]]:
    shared = Path(
        os.environ.get("LEUKOBENCH_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    ).parent
    path = shared / "papers" / "published.yaml"
    if not path.is_file():
        pytest.skip(f"transcription of the published numbers not present: {path}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))["papers"]
    for row in content["fata"]["rows"]:
        # Which data set [10] calls its second is the transcription's reading, not the paper's text.
        study = row["keys"].get("study", "")
        row["keys"] |= {"study": study.replace(" (= C-NMC)", "")} if study else {}
    return {key: entry["rows"] for key, entry in content.items()}


# What the transcription calls a metric: the metrics of ours that it can be.
METRICS = {
    **{m: {m} for m in ("accuracy", "precision", "recall", "f1", "sensitivity", "specificity")},
    "training accuracy": {"accuracy"},
    "test accuracy": {"accuracy"},
    "error rate": {"error_rate"},
    "one-vs-rest AUC": {"auroc"},
    "AUC": {"auroc"},
    "WSE": {"loss"},
    "TP as named": {"tp"},
    "TN as named": {"tn"},
    "FP as named": {"fn"},
    "FN as named": {"fp"},
    "classes": {"classes"},
    "samples": {"samples", "class_count", "resampled_count"},
}


def says_the_same(cell: Cell, row: dict[str, Any]) -> bool:
    """Whether a cell is the transcription's row: same place, same keys, same value, printed text contained."""
    if cell.place != row["where"] or (cell.kind == "cited") != bool(row.get("cited")):
        return False
    metrics = METRICS.get(row["metric"])
    if metrics and cell.metric not in metrics:
        return False
    if row["metric"].startswith(("training", "test")) and cell.part != {"training": "train"}.get(
        row["metric"].split()[0], "test"
    ):
        return False
    value = row["value"] / 100 if row["metric"] == "percent" else row["value"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if cell.value is None or not math.isclose(cell.value, value, rel_tol=1e-12):
            return False
    elif isinstance(value, list) and all(isinstance(v, float) for v in value):
        if cell.numbers != tuple(value):
            return False
    elif isinstance(value, list):
        if cell.words != ", ".join(value):
            return False
    elif cell.words is None or (value is not None and cell.words != value):
        return False
    printed = row["as_printed"]
    if (
        printed is not None
        and cell.printed is not None
        and not_spaced(cell.printed) not in not_spaced(printed)
    ):
        return cell.numbers != ()
    said = " | ".join(
        map(str, [*cell.keys.values(), cell.row, cell.column, cell.metric, cell.note, cell.part])
    )
    return all(
        k == "smote"
        or re.search(rf"(?<!\w){re.escape(str(v))}(?!\w)", said)
        or str(v) in cell.keys.values()
        for k, v in row["keys"].items()
    )


def not_spaced(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.real_data
@pytest.mark.parametrize("key", COUNTS)
def test_the_cells_are_those_of_the_transcription_one_to_one(
    papers: dict[str, Paper], key: str
) -> None:
    rows = published_rows()[key]
    cells = papers[key].published()
    assert len(rows) == len(cells)
    # Most particular first: a row is only free to take a cell that fits it when nothing else claims that cell.
    fits = [[i for i, cell in enumerate(cells) if says_the_same(cell, row)] for row in rows]
    lonely = [rows[r] for r, found in enumerate(fits) if not found]
    assert lonely == []
    taken: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for cell in fits[row]:
            if cell not in seen:
                seen.add(cell)
                if cell not in taken or place(taken[cell], seen):
                    taken[cell] = row
                    return True
        return False

    assert all(place(row, set()) for row in range(len(rows)))

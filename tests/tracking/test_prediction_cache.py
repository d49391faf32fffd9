"""Predictions kept between readings are those of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from damages import DAMAGES, flip_a_bit
from leukobench.tracking.prediction_cache import PredictionCache


def table(run_id: str, classes: tuple[str, ...] = ("ALL", "AML")) -> pa.Table:
    rows = {"sample": [f"{run_id}-{i}" for i in range(3)], "subject": [None, "s1", "s2"]}
    return pa.Table.from_pandas(
        pd.DataFrame({**rows, **{f"p_{c}": [0.1, 0.2, 0.3] for c in classes}})
    )


def refuse(run_id: str) -> pa.Table:
    raise AssertionError(f"{run_id} was fetched although it is kept")


def test_a_kept_run_reads_as_it_was_fetched_and_is_not_fetched_again(tmp_path: Path) -> None:
    first = PredictionCache(tmp_path)
    fetched = {run: first.read(run, table) for run in ("a", "b", "c")}
    first.flush()
    second = PredictionCache(tmp_path)
    for run, frame in fetched.items():
        pd.testing.assert_frame_equal(second.read(run, refuse), frame)


def test_runs_of_different_classes_are_kept_apart(tmp_path: Path) -> None:
    kept = PredictionCache(tmp_path)
    kept.read("a", table)
    kept.read("b", lambda run: table(run, ("one", "two", "three")))
    kept.flush()
    assert list(PredictionCache(tmp_path).read("b", refuse).columns[-3:]) == [
        "p_one",
        "p_two",
        "p_three",
    ]
    assert "p_one" not in PredictionCache(tmp_path).read("a", refuse)


@pytest.mark.parametrize("kind", ["arrow", "json"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_copy_is_fetched_anew(
    tmp_path: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    kept = PredictionCache(tmp_path)
    whole = kept.read("a", table)
    kept.flush()
    [path] = tmp_path.glob(f"*.{kind}")
    damage(path)
    pd.testing.assert_frame_equal(PredictionCache(tmp_path).read("a", table), whole)


def test_a_damaged_copy_is_told_and_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = PredictionCache(tmp_path)
    kept.read("a", table)
    kept.flush()
    [path] = tmp_path.glob("*.arrow")
    flip_a_bit(path)
    PredictionCache(tmp_path).read("a", table)
    assert "its predictions are read from the store again" in caplog.text
    assert not list(tmp_path.iterdir())


def test_many_runs_are_read_in_one_frame_a_file_whatever_order_they_were_kept_in(
    tmp_path: Path,
) -> None:
    first = PredictionCache(tmp_path)
    one = {run: first.read(run, table) for run in ("a", "b", "c")}
    first.flush()
    kept = PredictionCache(tmp_path)
    wanted = ["c", "new", "a"]
    pieces = kept.pieces(wanted, table)
    assert len(pieces) == 2, "the two kept runs come in one piece"
    one["new"] = table("new").to_pandas()
    for frame, run in pieces:
        for place in set(run.tolist()):
            pd.testing.assert_frame_equal(
                frame[run == place].reset_index(drop=True), one[wanted[place]]
            )
    assert sorted(place for _, run in pieces for place in run) == [0] * 3 + [1] * 3 + [2] * 3


def test_runs_of_a_file_that_was_cut_are_fetched_anew(tmp_path: Path) -> None:
    kept = PredictionCache(tmp_path)
    kept.pieces(["a", "b"], table)
    kept.flush()
    [path] = tmp_path.glob("*.arrow")
    path.write_bytes(path.read_bytes()[:100])
    pieces = PredictionCache(tmp_path).pieces(["a", "b"], table)
    found = [
        (place, sample)
        for frame, run in pieces
        for place, sample in zip(run.tolist(), frame["sample"])
    ]
    assert found == [(0, "a-0"), (0, "a-1"), (0, "a-2"), (1, "b-0"), (1, "b-1"), (1, "b-2")]


def test_fetched_runs_with_other_columns_come_apart_and_stay_whole(tmp_path: Path) -> None:
    def fetch(run: str) -> pa.Table:
        found = table(run)
        return (
            found.append_column("series", pa.array(["s"] * found.num_rows)) if run == "b" else found
        )

    pieces = PredictionCache(tmp_path).pieces(["a", "b", "c"], fetch)
    assert [sorted(set(run.tolist())) for _, run in pieces] == [[0, 2], [1]]
    assert ["series" in frame for frame, _ in pieces] == [False, True]
    assert [list(frame["sample"]) for frame, _ in pieces][1] == ["b-0", "b-1", "b-2"]

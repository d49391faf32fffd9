"""Predictions kept between readings are those of the store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from leukobench.tracking.kept import KeptPredictions


def table(run_id: str, classes: tuple[str, ...] = ("ALL", "AML")) -> pa.Table:
    rows = {"sample": [f"{run_id}-{i}" for i in range(3)], "subject": [None, "s1", "s2"]}
    return pa.Table.from_pandas(pd.DataFrame({**rows, **{f"p_{c}": [0.1, 0.2, 0.3] for c in classes}}))


def refuse(run_id: str) -> pa.Table:
    raise AssertionError(f"{run_id} was fetched although it is kept")


def test_a_kept_run_reads_as_it_was_fetched_and_is_not_fetched_again(tmp_path: Path) -> None:
    first = KeptPredictions(tmp_path)
    fetched = {run: first.read(run, table) for run in ("a", "b", "c")}
    first.flush()
    second = KeptPredictions(tmp_path)
    for run, frame in fetched.items():
        pd.testing.assert_frame_equal(second.read(run, refuse), frame)


def test_runs_of_different_classes_are_kept_apart(tmp_path: Path) -> None:
    kept = KeptPredictions(tmp_path)
    kept.read("a", table)
    kept.read("b", lambda run: table(run, ("one", "two", "three")))
    kept.flush()
    assert list(KeptPredictions(tmp_path).read("b", refuse).columns[-3:]) == ["p_one", "p_two", "p_three"]
    assert "p_one" not in KeptPredictions(tmp_path).read("a", refuse)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_copy_is_fetched_anew(tmp_path: Path, damage: str) -> None:
    kept = KeptPredictions(tmp_path)
    kept.read("a", table)
    kept.flush()
    [path] = tmp_path.glob("*.arrow")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.unlink()
    assert list(KeptPredictions(tmp_path).read("a", table)["sample"]) == ["a-0", "a-1", "a-2"]

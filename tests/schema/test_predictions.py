"""Predictions are checked where they are written and where they are read, and spelled in one place."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leukobench.schema import predictions as schema
from leukobench.schema.predictions import PredictionsError

SOURCES = Path(__file__).resolve().parents[2] / "src" / "leukobench"


@pytest.fixture
def frame() -> pd.DataFrame:
    samples = pd.DataFrame(
        {"subject": ["P1", None, "P2"], "label": ["ALL", "AML", "ALL"], "series": [None] * 3},
        index=["a", "b", "c"],
    )
    p = np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0]])
    return schema.predictions(samples, p, ["ALL", "AML"], part="test", fold=2, epoch=10)


def test_predictions_survive_their_file(frame: pd.DataFrame, tmp_path: Path) -> None:
    schema.write(frame, tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(schema.read(tmp_path / "p.parquet"), frame)


def test_the_classes_come_back_in_their_order(frame: pd.DataFrame) -> None:
    assert schema.classes_among(frame.columns) == ("ALL", "AML")
    assert schema.classes_among(["sample", "label"]) == ()


def test_a_series_is_kept_where_any_sample_has_one() -> None:
    samples = pd.DataFrame(
        {"subject": [None, None], "label": ["ALL", "AML"], "series": ["GSE1", None]},
        index=["a", "b"],
    )
    made = schema.predictions(
        samples, np.full((2, 2), 0.5), ["ALL", "AML"], part="train", fold=0, epoch=1
    )
    assert made["series"].dropna().to_dict() == {0: "GSE1"}


def test_a_file_without_a_version_is_read(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "old.parquet", index=False, compression="zstd")
    pd.testing.assert_frame_equal(schema.read(tmp_path / "old.parquet"), frame)


def test_a_file_of_a_later_version_asks_for_an_update(frame: pd.DataFrame, tmp_path: Path) -> None:
    later = {b"leukobench.schema_version": str(schema.VERSION + 1).encode()}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(later)
    pq.write_table(table, tmp_path / "later.parquet")
    with pytest.raises(PredictionsError, match=r"later\.parquet was written by a later LeukoBench"):
        schema.read(tmp_path / "later.parquet")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(PredictionsError, match=r"p\.parquet is damaged.*--force"):
        schema.read(tmp_path / "p.parquet")


BROKEN = {
    "a column is missing": (lambda f: f.drop(columns="subject"), "column 'subject' is missing"),
    "a sample has no name": (lambda f: f.assign(sample=["a", None, "c"]), "1 of 3 rows have no 's"),
    "an epoch is no number": (lambda f: f.assign(epoch="last"), "'epoch' holds .*expected whole"),
    "no class has a column": (lambda f: f.drop(columns=["p_ALL", "p_AML"]), "each of at least two"),
    "a part is unknown": (lambda f: f.assign(part="tset"), "'part' holds 'tset', expected one of"),
    "a label is no class": (lambda f: f.assign(label="CML"), "'label' holds 'CML', expected one"),
    "a probability is text": (lambda f: f.assign(p_ALL="high"), "'p_ALL' holds .*expected numbers"),
    "a probability is no number": (lambda f: f.assign(p_ALL=np.nan), "'p_ALL' holds nan in row 1"),
    "a probability is above one": (lambda f: f.assign(p_ALL=1.5), "'p_ALL' holds 1.5 in row 1"),
    "a row does not sum to one": (lambda f: f.assign(p_ALL=0.5), "row 1 sum to 0.6, expected 1"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_prediction_is_neither_written_nor_read(
    what: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    change, message = BROKEN[what]
    broken = change(frame)
    with pytest.raises(PredictionsError, match=message):
        schema.write(broken, tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()
    broken.to_parquet(tmp_path / "p.parquet", index=False)
    with pytest.raises(PredictionsError, match=rf"p\.parquet: .*{message}"):
        schema.read(tmp_path / "p.parquet")


def test_the_columns_of_probabilities_and_the_parts_are_spelled_once() -> None:
    spelled = re.compile(r"""f?["']p_["'{]|["']train["'], ["']validation["'], ["']test["']""")
    files = [
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if spelled.search(path.read_text(encoding="utf-8"))
    ]
    assert files == ["schema/predictions.py"]


def test_predictions_go_to_files_and_come_from_them_in_one_place() -> None:
    touching = re.compile(r"""["']predictions\.parquet|(read|to)_parquet\(.*model""")
    files = [
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if touching.search(path.read_text(encoding="utf-8"))
    ]
    assert files == ["schema/predictions.py"]

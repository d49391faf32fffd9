"""The run folder: whole or not there, whatever kills the process that writes it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from frames import predictions

from leukobench.errors import LeukoBenchError
from leukobench.files import atomic, read_json, write_json
from leukobench.schema.records import ResultRecord, RunRecord
from leukobench.tracking.folder import RunFolder

FRAME = predictions(["ALL", "AML"], [[0.25, 0.75], [0.5, 0.5]])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.of(tmp_path, "training")


def record(epoch: int) -> ResultRecord:
    return ResultRecord(str(epoch), epoch)


def write_and_raise(path: Path, error: BaseException) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_that_was_not_written_to_its_end_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(tmp_path / "x", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_could_not_be_replaced_keeps_its_old_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    with pytest.raises(ValueError, match="no"):
        write_and_raise(tmp_path / "x", ValueError("no"))
    assert (tmp_path / "x").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        LeukoBenchError, match=r"cannot write .*x: No space left.*LEUKOBENCH_OUTPUT"
    ):
        write_and_raise(tmp_path / "x", OSError(errno.ENOSPC, "No space left on device"))


def test_json_survives_its_file_and_a_missing_one_has_a_default(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "x.json", {"é": [1, None, 0.1]})
    assert read_json(tmp_path / "a" / "x.json") == {"é": [1, None, 0.1]}
    assert read_json(tmp_path / "none.json", {"default": 1}) == {"default": 1}


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(LeukoBenchError, match=r"x\.json is damaged.*launch again"):
        read_json(tmp_path / "x.json")


def test_a_result_counts_once_its_record_stands(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import leukobench.tracking.folder as module

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.write_result(record(5), FRAME, None)
    assert not folder.has_result("5")
    assert folder.results() == []
    folder.write_result(record(5), FRAME, None)
    assert folder.has_result("5")
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder.result("5") / "predictions.parquet"), FRAME
    )


def test_results_are_listed_by_epoch(folder: RunFolder) -> None:
    for epoch in (10, 2, 5):
        folder.write_result(record(epoch), FRAME, None)
    assert [r.epoch for r in folder.results()] == [2, 5, 10]


def test_facts_are_merged_and_the_first_moment_is_kept(folder: RunFolder) -> None:
    assert folder.run() == RunRecord()
    first = folder.update(state="running")
    later = folder.update(state="finished", seconds=1.5)
    assert first.created is not None
    assert later == RunRecord(created=first.created, state="finished", seconds=1.5)
    assert folder.run() == later


def test_weights_are_kept_beside_the_predictions(folder: RunFolder) -> None:
    folder.write_result(record(1), FRAME, lambda path: path.write_text("weights"))
    assert (folder.result("1") / "model.safetensors").read_text() == "weights"


def test_a_written_file_may_be_read_by_whom_any_new_file_may(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_json(tmp_path / "written.json", {})
    assert (tmp_path / "written.json").stat().st_mode == (tmp_path / "usual").stat().st_mode

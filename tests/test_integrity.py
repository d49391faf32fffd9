"""Files that are read for months: what was written is told from what was not, and where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from damages import DAMAGES, flip_a_bit
from leukobench.integrity import (
    BLOCK,
    BlockDigests,
    checked,
    headers,
    read_lines,
    seal,
    set_aside,
    verify,
    write_lines,
)


@pytest.fixture
def header(tmp_path: Path) -> Path:
    """Of a store of three blocks, the last of them short."""
    folder = tmp_path / "features" / "key"
    folder.mkdir(parents=True)
    (folder / "features.npy").write_bytes(os.urandom(2 * BLOCK + 9))
    seal(folder / "features.json", {"model": "net"}, folder / "features.npy")
    return folder / "features.json"


def test_a_sound_store_has_no_damages(header: Path) -> None:
    assert verify(header) == []
    assert checked(header).sound


def test_digests_taken_while_writing_are_those_of_the_file(header: Path) -> None:
    before = checked(header).digest
    data = header.with_name("features.npy").read_bytes()
    digests = BlockDigests()
    for start in range(0, len(data), 1_000_003):
        digests.update(data[start : start + 1_000_003])
    seal(header, {"model": "net"}, header.with_name("features.npy"), written=digests)
    assert verify(header) == []
    assert checked(header).digest == before


def test_the_damaged_block_is_named(header: Path) -> None:
    file = header.with_name("features.npy")
    with open(file, "r+b") as f:
        f.seek(BLOCK)
        f.write(bytes(5))
    assert [str(damage) for damage in verify(header)] == [
        f"{file} is not what was written (block 2 of 3)"
    ]


def test_a_header_whose_facts_were_changed_is_damaged(header: Path) -> None:
    header.write_text(header.read_text().replace("net", "nit"))
    assert [str(damage) for damage in verify(header)] == [f"{header} is not what was written"]


def test_a_store_moved_to_another_key_is_told(header: Path) -> None:
    other = header.parent.rename(header.parent.with_name("other")) / header.name
    assert "was written for key/features.json" in str(verify(other)[0])


def test_a_process_checks_a_store_once_until_its_files_change(header: Path) -> None:
    assert checked(header) is checked(header)
    flip_a_bit(header.with_name("features.npy"))
    assert not checked(header).sound


def test_a_store_set_aside_is_not_listed(header: Path, tmp_path: Path) -> None:
    assert list(headers(tmp_path)) == [header]
    set_aside(header.parent)
    assert list(headers(tmp_path)) == []


def test_a_folder_for_a_file_and_nonsense_for_a_header_are_damages(header: Path) -> None:
    for text in ("", "[]", "[" * 5000, '{"seal": 1, "digest": 2}', "null", "{}"):
        header.write_text(text)
        assert len(verify(header)) == 1
    header.unlink()
    header.mkdir()
    assert len(verify(header)) == 1


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_lines_are_told_and_read_as_nothing(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "kept.json"
    write_lines(file, {"a": list(range(50))})
    assert read_lines(file, "read again") == {"a": list(range(50))}
    damage(file)  # type: ignore[operator]
    assert read_lines(file, "read again") is None
    assert ("read again" in caplog.text) == file.exists()

"""Names that become folders, labels that are shown, archives of strangers, messages that echo them."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from leukobench.archives import fault_of
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError
from leukobench.names import check_label, check_name
from leukobench.schema.delivery import DELIVERY


@pytest.mark.parametrize(
    "name", ["fata", "kandi_control", "_x", "a.b-c", "my sweep 2", "Zürich", "2026-07", "白血病"]
)
def test_names_of_people_are_taken(name: str) -> None:
    assert check_name("sweep", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "-option",
        "../escape",
        "a/b",
        "/abs/path",
        "a\\b",
        "C:x",
        "a\n",
        "a\0",
        "a..b",
        " a",
        "a ",
        "a  b",
        "a%2fb",
        "x" * 151,
        "白" * 51,
        "file:x",
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="sweep"):
        check_name("sweep", name)


def test_no_run_folder_orders_a_delivery_elsewhere() -> None:
    text = '{"sweep": "../../escape", "training": "t", "name": "n", "jobs": []}'
    with pytest.raises(ConfigError, match="escape"):
        DELIVERY.parse(text, "delivery.json")


def test_a_label_is_one_line_of_human_text() -> None:
    for text in ("ALL (B-cell)", "Früh-Pre-B / Stufe 2", "T‑ALL <2 y"):
        assert check_label("class", text) == text
    for text in ("", "  ", "a\nb", "a\x1b[2J", "x" * 201, "a\u202eb"):
        with pytest.raises(ConfigError, match="class"):
            check_label("class", text)


def test_what_an_error_echoes_is_cut() -> None:
    message = str(FaultyDataError(f"sample {'x' * 1_000_000} has no label; give it one"))
    assert len(message) < 600
    assert "(1,000,000 characters)" in message
    assert message.endswith("has no label; give it one")
    assert len(str(LeukoBenchError("word " * 1_000_000))) < 4100
    usual = "a message\n  of two lines, with  spaces; it stays as it is"
    assert str(LeukoBenchError(usual)) == usual


def zipped(path: Path, *members: zipfile.ZipInfo | str) -> zipfile.ZipFile:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    return zipfile.ZipFile(path)


def test_members_of_archives_stay_in_their_folder(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert fault_of(zipped(tmp_path / "a.zip", "a/b.txt", "..c/d")) is None
    for bad in ("../x", "/x", "a/../../x", "C:x", "a\\..\\..\\x"):
        assert "leads outside" in str(fault_of(zipped(tmp_path / "b.zip", bad)))
    assert "holds the link" in str(fault_of(zipped(tmp_path / "c.zip", link)))

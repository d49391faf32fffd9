"""YAML of strangers: plain data, or one sentence that says where it is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from leukobench.errors import ConfigError, PaperError
from leukobench.papers.spec import load_paper
from leukobench.plain_yaml import load

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk")
)
FAULTS = {
    "bomb": (BOMB, "its aliases make more than 500,000 values"),
    "merged bomb": (BOMB.replace("[", "{<<: [", 1).replace("]", "]}", 1), "not valid YAML"),
    "itself": ("a: &a [*a]", "a value holds itself"),
    "object": ("a: !!python/object:os.system {x: 1}", "the tag !!python/object:os.system is not"),
    "call": (
        "a: !!python/object/apply:os.system ['true']",
        "line 1.*the tag !!python/object/apply",
    ),
    "name": ("a: !!python/name:os.system", "the tag !!python/name:os.system"),
    "own tag": ("a: !mine 5", "the tag !mine"),
    "deep": ("[" * 5000, "not valid YAML"),
    "deep and closed": ("[" * 200 + "]" * 200, "nested too deeply"),
    "key": ("? [a, b]\n: 1", "a key is one word or number"),
    "date": ("a: 2026-13-45", "month must be in 1..12"),
    "control": ("a: \x07", "not valid YAML"),
    "unclosed": ("a: [1, 2", "line 1"),
    "large": ("a: 1\n" * 1_000_000, "at most 4,000,000 are read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_plain_is_refused_in_a_sentence(name: str) -> None:
    text, said = FAULTS[name]
    began = time.monotonic()
    with pytest.raises(ConfigError, match=said):
        load(text, "their.yaml")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", FAULTS)
def test_a_paper_of_a_stranger_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    text, said = FAULTS[name]
    path = tmp_path / "their.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PaperError, match=said) as caught:
        load_paper(path)
    assert str(path) in str(caught.value)


def test_a_paper_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "their.yaml"
    path.write_bytes(b"title: \xff\xfe")
    with pytest.raises(PaperError, match="not valid YAML"):
        load_paper(path)


def test_plain_yaml_reads_as_it_always_did() -> None:
    text = "a: &a {x: 1, y: [0.5, null, true]}\nb: {<<: *a, x: 2}\nc: 2026-07-01\n"
    found = load(text, "mine.yaml")
    assert found["b"] == {"x": 2, "y": [0.5, None, True]}
    assert str(found["c"]) == "2026-07-01"
    assert load("", "empty.yaml") is None

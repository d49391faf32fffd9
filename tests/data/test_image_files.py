"""Files below a folder: links that lead away or round in circles are not followed, and are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukobench.data.image_files import find_files, list_folder
from leukobench.data.sources.image_folder import ImageFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "cells"
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{i}.png")
    return root


def names(root: Path) -> list[str]:
    return [p.relative_to(root).as_posix() for p in find_files(root)]


def test_a_link_out_of_the_folder_is_not_followed_and_is_named(folder: Path) -> None:
    (folder / "machine").symlink_to("/", target_is_directory=True)
    assert names(folder) == ["a/a0.png", "a/a1.png", "b/b0.png", "b/b1.png"]
    assert list_folder(folder).skipped == ("machine -> /: the link leads out of the folder",)


def test_links_round_in_circles_end(folder: Path) -> None:
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "a" / "over").symlink_to(folder / "b", target_is_directory=True)
    (folder / "b" / "back").symlink_to(folder / "a", target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    found = names(folder)
    assert "a/over/b0.png" in found
    assert "b/back/a0.png" in found
    assert len(found) < 20
    assert any(line.startswith("a/up -> ") for line in list_folder(folder).skipped)


def test_a_root_that_is_a_link_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert len(names(tmp_path / "link")) == 4


def test_the_check_of_a_data_set_says_what_it_did_not_look_into(folder: Path) -> None:
    (folder / "a" / "machine").symlink_to("/", target_is_directory=True)
    source = ImageFolder(folder)
    assert len(source.load()) == 4
    found = {f.rule: f for f in source.check().findings}
    assert found["skipped_folder"].where[0].startswith("a/machine -> /")

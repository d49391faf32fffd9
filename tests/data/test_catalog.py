"""The data sets there are: each file of the group names a source that can be built without Hydra."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leukobench.data.catalog import data_files, source
from leukobench.errors import ConfigError
from leukobench.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "data", tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.mark.parametrize("name", sorted(data_files()))
def test_every_data_set_has_a_source(name: str, settings: Settings) -> None:
    assert source(name, settings).family in ("expression", "image")


@pytest.fixture
def extend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Puts a data set `few` of this content into the user's configs."""

    def write(content: str) -> None:
        folder = tmp_path / "conf" / "data"
        folder.mkdir(parents=True)
        (folder / "few.yaml").write_text(content)
        monkeypatch.setenv("LEUKOBENCH_CONF", str(folder.parent))

    return write


def test_a_file_that_extends_another_keeps_what_it_does_not_say(
    settings: Settings, extend: Callable[[str], None]
) -> None:
    extend("defaults: [cumida_series]\nn_columns: 40\n")
    built, parent = source("few", settings), source("cumida_series", settings)
    assert type(built) is type(parent)
    assert vars(built) == {**vars(parent), "n_columns": 40}


def test_a_file_that_extends_what_is_not_there_is_one_message(
    settings: Settings, extend: Callable[[str], None]
) -> None:
    extend("defaults: [absent]\n")
    with pytest.raises(ConfigError, match=r"few\.yaml: its defaults name the data set 'absent'"):
        source("few", settings)

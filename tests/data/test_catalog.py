"""The data sets there are: each file of the group names a source that can be built without Hydra."""

from __future__ import annotations

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


def test_a_file_that_extends_another_keeps_what_it_does_not_say(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "conf" / "data"
    own.mkdir(parents=True)
    (own / "few.yaml").write_text("defaults: [cumida_series]\nn_columns: 40\n")
    monkeypatch.setenv("LEUKOBENCH_CONF", str(own.parent))
    built, parent = source("few", settings), source("cumida_series", settings)
    assert type(built) is type(parent)
    assert vars(built) == {**vars(parent), "n_columns": 40}


def test_a_file_that_extends_what_is_not_there_is_one_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "conf" / "data"
    own.mkdir(parents=True)
    (own / "few.yaml").write_text("defaults: [absent]\n")
    monkeypatch.setenv("LEUKOBENCH_CONF", str(own.parent))
    with pytest.raises(ConfigError, match=r"few\.yaml: its defaults name the data set 'absent'"):
        source("few", settings)

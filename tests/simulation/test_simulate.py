"""Simulation is asked of a source: each names its simulator, and sizes that a layout lacks are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from leukobench.cli import cli
from leukobench.data.base import DataSource
from leukobench.data.catalog import data_files, source
from leukobench.data.sources.cnmc import CNMC
from leukobench.data.sources.cumida import Cumida
from leukobench.data.sources.golub import Golub, Golub38
from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.settings import Settings
from leukobench.simulation import SIMULATORS, simulate

SETTINGS = Settings(Path("data"), Path("outputs"), "sqlite:///store.db")


@pytest.mark.parametrize("name", data_files())
def test_each_source_names_a_simulator_that_there_is_or_none(name: str) -> None:
    assert source(name, SETTINGS).simulates in {None, *SIMULATORS}


@pytest.mark.parametrize("kind", [Golub, Cumida])
def test_genes_are_chosen(tmp_path: Path, kind: type[DataSource]) -> None:
    root = simulate(kind(), tmp_path, samples=40, genes=30, seed=2)
    data = kind(root, allow_faulty=True).load()
    assert data.simulated
    assert 0 < data.matrix.shape[1] <= 30


def test_a_size_that_the_layout_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no genes to choose; give samples or subjects"):
        simulate(CNMC(), tmp_path, genes=5)
    with pytest.raises(LeukoBenchError, match="golub38 has no simulation"):
        simulate(Golub38(), tmp_path)


def test_the_command_takes_genes(tmp_path: Path) -> None:
    out = tmp_path / "cumida"
    command = ["data", "simulate", "cumida", "--out", str(out), "--samples", "40", "--genes", "20"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    head = (out / "Leukemia_GSE14317.csv").read_text().partition("\n")[0]
    assert len(head.split(",")) == 2 + 17

"""What all image data sets share: simulated files in their layout are read and found sound; configs build."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from leukobench.data.image_source import ImageSource
from leukobench.data.sources.all_idb import AllIdb1, AllIdb2
from leukobench.data.sources.aml import AML
from leukobench.data.sources.cnmc import CNMC
from leukobench.data.sources.image_folder import ImageFolder
from leukobench.errors import LeukoBenchError
from leukobench.simulation import simulate
from leukobench.targets import Provenance, locate

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "data"


@pytest.mark.parametrize(("source", "samples"), [(CNMC, 12), (AllIdb1, 2), (AllIdb2, 6), (AML, 15)])
def test_simulated_files_are_read_and_sound(tmp_path, source: type[ImageSource], samples):
    simulate(source(tmp_path), tmp_path, samples=samples, seed=1)
    data = source(tmp_path).load()
    assert len(data) == samples
    assert data.simulated
    assert not data.is_subset
    report = source(tmp_path).check()
    assert report.clean, report.findings
    assert "simulated" in {f.rule for f in report.findings}


def test_a_users_own_images_have_no_simulation(tmp_path):
    with pytest.raises(LeukoBenchError, match="no simulation"):
        simulate(ImageFolder(tmp_path), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "cnmc",
        "cnmc_challenge",
        "all_idb1",
        "all_idb2",
        "aml",
        "aml_five",
        "aml_blast",
        "image_folder",
    ],
)
def test_each_config_builds_its_source(name):
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    source = locate(config.pop("_target_"), Provenance("a stored config"))
    assert config.pop("version") >= 1
    assert config["root"].startswith("${settings.data}/")
    assert source(**config).family == "image"

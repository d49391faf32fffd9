"""What all image data sets share: simulated files in their layout are read and found sound; configs build."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from leukobench.data.all_idb import AllIdb1, AllIdb2
from leukobench.data.aml import AML
from leukobench.data.cnmc import CNMC
from leukobench.data.image_checks import ImageSource
from leukobench.data.image_folder import ImageFolder
from leukobench.errors import LeukoBenchError

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "data"
SOURCES = {f"{s.__module__}.{s.__name__}": s for s in (CNMC, AllIdb1, AllIdb2, AML, ImageFolder)}


@pytest.mark.parametrize(("source", "samples"), [(CNMC, 12), (AllIdb1, 2), (AllIdb2, 6), (AML, 15)])
def test_simulated_files_are_read_and_sound(tmp_path, source: type[ImageSource], samples):
    source(tmp_path).simulate(tmp_path, samples=samples, seed=1)
    data = source(tmp_path).load()
    assert len(data) == samples
    assert data.simulated
    assert not data.is_subset
    report = source(tmp_path).check()
    assert report.clean, report.findings
    assert "simulated" in {f.rule for f in report.findings}


def test_a_users_own_images_have_no_simulation(tmp_path):
    with pytest.raises(LeukoBenchError, match="no simulation"):
        ImageFolder(tmp_path).simulate(tmp_path)


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
    source = SOURCES[config.pop("_target_")]
    assert config.pop("version") >= 1
    assert config["root"].startswith("${settings.data}/")
    assert source(**config).family == "image"

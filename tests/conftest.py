"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leukobench.settings import Settings
    from leukobench.training.job import Job

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real research data, for tests marked `real_data`; skips where it is absent."""
    folder = Path(os.environ.get("LEUKOBENCH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not present: no folder {folder} (set LEUKOBENCH_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder of configs that adds `data=tiny` (see tests/tiny.py)."""
    import tiny

    folder = tmp_path_factory.mktemp("conf")
    (folder / "data").mkdir()
    (folder / "data" / "tiny.yaml").write_text(tiny.CONFIG)
    return folder


@pytest.fixture(scope="session")
def composer(tiny_conf: Path) -> Any:
    from hydra import compose
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from leukobench.settings import conf_dir
    from leukobench.sweeps.app import opened
    from leukobench.sweeps.compose import Composer

    def config(overrides: list[str]) -> Any:
        before = os.environ.get("LEUKOBENCH_CONF")
        os.environ["LEUKOBENCH_CONF"] = str(tiny_conf)
        try:
            with opened(conf_dir()):
                return compose("train", overrides, return_hydra_config=True)
        finally:
            os.environ.pop("LEUKOBENCH_CONF")
            if before is not None:
                os.environ["LEUKOBENCH_CONF"] = before

    groups = {p.name for p in conf_dir().iterdir() if p.is_dir()}
    return Composer(config, groups.__contains__, OverridesParser.create())


@pytest.fixture
def make_job(composer: Any, tmp_path: Path) -> Callable[..., Job]:
    """Composes a job from override strings: tiny data, a logistic regression, outputs in tmp_path."""

    def make(*overrides: str) -> Job:
        defaults = ["data=tiny", "epochs=3", f"settings.output={tmp_path / 'out'}"]
        defaults.append(f"settings.store=sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
        keys = {o.partition("=")[0] for o in overrides}
        return composer.job([*(d for d in defaults if d.partition("=")[0] not in keys), *overrides])

    return make


@pytest.fixture
def train(make_job: Callable[..., Job]) -> Callable[..., Any]:
    """Runs the training of a job (and of its `evaluate_at`); returns the run folder as `training.Trained`."""
    from trained import train_job

    return lambda *overrides, **options: train_job(make_job(*overrides), **options)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes seconds, copying it none."""
    from leukobench.settings import Settings
    from leukobench.tracking.connection import Store

    folder = tmp_path_factory.mktemp("store")
    Store(Settings(folder, folder, f"sqlite:///{folder / 'mlflow.db'}"))
    return folder / "mlflow.db"


@pytest.fixture
def local(tmp_path: Path, database: Path) -> Settings:
    """Settings of an output folder in tmp_path with an empty SQLite store, those that `make_job` uses."""
    from leukobench.settings import Settings

    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(database, out / "mlflow.db")
    return Settings(tmp_path / "data", out, f"sqlite:///{out / 'mlflow.db'}")

"""Sweeps killed at random moments: the same command goes on, ends with the same numbers and counts nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from launching import start

pytestmark = pytest.mark.slow

SWEEP = """\
defaults:
  - train
  - override data: tiny
  - override split: kfold
  - _self_
sweep: killed
batch_size: 8
trainer: {checkpoint_every: 0}
model: {hidden: [8]}
hydra:
  sweeper:
    params:
      model: gene_mlp
      optimizer: adam,sgd
      optimizer.lr: 0.01
      epochs: 3,6,%d
      seed: range(%d)
"""

IMAGES = """\
defaults:
  - train
  - override data: image_folder
  - override preprocess: image
  - override model: resnet18
  - _self_
sweep: killed
batch_size: 8
trainer: {checkpoint_every: 0}
data: {root: %s}
preprocess: {size: 64}
model: {pretrained: false, hidden: 8}
hydra: {sweeper: {params: {optimizer: 'adam,sgd', optimizer.lr: 0.01, epochs: '2,6', seed: range(2)}}}
"""


@dataclass
class Place:
    """Where a sweep runs."""

    folder: Path
    conf: Path

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def launch(self, *arguments: str):  # type: ignore[no-untyped-def]
        environment = {
            "LEUKOBENCH_OUTPUT": str(self.output),
            "LEUKOBENCH_CONF": str(self.conf),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
        }
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        return start(
            ["sweep", str(self.conf / "killed.yaml"), *arguments],
            environment,
            self.folder,
            self.log,
        )

    def finish(self, *arguments: str) -> float:
        """Run to the end; returns the seconds it took."""
        began = time.monotonic()
        process = self.launch(*arguments)
        process.join(300)
        assert process.exitcode == 0, self.log.read_text()[-3000:]
        return time.monotonic() - began

    def query(self, sql: str) -> list[tuple]:  # type: ignore[type-arg]
        with sqlite3.connect(self.output / "mlflow.db") as db:
            return db.execute(sql).fetchall()

    def runs(self) -> dict[str, str]:
        """Status by run id."""
        return dict(
            self.query("select run_uuid, status from runs where lifecycle_stage = 'active'")
        )

    def predictions(self) -> dict[str, pd.DataFrame]:
        paths = (self.output / "runs").glob("*/results/*/result.json")
        return {p.parent.name: pd.read_parquet(p.parent / "predictions.parquet") for p in paths}


@pytest.fixture(scope="module")
def conf(
    request: pytest.FixtureRequest, tiny_conf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(tiny_conf / "data", folder / "data")
    if request.param == "images":
        g = np.random.default_rng(0)
        for i in range(48):
            path = folder / "pictures" / ("ALL" if i % 2 else "normal") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(
                g.integers(0, 160 + 60 * (i % 2), size=(64, 64, 3), dtype=np.uint8)
            ).save(path)
        text = IMAGES % (folder / "pictures")
    else:
        text = SWEEP % (12, 2)
    (folder / "killed.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def whole(
    conf: Path, database: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Place, float]:
    """The sweep run without interruption, and how long it took."""
    place = Place(tmp_path_factory.mktemp("whole"), conf)
    place.output.mkdir()
    shutil.copy(database, place.output / "mlflow.db")
    shutil.copy(database, place.folder / "empty.db")
    place.finish("--dry-run")  # what is imported once must not count
    return place, place.finish()


def hold_whole(place: Place, twin: Place) -> None:
    """Everything is there once, with the numbers of the uninterrupted sweep."""
    ours, theirs = place.predictions(), twin.predictions()
    assert ours.keys() == theirs.keys()
    for identity, frame in ours.items():
        pd.testing.assert_frame_equal(frame, theirs[identity], check_exact=True)
    assert set(place.runs().values()) == {"FINISHED"}
    counts = Counter(
        value
        for (value,) in place.query("select value from tags where key = 'leukobench.identity'")
    )
    assert counts == dict.fromkeys(theirs, 1), "one MLflow run a result"
    assert len(place.runs()) == len(twin.runs())
    values = "select key, step, count(*) from metrics group by run_uuid, key, step order by 1, 2, 3"
    assert Counter(place.query(values)) == Counter(twin.query(values)), "each value once"
    assert not list((place.output / "runs").glob("*/checkpoint.pt"))
    stores = [
        sorted(p.parent.name for p in (o / "features").glob("*/features.json"))
        for o in (place.output, twin.output)
    ]
    assert stores[0] == stores[1], "the features of each backbone once"


KILLED = [("genes", 12), ("images", 6)]


@pytest.mark.parametrize(
    ("conf", "seed"), [(kind, s) for kind, n in KILLED for s in range(n)], indirect=["conf"]
)
def test_a_sweep_killed_at_random_moments_ends_as_if_it_had_not_been(
    whole: tuple[Place, float], tmp_path: Path, seed: int
) -> None:
    twin, duration = whole
    place, draw = Place(tmp_path, twin.conf), random.Random(seed)
    if seed % 4:  # every fourth begins without a database and may be killed while it is made
        place.output.mkdir()
        shutil.copy(twin.folder / "empty.db", place.output / "mlflow.db")
    known: set[str] = set()
    stamps: dict[Path, float] = {}
    for _ in range(3):
        process = place.launch()
        process.join(draw.uniform(0, duration))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if (place.output / "mlflow.db").is_file():
            with suppress(sqlite3.OperationalError):  # killed before the tables were made
                known |= set(place.runs())
        for path in (place.output / "runs").glob("*/results/*/result.json"):
            stamps.setdefault(path, path.stat().st_mtime)
    place.finish()
    assert known <= set(place.runs()), "runs that had begun were continued"
    assert all(path.stat().st_mtime == stamp for path, stamp in stamps.items()), (
        "finished jobs were not run again"
    )
    hold_whole(place, twin)

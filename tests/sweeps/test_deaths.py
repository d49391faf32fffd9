"""Workers killed at random: each death costs what it held at most, and the launch completes by itself."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launching import start
from leukobench.errors import LeukoBenchError
from leukobench.files import read_json
from leukobench.settings import Settings
from leukobench.sweeps.states import status

pytestmark = pytest.mark.slow

JOBS, KILLS = 64, 6
SWEEP = f"""\
defaults:
  - train
  - override data: tiny
  - override model: gene_mlp
  - _self_
sweep: trial
batch_size: 8
epochs: 100
model: {{hidden: [8]}}
hydra: {{sweeper: {{params: {{seed: range({JOBS})}}}}}}
"""


def workers(plans: Path) -> Iterator[int]:
    """Processes that are at a training."""
    for path in sorted(plans.glob("*/*.lease")):
        try:
            lease = read_json(path)
        except LeukoBenchError:
            continue
        if lease is not None:
            yield int(lease["pid"])


@pytest.mark.parametrize(
    ("launcher", "package"),
    [("slurm_local", "submitit"), ("leukobench_ray", "ray"), ("joblib", "joblib")],
)
def test_every_job_is_done_once_though_workers_are_killed_at_random(
    tmp_path: Path, tiny_conf: Path, database: Path, launcher: str, package: str
) -> None:
    pytest.importorskip(package)
    (tmp_path / "trial.yaml").write_text(SWEEP)
    store = tmp_path / "mlflow.db"
    store.write_bytes(database.read_bytes())
    settings = Settings(tmp_path / "data", tmp_path / "out", f"sqlite:///{store}")
    environment = {
        "LEUKOBENCH_OUTPUT": str(settings.output),
        "LEUKOBENCH_CONF": str(tiny_conf),
        "MLFLOW_TRACKING_URI": settings.store,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    sweep = ["sweep", str(tmp_path / "trial.yaml"), f"hydra/launcher={launcher}"]
    log = tmp_path / "log.txt"
    process = start([*sweep, "planner.workers=3"], environment, tmp_path, log)
    rng, killed, until = random.Random(1), 0, time.monotonic() + 500
    while process.is_alive() and time.monotonic() < until:
        time.sleep(0.3)
        at_work = [pid for pid in workers(settings.output / "plans") if pid != process.pid]
        finished = len(list((settings.output / "runs").glob("*/results/*/result.json")))
        if at_work and killed < KILLS and finished >= killed * JOBS // (KILLS + 1):
            os.kill(rng.choice(at_work), signal.SIGKILL)
            killed += 1
    process.join(1)
    assert process.exitcode == 0, log.read_text()[-3000:]
    assert killed == KILLS
    jobs = status(settings, "trial")
    assert [job["state"] for job in jobs] == ["done"] * JOBS
    assert len({job["run_id"] for job in jobs}) == JOBS

"""Removing what is no longer needed: only that, only here, and never what a launch uses or nobody else has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from leukobench.cli import cli
from leukobench.files import write_json
from leukobench.settings import Settings
from leukobench.sweeps.outlet import write_order
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.reading import Results
from leukobench.tracking.removal import Removable, remove
from leukobench.tracking.retention import find
from leukobench.tracking.sweeps import close_sweep, open_sweep
from leukobench.training.saved import load_result
from trained import Trained

Train = Callable[..., Trained]
DAYS = 86400.0


def age(path: Path, days: float = 30) -> None:
    """Let everything at or below a path be this old."""
    moment = time.time() - days * DAYS
    inner = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    for p in [*inner, *(Path(folder) for folder, _, _ in os.walk(path)), path]:
        os.utime(p, (moment, moment), follow_symlinks=False)


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Another process holds a lock."""
    code = (
        "import sys; from filelock import FileLock\n"
        f"with FileLock({str(lock)!r}): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield
        process.stdin.close()


def kinds(settings: Settings, days: float = 14) -> dict[str, list[Path]]:
    out: dict[str, list[Path]] = {}
    for item in find(settings, days).removable:
        out.setdefault(item.kind, []).append(item.path)
    return out


def items(settings: Settings, days: float = 14) -> list[Removable]:
    return find(settings, days).removable


@pytest.fixture
def done(train: Train, local: Settings) -> Trained:
    """A finished training of two results, delivered a month ago."""
    trained = train("evaluate_at=[1,2]")
    deliver(local, trained)
    age(trained.folder.path)
    return trained


def deliver(settings: Settings, trained: Trained) -> None:
    store = Store(settings)
    sweep = open_sweep(store, "train")
    delivery.deliver(store, sweep, trained.folder, write_order(trained.training))
    close_sweep(store, sweep, {})


def features(
    settings: Settings, name: str = "f" * 32, data: str = "cells", model: str = "net"
) -> Path:
    folder = settings.output / "features" / name
    folder.mkdir(parents=True)
    np.save(folder / "features.npy", np.zeros((4, 3), np.float32))
    write_json(folder / "features.json", {"model": model, "data": data, "shape": [4, 3]})
    age(folder)
    return folder


def images(settings: Settings, name: str = "i" * 32, data: str = "cells") -> Path:
    folder = settings.output / "images" / name
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.zeros((4, 3, 3, 3), np.uint8))
    write_json(folder / "store.json", {"dataset": data, "shape": [4, 3, 3, 3]})
    age(folder)
    return folder


def plan(settings: Settings) -> Path:
    folder = settings.output / "plans" / "train-20260101-000000-1"
    folder.mkdir(parents=True)
    (folder / "00000.ready").write_text("[]")
    (folder / "alive").touch()
    age(folder)
    return folder


# --- run folders ------------------------------------------------------------------------------------------------------


def test_a_finished_folder_that_the_store_holds_is_removed_after_the_rule(
    done: Trained, local: Settings
) -> None:
    assert kinds(local, days=60) == {}
    (item,) = items(local)
    assert (item.path, item.kind) == (done.folder.path.resolve(), "run folders")
    assert "2 results are in the store" in item.reason
    assert item.size == sum(p.stat().st_size for p in done.folder.path.rglob("*") if p.is_file())
    assert remove(local, [item]) == (item.size, [])
    assert not list((local.output / "runs").iterdir())
    results = Results(local, ["train"])
    assert len(results.results) == 2
    for result in results.results:
        epochs = int(result.params["epochs"])
        assert result.identity == done.training.identities[epochs]
        assert len(results.predictions(result))
        assert load_result(result.run_id, local).whole is not None


def test_a_folder_that_was_never_delivered_is_the_record_and_stays(
    train: Train, local: Settings
) -> None:
    trained = train("seed=3")
    age(trained.folder.path)
    assert kinds(local) == {}
    write_order(trained.training)
    age(trained.folder.path)
    assert kinds(local) == {}
    deliver(local, trained)
    age(trained.folder.path)
    assert list(kinds(local)) == ["run folders"]


@pytest.mark.parametrize(
    "name", ["predictions.parquet", "model.safetensors", "preprocess.safetensors"]
)
@pytest.mark.parametrize("damage", ["absent", "short"])
def test_a_folder_of_which_the_store_lacks_a_file_stays(
    train: Train, local: Settings, name: str, damage: str
) -> None:
    trained = train()
    deliver(local, trained)
    age(trained.folder.path)
    (result,) = Results(local, ["train"]).results
    folder = local_path(result.artifact_uri)
    assert folder is not None
    if damage == "absent":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(b"half")
    assert kinds(local) == {}


def test_without_a_store_finished_folders_stay(done: Trained, local: Settings) -> None:
    nowhere = Settings(local.data, local.output, "http://127.0.0.1:9")
    found = find(nowhere)
    assert found.removable == []
    assert "stay" in found.notes[0]
    (local.output / "mlflow.db").unlink()
    found = find(local)
    assert found.removable == []
    assert "no store" in found.notes[0]
    assert not (local.output / "mlflow.db").exists()


def test_what_an_unfinished_training_goes_on_from_stays(done: Trained, local: Settings) -> None:
    folder = done.folder
    for result in (folder.path / "results").iterdir():
        (result / "result.json").unlink()
    folder.update(state="interrupted")
    folder.checkpoint.write_bytes(b"weights")
    age(folder.path)
    assert kinds(local) == {}
    folder.checkpoint.unlink()
    age(folder.path)
    (item,) = items(local)
    assert "neither a result nor a checkpoint" in item.reason


def test_the_checkpoint_of_a_finished_training_goes_after_the_rule(
    train: Train, local: Settings
) -> None:
    trained = train()
    trained.folder.checkpoint.write_bytes(b"weights")
    assert kinds(local, days=0) == {}
    age(trained.folder.path)
    (item,) = items(local)
    assert (item.path.name, item.kind, item.size) == ("checkpoint.pt", "checkpoints", 7)
    remove(local, [item])
    assert not trained.folder.checkpoint.exists()
    assert trained.folder.results()


def test_nothing_of_the_last_hour_is_listed_whatever_the_rule(
    train: Train, local: Settings
) -> None:
    deliver(local, train())
    (local.output / "runs" / "empty").mkdir()
    for folder in (features(local), images(local), plan(local)):
        age(folder, days=0.5 / 24)
    assert kinds(local, days=0) == {}


# --- stores, plans, killed writes -------------------------------------------------------------------------------------


def test_stores_that_nobody_opens_are_removed(local: Settings) -> None:
    stores = [features(local), images(local)]
    assert kinds(local) == {
        "feature stores": [stores[0].resolve()],
        "image stores": [stores[1].resolve()],
    }
    assert kinds(local, days=60) == {}
    assert kinds(local) == kinds(local), "looking at a store does not use it"
    os.utime(
        stores[0] / "features.json", (time.time(), time.time() - 30 * DAYS)
    )  # opened, as relatime notes it
    assert kinds(local) == {"image stores": [stores[1].resolve()]}
    remove(local, items(local))
    assert stores[0].is_dir()
    assert not stores[1].exists()


def test_stores_that_an_unfinished_training_needs_stay(local: Settings) -> None:
    mine, other = features(local, "a", "cells", "net"), features(local, "b", "cells", "other")
    pictures, blood = images(local, "c", "cells"), images(local, "d", "blood")
    folder = local.output / "runs" / "unfinished"
    write_json(folder / "job.json", {"config": {}, "choices": {"data": "cells", "model": "net"}})
    write_json(folder / "run.json", {"state": "failed"})
    (folder / "checkpoint.pt").touch()
    age(folder)
    assert set(kinds(local)["feature stores"]) == {other.resolve()}
    assert set(kinds(local)["image stores"]) == {blood.resolve()}
    assert mine.is_dir()
    assert pictures.is_dir()


def test_while_a_training_runs_stores_and_plans_stay(done: Trained, local: Settings) -> None:
    features(local), images(local), plan(local)
    lock = done.folder.path / ".lock"
    with held(lock):
        found = find(local)
        assert found.removable == []
        assert any("a training runs" in note for note in found.notes)
    assert len(items(local)) == 4


def test_a_plan_stays_while_its_launch_is_alive(local: Settings) -> None:
    folder = plan(local)
    assert kinds(local) == {"saved plans": [folder.resolve()]}
    (folder / "alive").touch()
    assert kinds(local) == {}


def test_leftovers_of_killed_writes_are_removed(done: Trained, local: Settings) -> None:
    half = done.folder.path / ".result.json.a1b2c3_d"
    half.write_text("{")
    incomplete = local.output / "features" / ("e" * 32)
    incomplete.mkdir(parents=True)
    (incomplete / ".features.npy.aaaaaaaa").touch()
    removal = local.output / "runs" / ".gc-0"
    removal.mkdir()
    building = local.output / "images" / "k.partial"
    building.mkdir(parents=True)
    everything = (half, incomplete, removal, building)
    for path in everything:
        age(path, days=0.1)
    assert set(kinds(local)["killed writes"]) == {p.resolve() for p in everything[:3]}, (
        "a build goes on where it was"
    )
    age(building)
    assert set(kinds(local)["killed writes"]) == {p.resolve() for p in everything}
    remove(local, [item for item in items(local) if item.kind == "killed writes"])
    assert not any(p.exists() for p in everything)
    assert done.folder.results()


# --- nothing else -----------------------------------------------------------------------------------------------------


def test_links_are_neither_followed_nor_removed(
    done: Trained, local: Settings, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "runs" / "theirs").mkdir(parents=True)
    precious = outside / "runs" / "theirs" / "checkpoint.pt"
    precious.write_text("precious")
    (outside / ".notes.txt.abcdefgh").touch()
    (local.output / "runs" / "linked").symlink_to(outside / "runs" / "theirs")
    (done.folder.path / "more").symlink_to(outside)
    (local.output / "features").symlink_to(outside / "runs")
    age(outside)
    age(done.folder.path)
    found = find(local)
    assert [item.path for item in found.removable] == [done.folder.path.resolve()]
    assert any("is a link" in note for note in found.notes)
    freed, stayed = remove(local, found.removable)
    assert freed
    assert stayed == []
    assert precious.read_text() == "precious"
    assert (outside / ".notes.txt.abcdefgh").exists()
    assert (local.output / "runs" / "linked").is_symlink()


def test_nothing_outside_is_removed_even_if_asked(local: Settings, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    freed, stayed = remove(
        local, [Removable(outside, "run folders", "", 0, outside.stat().st_mtime)]
    )
    assert (freed, len(stayed)) == (0, 1)
    assert outside.is_dir()


def test_what_changed_or_came_into_use_since_it_was_listed_stays(
    done: Trained, local: Settings
) -> None:
    listed = items(local)
    with held(done.folder.path / ".lock"):
        freed, stayed = remove(local, listed)
    assert freed == 0
    assert "in use" in stayed[0]
    done.folder.update(state="finished")
    freed, stayed = remove(local, listed)
    assert freed == 0
    assert "changed" in stayed[0]
    assert done.folder.results()


def test_the_command_asks_lists_and_removes(
    done: Trained, local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(local.output))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.store)
    listed = CliRunner().invoke(cli, ["gc", "--dry-run"])
    assert listed.exit_code == 0
    assert f"runs/{done.training.id}" in listed.stdout
    assert "kB in all" in listed.stdout
    assert done.folder.path.is_dir()
    assert CliRunner().invoke(cli, ["gc"], input="n\n").exit_code == 1
    assert CliRunner().invoke(cli, ["gc"]).exit_code == 1, "nobody there to answer"
    assert done.folder.path.is_dir()
    assert "nothing" in CliRunner().invoke(cli, ["gc", "--keep-days", "60"]).stdout
    removed = CliRunner().invoke(cli, ["gc"], input="y\n")
    assert removed.exit_code == 0
    assert "freed" in removed.stdout
    assert not done.folder.path.exists()
    assert CliRunner().invoke(cli, ["gc", "--keep-days", "-1"]).exit_code == 1


def test_a_damaged_record_is_said_and_stays(local: Settings) -> None:
    folder = local.output / "runs" / "damaged"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({})[:1])
    age(folder)
    found = find(local)
    assert found.removable == []
    assert "damaged" in found.notes[0]

"""Reading a store again: only what changed is asked for, and what is shown is always what the store holds."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from leukobench.errors import StoreError
from leukobench.schema.names import PREFIX
from leukobench.settings import Settings
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.reading import Results

NAME = "a sweep"


def add(settings: Settings, *seeds: int, minutes_ago: int = 0) -> list[str]:
    """Finished results, one a seed; gives their ids."""
    client = Store(settings).client
    found = client.get_experiment_by_name(NAME)
    experiment = found.experiment_id if found else client.create_experiment(NAME)
    now = int(time.time() * 1000) - 60_000 * minutes_ago
    ids = []
    for seed in seeds:
        tags = {PREFIX + "kind": "result", PREFIX + "identity": f"i{seed}"}
        run = client.create_run(experiment, start_time=now, tags=tags)
        client.log_param(run.info.run_id, "seed", seed)
        client.set_terminated(run.info.run_id, end_time=now)
        ids.append(run.info.run_id)
    return ids


def seeds(settings: Settings, **more: bool) -> list[str]:
    return sorted(r.params["seed"] for r in Results(settings, [NAME], **more).results)


def renew(settings: Settings, database: Path) -> None:
    """Put another database where the store is."""
    Store(settings).client._tracking_client.store.engine.dispose()
    shutil.copy(database, settings.output / "mlflow.db")


def test_added_late_and_deleted_runs_are_seen(local: Settings) -> None:
    first, _ = add(local, 0, 1)
    assert seeds(local) == ["0", "1"]
    add(local, 2, minutes_ago=5)  # ended before those already read, delivered after
    assert seeds(local) == ["0", "1", "2"]
    Store(local).client.delete_run(first)
    assert seeds(local) == ["1", "2"]


def test_what_was_read_is_not_asked_for_again(
    local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(local, 0, 1, minutes_ago=60)
    seeds(local)
    add(local, 2)
    assert seeds(local) == ["0", "1", "2"]
    asked: list[int] = []
    search = MlflowClient.search_runs

    def counted(self: MlflowClient, *args: object, **kwargs: object) -> object:
        page = search(self, *args, **kwargs)  # type: ignore[arg-type]
        asked.append(len(page))
        return page

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    assert seeds(local) == ["0", "1", "2"]
    assert sum(asked) == 1  # the one that ended a moment ago
    asked.clear()
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    seeds(local)  # asks for it once more, and knows from then on that nothing came late
    asked.clear()
    assert seeds(local) == ["0", "1", "2"]
    assert sum(asked) == 0
    asked.clear()
    assert seeds(local, refresh=True) == ["0", "1", "2"]
    assert sum(asked) == 3


def test_a_database_made_anew_at_the_same_address_shows_nothing_of_the_old_one(
    local: Settings, database: Path
) -> None:
    add(local, 0, 1)
    assert seeds(local) == ["0", "1"]
    renew(local, database)
    add(local, 7)  # an experiment of the same name and id
    assert seeds(local) == ["7"]


def test_a_database_put_back_from_a_copy_shows_what_the_copy_holds(
    local: Settings, tmp_path: Path
) -> None:
    add(local, 0)
    Store(local).client._tracking_client.store.engine.dispose()
    copy = shutil.copy(local.output / "mlflow.db", tmp_path / "copy.db")
    time.sleep(0.01)
    add(local, 1)
    assert seeds(local) == ["0", "1"]
    renew(local, Path(copy))
    assert seeds(local) == ["0"]


def test_a_missing_artifact_says_what_to_do_and_whether_its_folder_is_gone(local: Settings) -> None:
    add(local, 0)
    results = Results(local, [NAME])
    [result] = results.results
    folder = local_path(result.artifact_uri)
    assert folder is not None
    with pytest.raises(StoreError, match=rf"run {result.run_id} .*put a moved output folder back"):
        results.predictions(result)
    folder.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"no artifact predictions.parquet .*fsck --repair"):
        results.predictions(result)

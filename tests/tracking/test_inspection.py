"""`leukobench fsck`: damage to run folders, artifacts and stores is named, and mended from the copy that is good."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from damages import DAMAGES, delete, empty, random_bytes, truncate, zero_a_third
from leukobench.errors import LeukoBenchError
from leukobench.schema.names import Tag
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order, write_order
from leukobench.tracking.connection import Store, local_path
from leukobench.tracking.delivery import deliver, sync
from leukobench.tracking.inspection import inspect
from leukobench.tracking.reading import Results
from leukobench.tracking.sweeps import finished_results, open_sweep
from trained import Trained

PREDICTIONS = "predictions.parquet"
Train = Callable[..., Trained]
Damage = Callable[[Path], None]


@dataclass(frozen=True)
class Place:
    """One result, in its run folder and in a store."""

    settings: Settings
    training: Trained
    ours: Path
    theirs: Path

    @property
    def faults(self) -> list[str]:
        return [fault.what for fault in inspect(self.settings).faults]

    def repair(self) -> list[str]:
        return inspect(self.settings).repair()


@pytest.fixture
def place(train: Train, local: Settings) -> Place:
    trained = train("sweep=looked_at")
    store = Store(local)
    sweep = open_sweep(store, "looked_at")
    write_order(trained.training)
    deliver(store, sweep, trained.folder, delivery_order(trained.training))
    [run] = store.search(sweep.experiment_id, f"tags.`{Tag.KIND}` = 'result'")
    theirs = local_path(run.info.artifact_uri)
    assert theirs is not None
    [identity] = trained.training.identities.values()
    return Place(local, trained, trained.folder.result(identity), theirs)


def test_what_is_as_it_was_written_has_no_faults(place: Place) -> None:
    found = inspect(place.settings)
    assert (found.folders, found.stored, found.faults) == (1, 1, [])


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [PREDICTIONS, "model.safetensors", "result.json"])
def test_a_damaged_copy_is_named_and_taken_from_the_good_one(
    place: Place, damage: Damage, file: str
) -> None:
    for broken, good in ((place.ours, place.theirs), (place.theirs, place.ours)):
        damage(broken / file)
        assert any(str(broken / file) in what for what in place.faults)
        assert place.repair() == []
        assert (broken / file).read_bytes() == (good / file).read_bytes()
        assert place.faults == []


@pytest.mark.parametrize("file", ["run.json", "job.json", "split.json"])
def test_a_training_s_damaged_record_is_taken_from_the_good_copy(place: Place, file: str) -> None:
    truncate(place.training.folder.path / file)
    assert len(place.faults) == 1
    assert place.repair() == []
    truncate(place.theirs / file)
    assert place.repair() == []
    assert place.faults == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_reading_damaged_predictions_says_so_in_one_error(place: Place, damage: Damage) -> None:
    damage(place.theirs / PREDICTIONS)
    results = Results(place.settings, ["looked_at"])
    with pytest.raises(LeukoBenchError, match="fsck --repair"):
        results.predictions(results.results[0])


def test_a_deleted_artifact_folder_is_delivered_again(place: Place) -> None:
    shutil.rmtree(place.theirs)
    assert place.faults
    assert place.repair() == []
    results = Results(place.settings, ["looked_at"])
    assert len(results.predictions(results.results[0])) > 0


def test_sync_delivers_again_what_was_deleted_among_the_artifacts(place: Place) -> None:
    shutil.rmtree(place.theirs)
    sync(place.settings, "looked_at")
    assert place.faults == []


def test_a_result_without_a_good_copy_is_forgotten_so_that_it_runs_again(place: Place) -> None:
    truncate(place.ours / PREDICTIONS)
    delete(place.theirs / PREDICTIONS)
    assert place.repair() == []
    store = Store(place.settings)
    sweep = open_sweep(store, "looked_at")
    assert finished_results(store, sweep, place.training.training.id) == {}
    assert place.training.folder.results() == []


def test_what_was_not_delivered_is_delivered(train: Train, local: Settings) -> None:
    trained = train("sweep=forgotten")
    write_order(trained.training)
    [fault] = inspect(local, "forgotten").faults
    assert "not in the store" in fault.what
    assert inspect(local, "forgotten").repair() == []
    assert inspect(local, "forgotten").faults == []


@pytest.mark.parametrize("damage", [zero_a_third, random_bytes, truncate, empty])
def test_a_damaged_checkpoint_is_named_dropped_and_trained_again_with_the_same_numbers(
    train: Train,
    tmp_path: Path,
    damage: Damage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = train("epochs=4", output=tmp_path / "whole")
    stopped = train("epochs=4", stop_after=2)
    assert stopped.folder.checkpoint.is_file()
    damage(stopped.folder.checkpoint)
    again = train("epochs=4")
    assert again.state == "finished"
    assert "checkpoint.pt is" in caplog.text
    assert again.predictions().equals(whole.predictions())

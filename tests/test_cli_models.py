"""Commands around trained models that write to the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from leukobench.cli import cli
from leukobench.cli.models import draw_figures
from leukobench.errors import ConfigError, StoreError
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store
from leukobench.tracking.sweeps import open_sweep
from trained import Trained

Train = Callable[..., Trained]


def test_pictures_are_drawn_later_into_the_artifacts_of_each_run_of_a_sweep(
    train: Train, local: Settings
) -> None:
    store = Store(local)
    sweep = open_sweep(store, "few")
    done = [train(f"seed={seed}") for seed in (0, 1)]
    for one in done:
        delivery.deliver(store, sweep, one.folder, delivery_order(one.training))
    where = {"store": local.store, "output": str(local.output), "data": str(local.data)}
    runs = [
        r.info.run_id
        for r in store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'")
    ]
    assert not any(a.path == "figures" for r in runs for a in store.client.list_artifacts(r))
    draw_figures([], "few", False, where)
    for run in runs:
        names = {a.path for a in store.client.list_artifacts(run, "figures")}
        assert {"figures/confusion_matrix.png", "figures/learning_curves.png"} <= names
    draw_figures([str(done[0].folder.path)], None, False, where)
    assert list(done[0].folder.path.glob("results/*/figures/roc.png")), (
        "of a folder beside its result"
    )


def test_a_prediction_that_fails_sets_an_older_file_aside(local: Settings, tmp_path: Path) -> None:
    older = tmp_path / "predictions.csv"
    older.write_text("old")
    arguments = ["predict", "--run", "0" * 32, "x.csv", "-o", str(older), "--store", local.store]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    assert not older.exists()
    assert (tmp_path / "predictions.csv.old").read_text() == "old"


def test_what_cannot_be_drawn_is_said(local: Settings) -> None:
    where = {"store": local.store, "output": str(local.output), "data": str(local.data)}
    with pytest.raises(ConfigError, match="name runs, or --sweep"):
        draw_figures([], None, False, where)
    with pytest.raises(StoreError, match="no finished result of a sweep 'none'"):
        draw_figures([], "none", False, where)
    with pytest.raises(StoreError, match="has no run"):
        draw_figures(["0" * 32], None, False, where)

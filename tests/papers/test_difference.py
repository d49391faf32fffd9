"""Two sets of results against each other: what is matched, what is said, and the statistics behind it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kept import frame
from rich.console import Console

from leukobench.cli import cli
from leukobench.errors import ConfigError
from leukobench.evaluation.difference import difference
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric
from leukobench.papers.difference import Difference, Side, compare_sides
from leukobench.papers.results import Kept, KeptResult
from leukobench.report.difference import csv_text, lay_out
from leukobench.report.terminal import show_layout
from leukobench.report.text import markdown_table
from leukobench.settings import Settings

Runs = list[tuple[dict[str, str], pd.DataFrame]]
ACCURACY = Metric("accuracy")
TAGS = {
    "leukobench.version.torch": "2.8.0",
    "leukobench.fingerprint": "a" * 32,
    "leukobench.dataset": "cells",
}


def side(name: str, runs: Runs, only: tuple[str, ...] = (), **tags: str) -> Side:
    said = TAGS | {f"leukobench.{k.replace('_', '.')}": v for k, v in tags.items()}
    kept = [
        KeptResult(f"{name}{i}", f"{name}-{i}", params, said, float(i))
        for i, (params, _) in enumerate(runs)
    ]
    return Side.of(name, Kept(kept, {f"{name}{i}": f for i, (_, f) in enumerate(runs)}), only)


def run(frame: pd.DataFrame, **params: str) -> tuple[dict[str, str], pd.DataFrame]:
    return {"seed": "0", "fold": "0", "epochs": "5", "model": "vgg16", **params}, frame


def compared(a: Runs, b: Runs, metric: Metric = ACCURACY, **tags: str) -> Difference:
    return compare_sides(side("old", a), side("new", b, **tags), metric)


def labels(found: Difference) -> list[str]:
    return [cell.label for cell in found.cells]


# --- what is matched --------------------------------------------------------------------------------------------------


def test_configurations_are_matched_whatever_their_seeds_and_folds() -> None:
    a = [run(frame(s, n=80), model=m, seed=str(s)) for m in ("vgg16", "resnet50") for s in (0, 1)]
    b = [run(frame(s, n=80), model=m, seed=str(s)) for m in ("lenet5", "vgg16") for s in (2, 3, 4)]
    found = compared(a, b)
    assert labels(found) == ["vgg16"]
    assert (found.cells[0].a.seeds, found.cells[0].b.seeds) == (2, 3)
    assert found.only == ((("resnet50", 2),), (("lenet5", 3),))
    assert found.params == ()


def test_a_param_that_differs_throughout_is_said_once_and_not_matched_on() -> None:
    a = [run(frame(0), epochs=e, **{"optimizer.lr": "0.01"}) for e in ("5", "20")]
    b = [run(frame(0), epochs=e, **{"optimizer.lr": "1e-3"}) for e in ("5.0", "20")]
    found = compared(a, b)
    assert labels(found) == ["5 epochs", "20 epochs"]
    assert found.params == (("optimizer.lr", "0.01", "1e-3"),)
    assert found.only == ((), ())


def test_a_param_that_one_side_does_not_know_is_not_matched_on() -> None:
    a = [run(frame(0), model=m) for m in ("vgg16", "lenet5")]
    b = [run(frame(0), model=m, new="true") for m in ("vgg16", "lenet5")]
    found = compared(a, b)
    assert labels(found) == ["lenet5", "vgg16"]
    assert found.params == (("new", "", "true"),)


def test_of_several_configurations_that_match_the_newest_counts() -> None:
    a = [run(frame(0))]
    b = [run(frame(0), new="1"), run(frame(1), new="2")]
    found = compared(a, b)
    assert found.cells[0].passed_over == 1
    assert found.cells[0].b.mean == Repeats.of([("0", b[1][1])]).estimate(ACCURACY).mean
    assert "newest counts" in " ".join(lay_out(found).footer)


def test_a_side_takes_results_by_param_or_by_tag() -> None:
    runs = [run(frame(0), model=m) for m in ("vgg16", "lenet5", "alexnet")]
    assert [r.params["model"] for r in side("a", runs, ("model=vgg16,lenet5",)).results] == [
        "vgg16",
        "lenet5",
    ]
    assert len(side("a", runs, ("version.torch=2.8.0", "model=vgg16")).results) == 1
    with pytest.raises(ConfigError, match=r"there are version\.torch=2\.8\.0"):
        side("a", runs, ("version.torch=2.9.0",))
    with pytest.raises(ConfigError, match="alexnet, lenet5, vgg16"):
        side("a", runs, ("model=vgg19",))
    with pytest.raises(ConfigError, match="none has a param or tag colour"):
        side("a", runs, ("colour=red",))
    with pytest.raises(ConfigError, match="no finished result"):
        side("a", [])


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_difference_is_second_minus_first_with_its_paired_interval() -> None:
    weak, strong = frame(0, n=400, skill=0.5), frame(0, n=400, skill=3)
    (cell,) = compared([run(weak)], [run(strong)]).cells
    a, b = (Repeats.of([("0", f)]) for f in (weak, strong))
    assert cell.delta == difference(b, a, ACCURACY)
    assert cell.delta is not None
    assert cell.delta.mean == cell.b.mean - cell.a.mean > 0.1
    assert cell.stands_out


def test_p_values_of_one_seed_are_of_these_models_and_adjusted_for_the_number_of_cells() -> None:
    from scipy.stats import ttest_rel

    pairs = [(frame(0, n=400, skill=0.5), frame(9, n=400, skill=skill)) for skill in (1.0, 1.3)]
    found = compared(
        [run(a, epochs=str(i + 1)) for i, (a, _) in enumerate(pairs)],
        [run(b, epochs=str(i + 1)) for i, (_, b) in enumerate(pairs)],
    )
    raw = []
    for a, b in pairs:
        hits = []
        for f in (a, b):
            test = f[f["part"] == "test"]
            called = np.where(test["p_ALL"] >= test["p_normal"], "ALL", "normal")
            hits.append((called == test["label"]).astype(float))
        raw.append(ttest_rel(*hits).pvalue)
    for cell, p in zip(found.cells, raw):
        assert cell.p is not None
        assert 0.9 * p < cell.p <= 2.3 * p + 0.001  # drawn 5,000 times
        assert cell.comparison is not None
        assert cell.comparison.words == "these two models; 100 samples, adjusted over 2 pairs"


def test_equal_predictions_are_said_to_be_equal() -> None:
    (cell,) = compared([run(frame(0))], [run(frame(0))]).cells
    assert (cell.changed, cell.largest, cell.p) == (0, 0.0, 1.0)
    assert cell.delta is not None
    assert cell.delta.mean == 0
    moved = frame(0)
    moved.loc[moved.index[-1], ["p_ALL", "p_normal"]] = moved.loc[
        moved.index[-1], ["p_normal", "p_ALL"]
    ].to_numpy()
    (cell,) = compared([run(frame(0))], [run(moved)]).cells
    assert cell.changed == 1
    before = frame(0).iloc[-1]
    assert cell.largest == pytest.approx(abs(before["p_ALL"] - before["p_normal"]))


def test_other_samples_are_not_tested() -> None:
    fewer = frame(0, n=80).iloc[:-5]
    (cell,) = compared([run(frame(0, n=80))], [run(fewer)]).cells
    assert (cell.p, cell.changed, cell.largest) == (None, None, None)
    assert cell.delta is not None
    line = lay_out(compared([run(frame(0, n=80))], [run(fewer)])).lines[0]
    assert line.cells[3].main == "other samples"
    assert line.n == "1 seed, 20 samples | 1 seed, 15 samples"


def test_other_classes_have_no_difference() -> None:
    found = compared([run(frame(0))], [run(frame(0, classes=("ALL", "AML")))])
    assert found.cells[0].delta is None
    assert lay_out(found).lines[0].cells[2].main == "other classes"


def test_what_was_recorded_differently_is_said() -> None:
    found = compared([run(frame(0))], [run(frame(0))], version_torch="2.9.1", fingerprint="b" * 32)
    assert found.facts == (("fingerprint", "a" * 12, "b" * 12), ("version.torch", "2.8.0", "2.9.1"))
    assert compared([run(frame(0))], [run(frame(0))]).facts == ()


# --- what it looks like -----------------------------------------------------------------------------------------------


@pytest.fixture
def found() -> Difference:
    a = [
        run(frame(0, n=400, skill=0.5)),
        run(frame(1, n=400), epochs="9"),
        run(frame(1), model="lenet5"),
    ]
    b = [run(frame(0, n=400, skill=3)), run(frame(1, n=400), epochs="9")]
    return compared(a, b, version_torch="2.9.1")


def test_it_is_shown_in_the_terminal_and_in_markdown(found: Difference) -> None:
    out = io.StringIO()
    show_layout(lay_out(found), Console(file=out, width=140))
    text = out.getvalue()
    markdown = "\n".join(markdown_table(lay_out(found)))
    for said in (
        "Accuracy on test: A = old, B = new",
        "Only in A: ",
        "lenet5",
        "version.torch 2.8.0 | 2.9.1",
        "equal",
    ):
        assert said in text
        assert said in markdown
    cell = found.cells[0]
    assert cell.delta is not None
    assert f"**{cell.delta.mean:+.3f} [" in markdown
    assert "adjusted over 2 pairs" in markdown


def test_a_narrow_terminal_breaks_no_number(found: Difference) -> None:
    out = io.StringIO()
    show_layout(lay_out(found), Console(file=out, width=80))
    for cell in found.cells:
        for value in (cell.a, cell.b):
            assert f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]" in out.getvalue()


def test_its_csv_holds_every_number(found: Difference) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert [row["in"] for row in rows] == ["both", "both", "a"]
    cell = found.cells[0]
    assert cell.delta is not None
    assert float(rows[0]["delta"]) == pytest.approx(cell.delta.mean)
    assert float(rows[0]["b_mean"]) == pytest.approx(cell.b.mean)
    assert (rows[0]["a_samples"], rows[0]["unit"], rows[1]["changed"]) == ("100", "samples", "0")


def test_the_command_compares_a_sweep_with_an_exported_file(
    train: Callable[..., Any], local: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from leukobench.sweeps.outlet import delivery_order
    from leukobench.tracking import delivery
    from leukobench.tracking.connection import Store
    from leukobench.tracking.exports import export_sweep
    from leukobench.tracking.sweeps import open_sweep

    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(local.output))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.store)
    store = Store(local)
    sweep = open_sweep(store, "trial")
    for seed in (0, 1):
        done = train(f"seed={seed}")
        delivery.deliver(store, sweep, done.folder, delivery_order(done.training))
        if seed == 0:
            export_sweep(local, "trial", tmp_path / "before.zip")
    shown = CliRunner().invoke(
        cli, ["diff", str(tmp_path / "before.zip"), "trial:seed=0", "--format", "csv"]
    )
    assert shown.exit_code == 0, shown.output
    (row,) = csv.DictReader(io.StringIO(shown.stdout))
    assert (row["in"], row["largest"], row["delta"]) == ("both", "0", "0")
    both = CliRunner().invoke(cli, ["diff", "trial:seed=0", "trial:seed=1", "--metric", "log_loss"])
    assert "Log loss on test" in both.stdout
    assert CliRunner().invoke(cli, ["diff", "trial", "nothing"]).exit_code == 1

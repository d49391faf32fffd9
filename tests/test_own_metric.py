"""A project's own metric is one file in its folder of configs, and works wherever any metric
does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kept import frame, results

from leukobench.cli import cli
from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.metrics import Metric, compute
from leukobench.evaluation.registry import find
from leukobench.papers.spec import load_paper
from leukobench.papers.tables import rebuild
from leukobench.report.text import markdown
from leukobench.schema.names import Tag
from leukobench.settings import Settings
from leukobench.sweeps.outlet import delivery_order
from leukobench.sweeps.search import Search
from leukobench.tracking import delivery
from leukobench.tracking.connection import Store
from leukobench.tracking.sweeps import find_sweep, open_sweep
from leukobench.training.register import best_of
from trained import Trained

MODULE = """
def youden(y, p, classes, positive, weight=1.0):
    if positive is None:
        return float("nan")
    truth = y == classes.index(positive)
    called = p.argmax(axis=1) == classes.index(positive)
    sensitivity = (truth & called).sum() / int(truth.sum())
    specificity = (~truth & ~called).sum() / int((~truth).sum())
    return weight * sensitivity + specificity - 1.0


def failing(y, p, classes, positive):
    raise RuntimeError("no such thing")
"""
YOUDEN = """
_target_: {module}.youden
title: Youden's J
direction: higher
bounds: [-1, 1]
kind: score
aliases: [informedness]
"""
PAPER = """
key: toy
version: 1
title: Toy
citation: none
source: none
tables:
  - id: table1
    title: A table
    beside: [youden, sensitivity_at_specificity_90]
    columns: [{id: j, metric: youden}, {id: mcc, metric: mcc}]
    rows: [{id: a, overrides: [model=vgg16], cells: [0.9, ~]}]
"""
Add = Callable[..., None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Adds the file of a metric to a folder of the project's own configs; its functions lie beside
    the folder."""
    conf = tmp_path / "project" / "conf"
    (conf / "metric").mkdir(parents=True)
    module = f"metrics_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / "project" / f"{module}.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("LEUKOBENCH_CONF", str(conf))

    def write(name: str, text: str) -> None:
        (conf / "metric" / f"{name}.yaml").write_text(text.replace("{module}", module))

    yield write
    sys.modules.pop(module, None)


@pytest.fixture
def youden(add: Add) -> None:
    add("youden", YOUDEN)


@pytest.fixture
def trained(
    youden: None, train: Callable[..., Trained], local: Settings
) -> tuple[Store, list[Trained]]:
    """Two short runs in the store, trained after the metric was added."""
    store = Store(local)
    sweep = open_sweep(store, "toy")
    done = [train("split.validation=0.25", f"optimizer.lr={lr}") for lr in (1e-4, 1e-2)]
    for one in done:
        delivery.deliver(store, sweep, one.folder, delivery_order(one.training))
    return store, done


def youdens(predictions: pd.DataFrame) -> float:
    sensitivity = compute(predictions, "recall", "binary")
    return sensitivity + compute(predictions, "specificity", "binary") - 1.0


def test_it_fills_cells_and_columns_beside_them_with_an_interval(
    youden: None, tmp_path: Path
) -> None:
    (tmp_path / "toy.yaml").write_text(PAPER)
    paper = load_paper(tmp_path / "toy.yaml")
    predictions = frame(n=200)
    tables = rebuild(paper, results(({"model": "vgg16", "seed": "0"}, predictions)))
    (table,) = tables
    assert table.columns[2:] == ("Youden's J", "Sensitivity at specificity 0.90")
    for cell in (table.rows[0].cells[0], table.rows[0].cells[2]):
        assert cell is not None
        estimate = cell.answers[""].estimate
        assert estimate is not None
        assert estimate.mean == pytest.approx(youdens(predictions))
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.mean < estimate.high
    assert "Youden's J" in markdown(paper, tables)


def test_the_best_by_it_is_chosen(youden: None, tmp_path: Path) -> None:
    choose = "choose: {metric: youden, among: {model: [vgg16, lenet5]}}"
    (tmp_path / "toy.yaml").write_text(PAPER.replace("overrides: [model=vgg16]", choose))
    paper = load_paper(tmp_path / "toy.yaml")
    runs = [
        ({"model": model, "seed": "0", "protocol.choose_on": "test"}, frame(skill=skill))
        for model, skill in (("vgg16", 0.1), ("lenet5", 3.0))
    ]
    cell = rebuild(paper, results(*runs))[0].rows[0].cells[0]
    assert cell is not None
    assert cell.answers[""].runs == ("run1",)
    assert "chosen for each seed by Youden's J" in cell.answers[""].chosen


def test_runs_log_it_and_their_notes_show_it(trained: tuple[Store, list[Trained]]) -> None:
    store, done = trained
    sweep = find_sweep(store, "toy")
    assert sweep is not None
    expected = {one.result().identity: [youdens(one.predictions())] for one in done}
    for run in store.search(sweep.experiment_id, "tags.`leukobench.kind` = 'result'"):
        expected[run.data.tags["leukobench.identity"]].append(run.data.metrics["test_youden"])
        assert "Youden's J" in run.data.tags[Tag.NOTE]
    for computed, logged in expected.values():
        assert logged == pytest.approx(computed)


def test_the_best_by_it_on_validation_is_registered(
    trained: tuple[Store, list[Trained]], local: Settings
) -> None:
    values = [one.result().metrics["validation_youden"] for one in trained[1]]
    assert best_of("toy", "validation_youden", local).value == max(values)
    assert best_of("toy", "validation_informedness", local).rule == "validation_youden"


def test_a_search_takes_it_in_its_direction(youden: None) -> None:
    assert Search(metric="validation_youden").direction == "maximize"
    with pytest.raises(LeukoBenchError, match=r"unknown metric 'yuden'; known are .*youden"):
        Search(metric="validation_yuden")


def test_the_command_line_takes_it(
    trained: tuple[Store, list[Trained]], local: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(local.output))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.store)
    sides = ["toy:optimizer.lr=0.0001", "toy:optimizer.lr=0.01"]
    said = CliRunner().invoke(cli, ["diff", *sides, "--metric", "informedness", "--format", "md"])
    assert said.exit_code == 0, said.output
    assert "Youden's J on test" in said.output
    wrong = CliRunner().invoke(cli, ["diff", *sides, "--metric", "yuden"])
    assert "'yuden' is no metric; there are accuracy" in wrong.output
    assert "youden" in wrong.output.replace("'yuden'", "")


def test_the_command_line_finds_it_in_the_folder_named_by_an_option(
    youden: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.environ["LEUKOBENCH_CONF"]
    monkeypatch.delenv("LEUKOBENCH_CONF")
    wrong = ["diff", "a", "b", "--metric", "yuden"]
    assert "youden" not in CliRunner().invoke(cli, wrong).output
    assert "youden" in CliRunner().invoke(cli, [*wrong, "--config-dir", folder]).output


def test_keys_beyond_its_facts_are_arguments_of_its_function(add: Add) -> None:
    add("twice", YOUDEN.replace("aliases: [informedness]", "weight: 2.0"))
    predictions = frame(n=200)
    more = compute(predictions, "recall", "binary")
    twice = compute(predictions, "twice", "binary")
    assert twice == pytest.approx(youdens(predictions) + more)


def test_sensitivity_at_any_specificity_is_a_file(add: Add) -> None:
    target = "leukobench.evaluation.formulas.sensitivity_at_specificity"
    add(
        "sensitive",
        f"_target_: {target}\nspecificity: 0.9\nneeds: class_probabilities\n"
        "title: sensitivity\ndirection: higher\nkind: ranking\nbounds: [0, 1]\n",
    )
    predictions = frame(n=200)
    for averaging in ("binary", "macro"):
        ours = compute(predictions, "sensitivity_at_specificity_90", averaging)
        assert compute(predictions, "sensitive", averaging) == ours


def test_another_version_of_it_is_told_apart(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    from leukobench.evaluation.own_metrics import read_own_metrics

    add("youden", YOUDEN)
    before = read_own_metrics()[0].identity
    assert read_own_metrics()[0].identity == before
    add("youden", YOUDEN + "weight: 2.0\n")
    assert read_own_metrics()[0].identity != before


def test_a_resample_on_which_it_is_not_defined_is_left_out(youden: None) -> None:
    few = frame(n=48)  # 12 test samples: some resamples have one class alone
    estimate = Repeats.of([("0", few)]).estimate(Metric("youden"))
    assert np.isfinite([estimate.mean, estimate.low, estimate.high]).all()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("youden", YOUDEN.replace("direction: higher", ""), "direction: Field required"),
        ("youden", YOUDEN.replace("youden", "nothing"), "nothing does not exist"),
        ("accuracy", YOUDEN, "the name 'accuracy' is taken"),
        ("mine", YOUDEN.replace("informedness", "sensitivity"), "the name 'sensitivity' is taken"),
    ],
)
def test_a_mistaken_file_says_what_is_wrong(add: Add, name: str, text: str, said: str) -> None:
    add(name, text)
    with pytest.raises((ConfigError, LeukoBenchError), match=said):
        find("accuracy")


def test_its_function_failing_is_said_and_costs_no_training(add: Add) -> None:
    from leukobench.training.run import final_metrics

    add("mine", YOUDEN.replace("{module}.youden", "{module}.failing"))
    with pytest.raises(LeukoBenchError, match="the metric mine fails: no such thing"):
        compute(frame(), "mine")
    with pytest.warns(UserWarning, match="the metric mine fails"):
        found = final_metrics(frame(), "ALL")
    assert "test_accuracy" in found
    assert "test_mine" not in found

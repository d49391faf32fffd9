"""Tables of sweeps without a paper file, and rows of a user's own runs beside a paper's."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept import frame, golden_paper, golden_results

from leukobench.errors import PaperError
from leukobench.papers.grid import GridChoice, grid_paper, varied_keys
from leukobench.papers.own_rows import with_own_rows
from leukobench.papers.results import Kept, KeptResult
from leukobench.papers.tables import FilledTable, rebuild
from leukobench.report.text import csv_text, markdown

RECORD = {"seconds": 8.0, "epochs": [5, 20]}


def swept(**values: tuple[str, ...]) -> Kept:
    """Two seeds of every combination of values; each training took 8 s and serves 5 and 20 epochs."""
    runs, frames, records = [], {}, {}
    for i, (seed, *choice) in enumerate(product("01", *values.values())):
        params = {"data": "genes", **dict(zip(values, choice)), "seed": seed, "fold": "0"}
        run = KeptResult(f"run{i}", f"id{i}", params, {"leukobench.seconds": "8.0"}, float(i))
        runs.append(run)
        frames[run.run_id] = frame(i)
        records[run.run_id, "run"] = RECORD
    return Kept(runs, frames, records, store="store.db")


def tables_of(results: Kept, choice: GridChoice | None = None) -> list[FilledTable]:
    return rebuild(grid_paper(["own"], results.results, choice), results)


def values_of(table: FilledTable, row: int = 0) -> list[float]:
    cells = table.rows[row].cells
    answers = [next(iter(cell.answers.values())) for cell in cells if cell is not None]
    return [answer.estimate.mean for answer in answers if answer.estimate is not None]


GRID = {"model": ("big", "small"), "optimizer": ("adam", "sgd"), "epochs": ("5", "20")}


def test_the_model_is_the_row_and_the_rest_of_what_varies_makes_columns():
    accuracy, seconds = tables_of(swept(**GRID))
    assert [row.title for row in accuracy.rows] == ["big", "small", "Majority class"]
    assert accuracy.columns == (
        "adam, 5 epochs",
        "adam, 20 epochs",
        "sgd, 5 epochs",
        "sgd, 20 epochs",
    )
    assert not accuracy.commands
    assert seconds.title == "Seconds of training"


def test_a_training_of_several_epoch_counts_is_shared_out_by_epochs():
    _, seconds = tables_of(swept(**GRID))
    assert values_of(seconds) == [2.0, 8.0, 2.0, 8.0]


def test_data_sets_split_tables():
    found = tables_of(swept(data=("cells", "genes"), model=("a", "b"), epochs=("5", "20")))
    assert [t.title for t in found[::2]] == ["Accuracy: cells", "Accuracy: genes"]
    assert [t.id for t in found[::2]] == ["accuracy-cells", "accuracy-genes"]


def test_protocols_are_arms_with_their_difference():
    found = tables_of(swept(protocol=("leak_free", "paper"), model=("a", "b"), epochs=("5", "20")))
    assert list(found[0].arms) == ["paper", "leak_free"]
    assert found[0].difference == "Paper's protocol − Leak-free"


def test_how_runs_were_launched_is_held_against_no_run_of_a_sweep():
    results = swept(**GRID)
    first, *others = results.results
    first = replace(first, tags={**first.tags, "leukobench.overrides": '["batch_size=8"]'})
    accuracy, _ = tables_of(replace(results, results=[first, *others]))
    assert not accuracy.footnotes or "settings" not in str(accuracy.footnotes)
    assert len(accuracy.rows[0].cells[0].answers[""].runs) == 2


def test_metrics_are_the_columns_where_only_rows_vary():
    (table,) = tables_of(swept(model=("a", "b"), epochs=("20",)))
    assert table.columns == ("Accuracy", "Balanced accuracy", "AUROC", "Seconds of training")


def test_keys_go_where_the_user_says_and_what_is_left_splits_tables():
    choice = GridChoice(rows=("optimizer",), columns=("epochs",), metrics=("auroc",))
    found = tables_of(swept(**GRID), choice)
    assert [t.title for t in found if "AUROC" in t.title] == ["AUROC: big", "AUROC: small"]
    assert [r.title for r in found[0].rows[:2]] == ["adam", "sgd"]


def test_a_combination_that_is_not_run_says_how_to_run_it():
    results = swept(**GRID)
    some = [r for r in results.results if r.params != {**r.params, "model": "big", "epochs": "20"}]
    accuracy, _ = tables_of(Kept(some, results.frames, results.artifacts))
    assert accuracy.commands == ("leukobench sweep own model=big optimizer=adam,sgd epochs=20",)


def test_keys_that_follow_from_others_are_not_named():
    runs = [
        KeptResult("a", "a", {"model": "a", "model.width": "1", "optimizer.lr": "0.1"}),
        KeptResult("b", "b", {"model": "b", "optimizer.lr": "0.1"}),
        KeptResult("c", "c", {"model": "b", "optimizer.lr": "0.01"}),
    ]
    assert varied_keys(runs) == ("model", "optimizer.lr")


def test_the_tables_of_a_sweep_are_written_in_every_form_of_a_papers():
    results = swept(**GRID)
    found = tables_of(results)
    assert "paper file" not in markdown(grid_paper(["own"], results.results), found)
    assert csv_text(found).splitlines()[1].startswith("own,accuracy,big,adam-5,")


@pytest.mark.parametrize("key", ["seed", "lr"])
def test_a_key_that_makes_no_table_is_refused_with_those_that_vary(key):
    with pytest.raises(PaperError, match="model, optimizer, epochs varies"):
        tables_of(swept(**GRID), GridChoice(rows=(key,)))


def test_a_sweep_without_runs_is_refused():
    with pytest.raises(PaperError, match="no finished runs"):
        grid_paper(["own"], [])


def test_a_run_with_a_network_of_the_users_own_is_a_row_beside_the_papers():
    paper, results = golden_paper(), golden_results()
    like = [r for r in results.results if r.params["model"] == "small"]
    own = [
        KeptResult(
            f"own{i}",
            f"own{i}",
            {**r.params, "model": "mine"},
            {**r.tags, "leukobench.sweep": paper.sweep or ""},
        )
        for i, r in enumerate(like)
    ]
    frames = {o.run_id: results.frames[r.run_id] for o, r in zip(own, like)}
    more = Kept([*results.results, *own], {**results.frames, **frames})
    table, longer = paper.tables[0], with_own_rows(paper, more).tables[0]
    assert [r.title for r in longer.rows if r not in table.rows]
    assert all("mine" in (r.title or "") for r in longer.rows if r not in table.rows)
    assert with_own_rows(paper, results) == paper

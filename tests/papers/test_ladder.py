"""A leak taken apart, from runs in memory."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from kept import frame, results

from leukobench.errors import PaperError
from leukobench.papers.ladder import OTHER_SAMPLES, FilledLadder, climb
from leukobench.papers.spec import Paper, load_paper
from leukobench.report.ladder import csv_ladder, html_ladder, markdown_ladder

FILE = """
key: own
version: 1
title: Own
citation: none
source: own
sweep: own
ladder:
  title: Apart
  metrics: [accuracy]
  vote: true
  overrides: [model=a]
  start: [protocol=paper]
  switches:
    - {id: fit_on, title: fitted on training rows, leaky: [protocol.fit_on=all], clean: [protocol.fit_on=train]}
    - {id: grain, title: kept together, leaky: ["protocol.keep_together=[]"], clean: [protocol.keep_together=auto]}
"""
SKILL = {("all", "[]"): 3.0, ("train", "[]"): 2.0, ("all", "auto"): 1.5, ("train", "auto"): 0.5}


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    (tmp_path / "own.yaml").write_text(FILE, encoding="utf-8")
    return load_paper(tmp_path / "own.yaml")


def run(state: tuple[str, str], seed: int) -> tuple[dict[str, str], pd.DataFrame]:
    fit_on, keep = state
    params = {"model": "a", "seed": str(seed), "protocol": "x", "epochs": "5", "data": "d"}
    params |= {"protocol.fit_on": fit_on, "protocol.keep_together": keep}
    rows = frame(seed, n=240, skill=SKILL[state])
    return params, rows.assign(subject=[f"p{i // 4}" for i in range(len(rows))])


def filled(paper: Paper, *states: tuple[str, str]) -> FilledLadder:
    return climb(paper, results(*(run(s, seed) for s in states or SKILL for seed in (0, 1, 2))))


def test_rungs_differ_in_one_switch_each_and_steps_add_up_to_the_whole(paper: Paper) -> None:
    ladder = filled(paper)
    assert [r.title for r in ladder.rungs] == [
        "the paper's protocol",
        "+ fitted on training rows",
        "+ kept together",
    ]
    means = [r.estimates[0].mean for r in ladder.rungs if r.estimates[0]]
    steps = [s.climbed[0] for s in ladder.steps]
    assert means == sorted(means, reverse=True)
    for step, before, after in zip(steps, means, means[1:]):
        assert step is not None
        assert step.mean == pytest.approx(after - before)
        assert step.low is not None
        assert step.low < step.mean
    assert ladder.whole[0] is not None
    assert ladder.whole[0].mean == pytest.approx(means[-1] - means[0])


def test_a_switch_is_also_turned_alone_from_both_ends_and_the_rest_is_interaction(
    paper: Paper,
) -> None:
    ladder = filled(paper)
    fit_on, grain = ladder.steps
    assert fit_on.first == fit_on.climbed, "the first one stands alone in its place"
    assert grain.last == grain.climbed, "the last one too"
    assert grain.first[0]
    assert fit_on.first[0]
    assert ladder.whole[0]
    alone = grain.first[0].mean + fit_on.first[0].mean
    assert ladder.interaction[0] == pytest.approx(ladder.whole[0].mean - alone)


def test_a_rung_without_runs_prints_its_command_and_takes_its_steps_with_it(paper: Paper) -> None:
    ladder = filled(paper, ("all", "[]"), ("train", "auto"))
    assert ladder.commands == (
        "leukobench sweep own model=a protocol=paper protocol.fit_on=train protocol.keep_together=[]",
    )
    assert [s.climbed[0] for s in ladder.steps] == [None, None]
    assert ladder.whole[0] is not None
    assert ladder.interaction == (None, None)


def test_a_vote_a_subject_is_estimated_and_not_subtracted(paper: Paper) -> None:
    ladder = filled(paper)
    assert ladder.measures == ("accuracy", "accuracy, one vote a subject")
    vote = ladder.rungs[0].estimates[1]
    assert vote is not None
    assert vote.weight == "subject"
    assert ladder.whole[1] is None


def test_rungs_that_test_other_samples_say_so(paper: Paper) -> None:
    runs = [run(("all", "[]"), s) for s in (0, 1)]
    moved = [
        (p, f.assign(sample="x" + f["sample"]))
        for p, f in (run(("train", "[]"), s) for s in (0, 1))
    ]
    ladder = climb(paper, results(*runs, *moved))
    assert ladder.steps[0].notes == (OTHER_SAMPLES,)


def test_a_ladder_is_the_same_in_every_format(paper: Paper) -> None:
    ladder = filled(paper)
    value = ladder.rungs[0].estimates[0]
    assert value is not None
    assert f"{value.mean:.3f} [" in markdown_ladder(ladder)
    page = html_ladder(ladder)
    assert "<svg" in page
    assert f"{value.mean:.3f} [" in page
    rows = list(csv.DictReader(io.StringIO(csv_ladder(ladder))))
    assert float(rows[0]["value"]) == value.mean
    assert {r["kind"] for r in rows} >= {"rung", "step", "whole"}


def test_a_paper_without_a_ladder_says_so(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(FILE.split("ladder:")[0], encoding="utf-8")
    with pytest.raises(PaperError, match="the paper has no ladder"):
        climb(load_paper(tmp_path / "own.yaml"), results())

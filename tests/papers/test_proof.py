"""Leaks found out from what runs left, whatever a file says of them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from kept import frame

from leukobench.papers.memory import Memory
from leukobench.papers.proof import Proof, prove
from leukobench.papers.results import Kept, KeptResult
from leukobench.schema.names import Tag

CLEAN = {
    Tag.SHARED_PARTS: json.dumps({"subject": 0, "content": 0, "series": 3}),
    Tag.FITTED: json.dumps({"scaling": {"train": 30}}),
}


def of_subjects(size: int) -> pd.DataFrame:
    """Forty rows, the last ten tested, each subject with `size` rows one after another."""
    out = frame()
    return out.assign(subject=[f"p{i // size}" for i in range(len(out))])


def proof(rows: pd.DataFrame, tags: dict[str, str], chosen_on: tuple[str, ...] = ()) -> Proof:
    run = KeptResult("run", "id", {}, tags)
    return prove(Kept([run], {"run": rows}), [run], Memory(), chosen_on)


def test_runs_whose_parts_and_fits_keep_apart_are_proven() -> None:
    assert proof(of_subjects(5), CLEAN) == Proof((), ())
    assert proof(of_subjects(5), CLEAN).words == "proven"


def test_a_subject_on_both_sides_is_found_in_the_predictions() -> None:
    assert proof(of_subjects(4), CLEAN).leaks == ("subjects stand in test and elsewhere",)


@pytest.mark.parametrize(
    ("tag", "value", "leak"),
    [
        (Tag.FITTED, {"encoder": {"train": 30, "test": 1}}, "encoder was fitted on test rows"),
        (Tag.SHARED_PARTS, {"content": 2}, "exact copies stand in several parts"),
        (
            Tag.SHARED_PARTS,
            {"content": 0, "same_patients": 1},
            "series of the same patients stand in several parts",
        ),
    ],
)
def test_what_the_run_counted_is_found(tag: str, value: dict[str, object], leak: str) -> None:
    found = proof(of_subjects(5), CLEAN | {tag: json.dumps(value)})
    assert found.leaks == (leak,)
    assert found.words == f"NOT leak-free: {leak}"


def test_a_choice_by_test_results_is_a_leak() -> None:
    assert proof(of_subjects(5), CLEAN, ("test",)).leaks == ("chosen on the test part",)
    assert proof(of_subjects(5), CLEAN, ("validation",)).leaks == ()


def test_what_runs_do_not_tell_is_named_and_nothing_is_taken_for_proven() -> None:
    found = proof(frame(), {})
    assert found.unchecked == (
        "subjects",
        "copies",
        "fitted rows",
    )
    assert found.words == "not checked: subjects, copies, fitted rows"

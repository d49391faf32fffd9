"""The registry of metrics: one row each, complete, and listed where users look."""

from pathlib import Path

import pytest

from leukobench.evaluation.registry import definitions, find, known_names, title

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("row", definitions(), ids=lambda row: row.name)
def test_every_metric_is_listed_for_users_with_all_its_names_and_its_direction(row):
    names = ", ".join(f"`{name}`" for name in (row.name, *(alias for alias, _ in row.aliases)))
    better = "–" if row.direction == "none" else row.direction
    lines = (DOCS / "metrics.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith(f"| {names} | {row.meaning} | {better} |") for line in lines)


def test_a_metric_and_its_aliases_are_one_row_with_a_title_each():
    assert find("sensitivity") is find("recall")
    assert title("sensitivity") == "Sensitivity"
    assert title("recall") == "Recall"
    assert title("macro_f1") == "Macro F1"


def test_another_quantity_has_no_row_and_its_name_for_a_title():
    assert find("genes") is None
    assert title("genes") == "genes"


def test_names_are_given_once():
    assert len(set(known_names())) == len(known_names())

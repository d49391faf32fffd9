"""JSON files have types and versions; what does not fit is said in a sentence, and what was written before is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leukobench.schema.delivery import (
    DELIVERED,
    DELIVERY,
    PLAN,
    DeliveryMarks,
    DeliveryOrder,
    PlanEntry,
    ResultOrder,
    SweepPlan,
)
from leukobench.schema.documents import Document, DocumentError
from leukobench.schema.records import (
    CURVES,
    JOB,
    RESULT,
    RUN,
    DataRecord,
    Environment,
    JobRecord,
    ResultRecord,
    RunRecord,
)

DATA = DataRecord(
    name="tiny",
    family="expression",
    fingerprint="f" * 32,
    simulated=True,
    samples=40,
    classes=("ALL", "AML"),
    split="holdout",
    split_hash="1f",
    fold=0,
    folds=1,
    shared={"content": 0},
)
WRITTEN = [
    (RUN, RunRecord(state="finished", epochs=(1, 3), data=DATA, environment=Environment())),
    (JOB, JobRecord({"seed": 0, "model": {"hidden": [8]}}, {"model": "gene_mlp"}, ("seed=0",))),
    (RESULT, ResultRecord("a", 3, params={"seed": "0"}, metrics={"test_accuracy": 0.5})),
    (PLAN, SweepPlan((PlanEntry("a", "t", ("seed=0",), "a name"),))),
    (DELIVERY, DeliveryOrder("s", "t", "a name", (ResultOrder("a", 3),), {"k": "v"})),
    (DELIVERED, DeliveryMarks({"sqlite:///x#1": {"a": "run"}})),
]


@pytest.mark.parametrize(("document", "value"), WRITTEN, ids=[d.file for d, _ in WRITTEN])
def test_a_record_survives_its_file_with_a_version(
    document: Document[object], value: object
) -> None:
    text = document.text(value)
    assert json.loads(text)["schema_version"] == document.version == 1
    assert document.parse(text, "x") == value


BEFORE = [
    (RUN, {"created": "2024-01-01T00:00:00+00:00", "state": "finished", "stacked": 4}),
    (JOB, {"config": {"seed": 0}}),
    (RESULT, {"identity": "a", "epoch": 3, "params": {"seed": "0"}, "best_epoch": None}),
    (DELIVERY, {"sweep": "s", "training": "t", "name": "n", "tags": {}, "replaces": {},
                "jobs": [{"identity": "a", "epochs": 3, "params": {}, "overrides": [], "name": ""}]}),
    (PLAN, [{"identity": "a", "training": "t", "overrides": ["seed=0"], "name": "a name"}]),
    (DELIVERED, {"sqlite:///x#1": {"a": "run"}}),
]  # fmt: skip


@pytest.mark.parametrize(("document", "body"), BEFORE, ids=[d.file for d, _ in BEFORE])
def test_a_file_from_before_versions_is_read(document: Document[object], body: object) -> None:
    assert document.parse(json.dumps(body), "x") == document.parse(
        document.text(document.parse(json.dumps(body), "x")), "x"
    )


def test_whole_numbers_of_curves_stay_whole() -> None:
    text = CURVES.text([{"epoch": 1, "train_loss": 0.5}])
    assert str(CURVES.parse(text, "x")[0]["epoch"]) == "1"


def test_no_file_is_no_record_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert RUN.read(tmp_path / "run.json") is None
    (tmp_path / "run.json").write_text('{"state": ')
    with pytest.raises(DocumentError, match=r"run\.json is damaged \(not JSON\).*launch again"):
        RUN.read(tmp_path / "run.json")


WRONG = {
    "a missing field": (RESULT, {"epoch": 3}, "a/b is no result.json: field identity is missing"),
    "a wrong type": (RUN, {"seconds": "long"}, "field seconds is 'long', expected a valid number"),
    "a wrong word": (RUN, {"state": "done"}, "field state is 'done', expected 'running', 'fin"),
    "a field within": (DELIVERY, {"sweep": "s", "training": "t", "name": "n", "jobs": [{}]},
                       r"field jobs\.0\.identity is missing \(and 1 more\)"),
    "no object": (RUN, [1], r"field the whole is \[1\], expected an object"),
    "a later version": (RUN, {"schema_version": 9}, "later LeukoBench.*update it"),
    "no version": (RUN, {"schema_version": "new"}, "field schema_version is 'new'"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_said_with_file_and_field(what: str) -> None:
    document, body, message = WRONG[what]
    with pytest.raises(DocumentError, match=message):
        document.parse(json.dumps(body), "a/b")


def test_a_record_of_a_wrong_type_is_not_written() -> None:
    with pytest.raises(DocumentError, match=r"cannot be written as run\.json.*seconds"):
        RUN.text(RunRecord(seconds="long"))  # type: ignore[arg-type]

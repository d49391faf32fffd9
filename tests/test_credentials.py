"""Credentials of a store's address: nothing that is shown or written has them, the process keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leukobench.credentials import real, redacted, shown
from leukobench.errors import StoreError
from leukobench.schema.delivery import DELIVERED, DeliveryMarks
from leukobench.settings import resolve
from leukobench.sweeps.workers import loaded, saved
from leukobench.training.job import Job
from trained import planned, train_job

SECRET = "s3cr/et"
ADDRESS = f"postgresql://anna:{SECRET}@db.example:5432/runs?sslmode=require&sslpassword=s3cr-too"
SHOWN = "postgresql://***@db.example:5432/runs?sslmode=require&sslpassword=***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ADDRESS, SHOWN),
        ("https://user:pw@host/x", "https://***@host/x"),
        ("https://token@host:5000", "https://***@host:5000"),
        ("http://a:p@ss@host/", "http://***@host/"),
        (
            "mysql+pymysql://u:p@h/d?Access_Token=abc#f",
            "mysql+pymysql://***@h/d?Access_Token=***#f",
        ),
        ("at https://h/x?api_key=1&y=2, twice", "at https://h/x?api_key=***&y=2, twice"),
        ('{"a": "http://u:p@h", "b": "x@y"}', '{"a": "http://***@h", "b": "x@y"}'),
    ],
)
def test_users_passwords_and_tokens_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/anna@lab/mlflow.db",
        "http://localhost:5000",
        "write to anna@lab.example: it's 5:3@home",
        "https://doi.org/10.1007/x?sslmode=require",
    ],
)
def test_addresses_without_credentials_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


def test_the_process_goes_on_with_the_real_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert real(shown(ADDRESS)) == ADDRESS
    assert resolve(store=shown(ADDRESS)).store == ADDRESS
    assert resolve(store=ADDRESS).shown_store == SHOWN


def test_a_worker_has_the_address_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:other-secret@server")
    assert real("http://***@server") == "http://me:other-secret@server"
    assert real("http://***@another") == "http://***@another"


def test_errors_show_no_credentials() -> None:
    assert SECRET not in str(StoreError(f"cannot read the MLflow store {ADDRESS}: gone"))


def test_a_job_and_its_folder_hold_no_credentials(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = make_job(f"settings.store='{ADDRESS}'", "epochs=1")
    assert job.settings.store == ADDRESS
    train_job(job)
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert any(p.name == "job.json" for p in written)
    for path in written:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert b"s3cr-too" not in content, path


def test_what_workers_are_given_holds_no_credentials(make_job: Callable[..., Job]) -> None:
    (training,) = planned(make_job(f"settings.store='{ADDRESS}'", "epochs=1"))
    text = json.dumps(saved(training))
    assert SHOWN in text
    assert SECRET not in text
    again = loaded(json.loads(text))
    assert again.jobs[1].settings.store == ADDRESS, "here, where it is known"


def test_marks_of_deliveries_are_found_with_and_without_credentials() -> None:
    before = DELIVERED.parse(json.dumps({f"{ADDRESS}#1": {"a": "b"}}), "delivered.json")
    assert before.of(f"{ADDRESS}#1") == {"a": "b"}
    text = DELIVERED.text(before.having(f"{ADDRESS}#2", {"c": "d"}))
    assert SECRET not in text
    assert DELIVERED.parse(text, "x") == DeliveryMarks(
        {f"{SHOWN}#1": {"a": "b"}, f"{SHOWN}#2": {"c": "d"}}
    )

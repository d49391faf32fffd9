"""Every launch ends with an answer, and a run is named by what people have at hand."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leukobench.cli import cli
from leukobench.errors import ConfigError, StoreError
from leukobench.settings import Settings
from leukobench.tracking.locate import locate_run
from leukobench.tracking.reading import Results
from leukobench.tracking.references import whole_id

Run = Callable[..., Result]
GRID = ("train", "-m", "data=tiny", "model=logistic", "epochs=1,3", "seed=0,1", "sweep=own")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, local: Settings, tiny_conf: Path) -> Run:
    """Runs `leukobench ARGUMENTS` in this process, with an empty store and `data=tiny` to choose."""
    import leukobench.sweeps.launch as launch

    monkeypatch.setenv("LEUKOBENCH_CONF", str(tiny_conf))
    monkeypatch.setenv("LEUKOBENCH_OUTPUT", str(local.output))
    monkeypatch.setenv("LEUKOBENCH_DATA", str(local.data))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.store)
    monkeypatch.setattr(launch, "describe", lambda *args: None)
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def test_a_launch_ends_with_the_numbers_of_the_sweep_s_table(command: Run) -> None:
    ended = command(*GRID, "split.validation=0.2").stderr
    assert "best accuracy on validation first, 2 of 2" in ended
    assert re.search(r"browse: leukobench ui, then http://\S+/#/experiments/\d+/runs\?", ended)
    assert "next: leukobench tables own" in ended
    table = command("tables", "own", "--columns", "epochs", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    measured = [r for r in rows if r["metric"] == "accuracy" and r["kind"] == "reproducible"]
    assert len(measured) == 2
    for row in measured:
        assert re.search(rf"{float(row['mean']):.3f} .*2 runs, \w{{8}} …", ended)
    again = command(*GRID, "split.validation=0.2").stderr
    assert again[again.index("accuracy on test") :] == ended[ended.index("accuracy on test") :]


def test_without_a_validation_part_nothing_is_ranked(command: Run) -> None:
    ended = command(*GRID, "epochs=1,2,3,4,5,6", "seed=0", "split.validation=0").stderr
    assert "5 of 6, unranked: no validation part to choose on" in ended


def test_runs_are_listed_and_named_by_short_ids_or_by_what_they_are(
    command: Run, local: Settings
) -> None:
    ended = command("train", "data=tiny", "epochs=2", "split.validation=0.2").stderr
    (result,) = Results(local).results
    assert f"run {result.run_id[:8]}" in ended
    assert f"next: leukobench card --run {result.run_id[:8]}" in ended
    assert result.run_id[:8] in command("runs").stdout
    assert result.run_id[:8] in command("status", "train", "--jobs").stdout
    for reference in (result.run_id[:6], "@last", "@best", "@best:train", result.run_id):
        assert locate_run(reference, local).result == locate_run(result.run_id, local).result
    folder = locate_run(result.run_id, local).training
    assert locate_run(folder, local).result == locate_run("@last", local).result


def test_a_reference_to_nothing_says_what_there_is(local: Settings) -> None:
    with pytest.raises(StoreError, match="`leukobench runs` lists them"):
        whole_id("0123abcd", local)
    with pytest.raises(StoreError, match="no finished result"):
        whole_id("@last", local)
    with pytest.raises(ConfigError, match="neither a folder nor a run id"):
        whole_id("abc", local)

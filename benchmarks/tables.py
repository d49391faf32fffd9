"""Rebuilding a table from a store of many runs: first reading, later readings, and after runs were added or deleted.

    python benchmarks/tables.py --runs 10000

One seed of the sweep `quickstart` is run for real (60 results); its results are then copied, rows of the SQLite store and
prediction files alike, under further seeds until the store holds as many results as asked for. Times are of whole
commands, start-up included, each in a process of its own: on the clock, and of the processor, which other work on the
machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True, order=True)
class Seconds:
    """Time of one command."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f} s CPU)"

    def beyond(self, other: Seconds, runs: int = 1) -> str:
        """What it took more than another, a run."""
        unit, scale = ("s", 1) if runs == 1 else ("ms a run", 1000 / runs)
        return f"{(self.wall - other.wall) * scale:+.2f} {unit} ({(self.cpu - other.cpu) * scale:+.2f} {unit} CPU)"


def command(output: Path, *arguments: str) -> Seconds:
    """Time of one `leukobench` command."""
    environment = {
        **os.environ,
        "LEUKOBENCH_OUTPUT": str(output),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "leukobench", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


ROWS = 10_661
"""Predictions of a run of the sweep `fata`."""
MINUTE = 60_000
"""Milliseconds between the ends of two copies: as if the sweep had gone on for hours."""


def multiply(output: Path, results: int, now: bool = False) -> int:
    """Copy the results of seed 0 under further seeds, each a minute earlier; or `now`, as runs that just ended.

    Returns:
        How many results the store then holds.
    """
    db = sqlite3.connect(output / "mlflow.db")
    kind = "SELECT run_uuid FROM tags WHERE key = 'leukobench.kind' AND value = 'result'"
    copies = "SELECT run_uuid FROM tags WHERE key = 'leukobench.copy'"
    originals = [row[0] for row in db.execute(f"{kind} EXCEPT {copies}")]
    held = db.execute(f"SELECT COUNT(*) FROM ({kind})").fetchone()[0]
    artifacts = output / "artifacts" / "quickstart"
    names = columns(db, "runs")
    rows = {
        r: dict(zip(names, db.execute("SELECT * FROM runs WHERE run_uuid = ?", (r,)).fetchone()))
        for r in originals
    }
    parts = {}
    for table in ("params", "tags", "latest_metrics"):
        keys = columns(db, table)
        parts[table] = (
            keys,
            {
                r: [
                    dict(zip(keys, v))
                    for v in db.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (r,))
                ]
                for r in rows
            },
        )
    total, seed = held, held if now else 0
    while total < results:
        seed += 1
        for run in originals:
            if total >= results:
                break
            new = uuid.uuid4().hex
            row = {**rows[run], "run_uuid": new}
            row["artifact_uri"] = row["artifact_uri"].replace(run, new)
            moved = int(time.time() * 1000) - row["end_time"] if now else -MINUTE * seed
            for key in ("start_time", "end_time"):
                row[key] += moved
            insert(db, "runs", names, row)
            for table, (keys, values) in parts.items():
                for value in values[run]:
                    value = {**value, "run_uuid": new}
                    if table == "params" and value["key"] in ("seed", "split.seed"):
                        value["value"] = str(seed)
                    if table == "tags" and value["key"] == "leukobench.identity":
                        value["value"] = new
                    insert(db, table, keys, value)
            insert(
                db,
                "tags",
                parts["tags"][0],
                {"key": "leukobench.copy", "value": run, "run_uuid": new},
            )
            target = artifacts / new / "artifacts"
            target.mkdir(parents=True)
            shutil.copy(artifacts / run / "artifacts" / "predictions.parquet", target)
            total += 1
    db.commit()
    db.close()
    return total


def insert(db: sqlite3.Connection, table: str, keys: list[str], row: dict[str, object]) -> None:
    marks = ", ".join("?" * len(keys))
    db.execute(f"INSERT INTO {table} ({', '.join(keys)}) VALUES ({marks})", [row[k] for k in keys])


def enlarge(output: Path) -> None:
    """Put simulated predictions of `fata`'s size (C-NMC's 10,661 cells of 73 subjects) in place of every result's."""
    rng = np.random.default_rng(0)
    subject = rng.integers(0, 73, ROWS)
    for path in output.glob("artifacts/quickstart/*/artifacts/predictions.parquet"):
        small = pd.read_parquet(path)
        positive = rng.random(ROWS) < 2 / 3
        p = np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1).astype(np.float32)
        large = {
            "sample": [f"UID_{s}_{i}_1_all" for i, s in enumerate(subject)],
            "subject": [f"S{s}" for s in subject],
            "part": np.where(rng.random(ROWS) < 0.8, "train", "test"),
            "fold": np.full(ROWS, small["fold"][0]),
            "epoch": np.full(ROWS, small["epoch"][0]),
            "label": np.where(positive, "ALL", "AML"),
            "p_ALL": p,
            "p_AML": 1 - p,
        }
        pd.DataFrame(large)[list(small.columns)].to_parquet(path)


def delete_some(output: Path, n: int) -> None:
    """Delete runs as the MLflow UI does."""
    db = sqlite3.connect(output / "mlflow.db")
    db.execute(
        "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid IN "
        "(SELECT run_uuid FROM tags WHERE key = 'leukobench.kind' AND value = 'result' ORDER BY run_uuid LIMIT ?)",
        (int(time.time() * 1000), n),
    )
    db.commit()
    db.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=600, help="runs of fata's size")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "tables.json"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        output = Path(folder)
        command(output, "sweep", "quickstart", "seed=0")
        startup = min(command(output, "tables", "quickstart", "--refresh") for _ in range(2))
        total = multiply(output, arguments.runs)
        print(f"{total} results; start-up and 60 results: {startup}", flush=True)
        first = command(output, "tables", "quickstart", "--refresh")
        print(f"first reading: {first}, {first.beyond(startup, total)}", flush=True)
        later = min(command(output, "tables", "quickstart") for _ in range(3))
        print(f"later readings: {later}, {later.beyond(startup)} beyond start-up", flush=True)
        added = multiply(output, total + 60, now=True)
        after_adding = command(output, "tables", "quickstart")
        delete_some(output, 60)
        after_deleting = command(output, "tables", "quickstart")
        print(f"after adding {added - total}: {after_adding}; after deleting 60: {after_deleting}")
        output = Path(other)
        command(output, "sweep", "quickstart", "seed=0")
        enlarge(output)
        large = multiply(output, arguments.large)
        first_large = command(output, "tables", "quickstart", "--refresh")
        print(
            f"first reading of {large} runs of {ROWS:,} rows: {first_large}, {first_large.beyond(startup, large)}"
        )
    times = {
        "startup": startup,
        "first": first,
        "later": later,
        "after_adding_60": after_adding,
        "after_deleting_60": after_deleting,
        "first_large": first_large,
    }
    body = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "results": total,
        "results_large": large,
        "first_cpu_ms_a_run": round((first.cpu - startup.cpu) / total * 1000, 2),
        "later_cpu_s_beyond_startup": round(later.cpu - startup.cpu, 2),
        **{name: {k: round(v, 2) for k, v in asdict(t).items()} for name, t in times.items()},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

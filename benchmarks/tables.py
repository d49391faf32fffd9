"""Rebuilding a table from a store of many runs: first reading, later readings, and after runs were added or deleted.

    python benchmarks/tables.py --runs 10000

One seed of the sweep `quickstart` is run for real (60 results); its results are then copied, rows of the SQLite store and
prediction files alike, under further seeds until the store holds as many results as asked for. Times are of whole
commands, start-up included, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path


def command(output: Path, *arguments: str) -> float:
    """Seconds of one `leukobench` command."""
    environment = {**os.environ, "LEUKOBENCH_OUTPUT": str(output), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "leukobench", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


MINUTE = 60_000
"""Milliseconds between the ends of two copies: as if the sweep had gone on for hours."""


def multiply(output: Path, results: int, later: int = 0) -> int:
    """Copy the results of seed 0 under further seeds, each a minute earlier, or `later` milliseconds after them.

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
        r: dict(zip(names, db.execute("SELECT * FROM runs WHERE run_uuid = ?", (r,)).fetchone())) for r in originals
    }
    parts = {}
    for table in ("params", "tags", "latest_metrics"):
        keys = columns(db, table)
        parts[table] = (
            keys,
            {
                r: [dict(zip(keys, v)) for v in db.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (r,))]
                for r in rows
            },
        )
    total, seed = held, 0 if not later else 1_000_000
    while total < results:
        seed += 1
        for run in originals:
            if total >= results:
                break
            new = uuid.uuid4().hex
            row = {**rows[run], "run_uuid": new}
            row["artifact_uri"] = row["artifact_uri"].replace(run, new)
            for key in ("start_time", "end_time"):
                row[key] += later or -MINUTE * seed
            insert(db, "runs", names, row)
            for table, (keys, values) in parts.items():
                for value in values[run]:
                    value = {**value, "run_uuid": new}
                    if table == "params" and value["key"] in ("seed", "split.seed"):
                        value["value"] = str(seed)
                    if table == "tags" and value["key"] == "leukobench.identity":
                        value["value"] = new
                    insert(db, table, keys, value)
            insert(db, "tags", parts["tags"][0], {"key": "leukobench.copy", "value": run, "run_uuid": new})
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tables.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        command(output, "sweep", "quickstart", "seed=0")
        startup = min(command(output, "tables", "quickstart", "--refresh") for _ in range(2))
        total = multiply(output, arguments.runs)
        print(f"{total} results; start-up and 60 results: {startup:.1f} s", flush=True)
        first = command(output, "tables", "quickstart", "--refresh")
        print(f"first reading: {first:.1f} s, {(first - startup) / total * 1000:.2f} ms a run", flush=True)
        later = min(command(output, "tables", "quickstart") for _ in range(3))
        print(f"later readings: {later:.1f} s, {later - startup:+.1f} s beyond start-up", flush=True)
        added = multiply(output, total + 60, later=1)
        after_adding = command(output, "tables", "quickstart")
        delete_some(output, 60)
        after_deleting = command(output, "tables", "quickstart")
        print(f"after adding {added - total}: {after_adding:.1f} s; after deleting 60: {after_deleting:.1f} s")
    body = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "results": total,
        "startup_s": round(startup, 2),
        "first_s": round(first, 2),
        "first_ms_a_run": round((first - startup) / total * 1000, 2),
        "later_s": round(later, 2),
        "after_adding_60_s": round(after_adding, 2),
        "after_deleting_60_s": round(after_deleting, 2),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Launching commands in processes of their own that tests can kill: forked from a server that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "leukobench.cli",
        "leukobench.sweeps.launch",
        "leukobench.training.run",
        "leukobench.evaluation.metrics",
        "sklearn.metrics",
        "sklearn.pipeline",
        "sklearn.feature_selection",
        "hydra",
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_store",
        "pandas",
        "pyarrow.parquet",
    ]
)


def _run(arguments: list[str], environment: Mapping[str, str], folder: str, log: str) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdin = open(os.devnull)  # noqa: SIM115 - it stays open for as long as the process
    from leukobench.cli import cli

    try:
        cli.main(arguments, standalone_mode=False)
    except SystemExit as e:
        os._exit(e.code if isinstance(e.code, int) else 1)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def start(
    arguments: list[str], environment: Mapping[str, str], folder: Path, log: Path
) -> multiprocessing.Process:
    """Start `leukobench ARGUMENTS`; its output is appended to `log`."""
    process = _context.Process(
        target=_run, args=(arguments, dict(environment), str(folder), str(log))
    )
    process.start()
    return process  # type: ignore[return-value]

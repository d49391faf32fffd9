"""The command `leukobench`: one file a subject, its options beside its work. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import os
import sys

from leukobench.cli import data, explain, launch, models, papers, predict, runs, store, ui
from leukobench.cli.root import cli

__all__ = [
    "cli", "data", "explain", "launch", "main", "models", "papers", "predict", "runs", "store", "ui",
]  # fmt: skip


def main() -> None:
    """Entry point. `--debug` counts wherever it stands."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    if len(arguments) < len(sys.argv) - 1:
        arguments.insert(0, "--debug")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    cli(arguments)

"""Facts about where a run ran: recorded with it, never part of its identity."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from leukobench.schema.records import Environment

PACKAGES = (
    "leukobench",
    "torch",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "hydra-core",
    "mlflow",
    "scikit-learn",
    "imbalanced-learn",
    "numpy",
    "pandas",
)


@cache
def environment() -> Environment:
    """Commit, versions and hardware; None where a fact is unknown."""
    commit, dirty = _git()
    return Environment(
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count(),
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:500],
        packages={name: _version(name) for name in PACKAGES},
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout LeukoBench runs from, else of the working folder; whether tracked
    files are changed.
    """
    package = Path(__file__).resolve()
    folder = package.parents[3] if (package.parents[3] / "pyproject.toml").is_file() else Path.cwd()
    try:
        run = lambda *a: subprocess.run(  # noqa: E731
            ["git", "-C", str(folder), *a], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        return run("rev-parse", "HEAD"), bool(run("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

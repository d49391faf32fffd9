"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real research data, for tests marked `real_data`; skips where it is absent."""
    folder = Path(os.environ.get("LEUKOBENCH_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not present: no folder {folder} (set LEUKOBENCH_SHARED_DATA)")
    return folder

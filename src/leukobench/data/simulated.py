"""The mark that simulated data carry: a text file `SIMULATED` in their folder.

Every loader asks `is_simulated(root)` and passes the answer on as `Dataset.simulated`, so that each
run, table and figure made from such data says so.
"""

from __future__ import annotations

from pathlib import Path

MARK = "SIMULATED"


def is_simulated(root: Path | None) -> bool:
    """Whether the folder `root`, or the folder that holds the file `root`, carries the mark."""
    if root is None:
        return False
    folder = root if root.is_dir() else root.parent
    return (folder / MARK).is_file()


def mark_simulated(root: Path, text: str) -> Path:
    """Write the mark into the folder `root`; `text` says what made the data, with which seed."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / MARK
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
    return path

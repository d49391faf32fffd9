"""Removing what is no longer needed: only what is still as it was listed and what nobody holds;
links are not followed.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from leukobench.progress import Progress
from leukobench.settings import Settings

GONE = ".gc-"
"""Prefix of a folder that is being removed: renamed first, so that whoever looks for it finds it
whole or not at all.
"""


@dataclass(frozen=True)
class Removable:
    """A file or folder that is no longer needed.

    Attributes:
        size: Bytes.
        changed: Unix seconds of the latest change in it, as it was looked at.
        lock: Lock file of those who use it; None where the rule needs none.
    """

    path: Path
    kind: str
    reason: str
    size: int
    changed: float
    lock: Path | None = None


def remove(
    settings: Settings, items: list[Removable], progress: Progress | None = None
) -> tuple[int, list[str]]:
    """Remove what was found; what changed since, or is in use now, stays.

    Returns:
        Bytes freed, and a line for each that stayed.
    """
    freed, stayed = 0, []
    for i, item in enumerate(items):
        reason = _remove(settings.output.resolve(), item)
        if reason is None:
            freed += item.size
        else:
            stayed.append(f"{item.path}: {reason}")
        if progress is not None:
            progress("", i + 1, len(items))
    return freed, stayed


def _remove(output: Path, item: Removable) -> str | None:
    """Why an item stays, None where it was removed."""
    if item.path.is_symlink() or not item.path.parent.resolve().is_relative_to(output):
        return "not a folder of this output folder"
    if not item.path.exists():
        return None
    try:
        with held(item.lock):
            if measure(item.path)[1] != item.changed:
                return "it changed since it was listed"
            if not item.path.is_dir():
                item.path.unlink()
                return None
            gone = item.path.with_name(f"{GONE}{uuid.uuid4().hex}")
            item.path.rename(gone)
        shutil.rmtree(gone)
    except Timeout:
        return "it is in use"
    except OSError as e:
        return e.strerror or str(e)
    return None


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """Hold a lock that exists. Raises Timeout where another process does."""
    if lock is None or not lock.is_file() or lock.is_symlink():
        yield
        return
    with FileLock(str(lock), timeout=0):
        yield


def measure(path: Path) -> tuple[int, float]:
    """Bytes and latest change (Unix seconds) of a file or of a folder's content; links and lock
    files do not count.
    """
    size, changed = 0, path.lstat().st_mtime
    for inner, status in plain_files(path):
        size += status.st_size
        if inner.name != ".lock":
            changed = max(changed, status.st_mtime)
    return size, changed


def plain_files(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Plain files at or below a path; links are not followed."""
    inner = [path]
    if path.is_dir() and not path.is_symlink():
        inner = [
            Path(folder, name)
            for folder, _, names in os.walk(path, followlinks=False)
            for name in names
        ]
    for file in sorted(inner):
        with suppress(FileNotFoundError):  # a launch may be at work here
            status = file.lstat()
            if stat.S_ISREG(status.st_mode):
                yield file, status


def folders_in(path: Path) -> list[Path]:
    """Folders in a folder, sorted; neither the folder nor what is in it may be a link."""
    if path.is_symlink() or not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())

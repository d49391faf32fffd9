"""What happens to files on disks: each function damages one."""

from __future__ import annotations

import os
import random
from pathlib import Path


def zero_a_third(file: Path) -> None:
    overwrite(file, bytes(file.stat().st_size // 3))


def random_bytes(file: Path) -> None:
    overwrite(file, random.Random(0).randbytes(file.stat().st_size // 3))


def flip_a_bit(file: Path) -> None:
    middle = file.stat().st_size // 2
    overwrite(file, bytes([file.read_bytes()[middle] ^ 1]))


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 5)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def delete(file: Path) -> None:
    file.unlink()


def overwrite(file: Path, data: bytes) -> None:
    """Write into the middle of a file that others may have open."""
    with open(file, "r+b") as f:
        f.seek(file.stat().st_size // 2)
        f.write(data)


DAMAGES = (zero_a_third, random_bytes, flip_a_bit, truncate, empty, delete)

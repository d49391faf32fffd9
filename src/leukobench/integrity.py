"""Whether files that were written once and are read for months are still what was written.

A store is a data file beside a header: JSON that says what the file holds and carries a digest of
each of its blocks, of itself, and of the place it was written for, so that a damaged, truncated or
exchanged file is told from a sound one. The header is written last: a file without one is not
there. A process checks a store the first time that it uses it (`checked`); `verify` always reads
everything. Small files that are rewritten often carry one digest in their first line
(`write_lines`, `read_lines`).

Everything kept like this can be computed again; whoever opens it says what was damaged, moves it
out of the way (`set_aside`: others may have it mapped) and builds it anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from leukobench.files import atomic, write_json

BLOCK = 4 << 20
"""Bytes of a block."""
THREADS = min(4, os.cpu_count() or 1)
"""Threads that check one file; hashing and reading let go of the interpreter's lock."""
DAMAGED = ".damaged-"
"""Stands in the name of a store that was moved out of the way."""
HEADERS = ("features/*/features.json", "images/*/store.json", "cache/*/predictions/*.json")
"""Where headers stand in an output folder."""

_log = logging.getLogger("leukobench")


@dataclass(frozen=True)
class Damage:
    """What is wrong with a file, as half a sentence."""

    file: Path
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


@dataclass(frozen=True)
class Condition:
    """How a store was found.

    Attributes:
        damages: Empty for a sound store.
        file: The data file; the header where that does not tell.
        digest: Of the data file's content; None where it is not sound.
    """

    damages: tuple[Damage, ...]
    file: Path
    digest: str | None = None

    @property
    def sound(self) -> bool:
        return not self.damages


class BlockDigests:
    """Digests of the blocks of a file, taken while it is written from front to end."""

    def __init__(self) -> None:
        self.size = 0
        self._blocks: list[str] = []
        self._open = _hash()
        self._room = BLOCK

    def update(self, data: bytes) -> None:
        view = memoryview(data).cast("B")
        self.size += len(view)
        while len(view):
            taken, view = view[: self._room], view[self._room :]
            self._open.update(taken)
            self._room -= len(taken)
            if not self._room:
                self._close()

    def blocks(self) -> list[str]:
        """One hex digest a block; the last may be short."""
        if self._room < BLOCK:
            return [*self._blocks, self._open.hexdigest()]
        return list(self._blocks)

    def _close(self) -> None:
        self._blocks.append(self._open.hexdigest())
        self._open, self._room = _hash(), BLOCK


@dataclass(frozen=True)
class Seal:
    """What a header says of its data file.

    Attributes:
        place: Folder and name of the header, so that exchanged stores are told apart.
        file: Name of the data file beside the header.
        size: Its bytes.
        block: Bytes of a block.
        blocks: Hex digests of its blocks.
    """

    place: str
    file: str
    size: int
    block: int
    blocks: tuple[str, ...]

    @property
    def content(self) -> str:
        """Digest of the data file, whatever its name and place."""
        return _digest(json.dumps([self.size, self.block, self.blocks]))


def seal(
    header: Path,
    facts: Mapping[str, Any],
    file: Path,
    *,
    written: BlockDigests | None = None,
    place: Path | None = None,
) -> None:
    """Write the header of a data file.

    Args:
        facts: What else the header says, plain JSON.
        file: The data file, beside the header.
        written: Its digests, where they were taken while it was written; else it is read.
        place: Where the header will stand, if its folder is renamed after this.
    """
    if written is None:
        size = file.stat().st_size
        blocks = list(_digests(file, size, BLOCK))
    else:
        size, blocks = written.size, written.blocks()
    made = Seal(_place(place or header), file.name, size, BLOCK, tuple(blocks))
    body = {**facts, "seal": asdict(made)}
    write_json(header, {**body, "digest": _digest(_canonical(body))})


def verify(header: Path) -> list[Damage]:
    """Read a store from front to end and say what is damaged; nothing for a sound one."""
    return list(_inspect(header).damages)


def headers(output: Path) -> Iterator[Path]:
    """Headers of all stores of an output folder."""
    for pattern in HEADERS:
        for path in sorted(output.glob(pattern)):
            if DAMAGED not in path.parent.name:
                yield path


def checked(header: Path) -> Condition:
    """How a store is: read from front to end the first time that this process asks for it."""
    known = _seen.get(header)
    if known is None or known[0] != _stamps(header, known[1].file):
        condition = _inspect(header)
        known = _seen[header] = _stamps(header, condition.file), condition
    return known[1]


_seen: dict[Path, tuple[Any, Condition]] = {}
"""How each store was found, and size, date and inode of its files then."""


def warn(damages: Sequence[Damage], remedy: str) -> None:
    """Say in one sentence what is damaged and what is done about it."""
    _log.warning("%s; %s", ", ".join(map(str, damages)), remedy)


def set_aside(folder: Path) -> None:
    """Rename a damaged store: whoever has it mapped keeps it, `leukobench gc` removes it."""
    folder.rename(folder.with_name(f"{folder.name}{DAMAGED}{uuid4().hex[:8]}"))


def write_lines(path: Path, content: Any) -> None:
    """Replace a small JSON file by `content`, below a line with its digest."""
    body = json.dumps(content)
    with atomic(path) as temporary:
        temporary.write_text(f"{_digest(body)}\n{body}", encoding="utf-8")


def read_lines(path: Path, remedy: str) -> Any:
    """Content of a file that `write_lines` wrote; None where there is none or it is damaged.

    Args:
        remedy: What is done where it is damaged, half a sentence.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return None
    first, _, body = text.partition(b"\n")
    if first == _hash(body).hexdigest().encode():
        return json.loads(body)
    warn([Damage(path, "is not what was written, or of an earlier version")], remedy)
    return None


def file_digest(file: Path) -> str:
    """Hex digest of a whole file. Raises OSError."""
    with open(file, "rb") as f:
        return hashlib.file_digest(f, _hash).hexdigest()


def body_digest(body: Mapping[str, Any]) -> str:
    """Hex digest of what a JSON file says, however it is written."""
    return _digest(_canonical(body))


def _inspect(header: Path) -> Condition:
    found = _read(header)
    if isinstance(found, Damage):
        return Condition((found,), header)
    file = header.with_name(found.file)
    damage = _compare(file, found)
    return Condition((damage,), file) if damage else Condition((), file, found.content)


def _read(header: Path) -> Seal | Damage:
    """What a header says, or what is wrong with it."""
    try:
        body = json.loads(header.read_bytes())
        said = body.pop("digest", None)
        node = body.get("seal")
        if node is None:
            return Damage(header, "carries no digests, an earlier version wrote it")
        if said != _digest(_canonical(body)):
            return Damage(header, "is not what was written")
        found = Seal(**{**node, "blocks": tuple(node["blocks"])})
    except FileNotFoundError:
        return Damage(header, "is missing")
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return Damage(header, "is not what was written")
    if found.place != _place(header):
        return Damage(header, f"was written for {found.place}")
    return found


def _compare(file: Path, expected: Seal) -> Damage | None:
    try:
        size = file.stat().st_size
        if size != expected.size:
            return Damage(file, f"has {size:,} bytes where {expected.size:,} were written")
        found = _digests(file, size, expected.block)
        wrong = [i for i, pair in enumerate(zip(found, expected.blocks)) if pair[0] != pair[1]]
    except FileNotFoundError:
        return Damage(file, "is missing")
    except OSError as e:
        return Damage(file, f"cannot be read ({e.strerror or e})")
    if not wrong:
        return None
    total = len(expected.blocks)
    named = ", ".join(str(i + 1) for i in wrong[:3])
    named += f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    plural = "blocks" if len(wrong) > 1 else "block"
    return Damage(file, f"is not what was written ({plural} {named} of {total})")


def _digests(file: Path, size: int, block: int) -> Iterator[str]:
    """Hex digests of a file's blocks, in order."""
    descriptor = os.open(file, os.O_RDONLY)

    def one(start: int) -> str:
        return _hash(os.pread(descriptor, block, start)).hexdigest()

    starts = range(0, size, block)
    try:
        if len(starts) < 2:
            yield from map(one, starts)
            return
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(one, starts)
    finally:
        os.close(descriptor)


def _stamps(*paths: Path) -> list[tuple[int, int, int] | None]:
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _place(header: Path) -> str:
    return f"{header.parent.name}/{header.name}"


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)


def _hash(data: bytes = b"") -> blake2b:
    return blake2b(data, digest_size=16)


def _digest(text: str) -> str:
    return _hash(text.encode()).hexdigest()

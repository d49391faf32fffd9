"""Image files on disk: finding them, unpacking downloaded zips, byte digests kept between runs, and
a full look inside.

What a file should have been is not known here: `leukobench.data.image_checks` compares.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from PIL import Image, UnidentifiedImageError

from leukobench.archives import fault_of
from leukobench.data.image_store import MAX_PIXELS, MODES
from leukobench.errors import FaultyDataError, MissingDataError
from leukobench.progress import Progress

T = TypeVar("T")
R = TypeVar("R")


MAX_ZIP_DEPTH = 3
"""Downloads hold zips within a zip at most once; deeper nesting is not followed."""

CONTENT_BYTES = 16
"""A content digest is the first 128 bits of SHA-256, so that lists of official digests stay
small."""

WORKERS = max(4, min(16, os.cpu_count() or 1))


@contextmanager
def console_progress() -> Iterator[Progress]:
    """A progress callback that draws on the terminal, and does nothing where standard error is
    none.
    """
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    with Bars(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield report


@dataclass(frozen=True)
class Listing:
    """The files below a folder, in the order of their paths, and what was not looked into, with the
    reason.
    """

    files: tuple[Path, ...]
    skipped: tuple[str, ...]


def list_folder(root: Path) -> Listing:
    """Every file below `root`; hidden ones and macOS's `__MACOSX` copies are no data.

    A link to a folder is followed where it leads to a folder below the root that it does not lie in
    itself: others lead anywhere on the machine, or round in circles.
    """
    home = root.resolve()
    files: list[Path] = []
    skipped: list[str] = []
    todo: list[tuple[Path, tuple[Path, ...]]] = [(root, (home,))]
    while todo:
        folder, above = todo.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            skipped.append(f"{folder.relative_to(root)}: {error.strerror}")
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not path.is_dir():
                files.append(path)
                continue
            real = path.resolve() if entry.is_symlink() else above[-1] / entry.name
            reason = _not_followed(real, home, above)
            if reason is not None:
                skipped.append(f"{path.relative_to(root)} -> {real}: {reason}")
            elif entry.name != "__MACOSX":
                todo.append((path, (*above, real)))
    return Listing(tuple(sorted(files)), tuple(sorted(skipped)))


def _not_followed(real: Path, home: Path, above: Sequence[Path]) -> str | None:
    if not real.is_relative_to(home):
        return "the link leads out of the folder"
    return "the link leads to a folder that it lies in" if real in above else None


def find_files(root: Path) -> list[Path]:
    """The files of `list_folder`."""
    return list(list_folder(root).files)


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sort key under which `2.bmp` precedes `10.bmp`."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", text) if t]


def unpack_zips(root: Path, progress: Progress | None = None) -> bool:
    """Unpack every zip below `root` beside itself, into a folder with the zip's name; True where
    there was one.

    A folder appears only when its zip is unpacked whole, so that an interrupted unpacking is not
    taken for a subset.

    Raises:
        FaultyDataError: A zip is damaged or would write outside its folder.
        MissingDataError: It cannot be unpacked here (no space, no permission): the message says
            what to do by hand.
    """
    any_found = False
    for _ in range(MAX_ZIP_DEPTH):
        zips = [p for p in find_files(root) if p.suffix.lower() == ".zip"]
        any_found |= bool(zips)
        todo = [p for p in zips if not p.with_suffix("").is_dir()]
        if not todo:
            break
        for path in todo:
            unpack_zip(path, path.with_suffix(""), progress)
    return any_found


def unpack_zip(path: Path, folder: Path, progress: Progress | None = None) -> Path:
    """Unpack the zip `path` as `folder`; see `unpack_zips` for the errors."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            fault = fault_of(archive)
            if fault is not None:
                raise FaultyDataError(
                    f"{path}: the zip {fault}; it was not unpacked. "
                    "Download the file again from its official source."
                )
            size = sum(m.file_size for m in members)
            free = shutil.disk_usage(path.parent).free
            if size > free:
                raise MissingDataError(
                    f"{path}: unpacking needs {size / 1e9:.1f} GB and {path.parent} has "
                    f"{free / 1e9:.1f} GB free; "
                    "unpack it elsewhere and point `root` of the data set there."
                )
            draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=path.parent))
            draft.chmod(0o777 & ~_umask())
            try:
                for i, member in enumerate(members):
                    archive.extract(member, draft)
                    if progress is not None:
                        progress(f"unpacking {path.name}", i + 1, len(members))
                try:
                    os.replace(draft, folder)
                except OSError:
                    if not folder.is_dir():  # else another process was first
                        raise
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise FaultyDataError(
            f"{path}: the zip cannot be read ({error}); the download is probably incomplete, "
            f"download it again."
        ) from error
    except OSError as error:
        raise MissingDataError(
            f"{path}: cannot be unpacked into {path.parent} ({error}); unpack it by hand and point "
            f"`root` of the data "
            "set to the folder."
        ) from error
    return folder


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def content_digest(data: bytes) -> str:
    """Hex digest of a file's bytes: equal digests are exact duplicates."""
    return hashlib.sha256(data).hexdigest()[: 2 * CONTENT_BYTES]


def content_digests(
    paths: Sequence[Path],
    root: Path,
    progress: Progress | None = None,
    known: Sequence[str] | None = None,
) -> list[str]:
    """Digest of each file's bytes, in order.

    Digests are kept in `.leukobench/contents.parquet` below `root` (in the user's cache folder
    where `root` cannot be written). A kept digest is used while the file's size, modification and
    change times are what they were; the change time also moves when a file of the same size and
    date is renamed over another.

    Args:
        known: Digests just computed from the files, to be kept without reading them again.
    """
    stats = [p.stat() for p in paths]
    keys = []
    for path, stat in zip(paths, stats):
        place = os.path.relpath(path, root)
        keys.append(f"{place}\t{stat.st_size}\t{stat.st_mtime_ns}\t{stat.st_ctime_ns}")
    kept = _read_kept(root) if known is None else dict(zip(keys, known))
    todo = [i for i, key in enumerate(keys) if key not in kept]
    read = in_threads(lambda i: _read_digest(paths[i]), todo, "reading contents", progress)
    kept |= {keys[i]: value for i, value in zip(todo, read)}
    if todo or known is not None:
        # a file changed within the clock's grain of its reading could change again unseen: not kept
        recent = time.time_ns() - 2_000_000_000
        fresh = {key for key, s in zip(keys, stats) if max(s.st_mtime_ns, s.st_ctime_ns) > recent}
        sure = {key: kept[key] for key in keys if key not in fresh}
        _write_kept(root, sure | _others(kept, keys))
    return [kept[key] for key in keys]


def _read_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[: 2 * CONTENT_BYTES]


def _others(kept: dict[str, str], keys: Sequence[str]) -> dict[str, str]:
    """Entries of files not asked for now (another part of the data set); stale entries of the asked
    ones go.
    """
    asked = {key.split("\t", 1)[0] for key in keys}
    return {key: value for key, value in kept.items() if key.split("\t", 1)[0] not in asked}


def _kept_files(root: Path) -> tuple[Path, Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return (
        root / ".leukobench" / "contents.parquet",
        cache / "leukobench" / f"contents-{name}.parquet",
    )


def _read_kept(root: Path) -> dict[str, str]:
    for file in _kept_files(root):
        try:
            frame = pd.read_parquet(file)
            return dict(zip(frame["file"], frame["content"]))
        except (
            OSError,
            ValueError,
            KeyError,
        ):  # absent, damaged (ArrowInvalid is a ValueError) or of another form
            continue
    return {}


def _write_kept(root: Path, kept: dict[str, str]) -> None:
    frame = pd.DataFrame({"file": list(kept), "content": list(kept.values())}, dtype=object)
    for file in _kept_files(root):
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(draft, index=False)
            os.replace(draft, file)
            return
        except OSError:
            continue


@dataclass(frozen=True)
class ImageFacts:
    """What reading and decoding one file showed.

    Attributes:
        bytes: Length of the file.
        content: Digest of its bytes, None where it could not be read.
        size: (width, height), None where the header could not be read.
        mode: Pillow's mode (`RGB`, `RGBA`, `L`...).
        format: Pillow's format (`BMP`, `TIFF`...).
        pixels: Digest of the decoded pixels, None where they could not be decoded.
        blank: Whether all pixels are equal.
        fault: `truncated`, `unreadable`, `too_large` or `deep` (more than 8 bits a channel, which
            training refuses); None for a sound image.
        reason: Pillow's or the system's own words on the fault.
    """

    bytes: int
    content: str | None = None
    size: tuple[int, int] | None = None
    mode: str | None = None
    format: str | None = None
    pixels: str | None = None
    blank: bool = False
    fault: str | None = None
    reason: str = ""


def inspect_image(path: Path) -> ImageFacts:
    """Read and decode one file; faults are told, not raised."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return ImageFacts(0, fault="unreadable", reason=str(error))
    known = {"bytes": len(data), "content": content_digest(data)}
    if not data:
        return ImageFacts(**known, fault="truncated", reason="the file is empty")  # type: ignore[arg-type]
    try:
        with Image.open(io.BytesIO(data)) as image:
            known |= {"size": image.size, "mode": image.mode, "format": image.format}
            if image.width * image.height > MAX_PIXELS:
                return ImageFacts(
                    **known,  # type: ignore[arg-type]
                    fault="too_large",
                    reason=f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}",
                )
            if image.mode not in MODES:
                return ImageFacts(**known, fault="deep", reason=f"pixel mode {image.mode}")  # type: ignore[arg-type]
            image.load()
            extrema = image.convert("RGB").getextrema()
            pixels = content_digest(f"{image.mode} {image.size}".encode() + image.tobytes())
    except UnidentifiedImageError:
        return ImageFacts(**known, fault="unreadable", reason="no image format that Pillow knows")  # type: ignore[arg-type]
    except Image.DecompressionBombError as error:
        return ImageFacts(**known, fault="too_large", reason=str(error))  # type: ignore[arg-type]
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        fault = "truncated" if "truncated" in str(error).lower() else "unreadable"
        return ImageFacts(**known, fault=fault, reason=str(error) or type(error).__name__)  # type: ignore[arg-type]
    blank = all(low == high for low, high in extrema)  # type: ignore[misc]
    return ImageFacts(**known, pixels=pixels, blank=blank)  # type: ignore[arg-type]


def inspect_images(paths: Sequence[Path], progress: Progress | None = None) -> list[ImageFacts]:
    """`inspect_image` of every file, in order, in threads (Pillow and hashlib let go of the
    interpreter's lock).
    """
    return in_threads(inspect_image, paths, "reading and decoding images", progress)


def in_threads(
    function: Callable[[T], R], items: Sequence[T], label: str, progress: Progress | None = None
) -> list[R]:
    """`function` of every item, in order, reporting progress as it goes."""
    results = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for result in pool.map(function, items):
            results.append(result)
            if progress is not None:
                progress(label, len(results), len(items))
    return results


def shown(items: Iterable[object], limit: int = 20) -> tuple[str, ...]:
    """The first `limit` items as text: what a finding lists."""
    return tuple(str(item) for item, _ in zip(items, range(limit)))

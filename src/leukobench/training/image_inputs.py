"""Images to predict or explain: files, folders and zips, decoded in batches, each bad one with its
reason.
"""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leukobench.archives import fault_of
from leukobench.data.image_files import list_folder
from leukobench.data.image_store import decode_image
from leukobench.data.wide_table import SUFFIXES
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError, MissingDataError

IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
MAX_FILE = 256_000_000
"""Bytes of one image file; an uncompressed image of as many pixels as are accepted has 192
million."""
BATCH = 64


@dataclass(frozen=True)
class ImageInputFile:
    """One image to be read.

    Attributes:
        source: File or zip as given.
        sample: Its path, inside the zip where there is one.
        read: Gives the path to decode, or the bytes; raises LeukoBenchError.
    """

    source: str
    sample: str
    read: Callable[[], Path | bytes]


def image_files(paths: Sequence[Path]) -> tuple[list[ImageInputFile], list[str]]:
    """The images behind files, folders and zips, in order, and notes on files that were passed
    over.

    Raises:
        ConfigError: A table.
        MissingDataError: A folder or zip without images.
        FaultyDataError: A zip that cannot be read.
    """
    found: list[ImageInputFile] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            listing = list_folder(path)
            files = listing.files
            notes += [f"{path}: not looked into: {folder}" for folder in listing.skipped]
            images = [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES]
            _note(notes, path, [f.name for f in files if f.suffix.lower() not in IMAGE_SUFFIXES])
            if not images:
                held = f"it holds {len(files)} files of other kinds" if files else "it is empty"
                raise MissingDataError(
                    f"folder {path} has no image ({held}); read are {', '.join(IMAGE_SUFFIXES)}"
                )
            found += [_from_file(f, path) for f in images]
        elif path.suffix.lower() == ".zip":
            found += _from_zip(path, notes)
        elif path.name.lower().endswith(SUFFIXES):
            raise ConfigError(
                f"{path} is a table, and this model reads images ({', '.join(IMAGE_SUFFIXES)})"
            )
        else:
            found.append(_from_file(path, path))
    return found, notes


def _note(notes: list[str], path: Path, names: Sequence[str]) -> None:
    if names:
        kinds = Counter(Path(n).suffix.lower() or "no suffix" for n in names)
        listed = ", ".join(f"{n} {k}" for k, n in kinds.most_common(4))
        notes.append(f"{path}: {len(names)} files are no images and were passed over ({listed})")


def _from_file(path: Path, given: Path) -> ImageInputFile:
    def read() -> Path:
        if path.stat().st_size > MAX_FILE:
            raise FaultyDataError(
                f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_FILE:,} accepted"
            )
        return path

    return ImageInputFile(str(given), str(path), read)


def _from_zip(path: Path, notes: list[str]) -> list[ImageInputFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            fault = fault_of(archive)
            members = [m for m in archive.infolist() if not m.is_dir() and not _hidden(m.filename)]
    except (zipfile.BadZipFile, OSError) as e:
        raise FaultyDataError(f"{path} cannot be read as a zip ({e}); get it again") from e
    if fault is not None:
        raise FaultyDataError(f"{path} {fault}; none of it is read")
    images = [m for m in members if Path(m.filename).suffix.lower() in IMAGE_SUFFIXES]
    _note(notes, path, [m.filename for m in members if m not in images])
    if not images:
        raise MissingDataError(f"zip {path} has no image among {len(members)} files")

    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                with zipfile.ZipFile(path) as archive, archive.open(name) as file:
                    data = file.read(MAX_FILE + 1)
            except (
                zipfile.BadZipFile,
                zlib.error,
                OSError,
                RuntimeError,
                NotImplementedError,
                EOFError,
            ) as e:
                raise FaultyDataError(f"{path}: {name} cannot be unpacked ({e})") from e
            if len(data) > MAX_FILE:
                raise FaultyDataError(
                    f"{path}: {name} unpacks to more than the {MAX_FILE:,} bytes accepted"
                )
            return data

        return read

    return [ImageInputFile(str(path), f"{path}/{m.filename}", reader(m.filename)) for m in images]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in Path(name).parts)


def read_images(
    files: Sequence[ImageInputFile], size: int, batch: int = BATCH
) -> Iterator[tuple[Sequence[ImageInputFile], list[np.ndarray | str]]]:
    """Decoded images, uint8, shape (size, size, 3), in batches; the reason instead of an image
    where one is bad.
    """

    def decode(file: ImageInputFile) -> np.ndarray | str:
        try:
            return decode_image(file.read(), size)
        except (LeukoBenchError, OSError) as e:
            text = str(e).replace(
                "; restore it from the source (`leukobench data check` lists every such file)", ""
            )
            return text.replace("the image given", file.sample)

    with ThreadPoolExecutor(4) as pool:
        for i in range(0, len(files), batch):
            chunk = files[i : i + batch]
            yield chunk, list(pool.map(decode, chunk))


def entry_reader(entry: str) -> Callable[[], Path | bytes]:
    """Reader of an entry that is a file, or a file in base64."""

    def read() -> Path | bytes:
        if len(entry) < 4096 and Path(entry).is_file():
            return Path(entry)
        try:
            return base64.b64decode(entry, validate=True)
        except ValueError:
            raise MissingDataError(
                f"{entry[:80]!r} is neither a file nor an image in base64"
            ) from None

    return read

"""Decoded images: every file is decoded and resized once, into one memory-mapped uint8 array on disk.

What lives here: decoding (`decode_image`), building and opening (`build_store`). Normalisation and
augmentation happen in batches on the device, see `leukobench.models.augment`.

A store is a folder `<folder>/<key>/` with

- `images.npy`: uint8, shape (n, H, W, 3), one image a data set row, readable with
  `numpy.load(..., mmap_mode="r")`;
- `store.json`: format version, shape, resize method, and the digests of `leukobench.integrity`,
  against which a store is checked the first time that a process opens it.

The key is a digest of the format version, the size, the resize method and the content digests of
the rows in their order: other labels, names or folders find the same store, other bytes never do. A
store is built under another name and renamed when complete, so that a folder called `<key>` is
always whole.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock
from PIL import Image, UnidentifiedImageError

from leukobench.data.base import digest
from leukobench.data.families.image import ImageDataset
from leukobench.errors import FaultyDataError, LeukoBenchError, MissingDataError
from leukobench.integrity import checked, seal, set_aside, warn
from leukobench.progress import Progress

FORMAT = 1
"""Raised when the same files would give other pixels or another layout."""

HEADER = "store.json"

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded; the largest official ones (ALL-IDB1) have 5 million pixels."""

Resize = Literal["nearest", "bilinear", "bicubic"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
"""Pillow's modes that are decoded: 8 bits a channel at most."""


@dataclass(frozen=True, eq=False)
class ImageStore:
    """An open store.

    Attributes:
        folder: `<folder>/<key>`.
        array: uint8, shape (n, H, W, 3), RGB, read-only memory map in the row order of the data set.
        digest: Of what is stored, as it was written and as it was found.
    """

    folder: Path
    array: np.ndarray
    digest: str

    def __len__(self) -> int:
        return len(self.array)

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int(self.array.shape[1]), int(self.array.shape[2])

    def read(self, rows: Sequence[int] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images of these rows, uint8, shape (len(rows), H, W, 3), into `out` if given."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"rows {rows.min()} to {rows.max()} asked of an image store of {len(self)}"
            )
        return np.take(
            self.array, rows, axis=0, out=out, mode="clip"
        )  # "raise" would copy once more


def decode_image(
    source: Path | bytes, size: int | tuple[int, int], resize: Resize = "bilinear"
) -> np.ndarray:
    """One image as uint8, shape (H, W, 3), RGB.

    Bilinear and bicubic are Pillow's, whose filter widens when it shrinks an image (antialiasing); `nearest` is the
    default of Keras' `flow_from_directory`. The aspect ratio is not kept, as in all five papers (square images).
    Transparency is dropped, not blended: the alpha channel of the AML TIFFs is 255 everywhere. Of several frames the
    first is read.

    Args:
        source: A file, or a file's bytes.
        size: Height and width, or one number for both.

    Raises:
        MissingDataError: There is no such file.
        FaultyDataError: Not an image, a truncated one, one of more than 8 bits a channel, or one of more than
            `MAX_PIXELS` pixels.
    """
    height, width = _pair(size)
    name = str(source) if isinstance(source, Path) else "the image given"
    advice = "restore it from the source (`leukobench data check` lists every such file)"
    try:
        # The bytes are read first: Pillow would otherwise map the file, which is slower for files read once.
        data = source.read_bytes() if isinstance(source, Path) else source
    except FileNotFoundError:
        raise MissingDataError(f"{name}: no such file; {advice}") from None
    except OSError as e:
        raise FaultyDataError(f"{name} cannot be read: {e.strerror}; {advice}") from e
    if not data:
        raise FaultyDataError(f"{name} is empty; {advice}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # MAX_PIXELS is the stricter limit
            image: Image.Image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise FaultyDataError(
                f"{name} has {image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} that are accepted; "
                "crop or reduce it"
            )
        if image.mode not in MODES:
            raise FaultyDataError(
                f"{name} has pixel mode {image.mode}; 8 bits a channel are expected: convert it to RGB"
            )
        image = image.convert("RGB")
    except UnidentifiedImageError:
        raise FaultyDataError(
            f"{name} is not an image ({len(data):,} bytes, unknown format); {advice}"
        ) from None
    except Image.DecompressionBombError:
        raise FaultyDataError(
            f"{name} has far more than the {MAX_PIXELS:,} pixels that are accepted"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, zlib.error) as e:
        raise FaultyDataError(f"{name} is damaged ({e}); {advice}") from e
    if image.size != (width, height):
        image = image.resize((width, height), _FILTERS[resize])
    return np.asarray(image, dtype=np.uint8)


def store_key(
    dataset: ImageDataset, size: int | tuple[int, int], resize: Resize = "bilinear"
) -> str:
    """Name of the store's folder: a digest of format, size, resize method and the rows' contents."""
    height, width = _pair(size)
    return digest(f"image store {FORMAT}", f"{height}x{width}", resize, *dataset.samples["content"])


def build_store(
    dataset: ImageDataset,
    size: int | tuple[int, int],
    folder: Path,
    progress: Progress | None = None,
    resize: Resize = "bilinear",
    workers: int | None = None,
) -> ImageStore:
    """Open the store of a data set, building it first where it is missing or broken.

    Each distinct content is decoded once. A build that was killed is continued: images already written are checked
    and kept. Of two processes that build the same store one builds, the other waits and opens it.

    Args:
        folder: Where stores live; created if absent. The store's own folder is `<folder>/<key>`.
        progress: Called with ("decode", images done, images in all).
        workers: Decoding threads (Pillow releases the interpreter lock); two more than processors by default.

    Raises:
        MissingDataError, FaultyDataError: A file cannot be decoded; what was decoded is kept for the next attempt.
        LeukoBenchError: The disk is full, or the folder cannot be written; nothing half-written is left.
    """
    if not len(dataset):
        raise LeukoBenchError(f"{dataset.name}: there is no image to store")
    shape = (len(dataset), *_pair(size), 3)
    folder = Path(folder)
    path = folder / store_key(dataset, size, resize)
    try:
        return _open(path, shape)
    except (MissingDataError, FaultyDataError):
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            try:
                return _open(path, shape)
            except MissingDataError:
                pass
            except FaultyDataError:
                warn(checked(path / HEADER).damages, "its images are decoded again")
                set_aside(path)
            _build(dataset, shape, path, progress, resize, workers)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            shutil.rmtree(_partial(path), ignore_errors=True)
            raise LeukoBenchError(
                f"{dataset.name}: no space left under {folder} for the image store ({_gigabytes(shape)} needed). "
                "Free some space or choose another folder; nothing half-written was left"
            ) from e
        raise LeukoBenchError(
            f"{dataset.name}: the image store under {folder} cannot be written: {e}"
        ) from e
    return _open(path, shape)


def _build(
    dataset: ImageDataset,
    shape: tuple[int, int, int, int],
    path: Path,
    progress: Progress | None,
    resize: Resize,
    workers: int | None,
) -> None:
    partial = _partial(path)
    partial.mkdir(exist_ok=True)
    n = shape[0]
    image_bytes = int(np.prod(shape[1:]))
    pixels, offset = _allocate(partial / "images.npy", shape, np.uint8)
    crcs, crc_offset = _allocate(partial / "rows.partial", (n, 2), np.uint32)
    try:
        rows_of: dict[str, list[int]] = {}
        for row, content in enumerate(dataset.samples["content"]):
            rows_of.setdefault(content, []).append(row)
        done = _written(pixels, offset, image_bytes, crcs, crc_offset, n)
        todo = [rows for rows in rows_of.values() if not done[rows].all()]
        finished = n - sum(len(rows) for rows in todo)
        if progress is not None:
            progress("decode", finished, n)

        def write(rows: list[int]) -> int:
            image = decode_image(dataset.paths[rows[0]], shape[1:3], resize).tobytes()
            record = np.array([1, zlib.crc32(image)], np.uint32).tobytes()
            for row in rows:
                os.pwrite(pixels, image, offset + row * image_bytes)
                os.pwrite(crcs, record, crc_offset + row * len(record))
            return len(rows)

        with ThreadPoolExecutor(workers or (os.cpu_count() or 1) + 2) as pool:
            # Handed out in portions, so that an error or an interrupt is not answered after thousands of files.
            for start in range(0, len(todo), 256):
                portion = [pool.submit(write, rows) for rows in todo[start : start + 256]]
                for future in as_completed(portion):
                    finished += future.result()
                    if progress is not None:
                        progress("decode", finished, n)
        os.fsync(pixels)
    finally:
        os.close(pixels)
        os.close(crcs)
    (partial / "rows.partial").unlink()
    facts = {
        "format": FORMAT,
        "dataset": dataset.name,
        "shape": list(shape),
        "resize": resize,
    }
    seal(partial / HEADER, facts, partial / "images.npy", place=path / HEADER)
    with open(partial / HEADER, "rb") as f:
        os.fsync(f.fileno())
    os.rename(partial, path)


def _written(
    pixels: int, offset: int, image_bytes: int, crcs: int, crc_offset: int, n: int
) -> np.ndarray:
    """Which rows an earlier, killed build wrote whole: bool, shape (n,).

    After a loss of power the record of a row can have reached the disk before its pixels: hence the checksum.
    """
    records = np.frombuffer(os.pread(crcs, n * 8, crc_offset), np.uint32).reshape(n, 2)
    done = records[:, 0] == 1
    for row in np.flatnonzero(done):
        done[row] = (
            zlib.crc32(os.pread(pixels, image_bytes, offset + int(row) * image_bytes))
            == records[row, 1]
        )
    return done


def _allocate(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> tuple[int, int]:
    """An open descriptor of an npy file of this shape with all its disk blocks taken, and where its data starts.

    Taking the blocks first makes a full disk an error here instead of a crash in the middle. A file of the right
    header and size, left by a killed build, is continued.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": shape,
        },
    )
    start = header.getvalue()
    total = len(start) + int(np.prod(shape)) * np.dtype(dtype).itemsize
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.pread(descriptor, len(start), 0) != start or os.fstat(descriptor).st_size != total:
            os.ftruncate(descriptor, 0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, total)
            else:  # macOS
                for at in range(0, total, 1 << 24):
                    os.pwrite(descriptor, bytes(min(1 << 24, total - at)), at)
            os.pwrite(descriptor, start, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, len(start)


def _open(path: Path, shape: tuple[int, int, int, int]) -> ImageStore:
    if not path.is_dir():
        raise MissingDataError(f"no image store {path}")
    condition = checked(path / HEADER)
    if condition.digest is None:
        raise FaultyDataError(
            f"{', '.join(map(str, condition.damages))}; a training or `build_store` builds this "
            "image store again"
        )
    array = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape != shape:
        raise LeukoBenchError(
            f"image store {path} holds {array.dtype} {array.shape}, expected uint8 {shape}; "
            "remove that folder, the store is built again at the next use"
        )
    return ImageStore(path, array, condition.digest)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise LeukoBenchError(f"image size {height} x {width}: both must be at least 1")
    return int(height), int(width)


def _gigabytes(shape: tuple[int, ...]) -> str:
    return f"{np.prod(shape, dtype=np.int64) / 1e9:.2f} GB"

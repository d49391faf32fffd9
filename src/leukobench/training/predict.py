"""Predicting new samples with a saved model: images, folders and zips of images, tables of expression.

One input that cannot be read or does not fit costs that input alone: it is listed with the reason, and the others are
predicted. Where nothing can be predicted, the reason is an error.
"""

from __future__ import annotations

import base64
import csv
import difflib
import gzip
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.data.expression_csv import MISSING, SUFFIXES, header_of, read_wide, separator_of
from leukobench.data.image_files import find_files
from leukobench.data.image_store import decode_image
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError, MissingDataError
from leukobench.schema.predictions import probability_columns
from leukobench.training.saved import SavedModel

IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
MAX_FILE = 256_000_000
"""Bytes of one image file; an uncompressed image of as many pixels as are accepted has 192 million."""
BATCH = 64
ID_COLUMNS = ("sample", "samples", "sample_id", "id", "name", "patient", "array", "unnamed: 0", "")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of new samples.

    Attributes:
        frame: One row a sample, in the order of the inputs: `input` (file), `sample`, `predicted` (class), `p_<class>`,
            and `error`: why a sample has no prediction, empty for all others.
        notes: What a reader has to know: columns that were not used, files that were passed over.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> pd.DataFrame:
        """Rows without a prediction."""
        return self.frame[self.frame["error"] != ""]


def predict(
    model: SavedModel,
    inputs: Sequence[str | Path],
    *,
    id_column: str | None = None,
    temperature: float = 1.0,
    threshold: float | None = None,
    any_scale: bool = False,
    progress: Progress | None = None,
) -> Predictions:
    """Predict files, folders and zips.

    Args:
        inputs: Images or folders and zips of them for an image model; tables (csv, tsv, parquet; one row a sample), or
            folders and zips of them, for an expression model.
        id_column: Column of sample names in a table; by default the first text column.
        temperature: Of the probabilities (see `leukobench.evaluation.calibration`).
        threshold: Probability from which the positive class is called; the most probable class by default.
        any_scale: Predict expression values whatever their range.

    Raises:
        MissingDataError: An input does not exist, or holds nothing that can be read.
        FaultyDataError: No sample can be predicted.
        ConfigError: Inputs of the other kind.
    """
    paths = [Path(i).expanduser() for i in inputs]
    absent = [str(p) for p in paths if not p.exists()]
    if absent:
        raise MissingDataError(f"no such file or folder: {', '.join(absent[:5])}")
    if not paths:
        raise ConfigError("nothing to predict: name images, folders, zips or tables")
    if model.input.family == "image":
        frame, notes = _images(model, paths, progress)
    else:
        frame, notes = _tables(model, paths, id_column, any_scale)
    faults = frame[frame["error"] != ""]
    if len(faults) == len(frame):
        some = "; ".join(f"{s}: {e}" for s, e in zip(faults["sample"][:3], faults["error"][:3]))
        raise FaultyDataError(f"none of {len(frame)} samples can be predicted: {some}")
    _decide(model, frame, temperature, threshold)
    return Predictions(frame, tuple(notes))


def _decide(
    model: SavedModel, frame: pd.DataFrame, temperature: float, threshold: float | None
) -> None:
    """Scale the probabilities and add the column `predicted`."""
    from leukobench.evaluation.calibration import scaled
    from leukobench.evaluation.metrics import Predicted

    columns = probability_columns(model.classes)
    good = (frame["error"] == "").to_numpy()
    p = frame.loc[good, columns].to_numpy(np.float64)
    if temperature != 1.0:
        p = scaled(p, temperature)
        frame.loc[good, columns] = p
    if threshold is not None and model.input.positive is None:
        raise ConfigError(f"{model.name} has no positive class, so that a threshold has no meaning")
    called = Predicted(
        model.classes, np.zeros(len(p), np.int64), p, np.zeros(len(p), np.uint64), None
    )
    predicted = np.full(len(frame), "", dtype=object)
    predicted[good] = [model.classes[i] for i in called.predicted(model.input.positive, threshold)]
    frame.insert(2, "predicted", predicted)


def _frame(model: SavedModel, rows: Sequence[tuple[str, str, str]], p: np.ndarray) -> pd.DataFrame:
    """Rows of (input, sample, error); `p` has a row for each without an error."""
    frame = pd.DataFrame(list(rows), columns=["input", "sample", "error"], dtype=object)
    good = (frame["error"] == "").to_numpy()
    for i, name in enumerate(probability_columns(model.classes)):
        column = np.full(len(frame), np.nan)
        column[good] = p[:, i]
        frame[name] = column
    return frame[["input", "sample", *probability_columns(model.classes), "error"]]


def predict_frame(model: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
    """Predict a frame: a column a gene, or a column `image` of paths or of files in base64.

    Returns:
        `predicted`, `p_<class>` and `error`, in the order of the rows.

    Raises:
        FaultyDataError: Columns are missing.
    """
    if model.input.family == "image":
        if "image" not in table.columns:
            raise FaultyDataError(
                f"this model reads a column 'image'; found {list(map(str, table.columns))[:8]}"
            )
        files = [
            ImageInputFile("", str(i), _entry_reader(str(e))) for i, e in enumerate(table["image"])
        ]
        frame = _read_and_predict(model, files, None)
    else:
        missing = [g for g in model.genes if g not in table.columns]
        if missing:
            raise FaultyDataError(
                _missing_genes(
                    Path("the table"), list(map(str, table.columns)), model.genes, missing
                )
            )
        chosen = table[list(model.genes)]
        if chosen.shape[1] != len(model.genes):
            twice = next(g for g in model.genes if (table.columns == g).sum() > 1)
            raise FaultyDataError(
                f"the table has more than one column {twice!r}; keep the one that was measured"
            )
        text = chosen.select_dtypes(exclude="number").columns
        if len(text):
            chosen = chosen.assign(**{g: pd.to_numeric(chosen[g], errors="coerce") for g in text})
        values = np.ascontiguousarray(chosen.to_numpy(np.float32))
        faults = model.input.faults(values)
        good = [i for i, f in enumerate(faults) if f is None]
        frame = _frame(
            model,
            [("", str(i), f or "") for i, f in enumerate(faults)],
            model.predict(values[good]),
        )
    _decide(model, frame, 1.0, None)
    return frame.drop(columns=["input", "sample"]).set_axis(table.index, axis=0)


def _entry_reader(entry: str) -> Callable[[], Path | bytes]:
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


# --- images -------------------------------------------------------------------------------------------------------


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
    """The images behind files, folders and zips, in order, and notes on files that were passed over.

    Raises:
        ConfigError: A table.
        MissingDataError: A folder or zip without images.
        FaultyDataError: A zip that cannot be read.
    """
    found: list[ImageInputFile] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            files = find_files(path)
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
            members = [m for m in archive.infolist() if not m.is_dir() and not _hidden(m.filename)]
    except (zipfile.BadZipFile, OSError) as e:
        raise FaultyDataError(f"{path} cannot be read as a zip ({e}); get it again") from e
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
    """Decoded images, uint8, shape (size, size, 3), in batches; the reason instead of an image where one is bad."""

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


def _images(
    model: SavedModel, paths: Sequence[Path], progress: Progress | None
) -> tuple[pd.DataFrame, list[str]]:
    files, notes = image_files(paths)
    return _read_and_predict(model, files, progress), notes


def _read_and_predict(
    model: SavedModel, files: Sequence[ImageInputFile], progress: Progress | None
) -> pd.DataFrame:
    rows: list[tuple[str, str, str]] = []
    parts = []
    for chunk, decoded in read_images(files, int(model.input.size or 0)):
        good = [d for d in decoded if not isinstance(d, str)]
        if good:
            parts.append(model.predict(np.stack(good)))
        rows += [
            (f.source, f.sample, d if isinstance(d, str) else "") for f, d in zip(chunk, decoded)
        ]
        if progress is not None:
            progress("images", len(rows), len(files))
    p = np.concatenate(parts) if parts else np.empty((0, len(model.classes)))
    return _frame(model, rows, p)


# --- tables -------------------------------------------------------------------------------------------------------


def _tables(
    model: SavedModel, paths: Sequence[Path], id_column: str | None, any_scale: bool
) -> tuple[pd.DataFrame, list[str]]:
    frames: list[pd.DataFrame] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for given, path in _table_files(paths, Path(scratch)):
            ids, values, more = read_expression(path, model.genes, id_column)
            notes += [f"{given}: {n}" for n in more]
            faults = (
                model.input.faults(values) if not any_scale else _not_finite(model.genes, values)
            )
            good = [i for i, f in enumerate(faults) if f is None]
            rows = [(given, s, f or "") for s, f in zip(ids, faults)]
            frames.append(_frame(model, rows, model.predict(values[good])))
    return pd.concat(frames, ignore_index=True), notes


def _not_finite(genes: Sequence[str], values: np.ndarray) -> list[str | None]:
    bad = ~np.isfinite(values)
    return [
        f"{b.sum()} values are missing, the first of gene {genes[b.argmax()]}" if b.any() else None
        for b in bad
    ]


def _table_files(paths: Sequence[Path], scratch: Path) -> Iterator[tuple[str, Path]]:
    """Tables behind files, folders and zips: how each is called, and where it is."""
    for path in paths:
        if path.is_dir() or path.suffix.lower() == ".zip":
            folder = path
            if path.is_file():
                from leukobench.data.image_files import unpack_zip

                folder = unpack_zip(path.resolve(), scratch / f"{len(list(scratch.iterdir()))}")
            tables = [f for f in find_files(folder) if f.name.lower().endswith(SUFFIXES)]
            if not tables:
                raise MissingDataError(
                    f"{path} has no table of expression; read are {', '.join(SUFFIXES)}"
                )
            yield from ((str(path / f.relative_to(folder)), f) for f in tables)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            raise ConfigError(
                f"{path} is an image, and this model reads tables of expression ({', '.join(SUFFIXES)})"
            )
        elif not path.name.lower().endswith(SUFFIXES):
            raise ConfigError(
                f"{path} is of no kind that is read; a table ends in {', '.join(SUFFIXES)}"
            )
        else:
            yield str(path), path


def read_expression(
    path: Path, genes: Sequence[str], id_column: str | None = None
) -> tuple[list[str], np.ndarray, list[str]]:
    """Samples and values of a model's genes from a table with one row a sample.

    Columns are found by name: their order does not matter, and further ones are not used.

    Returns:
        Sample names; values in the order of `genes`, shape (n, genes), float32, NaN where one is missing; notes.

    Raises:
        FaultyDataError: Genes are missing, a column name stands twice, or the table cannot be read.
    """
    try:
        header = header_of(path)
    except (OSError, ValueError) as e:  # pyarrow's errors are of both
        raise FaultyDataError(f"{path} cannot be read as a table ({e})") from e
    position = {name: i for i, name in enumerate(header)}
    twice = [n for n, count in Counter(header).items() if count > 1 and n in set(genes)]
    if twice:
        raise FaultyDataError(
            f"{path}: {len(twice)} genes stand in several columns, for instance {twice[0]!r}; keep one each"
        )
    missing = [g for g in genes if g not in position]
    if missing:
        raise FaultyDataError(_missing_genes(path, header, genes, missing))
    wanted = set(genes)
    extra = [name for name in header if name not in wanted]
    text = _text_columns(path, header, extra)
    if id_column is not None and id_column not in header:
        near = difflib.get_close_matches(id_column, header, n=2)
        raise FaultyDataError(
            f"{path}: no column {id_column!r} of sample names"
            + (f"; near it: {near}" if near else "")
        )
    if id_column is None:
        named = [c for c in extra if c.strip().lower() in ID_COLUMNS]
        id_column = next(iter([*named, *text]), None)
    if id_column is not None and id_column not in text:
        text.append(id_column)
    table = read_wide(path, text)
    if not len(table.values):
        raise FaultyDataError(f"{path}: the table has a header and no row")
    column = {g: i for i, g in enumerate(table.genes)}
    values = np.ascontiguousarray(table.values[:, [column[g] for g in genes]])
    ids = (
        table.text[id_column]
        if id_column is not None
        else [f"{path.name}:{i + 1}" for i in range(len(values))]
    )
    notes = []
    unused = [c for c in extra if c != id_column]
    if unused:
        notes.append(f"{len(unused)} columns are not read by the model, for instance {unused[0]!r}")
    if [n for n in header if n in wanted] != list(genes):
        notes.append("the genes stand in another order than in training; they are taken by name")
    return [str(i) for i in ids], values, notes


def _text_columns(path: Path, header: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Columns that are no genes of the model and whose first entry is no number."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pq.read_schema(path)
        return [
            c
            for c in extra
            if not (
                pa.types.is_floating(schema.field(c).type)
                or pa.types.is_integer(schema.field(c).type)
            )
        ]
    with (
        gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8-sig") as file
    ):
        separator = separator_of(file.readline())
        entries = next(csv.reader((line for line in file if line.strip()), delimiter=separator), [])
    entry = dict(zip(header, entries))
    return [c for c in extra if not _is_number(entry.get(c, ""))]


def _is_number(text: str) -> bool:
    if text.strip().lower() in MISSING:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _missing_genes(
    path: Path, header: Sequence[str], genes: Sequence[str], missing: Sequence[str]
) -> str:
    listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    count = f"{len(missing)} of the" if len(missing) < len(genes) else "all"
    what = f"{path}: {count} {len(genes)} genes that the model reads are missing: {listed}."
    lower = {h.lower(): h for h in header}
    cased = next((lower[g.lower()] for g in missing if g.lower() in lower), None)
    if cased is not None:
        return f"{what} {cased!r} is there in other letters: names must agree exactly."
    if len(missing) == len(genes):
        rows = _first_fields(path)
        if rows & set(genes):
            return f"{what} They stand in rows: transpose the table, so that each row is a sample."
        return (
            f"{what} None is there: the table is of another platform, or has no line of names "
            f"(its first columns: {', '.join(map(repr, header[:4]))})."
        )
    near = difflib.get_close_matches(missing[0], header, n=1)
    return f"{what} Other columns cannot stand for them" + (
        f" (near {missing[0]!r}: {near[0]!r})." if near else "."
    )


def _first_fields(path: Path, lines: int = 200) -> set[str]:
    """First two fields of the first lines of a text table."""
    if path.suffix in (".parquet", ".gz") or not path.is_file():
        return set()
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        separator = separator_of(file.readline())
        return {
            f.strip('"')
            for _, line in zip(range(lines), file)
            for f in line.split(separator, 2)[:2]
        }

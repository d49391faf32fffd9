"""Whether the files of a training and of its results are what was written, wherever a copy stands.

A result's record carries digests of the files beside it; of what an earlier version wrote, the form
is checked alone.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from leukobench.errors import LeukoBenchError
from leukobench.integrity import Damage, body_digest, file_digest
from leukobench.schema import predictions
from leukobench.schema.documents import Document
from leukobench.schema.records import CURVES, JOB, RESULT, RUN
from leukobench.tracking.folder import WEIGHTS

INPUTS = "preprocess.safetensors"
SPLIT = "split.json"
RECORDS: tuple[Document[Any], ...] = (JOB, RUN)
"""Documents that every training has."""


def result_damages(folder: Path) -> list[Damage]:
    """What is damaged of a result's own files; nothing for a sound copy."""
    path = folder / RESULT.file
    try:
        record = RESULT.read(path)
    except LeukoBenchError:
        return [Damage(path, "is not what was written")]
    if record is None:
        return [Damage(path, "is missing")]
    if not _is_as_written(path):
        return [Damage(path, "is not what was written")]
    names = sorted({predictions.FILE, *record.digests} - {RESULT.file})
    found = [_file_damage(folder / name, record.digests.get(name)) for name in names]
    if WEIGHTS not in record.digests and (folder / WEIGHTS).is_file():
        found.append(tensors_damage(folder / WEIGHTS))
    return [damage for damage in found if damage is not None]


def predictions_damage(path: Path) -> Damage | None:
    """Whether predictions differ from the digest in the record beside them, where there is one."""
    try:
        body = json.loads((path.parent / RESULT.file).read_bytes())
        said = body["digests"][path.name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return _file_damage(path, said)


def training_damages(folder: Path) -> list[Damage]:
    """What is damaged of the files that results of a training share."""
    found = [_document_damage(folder, document, required=True) for document in RECORDS]
    found.append(_document_damage(folder, CURVES, required=False))
    if (folder / SPLIT).is_file():
        found.append(_json_damage(folder / SPLIT))
    if (folder / INPUTS).is_file():
        found.append(tensors_damage(folder / INPUTS))
    return [damage for damage in found if damage is not None]


def checkpoint_damage(path: Path) -> Damage | None:
    """What is damaged of a checkpoint, which is a zip whose entries carry checksums."""
    try:
        with zipfile.ZipFile(path) as file:
            wrong = file.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, ValueError):
        return Damage(path, "is truncated or damaged")
    return Damage(path, f"is damaged (its entry {wrong})") if wrong else None


def tensors_damage(path: Path) -> Damage | None:
    """What is damaged of a file of tensors, as far as its form tells."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy"):
            return None
    except (SafetensorError, OSError) as e:
        return Damage(path, f"is truncated or damaged ({e})")


def _is_as_written(path: Path) -> bool:
    """Whether a result's record has the digest that it carries of itself."""
    body = json.loads(path.read_bytes())
    said = body.get("digests", {}).pop(RESULT.file, None)
    return said is None or said == body_digest(body)


def _file_damage(path: Path, digest: str | None) -> Damage | None:
    try:
        if digest is not None and file_digest(path) != digest:
            return Damage(path, "is not what was written")
        if digest is None and path.name == predictions.FILE:
            predictions.read_table(path)
    except FileNotFoundError:
        return Damage(path, "is missing")
    except OSError as e:
        return Damage(path, f"cannot be read ({e.strerror or e})")
    except predictions.PredictionsError:
        return Damage(path, "holds no sound predictions")
    return None


def _document_damage(folder: Path, document: Document[Any], required: bool) -> Damage | None:
    path = folder / document.file
    try:
        missing = document.read(path) is None
    except LeukoBenchError:
        return Damage(path, "is not what was written")
    return Damage(path, "is missing") if missing and required else None


def _json_damage(path: Path) -> Damage | None:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Damage(path, "is not what was written")
    return None


def named(damages: Sequence[Damage]) -> Iterator[str]:
    """Names of the damaged files."""
    return (damage.file.name for damage in damages)

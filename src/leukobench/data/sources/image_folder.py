"""A user's own images: one folder a class, or a csv manifest that also names subjects."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from leukobench.data.check import Finding, Rule
from leukobench.data.facts import SourceFacts
from leukobench.data.image_files import find_files, natural_key
from leukobench.data.image_source import ImageSource
from leukobench.data.image_table import ImageTable, Notes, file_frame, relative
from leukobench.errors import ConfigError, FaultyDataError

MANIFEST = "manifest.csv"
OPTIONAL_COLUMNS = ("subject", "series", "official")

Image.init()
READABLE = tuple(
    sorted(e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN)
)
"""File endings of every format that the installed Pillow opens."""

RULES: Mapping[str, Rule] = {
    "missing_files": Rule(
        "error",
        "files named in the manifest do not exist. Correct the column path.",
    ),
    "missing_label": Rule(
        "error",
        "rows of the manifest have no label; they are left out. Fill the column label.",
    ),
    "unknown_label": Rule(
        "error",
        "images have a label that `classes` does not name; they are left out.",
    ),
    "missing_subject": Rule(
        "error",
        "rows of the manifest have no subject while others have one. Fill the column subject, or "
        "remove it.",
    ),
    "misplaced_file": Rule("warning", "images lie in no class folder and are not used."),
    "unlisted_file": Rule(
        "note", "images below the root are not in the manifest and are not used."
    ),
    "other_file": Rule("note", "files are no images by their names and are not used."),
}


class ImageFolder(ImageSource):
    """A user's own image data set.

    Layouts, below the root:
        `CLASS/.../IMAGE`: the name of the first folder is the class; subjects are unknown.
        `manifest.csv`: columns `path` (from the manifest's folder, or absolute) and `label`, and
            any of `subject`, `series` and `official` (a part or fold of yours, for split=official).

    Args:
        manifest: The csv file, from the root; None takes `manifest.csv` where there is one.
        name: Name of the data set in runs and tables.
        classes: Class names in index order; None takes the labels found, in alphabetical order.
        positive: The class that sensitivity refers to, where there are two.
    """

    name: ClassVar[str] = "image_folder"
    facts = SourceFacts(
        title="your own images",
        licence="yours",
        citation="",
        how_to_get=(
            "It reads your own images: one folder a class, or any layout with a file manifest.csv "
            "of columns path, label "
            "and, if you know them, subject and series."
        ),
    )
    suffixes: ClassVar[tuple[str, ...]] = READABLE

    def __init__(
        self,
        root: str | Path | None = None,
        manifest: str | Path | None = None,
        name: str = "image_folder",
        classes: Sequence[str] | None = None,
        positive: str | None = None,
        allow_faulty: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        self.classes = tuple(classes or ())
        self._manifest = manifest
        self._name = name
        self._positive = positive
        if self.classes and positive is not None and positive not in self.classes:
            raise ConfigError(
                f"{name}: the positive class {positive!r} is none of {list(self.classes)}"
            )

    def scan(self, root: Path, everything: bool) -> ImageTable:
        notes = Notes()
        manifest = self._find_manifest(root)
        if manifest is None:
            rows = self._in_folders(root, notes)
        else:
            rows = self._listed(root, manifest, notes)
        classes = self.classes or tuple(sorted({r["label"] for r in rows}, key=natural_key))
        if self._positive is not None and self._positive not in classes:
            raise FaultyDataError(
                f"{self._name}: the positive class {self._positive!r} is none of {list(classes)}"
            )
        chosen = []
        for row in rows:
            if row["label"] in classes:
                chosen.append(row)
            else:
                notes.add("unknown_label", f"{row['id']}: {row['label']}")
        return ImageTable(
            name=self._name,
            root=root,
            files=file_frame(chosen),
            classes=classes,
            positive=self._positive,
            findings=(*notes.findings(RULES), *_whole_findings(chosen, classes)),
            simulated=self._is_simulated(root),
        )

    def _instructions(self, what: str) -> str:
        return f"{self._name} {what}. {self.facts.how_to_get} Set `data.root=FOLDER`."

    def _find_manifest(self, root: Path) -> Path | None:
        if self._manifest is not None:
            path = root / self._manifest
            if not path.is_file():
                raise ConfigError(f"{self._name}: there is no manifest {path}")
            return path
        found = [p for p in find_files(root) if p.name == MANIFEST]
        return min(found, key=lambda p: len(p.parts)) if found else None

    def _in_folders(self, root: Path, notes: Notes) -> list[dict[str, Any]]:
        top = _class_level(root)
        rows = []
        for path in find_files(root):
            name = relative(path, root)
            if path.suffix.lower() not in READABLE:
                notes.add("other_file", name)
            elif not path.is_relative_to(top) or path.parent == top:
                notes.add("misplaced_file", name)
            else:
                below = path.relative_to(top)
                rows.append(
                    {
                        "id": below.as_posix(),
                        "label": below.parts[0],
                        "part": below.parts[0],
                        "path": path,
                    }
                )
        return rows

    def _listed(self, root: Path, manifest: Path, notes: Notes) -> list[dict[str, Any]]:
        lines = self._manifest_lines(manifest)
        has_subjects = any(line["subject"] for line in lines)
        rows: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=2):
            at = f"{relative(manifest, root)}, line {number}: {line['path']}"
            path = manifest.parent / (line["path"] or "")
            if line["path"] is None or not path.is_file():
                notes.add("missing_files", at)
                continue
            if line["label"] is None:
                notes.add("missing_label", at)
                continue
            if has_subjects and line["subject"] is None:
                notes.add("missing_subject", at)
            part = line["official"] or "manifest"
            rows.append({**line, "id": line["path"], "part": part, "path": path})
        listed = {row["path"].resolve() for row in rows}
        for path in find_files(root):
            if path.suffix.lower() in READABLE and path.resolve() not in listed:
                notes.add("unlisted_file", relative(path, root))
        return rows

    def _manifest_lines(self, manifest: Path) -> list[dict[str, str | None]]:
        """Lines of the manifest by column, None where a field is empty.

        Raises:
            FaultyDataError: It cannot be read, or lacks a column.
        """
        try:
            with open(manifest, encoding="utf-8-sig", newline="") as file:
                table = csv.DictReader(file)
                columns = list(table.fieldnames or ())
                lines = list(table)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FaultyDataError(
                f"{self._name}: {manifest} cannot be read as a csv file ({error})"
            ) from error
        if not {"path", "label"} <= set(columns):
            raise FaultyDataError(
                f"{self._name}: {manifest} has the columns {columns}; it needs path and label, "
                f"separated by commas, and "
                f"may have {', '.join(OPTIONAL_COLUMNS)}"
            )
        known = ("path", "label", *OPTIONAL_COLUMNS)
        return [{c: (line.get(c) or "").strip() or None for c in known} for line in lines]


def _whole_findings(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[Finding]:
    """What is wrong with the folder as a whole."""
    if not rows:
        return []
    findings = []
    if len(classes) < 2:
        text = (
            f"only the class {classes[0]!r} was found; a data set needs two or more: one folder or "
            f"label each."
        )
        findings.append(Finding("one_class", "error", text))
    if all(row.get("subject") is None for row in rows):
        text = (
            "No subject is known for any image: if one person has several images, splits leak. "
            "Name subjects in a "
            f"{MANIFEST} (columns path, label, subject)."
        )
        findings.append(Finding("no_subjects", "warning", text, len(rows)))
    return findings


def _class_level(root: Path) -> Path:
    """The folder whose subfolders are the classes: below the root there may be one folder that
    holds everything.
    """
    while True:
        folders = _folders(root)
        images = [p for p in root.iterdir() if p.is_file() and p.suffix.lower() in READABLE]
        if len(folders) != 1 or images or not _folders(folders[0]):
            return root
        root = folders[0]


def _folders(root: Path) -> list[Path]:
    """Folders that may hold data."""
    named = [p for p in root.iterdir() if not p.name.startswith(".") and p.name != "__MACOSX"]
    return [p for p in named if p.is_dir()]

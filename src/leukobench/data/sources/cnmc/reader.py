"""From the files under a root to rows of an image table: places, names, labels, and what of them
does not fit.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leukobench.data.check import Finding
from leukobench.data.image_files import shown
from leukobench.data.image_table import Notes, relative
from leukobench.data.sources.cnmc.official import (
    CELL_SIZE,
    CLASS_OF,
    FACTS,
    FINAL_SIZE,
    FOLDS,
    LABELS_CSV,
    NAME,
    official_files,
    sample_id,
)

LABEL_COLUMNS = ("Patient_ID", "new_names", "labels")


@dataclass(frozen=True)
class OfficialFile:
    """One official image: its original name (None for final images) and the digest of its
    content.
    """

    name: str | None
    sha256: str


class Reader:
    """Reads places and names of the files under a root into rows, keeping what does not fit."""

    def __init__(self, root: Path, simulated: bool) -> None:
        self.root = root
        self.simulated = simulated
        self.by_place: dict[tuple[str, str], OfficialFile] = {}
        self.part_of_name: dict[str, str] = {}
        for part, file, name, sha256 in official_files().itertuples(index=False):
            self.by_place[part, file] = OfficialFile(name, sha256)
            if name is not None:
                self.part_of_name[name] = part
        self.rows: list[dict[str, Any]] = []
        self.notes = Notes()

    def take(self, path: Path) -> None:
        """One BMP file: which part it lies in, and for training images what its name says."""
        folders = [f.lower() for f in path.relative_to(self.root).parts[:-1]]
        folds = [f for f in folders if f in FOLDS]
        if folds and folders[-1] in CLASS_OF:
            self._take_training(path, folds[-1], folders[-1])
        elif any("prelim" in f for f in folders):
            self._take_unnamed(path, "preliminary", CELL_SIZE)
        elif any("final" in f for f in folders):
            if ("final", path.name) not in self.by_place and not self.simulated:
                self.notes.add("surplus_file", relative(path, self.root))
            self._take_unnamed(path, "final", FINAL_SIZE)
        else:
            self.notes.add("misplaced_file", relative(path, self.root))

    def _digest(self, part: str | None, file: str) -> str | None:
        official = self.by_place.get((part or "", file))
        return None if official is None else official.sha256

    def _take_unnamed(self, path: Path, part: str, size: tuple[int, int]) -> None:
        digest = self._digest(part, path.name)
        self.rows.append({"part": part, "path": path, "size": size, "sha256": digest})

    def _take_training(self, path: Path, fold: str, folder: str) -> None:
        name = relative(path, self.root)
        match = NAME.match(path.name)
        if match is None:
            self.notes.add("wrong_name", name)
            return
        if match[4] != folder:
            self.notes.add("label_disagrees", f"{name}: name says {match[4]}, folder {folder}")
        digest = self._digest(fold, path.name)
        if digest is None and not self.simulated:
            home = self.part_of_name.get(path.name)
            digest = self._digest(home, path.name)
            if home is None:
                self.notes.add("surplus_file", name)
            else:
                self.notes.add("wrong_fold", f"{name}: belongs to {home}")
        self.rows.append(
            {
                "id": sample_id(path.name),
                "label": CLASS_OF[folder],
                "subject": match[1].upper(),
                "official": fold,
                "part": fold,
                "path": path,
                "size": CELL_SIZE,
                "sha256": digest,
            }
        )

    def name_preliminary(self, tables: Sequence[Path]) -> None:
        """Give preliminary images the names and labels of the labels csv."""
        rows = [r for r in self.rows if r["part"] == "preliminary"]
        names = self._preliminary_names(tables) if rows else {}
        for row in rows:
            name = names.get(row["path"].name)
            if name is None:
                self.notes.add("unlabelled_file", relative(row["path"], self.root))
                continue
            match = NAME.match(name)
            assert match is not None
            row |= {
                "id": sample_id(name),
                "label": CLASS_OF[match[4]],
                "subject": match[1].upper(),
                "official": "preliminary",
            }

    def _preliminary_names(self, tables: Sequence[Path]) -> dict[str, str]:
        """Original name of each preliminary file: of the csv, else of the official list."""
        if tables:
            return self._read_labels(tables[0])
        if self.simulated:
            self.notes.add("labels_missing", LABELS_CSV)
            return {}
        self.notes.add("labels_from_list", LABELS_CSV)
        names = {}
        for (part, file), official in self.by_place.items():
            if part == "preliminary" and official.name is not None:
                names[file] = official.name
        return names

    def _read_labels(self, path: Path) -> dict[str, str]:
        """Original name of each preliminary file, from `Patient_ID,new_names,labels` rows (label 1
        is ALL).
        """
        where = relative(path, self.root)
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                table = csv.DictReader(file)
                columns = table.fieldnames
                rows = list(table)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self.notes.add("labels_unreadable", f"{where}: {error}")
            return {}
        if not {*LABEL_COLUMNS} <= set(columns or ()):
            self.notes.add("labels_unreadable", f"{where}: columns {columns}")
            return {}
        names: dict[str, str] = {}
        for line, row in enumerate(rows, start=2):
            name, file_name, label = ((row[c] or "").strip() for c in LABEL_COLUMNS)
            fault = _contradiction(name, label)
            if fault is None and file_name in names:
                fault = f"{file_name} a second time"
            if fault is not None:
                self.notes.add("labels_disagree", f"{where}, line {line}: {fault}")
                continue
            self._compare(file_name, name, f"{where}, line {line}")
            names[file_name] = name
        return names

    def _compare(self, file_name: str, name: str, where: str) -> None:
        known = self.by_place.get(("preliminary", file_name))
        official = None if known is None else known.name
        if not self.simulated and name != official:
            text = f"{where}: {file_name} is {name}, officially {official}"
            self.notes.add("labels_disagree", text)

    def findings(self, parts: Sequence[str], zips: Sequence[Path]) -> tuple[Finding, ...]:
        """What did not fit, and what of the official list is missing in these parts."""
        findings = self.notes.findings(FACTS.rules)
        if self.simulated:
            return tuple(findings)
        rows = [r for r in self.rows if r["part"] in parts]
        missing = self._missing_files(parts, rows)
        findings += [*_missing_classes(parts, rows), *missing]
        if zips and missing:
            message = (
                f"{len(zips)} zip files lie beside the images; some may hold what is missing. "
                f"Unpack them."
            )
            where = shown(relative(z, self.root) for z in zips)
            findings.append(Finding("zip_beside_images", "note", message, len(zips), where))
        return tuple(findings)

    def _missing_files(
        self, parts: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> list[Finding]:
        have = {(r["part"], r["path"].name) for r in rows}
        wanted = [place for place in self.by_place if place[0] in parts]
        missing = [place for place in wanted if place not in have]
        if not missing:
            return []
        total, lost = (Counter(part for part, _ in places) for places in (wanted, missing))
        detail = ", ".join(f"{p} {total[p] - lost[p]:,} of {total[p]:,}" for p in parts)
        message = (
            f"{len(wanted) - len(missing):,} of {len(wanted):,} official files are here "
            f"({detail}); "
            f"{len(missing):,} are missing. "
            "Results from a subset say so; unpack the whole download for the complete data set."
        )
        where = shown(f"{part}/{file}" for part, file in missing)
        return [Finding("missing_files", "warning", message, len(missing), where)]


def _contradiction(name: str, label: str) -> str | None:
    """Why a row of the labels csv cannot be true by itself; None where it can."""
    match = NAME.match(name)
    if match is None or label not in ("0", "1"):
        return f"{name!r}, label {label!r}"
    if (match[4] == "all") != (label == "1"):
        return f"{name} has label {label}"
    return None


def _missing_classes(parts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Folds of which one class folder is there and another is not."""
    there = {(r["part"], r["label"]) for r in rows if r.get("label")}
    absent = []
    for fold in FOLDS:
        missing = [f"{fold}/{f}" for f, label in CLASS_OF.items() if (fold, label) not in there]
        if fold in parts and len(missing) < len(CLASS_OF):
            absent += missing
    if not absent:
        return []
    message = (
        f"{len(absent)} class folders are missing or empty: {', '.join(absent)}. Unpack the whole "
        f"download."
    )
    return [Finding("missing_class_folder", "warning", message, len(absent), tuple(absent))]

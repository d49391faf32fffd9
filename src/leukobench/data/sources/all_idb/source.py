"""Data sets `all_idb1` and `all_idb2`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from leukobench.data.check import Finding
from leukobench.data.facts import read_facts
from leukobench.data.image_files import ImageFacts, find_files, shown
from leukobench.data.image_source import ImageSource
from leukobench.data.image_table import ImageTable, Notes, file_frame, flat_counts, relative
from leukobench.errors import FaultyDataError, MissingDataError

PACKAGE = "leukobench.data.sources.all_idb"
NAME = re.compile(r"^(Im(\d{3})_([01]))\.(?:jpg|jpeg|tif|tiff)$", re.IGNORECASE)
"""`ImNNN_Y`: running number, and 1 for ALL, 0 for a healthy subject."""

CLASS_OF = {"0": "normal", "1": "ALL"}


class AllIdb(ImageSource):
    """What both sets share: the names, the labels in them, the lack of subject ids."""

    classes = ("ALL", "normal")
    positive: ClassVar[str | None] = "ALL"
    folder: ClassVar[str]

    def scan(self, root: Path, everything: bool) -> ImageTable:
        notes = Notes()
        rows = self._rows(root, notes)
        simulated = self._is_simulated(root)
        total = self.facts.counts["sample"]["all"]
        numbers: dict[int, str] = {}
        for row in rows:
            number = row.pop("number")
            name = relative(row["path"], root)
            if not 1 <= number <= total and not simulated:
                notes.add("surplus_file", name)
            if numbers.setdefault(number, row["label"]) != row["label"]:
                notes.add("number_twice", name)
        self._compare(root, rows, notes)
        findings = notes.findings(self.facts.rules)
        missing = [n for n in range(1, total + 1) if n not in numbers]
        if rows and missing and not simulated:
            message = (
                f"{total - len(missing)} of {total} official images are here; {len(missing)} are "
                f"missing."
            )
            names = shown(f"Im{n:03d}" for n in missing)
            findings.append(Finding("missing_files", "warning", message, len(missing), names))
        return ImageTable(
            name=self.name,
            root=root,
            files=file_frame(rows),
            classes=self.classes,
            positive=self.positive,
            expected=flat_counts(self.facts.counts),
            findings=tuple(findings),
            expected_samples=total,
            simulated=simulated,
        )

    def _rows(self, root: Path, notes: Notes) -> list[dict[str, Any]]:
        rows = []
        for path in find_files(root):
            if path.suffix.lower() not in self.suffixes or path.parent.name.lower() != self.folder:
                continue
            match = NAME.match(path.name)
            if match is None:
                notes.add("wrong_name", relative(path, root))
                continue
            rows.append(
                {
                    "id": path.stem,
                    "label": CLASS_OF[match[3]],
                    "part": self.folder,
                    "path": path,
                    "number": int(match[2]),
                }
            )
        return rows

    def _compare(self, root: Path, rows: Sequence[Mapping[str, Any]], notes: Notes) -> None:
        """Further comparisons of the files with what lies beside them."""


class AllIdb1(AllIdb):
    """ALL-IDB1: `im/ImNNN_Y.jpg`, fields of one or many cells, and `xyc/ImNNN_Y.xyc`, the blasts'
    centroids.
    """

    name: ClassVar[str] = "all_idb1"
    facts = read_facts(PACKAGE, "all_idb1")
    simulates: ClassVar[str | None] = "all_idb1"
    suffixes: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg")
    folder: ClassVar[str] = "im"

    def centroids(self, sample: str) -> np.ndarray:
        """Centroids (x, y) of a field's blasts in pixels, shape (blasts, 2), float64.

        Raises:
            MissingDataError: There is no such file under the root.
            FaultyDataError: A line of it is not two numbers.
        """
        root = self._ready_root(None)
        path = _centroid_files(root).get(sample)
        if path is None:
            raise MissingDataError(f"all_idb1: no file xyc/{sample}.xyc under {root}")
        return read_centroids(path)

    def _compare(self, root: Path, rows: Sequence[Mapping[str, Any]], notes: Notes) -> None:
        files = _centroid_files(root)
        for row in rows:
            path = files.get(row["id"])
            if path is None:
                notes.add("missing_centroids", row["id"])
                continue
            try:
                blasts = len(read_centroids(path))
            except FaultyDataError as error:
                notes.add("centroids_unreadable", str(error))
                continue
            if (blasts > 0) != (row["label"] == "ALL"):
                notes.add(
                    "centroids_disagree", f"{row['id']}: {row['label']} with {blasts} centroids"
                )

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        """Centroids that lie outside their image."""
        files = _centroid_files(table.root)
        outside = []
        for sample, fact in zip(table.files["id"], facts):
            if fact.size is None or sample not in files:
                continue
            try:
                points = read_centroids(files[sample])
            except FaultyDataError:
                continue
            if (points < 0).any() or (points > np.array(fact.size)).any():
                outside.append(f"{sample}: {fact.size[0]} x {fact.size[1]}")
        if not outside:
            return ()
        message = (
            f"{len(outside)} fields have blast centroids outside the image: image and .xyc do not "
            f"belong together."
        )
        return (Finding("centroids_outside", "error", message, len(outside), shown(outside)),)


class AllIdb2(AllIdb):
    """ALL-IDB2: `img/ImNNN_Y.tif`, single cells cut from the fields of ALL-IDB1."""

    name: ClassVar[str] = "all_idb2"
    facts = read_facts(PACKAGE, "all_idb2")
    simulates: ClassVar[str | None] = "all_idb2"
    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    folder: ClassVar[str] = "img"

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        """Crops of another size than 257 x 257; a warning, since that size is stated by users, not
        by the source.
        """
        other = [n for n, f in zip(table.names(), facts) if f.size not in (None, (257, 257))]
        if not other:
            return ()
        message = (
            f"{len(other)} images are not 257 x 257 as usual for this set; they may have been "
            f"re-saved."
        )
        return (Finding("unusual_size", "warning", message, len(other), shown(other)),)


def _centroid_files(root: Path) -> dict[str, Path]:
    return {p.stem: p for p in find_files(root) if p.suffix.lower() == ".xyc"}


def read_centroids(path: Path) -> np.ndarray:
    """Centroids (x, y) of an .xyc file, one a line, shape (n, 2), float64; empty for a healthy
    field.
    """
    points = []
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            x, y = (float(w) for w in words)
        except ValueError as error:
            raise FaultyDataError(
                f"{path.name}, line {number}: {line.strip()!r} is not two numbers"
            ) from error
        points.append((x, y))
    return np.array(points, dtype=np.float64).reshape(-1, 2)

"""Data set `aml`: the 15 codes of the release, or groups of them, as classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from leukobench.data.check import Finding
from leukobench.data.image_files import ImageFacts, find_files, shown
from leukobench.data.image_source import ImageSource
from leukobench.data.image_table import ImageTable, Notes, file_frame, relative
from leukobench.data.sources.aml.annotations import COUNTS, FACTS, read_annotations
from leukobench.errors import ConfigError, FaultyDataError

SIZE = (400, 400)
NAME = re.compile(r"^([A-Z]{3})_(\d{4,5})\.tiff?$", re.IGNORECASE)


class AML(ImageSource):
    """AML-Cytomorphology_LMU in TCIA's folders, or the zip as downloaded.

    Args:
        classes: What becomes a class: name to codes of the release (`{blast: [MYO, MOB], other:
            [...]}`), in index order. Cells of codes that are not named are left out. None: the 15
            codes, each a class.
        positive: The class that sensitivity refers to, where there are two.
    """

    name: ClassVar[str] = "aml"
    facts = FACTS
    simulates: ClassVar[str | None] = "aml"
    suffixes: ClassVar[tuple[str, ...]] = (".tiff", ".tif")

    def __init__(
        self,
        root: str | Path | None = None,
        classes: Mapping[str, Sequence[str]] | None = None,
        positive: str | None = None,
        allow_faulty: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        groups = (
            {code: (code,) for code in COUNTS}
            if classes is None
            else {k: tuple(v) for k, v in classes.items()}
        )
        codes = [code for group in groups.values() for code in group]
        unknown = sorted(set(codes) - set(COUNTS))
        if unknown or len(set(codes)) < len(codes) or not codes or not all(groups.values()):
            raise ConfigError(
                f"aml: classes must give each class at least one of the codes {', '.join(COUNTS)}, "
                f"each code once; "
                f"got {groups}"
            )
        if positive is not None and positive not in groups:
            raise ConfigError(f"aml: the positive class {positive!r} is none of {list(groups)}")
        self.classes = tuple(groups)
        self._positive = positive
        self._class_of = {code: name for name, group in groups.items() for code in group}

    def scan(self, root: Path, everything: bool) -> ImageTable:
        notes = Notes()
        found = find_files(root)
        rows = []
        for path in found:
            row = self._row(root, path, notes)
            if row is not None and (everything or row["label"] is not None):
                rows.append(row)
        lists = [p for p in found if p.name.lower() == "annotations.dat"]
        annotations = None
        if rows and lists:
            annotations = self._annotations(lists[0], notes)
        elif rows:
            notes.add("annotations_missing", "annotations.dat")
        findings: list[Finding] = []
        facts: dict[str, Any] = {}
        if annotations is not None:
            findings = self._compare(annotations, rows, everything, root, notes)
            facts = {"re-annotation": _agreement_facts(annotations)}
        expected = self._expected()
        return ImageTable(
            name=self.name,
            root=root,
            files=file_frame(rows),
            classes=self.classes,
            positive=self._positive,
            expected=expected,
            findings=(*notes.findings(self.facts.rules), *findings),
            expected_samples=expected["sample", "all"],
            simulated=self._is_simulated(root),
            facts=facts,
        )

    def _row(self, root: Path, path: Path, notes: Notes) -> dict[str, Any] | None:
        """The row of one file; None where it is no image of a class folder, or has no official
        name.
        """
        folder = path.parent.name.upper()
        if path.suffix.lower() not in self.suffixes or folder not in COUNTS:
            return None
        name = relative(path, root)
        match = NAME.match(path.name)
        if match is None:
            notes.add("wrong_name", name)
            return None
        if match[1].upper() != folder:
            notes.add("label_disagrees", f"{name}: name says {match[1].upper()}, folder {folder}")
        label = self._class_of.get(folder)
        return {"id": path.stem, "label": label, "part": folder, "path": path, "size": SIZE}

    def _expected(self) -> dict[tuple[str, str], int]:
        """Official counts of the codes that are classes here."""
        expected = {("sample", "all"): 0}
        for code, name in self._class_of.items():
            for key in (("sample", "all"), ("class", name), ("part", code)):
                expected[key] = expected.get(key, 0) + COUNTS[code]
        return expected

    def _annotations(self, path: Path, notes: Notes) -> pd.DataFrame | None:
        try:
            return read_annotations(path)
        except FaultyDataError as error:
            notes.add("annotations_unreadable", str(error))
            return None

    def _compare(
        self,
        annotations: pd.DataFrame,
        rows: Sequence[Mapping[str, Any]],
        everything: bool,
        root: Path,
        notes: Notes,
    ) -> list[Finding]:
        """Files beside the official list: disagreeing, unlisted and missing ones."""
        label_of = dict(zip(annotations.index, annotations["label"]))
        for row in rows:
            label = label_of.get(row["id"])
            if label is None:
                notes.add("surplus_file", relative(row["path"], root))
            elif label != row["part"]:
                notes.add(
                    "annotation_disagrees", f"{relative(row['path'], root)}: annotated {label}"
                )
        wanted = annotations.index[
            annotations["label"].isin(list(COUNTS) if everything else list(self._class_of))
        ]
        have = {row["id"] for row in rows}
        missing = [i for i in wanted if i not in have]
        if not missing:
            return []
        message = (
            f"{len(wanted) - len(missing):,} of the {len(wanted):,} images listed in "
            f"annotations.dat are here; "
            f"{len(missing):,} are missing. Results from a subset say so."
        )
        return [Finding("missing_files", "warning", message, len(missing), shown(missing))]

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        """Classes that are left out, and images that are not RGBA with an opaque alpha as
        officially.
        """
        findings = []
        left = table.files.loc[table.files["label"].isna(), "part"]
        if len(left):
            message = (
                f"{len(left)} images of codes that this choice of classes leaves out are checked "
                f"and not used."
            )
            findings.append(
                Finding("classes_left_out", "note", message, len(left), tuple(sorted(set(left))))
            )
        other = [
            f"{n}: {f.mode}" for n, f in zip(table.names(), facts) if f.mode not in (None, "RGBA")
        ]
        if other:
            message = (
                f"{len(other)} images are not RGBA as the official ones; they may have been "
                f"re-saved."
            )
            findings.append(Finding("unusual_mode", "warning", message, len(other), shown(other)))
        return tuple(findings)


def _agreement_facts(annotations: pd.DataFrame) -> dict[str, str]:
    """Counts of agreement as text for a report; without kappa, so that loading does not import
    scikit-learn.
    """
    both = annotations[annotations["first"].notna() & annotations["second"].notna()]
    return {
        f"label and {c}": f"{int((both['label'] == both[c]).sum())} of {len(both)} agree"
        for c in ("first", "second")
    }

"""AML-Cytomorphology_LMU: 18,365 single leukocytes of 15 classes, from 100 patients with AML and 100 without.

Source: C. Matek, S. Schwarz, C. Marr, K. Spiekermann, "A single-cell morphological dataset of leukocytes from AML
patients and non-malignant controls", The Cancer Imaging Archive, 2019, doi 10.7937/tcia.2019.36f5o9ld. Images are
400 x 400 RGBA TIFF, `CLS/CLS_NNNN.tiff`; `annotations.dat` lists them with up to two re-annotations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from leukobench.data.check import Finding, Severity
from leukobench.data.image_checks import ImageSource, ImageTable, Notes, file_frame, relative
from leukobench.data.image_files import ImageFacts, find_files, shown
from leukobench.errors import ConfigError, FaultyDataError

COUNTS = {
    "BAS": 79,
    "EBO": 78,
    "EOS": 424,
    "KSC": 15,
    "LYA": 11,
    "LYT": 3937,
    "MMZ": 15,
    "MOB": 26,
    "MON": 1789,
    "MYB": 42,
    "MYO": 3268,
    "NGB": 109,
    "NGS": 8484,
    "PMB": 18,
    "PMO": 70,
}
"""Images of each class in the official annotations.dat, 18,365 in all."""

CELL_TYPES = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": "smudge cell",
    "LYA": "lymphocyte (atypical)",
    "LYT": "lymphocyte (typical)",
    "MMZ": "metamyelocyte",
    "MOB": "monoblast",
    "MON": "monocyte",
    "MYB": "myelocyte",
    "MYO": "myeloblast",
    "NGB": "neutrophil (band)",
    "NGS": "neutrophil (segmented)",
    "PMB": "promyelocyte (bilobed)",
    "PMO": "promyelocyte",
}
"""What the codes stand for, from the release's abbreviations.txt."""

UNCLASSIFIABLE = "UNC"
"""A re-annotator could not assign a class."""

REANNOTATED = 1905
"""Images that have two re-annotations; they agree with the label 1,617 and 1,529 times."""

SIZE = (400, 400)
NAME = re.compile(r"^([A-Z]{3})_(\d{4,5})\.tiff?$", re.IGNORECASE)

RULES: dict[str, tuple[Severity, str]] = {
    "wrong_name": (
        "error",
        "images are not named CLS_NNNN.tiff; they are left out. Give them their official names.",
    ),
    "label_disagrees": (
        "error",
        "images lie in a class folder that their name contradicts. Move them back.",
    ),
    "annotations_missing": (
        "warning",
        "annotations.dat is missing: labels are taken from the folders, missing files and re-annotations are unknown. "
        "Put it beside the class folders.",
    ),
    "annotations_unreadable": (
        "error",
        "lines of annotations.dat are not `path label reannotation reannotation`. Download it again.",
    ),
    "annotation_disagrees": (
        "error",
        "images have another label in annotations.dat than their folder. Download both again.",
    ),
    "surplus_file": ("error", "images are not listed in annotations.dat. Remove them."),
}


class AML(ImageSource):
    """AML-Cytomorphology_LMU in TCIA's folders, or the zip as downloaded.

    Args:
        classes: What becomes a class: name to codes of the release (`{blast: [MYO, MOB], other: [...]}`), in index
            order. Cells of codes that are not named are left out. None: the 15 codes, each a class.
        positive: The class that sensitivity refers to, where there are two.
    """

    name: ClassVar[str] = "aml"
    title: ClassVar[str] = "AML-Cytomorphology_LMU"
    licence: ClassVar[str] = "CC BY 3.0 according to third parties; read TCIA's own page before use"
    citation: ClassVar[str] = (
        "C. Matek, S. Schwarz, C. Marr, K. Spiekermann. A single-cell morphological dataset of leukocytes from AML "
        "patients and non-malignant controls (AML-Cytomorphology_LMU). The Cancer Imaging Archive (2019). "
        "doi:10.7937/tcia.2019.36f5o9ld"
    )
    url: ClassVar[str | None] = "https://doi.org/10.7937/tcia.2019.36f5o9ld"
    suffixes: ClassVar[tuple[str, ...]] = (".tiff", ".tif")
    how_to_get: ClassVar[str] = (
        "Get images and annotations.dat from https://doi.org/10.7937/tcia.2019.36f5o9ld (The Cancer Imaging Archive: "
        "accept its data usage policy)."
    )
    no_subjects: ClassVar[str | None] = (
        "AML-Cytomorphology_LMU names no patient in any file: cells of one of its 200 people fall on both sides of any "
        "split, and no split can prevent it. Subject-level protocols refuse it."
    )
    expected: ClassVar[Mapping[Any, Any]] = {("sample", "all"): 18_365} | {
        ("part", c): n for c, n in COUNTS.items()
    }

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
                f"aml: classes must give each class at least one of the codes {', '.join(COUNTS)}, each code once; "
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
        simulated = self._is_simulated(root)
        rows = []
        for path in found:
            folder = path.parent.name.upper()
            if path.suffix.lower() not in self.suffixes or folder not in COUNTS:
                continue
            name = relative(path, root)
            match = NAME.match(path.name)
            if match is None:
                notes.add("wrong_name", name)
                continue
            if match[1].upper() != folder:
                notes.add(
                    "label_disagrees", f"{name}: name says {match[1].upper()}, folder {folder}"
                )
            label = self._class_of.get(folder)
            if label is not None or everything:
                rows.append(
                    {"id": path.stem, "label": label, "part": folder, "path": path, "size": SIZE}
                )
        lists = [p for p in found if p.name.lower() == "annotations.dat"]
        findings: list[Finding] = []
        facts: dict[str, Any] = {}
        if rows and not lists:
            notes.add("annotations_missing", "annotations.dat")
        elif rows:
            annotations = self._annotations(lists[0], notes)
            if annotations is not None:
                findings = self._compare(annotations, rows, everything, root, notes)
                facts = {"re-annotation": _agreement_facts(annotations)}
        expected = dict(self.expected)
        for code, n in COUNTS.items():
            key = "class", self._class_of.get(code, "")
            if key[1]:
                expected[key] = expected.get(key, 0) + n
        expected["sample", "all"] = sum(COUNTS[code] for code in self._class_of)
        return ImageTable(
            name=self.name,
            root=root,
            files=file_frame(rows),
            classes=self.classes,
            positive=self._positive,
            expected={
                k: n for k, n in expected.items() if k[0] != "part" or k[1] in self._class_of
            },
            findings=(*notes.findings(RULES), *findings),
            expected_samples=expected["sample", "all"],
            simulated=simulated,
            facts=facts,
        )

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
            f"{len(wanted) - len(missing):,} of the {len(wanted):,} images listed in annotations.dat are here; "
            f"{len(missing):,} are missing. Results from a subset say so."
        )
        return [Finding("missing_files", "warning", message, len(missing), shown(missing))]

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        """Classes that are left out, and images that are not RGBA with an opaque alpha as officially."""
        findings = []
        left = table.files.loc[table.files["label"].isna(), "part"]
        if len(left):
            message = f"{len(left)} images of codes that this choice of classes leaves out are checked and not used."
            findings.append(
                Finding("classes_left_out", "note", message, len(left), tuple(sorted(set(left))))
            )
        other = [
            f"{n}: {f.mode}" for n, f in zip(table.names(), facts) if f.mode not in (None, "RGBA")
        ]
        if other:
            message = f"{len(other)} images are not RGBA as the official ones; they may have been re-saved."
            findings.append(Finding("unusual_mode", "warning", message, len(other), shown(other)))
        return tuple(findings)


def read_annotations(path: Path) -> pd.DataFrame:
    """The release's list of images.

    Returns:
        Frame indexed by sample id (`BAS_0001`), columns `label`, `first`, `second`: codes; None where an image was not
        re-annotated.

    Raises:
        FaultyDataError: A line is not of four columns with known codes; the message gives its number.
    """
    ids, rows = [], []
    known = {*COUNTS, UNCLASSIFIABLE, "nan"}
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        words = line.split()
        if not words:
            continue
        if len(words) != 4 or words[1] not in COUNTS or not {words[2], words[3]} <= known:
            raise FaultyDataError(f"{path.name}, line {number}: {line.strip()!r}")
        ids.append(Path(words[0]).stem)
        rows.append([words[1], *(None if w == "nan" else w for w in words[2:])])
    index = pd.Index(ids, name="sample", dtype=object)
    if not index.is_unique:
        raise FaultyDataError(f"{path.name}: {index[index.duplicated()][0]} is listed twice")
    return pd.DataFrame(
        np.array(rows, dtype=object).reshape(-1, 3),
        index=index,
        columns=["label", "first", "second"],
    )


def agreement(
    annotations: pd.DataFrame, classes: Mapping[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """How far experts agree on the cells that two of them labelled again: a ceiling for any classifier.

    Args:
        annotations: From `read_annotations`.
        classes: Groups of codes as in `AML`; agreement is then that of groups. Images whose label is in no group are
            left out; a re-annotation in no group, or unclassifiable, is a disagreement.

    Returns:
        One row a pair (`label` and `first`, `label` and `second`, `first` and `second`) with `images`, `agree` (images
        with equal answers), `rate` and Cohen's `kappa`.
    """
    from sklearn.metrics import cohen_kappa_score

    both = annotations[annotations["first"].notna() & annotations["second"].notna()]
    if classes is not None:
        group = {code: name for name, codes in classes.items() for code in codes}
        both = both[both["label"].isin(list(group))].map(
            lambda code: group.get(code, UNCLASSIFIABLE)
        )
    rows = []
    for a, b in (("label", "first"), ("label", "second"), ("first", "second")):
        equal = int((both[a] == both[b]).sum())
        kappa = float(cohen_kappa_score(both[a], both[b])) if len(both) else float("nan")
        rows.append(
            (
                f"{a} and {b}",
                len(both),
                equal,
                equal / len(both) if len(both) else float("nan"),
                kappa,
            )
        )
    return pd.DataFrame(rows, columns=["pair", "images", "agree", "rate", "kappa"]).set_index(
        "pair"
    )


def _agreement_facts(annotations: pd.DataFrame) -> dict[str, str]:
    """Counts of agreement as text for a report; without kappa, so that loading does not import scikit-learn."""
    both = annotations[annotations["first"].notna() & annotations["second"].notna()]
    return {
        f"label and {c}": f"{int((both['label'] == both[c]).sum())} of {len(both)} agree"
        for c in ("first", "second")
    }

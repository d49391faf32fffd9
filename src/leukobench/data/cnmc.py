"""C-NMC 2019: single cells of acute lymphoblastic leukemia and of healthy children, with subject ids.

Source: A. Gupta, R. Gupta, "ALL Challenge dataset of ISBI 2019", The Cancer Imaging Archive, 2019,
doi 10.7937/tcia.2019.dc64i46r. Images are 450 x 450 RGB BMP, one segmented cell on black; the final test images are
600 x 600 and without labels.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from leukobench.data.check import Finding, Severity
from leukobench.data.families.image import ImageDataset, image_dataset
from leukobench.data.image_checks import ImageSource, ImageTable, Notes, file_frame, relative
from leukobench.data.image_files import ImageFacts, find_files, natural_key, shown
from leukobench.errors import ConfigError

FOLDS = ("fold_0", "fold_1", "fold_2")
CLASS_OF = {"all": "ALL", "hem": "normal"}
NAME = re.compile(r"^UID_([Hh]?\d+)_(\d+)_(\d+)_(all|hem)\.bmp$")
"""`UID_<subject>_<image>_<cell>_<class>.bmp`. One healthy subject is written in lower case in all its 36 names."""

CELL_SIZE = (450, 450)
FINAL_SIZE = (600, 600)
LABELS_CSV = "C-NMC_test_prelim_phase_data_labels.csv"


def subject_of(name: str) -> str:
    """Subject id of an official name, in upper case: there is an h3 and no H3, among H1, H2, H4 and so on.

    >>> subject_of("UID_h3_10_2_hem.bmp")
    'H3'
    """
    match = NAME.match(name)
    if match is None:
        raise ValueError(f"{name!r} is no C-NMC name (UID_<subject>_<image>_<cell>_<all|hem>.bmp)")
    return match[1].upper()


@lru_cache(maxsize=1)
def official_files() -> pd.DataFrame:
    """All 15,114 official files, as facts.

    Columns: `part` (`fold_0`, `fold_1`, `fold_2`, `preliminary`, `final`), `file` (name on disk), `name` (original name
    with subject and class; None for final images, where it is not public), `sha256` (the first 32 hex digits).
    """
    with as_file(files("leukobench.data") / "facts" / "cnmc.parquet") as path:
        frame = pd.read_parquet(path)
    name = (
        frame["name"]
        .where(frame["part"] == "preliminary", frame["file"])
        .where(frame["part"] != "final", None)
    )
    return pd.DataFrame(
        {
            "part": frame["part"].astype(object),
            "file": frame["file"].astype(object),
            "name": pd.Series(
                [None if n is None or n != n else str(n) for n in name], dtype=object
            ),
            "sha256": pd.Series([d.hex() for d in frame["sha256"]], dtype=object),
        }
    )


def official_names(parts: Sequence[str] = ("train",)) -> pd.DataFrame:
    """The labelled official images, in sample order.

    Args:
        parts: `train` (10,661 images in three folds), `preliminary` (1,867).

    Returns:
        Frame indexed by sample id (`UID_1_1_1_all`) with columns `label`, `subject`, `official` and `content`.
    """
    table = official_files()
    table = table[table["part"].isin(_folders(parts)) & table["name"].notna()]
    frame = pd.DataFrame(
        {
            "label": [CLASS_OF[NAME.match(n)[4]] for n in table["name"]],  # type: ignore[index]
            "subject": [subject_of(n) for n in table["name"]],
            "official": list(table["part"]),
            "content": list(table["sha256"]),
        },
        index=pd.Index([sample_id(n) for n in table["name"]], name="sample", dtype=object),
        dtype=object,
    )
    return frame.sort_index()


def official_dataset(parts: Sequence[str] = ("train",)) -> ImageDataset:
    """The official data set without its files: for computing splits from the name list alone.

    Ids, labels, subjects, folds and contents, and so the fingerprint, are those of a complete, unaltered download.
    """
    samples = official_names(parts)
    return image_dataset(
        CNMC.name,
        [Path(f"{i}.bmp") for i in samples.index],
        list(samples["content"]),
        list(samples.index),
        list(samples["label"]),
        CNMC.classes,
        positive=CNMC.positive,
        subjects=list(samples["subject"]),
        official=list(samples["official"]),
        expected_samples=len(samples),
    )


def sample_id(name: str) -> str:
    """Sample id of an original name: the name without its ending."""
    return name.removesuffix(".bmp")


def _folders(parts: Iterable[str]) -> list[str]:
    known = {"train": FOLDS, "preliminary": ("preliminary",)}
    unknown = [p for p in parts if p not in known]
    if unknown or not parts:
        raise ConfigError(f"cnmc has no parts {unknown or '[]'}; choose from {list(known)}")
    return [folder for part in known if part in parts for folder in known[part]]


class CNMC(ImageSource):
    """C-NMC 2019 in TCIA's or Kaggle's folders, or the zips as downloaded.

    Folders are known by their names wherever they lie under the root: `fold_0/all`, `fold_0/hem` and so on; a folder
    whose name holds `prelim` with the labels csv in or beside it; one whose name holds `final`.

    Args:
        parts: What becomes samples: `train`, `preliminary`. Final images have no labels and never do.
    """

    name: ClassVar[str] = "cnmc"
    classes = ("ALL", "normal")
    positive: ClassVar[str | None] = "ALL"
    title: ClassVar[str] = "C-NMC 2019, ALL Challenge of ISBI 2019"
    licence: ClassVar[str] = "CC BY 3.0 according to third parties; read TCIA's own page before use"
    citation: ClassVar[str] = (
        "A. Gupta, R. Gupta. ALL Challenge dataset of ISBI 2019 (C-NMC 2019). The Cancer Imaging Archive (2019). "
        "doi:10.7937/tcia.2019.dc64i46r"
    )
    url: ClassVar[str | None] = "https://doi.org/10.7937/tcia.2019.dc64i46r"
    suffixes: ClassVar[tuple[str, ...]] = (".bmp",)
    how_to_get: ClassVar[str] = (
        "Get it from https://doi.org/10.7937/tcia.2019.dc64i46r (The Cancer Imaging Archive: accept its data usage "
        "policy, download all three parts) or as `andrewmvd/leukemia-classification` from Kaggle (needs an account)."
    )
    expected: ClassVar[Mapping[Any, Any]] = {
        ("sample", "all"): 12_528,
        ("class", "ALL"): 8_491,
        ("class", "normal"): 4_037,
        ("part and class", "fold_0 ALL"): 2_397,
        ("part and class", "fold_0 normal"): 1_130,
        ("part and class", "fold_1 ALL"): 2_418,
        ("part and class", "fold_1 normal"): 1_163,
        ("part and class", "fold_2 ALL"): 2_457,
        ("part and class", "fold_2 normal"): 1_096,
        ("part and class", "preliminary ALL"): 1_219,
        ("part and class", "preliminary normal"): 648,
        ("part", "fold_0"): 3_527,
        ("part", "fold_1"): 3_581,
        ("part", "fold_2"): 3_553,
        ("part", "preliminary"): 1_867,
        ("subject", "all"): 101,
        ("subjects of class", "ALL"): 60,
        ("subjects of class", "normal"): 41,
        ("unlabelled", "final"): 2_586,
    }
    """Counts of the official release; 17 more subjects are in the final part, unnamed."""

    def __init__(
        self,
        root: str | Path | None = None,
        parts: Sequence[str] = ("train",),
        allow_faulty: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        self.parts = tuple(parts)
        self._wanted = _folders(self.parts)

    def scan(self, root: Path, everything: bool) -> ImageTable:
        simulated = self._is_simulated(root)
        parts = [*FOLDS, "preliminary", "final"] if everything else self._wanted
        official = official_files()
        by_place = {(p, f): (n, d) for p, f, n, d in official.itertuples(index=False)}
        part_of_name = {n: p for p, n in zip(official["part"], official["name"]) if n is not None}
        found = find_files(root)
        reader = _Reader(root, simulated, by_place, part_of_name)
        for path in found:
            if path.suffix.lower() in self.suffixes:
                reader.take(path)
        if "preliminary" in parts:
            reader.name_preliminary(
                [p for p in found if p.suffix.lower() == ".csv" and "label" in p.name.lower()]
            )
        rows = [row for row in reader.rows if row["part"] in parts]
        rows.sort(key=lambda r: (r["part"] == "final", r["part"], natural_key(r["path"].name)))
        return ImageTable(
            name=self.name,
            root=root,
            files=file_frame(rows),
            classes=self.classes,
            positive=self.positive,
            expected={**self.expected, **_subject_counts()},
            findings=reader.findings(
                parts,
                rows,
                [p for p in found if p.suffix.lower() == ".zip" and not p.with_suffix("").is_dir()],
            ),
            official_digests={
                d: f"{p}/{n or f}" for p, f, n, d in official.itertuples(index=False)
            },
            expected_samples=len(official_names(self.parts)),
            simulated=simulated,
        )

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        findings = []
        final = [
            n
            for n, p, f in zip(table.names(), table.files["part"], facts)
            if p == "final" and f.size is not None and f.size != CELL_SIZE
        ]
        if final:
            message = (
                f"{len(final)} images of the final part are 600 x 600, all others 450 x 450, as officially released. "
                "They have no labels and are not used as samples."
            )
            findings.append(Finding("final_images_600", "note", message, len(final), shown(final)))
        lower = [n for n in table.names() if n.rsplit("/", 1)[-1].startswith("UID_h")]
        if lower:
            ids = sorted({n.rsplit("/", 1)[-1].split("_")[1] for n in lower})
            message = (
                f"subject {', '.join(ids)} is written in lower case in {len(lower)} file names (36 in the official "
                "release); patterns that expect a capital H drop these images. It is read as "
                f"{', '.join(i.upper() for i in ids)}."
            )
            findings.append(Finding("lower_case_subject", "note", message, len(lower), tuple(ids)))
        return tuple(findings)


@lru_cache(maxsize=1)
def _subject_counts() -> dict[tuple[str, str], int]:
    subjects = official_names(("train", "preliminary"))["subject"]
    return {
        ("subject", str(s)): int(n)
        for s, n in subjects.value_counts(sort=False).sort_index().items()
    }


class _Reader:
    """Reads places and names of the files under a root into rows, keeping what does not fit."""

    def __init__(
        self,
        root: Path,
        simulated: bool,
        by_place: Mapping[tuple[str, str], tuple[str | None, str]],
        part_of_name: Mapping[str, str],
    ) -> None:
        self.root = root
        self.simulated = simulated
        self.by_place = by_place
        self.part_of_name = part_of_name
        self.rows: list[dict[str, Any]] = []
        self.notes = Notes()

    def take(self, path: Path) -> None:
        """One BMP file: which part it lies in, and for training images what its name says."""
        folders = [f.lower() for f in path.relative_to(self.root).parts[:-1]]
        shown_name = relative(path, self.root)
        fold = next((f for f in reversed(folders) if f in FOLDS), None)
        if fold is not None and folders[-1] in CLASS_OF:
            self._take_training(path, fold, folders[-1], shown_name)
        elif any("prelim" in f for f in folders):
            _, digest = self.by_place.get(("preliminary", path.name), (None, None))
            self.rows.append(
                {"part": "preliminary", "path": path, "size": CELL_SIZE, "sha256": digest}
            )
        elif any("final" in f for f in folders):
            _, digest = self.by_place.get(("final", path.name), (None, None))
            if digest is None and not self.simulated:
                self.notes.add("surplus_file", shown_name)
            self.rows.append({"part": "final", "path": path, "size": FINAL_SIZE, "sha256": digest})
        else:
            self.notes.add("misplaced_file", shown_name)

    def _take_training(self, path: Path, fold: str, folder: str, shown_name: str) -> None:
        match = NAME.match(path.name)
        if match is None:
            self.notes.add("wrong_name", shown_name)
            return
        if match[4] != folder:
            self.notes.add(
                "label_disagrees", f"{shown_name}: name says {match[4]}, folder {folder}"
            )
        _, digest = self.by_place.get((fold, path.name), (None, None))
        if digest is None and not self.simulated:
            home = self.part_of_name.get(path.name)
            if home is None:
                self.notes.add("surplus_file", shown_name)
            else:
                self.notes.add("wrong_fold", f"{shown_name}: belongs to {home}")
                digest = self.by_place.get((home, path.name), (None, None))[1]
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
        if not rows:
            return
        if tables:
            names = self._read_labels(tables[0])
        elif self.simulated:
            names = {}
            self.notes.add("labels_missing", LABELS_CSV)
        else:
            names = {
                f: n
                for (p, f), (n, _) in self.by_place.items()
                if p == "preliminary" and n is not None
            }
            self.notes.add("labels_from_list", LABELS_CSV)
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

    def _read_labels(self, path: Path) -> dict[str, str]:
        """Original name of each preliminary file, from `Patient_ID,new_names,labels` rows (label 1 is ALL)."""
        shown_name = relative(path, self.root)
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                table = csv.DictReader(file)
                if not {"Patient_ID", "new_names", "labels"} <= set(table.fieldnames or ()):
                    self.notes.add("labels_unreadable", f"{shown_name}: columns {table.fieldnames}")
                    return {}
                rows = list(table)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self.notes.add("labels_unreadable", f"{shown_name}: {error}")
            return {}
        names: dict[str, str] = {}
        for line, row in enumerate(rows, start=2):
            name, file_name, label = (
                (row[c] or "").strip() for c in ("Patient_ID", "new_names", "labels")
            )
            where = f"{shown_name}, line {line}"
            match = NAME.match(name)
            if match is None or label not in ("0", "1"):
                self.notes.add("labels_disagree", f"{where}: {name!r}, label {label!r}")
                continue
            if (match[4] == "all") != (label == "1"):
                self.notes.add("labels_disagree", f"{where}: {name} has label {label}")
                continue
            if file_name in names:
                self.notes.add("labels_disagree", f"{where}: {file_name} a second time")
                continue
            official = self.by_place.get(("preliminary", file_name), (None, None))[0]
            if not self.simulated and name != official:
                self.notes.add(
                    "labels_disagree", f"{where}: {file_name} is {name}, officially {official}"
                )
            names[file_name] = name
        return names

    def findings(
        self, parts: Sequence[str], rows: Sequence[Mapping[str, Any]], zips: Sequence[Path]
    ) -> tuple[Finding, ...]:
        """What did not fit, and what of the official list is missing."""
        findings = self.notes.findings(RULES)
        findings += self._missing_classes(parts, rows)
        if not self.simulated:
            findings += self._missing_files(parts, rows)
            if zips and any(f.rule == "missing_files" for f in findings):
                message = f"{len(zips)} zip files lie beside the images; some may hold what is missing. Unpack them."
                findings.append(
                    Finding(
                        "zip_beside_images",
                        "note",
                        message,
                        len(zips),
                        shown(relative(z, self.root) for z in zips),
                    )
                )
        return tuple(findings)

    def _missing_classes(
        self, parts: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> list[Finding]:
        counts = Counter((r["part"], r["label"]) for r in rows if r.get("label"))
        absent = [
            f"{fold}/{folder}"
            for fold in FOLDS
            if fold in parts and any(counts[fold, c] for c in CLASS_OF.values())
            for folder, label in CLASS_OF.items()
            if not counts[fold, label]
        ]
        if not absent or self.simulated:
            return []
        message = f"{len(absent)} class folders are missing or empty: {', '.join(absent)}. Unpack the whole download."
        return [Finding("missing_class_folder", "warning", message, len(absent), tuple(absent))]

    def _missing_files(
        self, parts: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> list[Finding]:
        have = {(r["part"], r["path"].name) for r in rows}
        missing = [k for k in self.by_place if k[0] in parts and k not in have]
        if not missing:
            return []
        total = Counter(p for p, _ in self.by_place)
        lost = Counter(p for p, _ in missing)
        detail = ", ".join(f"{p} {total[p] - lost[p]:,} of {total[p]:,}" for p in parts)
        whole = sum(total[p] for p in parts)
        message = (
            f"{whole - len(missing):,} of {whole:,} official files are here ({detail}); {len(missing):,} are missing. "
            "Results from a subset say so; unpack the whole download for the complete data set."
        )
        return [
            Finding(
                "missing_files",
                "warning",
                message,
                len(missing),
                shown(f"{p}/{f}" for p, f in missing),
            )
        ]


RULES: dict[str, tuple[Severity, str]] = {
    "wrong_name": (
        "error",
        "files in class folders are not named UID_<subject>_<image>_<cell>_<all|hem>.bmp; they are left out. "
        "Give them their official names.",
    ),
    "label_disagrees": (
        "error",
        "files lie in a class folder that their name contradicts. Move them back.",
    ),
    "wrong_fold": ("error", "files lie in another part than officially. Move them back."),
    "surplus_file": (
        "error",
        "files are not in the official list. Remove them, or use data set image_folder.",
    ),
    "misplaced_file": (
        "warning",
        "BMP files lie in no folder of the official layout (fold_k/all, fold_k/hem, ...prelim..., ...final...) and are "
        "not used.",
    ),
    "labels_missing": (
        "error",
        f"labels csv of the preliminary images is missing: put {LABELS_CSV} beside them.",
    ),
    "labels_unreadable": (
        "error",
        "labels csv cannot be read; its columns must be Patient_ID, new_names, labels. Download it again.",
    ),
    "labels_disagree": (
        "error",
        "rows of the labels csv contradict themselves or the official list. Download the csv again.",
    ),
    "labels_from_list": (
        "warning",
        "labels csv of the preliminary images is missing; names and labels are taken from the official list that "
        "LeukoBench carries.",
    ),
    "unlabelled_file": (
        "error",
        "preliminary images have no row in the labels csv; they are left out.",
    ),
}
"""Severity and text of each finding on names and labels; the text follows the count."""

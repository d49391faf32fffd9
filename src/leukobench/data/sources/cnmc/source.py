"""Data set `cnmc`: the training folds, and the preliminary part where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from leukobench.data.check import Finding
from leukobench.data.families.image import ImageDataset, image_dataset
from leukobench.data.image_files import ImageFacts, find_files, natural_key, shown
from leukobench.data.image_source import ImageSource
from leukobench.data.image_table import ImageTable, file_frame, flat_counts
from leukobench.data.sources.cnmc.official import (
    CELL_SIZE,
    FACTS,
    FOLDS,
    folders_of,
    official_files,
    official_names,
    subject_counts,
)
from leukobench.data.sources.cnmc.reader import Reader


class CNMC(ImageSource):
    """C-NMC 2019 in TCIA's or Kaggle's folders, or the zips as downloaded.

    Folders are known by their names wherever they lie under the root: `fold_0/all`, `fold_0/hem`
    and so on; a folder whose name holds `prelim` with the labels csv in or beside it; one whose
    name holds `final`.

    Args:
        parts: What becomes samples: `train`, `preliminary`. Final images have no labels and never
            do.
    """

    name: ClassVar[str] = "cnmc"
    facts = FACTS
    simulates: ClassVar[str | None] = "cnmc"
    classes = ("ALL", "normal")
    positive: ClassVar[str | None] = "ALL"
    suffixes: ClassVar[tuple[str, ...]] = (".bmp",)

    def __init__(
        self,
        root: str | Path | None = None,
        parts: Sequence[str] = ("train",),
        allow_faulty: bool = False,
    ) -> None:
        super().__init__(root, allow_faulty)
        self.parts = tuple(parts)
        self._wanted = folders_of(self.parts)

    def scan(self, root: Path, everything: bool) -> ImageTable:
        simulated = self._is_simulated(root)
        parts = [*FOLDS, "preliminary", "final"] if everything else self._wanted
        found = find_files(root)
        reader = Reader(root, simulated)
        for path in found:
            if path.suffix.lower() in self.suffixes:
                reader.take(path)
        if "preliminary" in parts:
            reader.name_preliminary(_label_tables(found))
        rows = [row for row in reader.rows if row["part"] in parts]
        rows.sort(key=lambda r: (r["part"] == "final", r["part"], natural_key(r["path"].name)))
        digests = {}
        for part, file, name, sha256 in official_files().itertuples(index=False):
            digests[sha256] = f"{part}/{name or file}"
        return ImageTable(
            name=self.name,
            root=root,
            files=file_frame(rows),
            classes=self.classes,
            positive=self.positive,
            expected={**flat_counts(FACTS.counts), **subject_counts()},
            findings=reader.findings(parts, _packed(found)),
            official_digests=digests,
            expected_samples=len(official_names(self.parts)),
            simulated=simulated,
        )

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        return (*_final_findings(table, facts), *_lower_case_findings(table))


def official_dataset(parts: Sequence[str] = ("train",)) -> ImageDataset:
    """The official data set without its files: for computing splits from the name list alone.

    Ids, labels, subjects, folds and contents, and so the fingerprint, are those of a complete,
    unaltered download.
    """
    samples = official_names(parts)
    return image_dataset(
        name=CNMC.name,
        paths=[Path(f"{i}.bmp") for i in samples.index],
        contents=list(samples["content"]),
        ids=list(samples.index),
        labels=list(samples["label"]),
        classes=CNMC.classes,
        positive=CNMC.positive,
        subjects=list(samples["subject"]),
        official=list(samples["official"]),
        expected_samples=len(samples),
    )


def _label_tables(found: Sequence[Path]) -> list[Path]:
    return [p for p in found if p.suffix.lower() == ".csv" and "label" in p.name.lower()]


def _packed(found: Sequence[Path]) -> list[Path]:
    """Zips that were not unpacked."""
    return [p for p in found if p.suffix.lower() == ".zip" and not p.with_suffix("").is_dir()]


def _final_findings(table: ImageTable, facts: Sequence[ImageFacts]) -> list[Finding]:
    large = []
    for name, part, fact in zip(table.names(), table.files["part"], facts):
        if part == "final" and fact.size not in (None, CELL_SIZE):
            large.append(name)
    if not large:
        return []
    message = (
        f"{len(large)} images of the final part are 600 x 600, all others 450 x 450, as officially "
        f"released. "
        "They have no labels and are not used as samples."
    )
    return [Finding("final_images_600", "note", message, len(large), shown(large))]


def _lower_case_findings(table: ImageTable) -> list[Finding]:
    files = [name.rsplit("/", 1)[-1] for name in table.names()]
    lower = [name for name in files if name.startswith("UID_h")]
    if not lower:
        return []
    ids = sorted({name.split("_")[1] for name in lower})
    message = (
        f"subject {', '.join(ids)} is written in lower case in {len(lower)} file names (36 in the "
        f"official "
        "release); patterns that expect a capital H drop these images. It is read as "
        f"{', '.join(i.upper() for i in ids)}."
    )
    return [Finding("lower_case_subject", "note", message, len(lower), tuple(ids))]

"""A folder of images as a source of data: unpacking, loading, checking, and telling how to get what
is missing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, Report, count_frame
from leukobench.data.families.image import FAMILY, ImageDataset, image_dataset
from leukobench.data.image_checks import decode_findings, quick_findings
from leukobench.data.image_files import (
    ImageFacts,
    Progress,
    console_progress,
    content_digests,
    find_files,
    inspect_images,
    list_folder,
    shown,
    unpack_zip,
    unpack_zips,
)
from leukobench.data.image_table import ImageTable
from leukobench.data.simulated import MARK, is_simulated
from leukobench.errors import FaultyDataError, MissingDataError


class ImageSource(DataSource):
    """A folder of images. A subclass states the facts and lists the files (`scan`); the rest is the
    same for all.

    Class attributes:
        suffixes: File endings of its images, in lower case.
    """

    family: ClassVar[str] = FAMILY.name
    suffixes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def scan(self, root: Path, everything: bool) -> ImageTable:
        """List the files under `root`: those this configuration trains on, or `everything` the data
        set has.
        """

    def load(self) -> ImageDataset:
        with console_progress() as progress:
            table = self._scan(everything=False, progress=progress)
            contents = content_digests(list(table.files["path"]), table.root, progress)
        findings = (*table.findings, *quick_findings(table, contents))
        errors = [f for f in findings if f.severity == "error"]
        if errors and not self.allow_faulty:
            raise FaultyDataError(refusal(self.name, table.root, errors))
        files = table.files.assign(content=contents)
        files = files[files["label"].notna() & ~files["id"].duplicated(keep="first")].sort_values(
            "id"
        )
        return image_dataset(
            name=table.name,
            paths=list(files["path"]),
            contents=list(files["content"]),
            ids=list(files["id"]),
            labels=list(files["label"]),
            classes=list(table.classes),
            positive=table.positive,
            subjects=list(files["subject"]),
            series=list(files["series"]),
            official=list(files["official"]),
            simulated=table.simulated,
            expected_samples=table.expected_samples,
            faults=tuple(f.message for f in errors),
            root=table.root,
        )

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        table = self._scan(everything=True, progress=progress)
        paths = list(table.files["path"])
        facts = inspect_images(paths, progress)
        contents = [f.content for f in facts]
        if all(c is not None for c in contents):
            content_digests(paths, table.root, known=[c for c in contents if c is not None])
        findings = [
            *table.findings,
            *quick_findings(table, contents),
            *decode_findings(table, facts),
            *self.further_findings(table, facts),
        ]
        if self.facts.no_subjects is not None:
            text = self.facts.no_subjects
            findings.append(Finding("no_subjects", "note", text, len(table.samples)))
        if table.simulated:
            text = "These are simulated images; official counts and contents do not apply."
            findings.append(Finding("simulated", "note", text, len(table.files)))
        order = {"error": 0, "warning": 1, "note": 2}
        return Report(
            table.name,
            count_rows(table.found(), table.expected),
            findings=tuple(sorted(findings, key=lambda f: order[f.severity])),
            facts=_report_facts(table, facts),
        )

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        """Checks that only this source has; `facts` is in the order of the table's files."""
        return ()

    def get(self) -> Path | None:
        """The folder, where the files are there already.

        Raises:
            MissingDataError: They are not: the text says how to get them; a licence stands before a
                download.
        """
        if self.root is not None and self.root.exists() and self._has_images(self.root):
            return self.root
        raise MissingDataError(self._instructions("is not downloaded by LeukoBench"))

    def _has_images(self, root: Path) -> bool:
        return root.is_dir() and any(
            p.suffix.lower() in (*self.suffixes, ".zip") for p in find_files(root)
        )

    def _scan(self, everything: bool, progress: Progress | None) -> ImageTable:
        root = self._ready_root(progress)
        table = self.scan(root, everything)
        table = replace(table, findings=(*_skipped_findings(root), *table.findings))
        if table.files.empty:
            raise MissingDataError(
                self._instructions(
                    f"has no image where it should be under {root}" + _first(table.findings)
                )
            )
        if table.simulated:
            return replace(
                table,
                expected={},
                official_digests={},
                expected_samples=None,
                files=table.files.assign(sha256=pd.Series([None] * len(table.files), dtype=object)),
            )
        return table

    def _ready_root(self, progress: Progress | None) -> Path:
        """The folder to read: unpacked first, where there is only the zip as downloaded."""
        if self.root is None:
            raise MissingDataError(self._instructions("has no root folder set"))
        root = self.root
        if not root.exists():
            raise MissingDataError(self._instructions(f"is not at {root}"))
        if root.is_file() and root.suffix.lower() == ".zip":
            folder = root.with_suffix("")
            root = folder if folder.is_dir() else unpack_zip(root, folder, progress)
        if not any(p.suffix.lower() in self.suffixes for p in find_files(root)):
            unpack_zips(root, progress)
        return root

    def _instructions(self, what: str) -> str:
        where = (
            f"the folder {self.root}" if self.root is not None else "a folder, and set `root` to it"
        )
        return (
            f"{self.name} ({self.title}) {what}. {self.facts.how_to_get} Unpack it, or put the zip "
            f"as downloaded, into {where} "
            "(below the folder that the environment variable LEUKOBENCH_DATA names, or set "
            "`data.root=FOLDER`). "
            f"Licence: {self.licence}. Simulated files of the same layout: "
            f"`leukobench data simulate {self.name} --out FOLDER`."
        )

    def _is_simulated(self, root: Path) -> bool:
        """Whether any of the files is marked as simulated: in the root, in a folder around it, or
        anywhere below.
        """
        around = (root, *root.resolve().parents[:2])
        return any(is_simulated(p) for p in around) or any(p.name == MARK for p in find_files(root))


def _skipped_findings(root: Path) -> list[Finding]:
    """Folders that were not looked into."""
    skipped = list_folder(root).skipped
    if not skipped:
        return []
    message = (
        f"{len(skipped)} folders were not looked into, for instance {skipped[0]}. "
        "Put the files themselves below the root."
    )
    return [Finding("skipped_folder", "warning", message, len(skipped), shown(skipped))]


def _report_facts(table: ImageTable, facts: Sequence[ImageFacts]) -> dict[str, Any]:
    """Sizes and counts of the files, for a reader beside the findings."""
    sizes = [f"{f.size[0]} x {f.size[1]} {f.mode}" for f in facts if f.size is not None]
    contents = [f.content for f in facts]
    about: dict[str, Any] = {
        "root": str(table.root),
        "files": len(facts),
        "bytes": sum(f.bytes for f in facts),
        "sizes": pd.Series(sizes, dtype=object).value_counts().to_dict(),
        "distinct contents": len(set(contents) - {None}),
        **table.facts,
    }
    if table.official_digests:
        pairs = zip(table.files["sha256"], contents)
        verified = sum(expected is not None and expected == found for expected, found in pairs)
        about["verified"] = f"{verified} of {len(facts)} files are byte for byte the official ones"
    return about


def refusal(name: str, root: Path, errors: Sequence[Finding]) -> str:
    """Why loading stops, for a reader."""
    lines = [f"{name} in {root} is not what it should be:"]
    for finding in errors:
        example = f" For instance {finding.where[0]}." if finding.where else ""
        lines.append(f"- {finding.message}{example}")
    lines.append(
        f"See `leukobench data check {name}`; to train all the same set `data.allow_faulty=true`."
    )
    return "\n".join(lines)


def count_rows(
    found: Mapping[tuple[str, str], int], expected: Mapping[tuple[str, str], int]
) -> pd.DataFrame:
    """Found beside expected counts, in the order of the found ones; what is expected and absent has
    0 found.
    """
    keys = [*found, *(k for k in expected if k not in found)]
    kinds = {k[0]: i for i, k in reversed(list(enumerate(keys)))}
    keys.sort(key=lambda k: kinds[k[0]])
    return count_frame(
        [
            (what, name, found.get((what, name), 0), expected.get((what, name)))
            for what, name in keys
        ]
    )


def _first(findings: Sequence[Finding]) -> str:
    return f" ({findings[0].message})" if findings else ""

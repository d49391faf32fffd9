"""What can be wrong with a folder of images, and how it is found.

A source lists its files in an `ImageTable`, which may hold any fault; the functions here name the faults. Loading and
`leukobench data check` look at the same table: loading compares names, labels and byte digests and refuses a table with
errors, the check decodes every image besides.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from PIL import Image

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, Report, Severity, count_frame
from leukobench.data.families.image import ImageDataset, image_dataset
from leukobench.data.image_files import (
    ImageFacts,
    Progress,
    console_progress,
    content_digests,
    find_files,
    inspect_images,
    shown,
    unpack_zip,
    unpack_zips,
)
from leukobench.data.simulated import MARK, is_simulated
from leukobench.errors import FaultyDataError, MissingDataError

FILE_COLUMNS = ("id", "label", "subject", "series", "official", "part", "path", "size", "sha256")


@dataclass(frozen=True, eq=False)
class ImageTable:
    """The image files of a data set as found, faults included.

    Attributes:
        files: One row a file, columns `id` (sample id), `label`, `subject`, `series`, `official` (as in
            `Dataset.samples`; label None: not a sample, only checked), `part` (the folder it lies in, for counting),
            `path`, `size` (expected (width, height), None where any will do) and `sha256` (expected digest of the
            content, None where the source has no list).
        classes: Class names in index order.
        expected: Official counts by (what, name), `what` being `sample`, `class`, `part`, `part and class`, `subject`.
        findings: What listing the files already showed.
        official_digests: Every official file's label for its digest (`fold_0/UID_1_1_1_all.bmp`), to name what a
            swapped file really is.
        expected_samples: How many labelled samples the complete data set has in the parts asked for.
    """

    name: str
    root: Path
    files: pd.DataFrame
    classes: Sequence[str]
    positive: str | None = None
    expected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    official_digests: Mapping[str, str] = field(default_factory=dict)
    expected_samples: int | None = None
    simulated: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> pd.DataFrame:
        """The rows that are samples: labelled files."""
        return self.files[self.files["label"].notna()]

    def names(self) -> list[str]:
        """Each file's path below the root."""
        return [relative(p, self.root) for p in self.files["path"]]

    def found(self) -> dict[tuple[str, str], int]:
        """Counts of the samples by what `expected` counts them by, and of the files without a label by part."""
        samples = self.samples
        counts: dict[tuple[str, str], int] = {("sample", "all"): len(samples)}
        counts |= {("class", c): int((samples["label"] == c).sum()) for c in self.classes}
        if not samples["part"].equals(samples["label"]):
            counts |= {
                ("part", str(part)): int(n)
                for part, n in samples.groupby("part", sort=True).size().items()
            }
        for part, rows in samples[samples["official"].notna()].groupby("official", sort=True):
            for label, n in rows["label"].value_counts(sort=False).sort_index().items():
                counts["part and class", f"{part} {label}"] = int(n)
        if samples["subject"].notna().any():
            counts["subject", "all"] = int(samples["subject"].nunique())
            for label, rows in samples.groupby("label", sort=True):
                counts["subjects of class", str(label)] = int(rows["subject"].nunique())
            for subject, n in samples["subject"].value_counts(sort=False).sort_index().items():
                counts["subject", str(subject)] = int(n)
        unlabelled = self.files.loc[self.files["label"].isna(), "part"]
        for name, n in unlabelled.value_counts(sort=False).sort_index().items():
            counts["unlabelled", str(name)] = int(n)
        return counts


def file_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame of `ImageTable.files`: columns a row lacks are None."""
    rows = list(rows)
    columns = {}
    for column in FILE_COLUMNS:
        values = np.full(len(rows), None, dtype=object)
        for i, row in enumerate(rows):
            values[i] = row.get(column)
        columns[column] = values
    return pd.DataFrame(columns, dtype=object)


def relative(path: Path, root: Path) -> str:
    """A path as shown to a reader: below the root where it lies there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


class Notes:
    """What did not fit while files were listed, by rule; `findings` puts the rules' severity and text to it."""

    def __init__(self) -> None:
        self.where: dict[str, list[str]] = {}

    def add(self, rule: str, where: str) -> None:
        self.where.setdefault(rule, []).append(where)

    def findings(self, rules: Mapping[str, tuple[Severity, str]]) -> list[Finding]:
        """One finding a rule that was hit, in the order of `rules`; a text follows the count of hits."""
        unknown = set(self.where) - set(rules)
        assert not unknown, f"no text for the rules {unknown}"
        return [
            Finding(
                rule,
                severity,
                f"{len(self.where[rule])} {text}",
                len(self.where[rule]),
                shown(self.where[rule]),
            )
            for rule, (severity, text) in rules.items()
            if rule in self.where
        ]


# Findings -------------------------------------------------------------------------------------------------------------


def double_id_findings(table: ImageTable) -> tuple[Finding, ...]:
    """Files that claim to be the same sample, for instance two copies of the download under one root."""
    samples = table.samples
    double = samples[samples["id"].duplicated(keep="first")]
    if double.empty:
        return ()
    return (
        Finding(
            "sample_twice",
            "error",
            f"{len(double)} files have the name of another file and would be the same sample; keep one copy of the "
            "download under the root. Of each name the first file is used.",
            len(double),
            shown(relative(p, table.root) for p in double["path"]),
        ),
    )


def class_findings(table: ImageTable) -> tuple[Finding, ...]:
    """Classes without a single image."""
    empty = [c for c in table.classes if not (table.samples["label"] == c).any()]
    if not empty:
        return ()
    return (
        Finding(
            "missing_class",
            "error",
            f"no image of {', '.join(empty)} was found under {table.root}; a class folder is missing or empty. "
            "Unpack the whole download there.",
            len(empty),
            tuple(empty),
        ),
    )


def content_findings(table: ImageTable, contents: Sequence[str | None]) -> tuple[Finding, ...]:
    """Files whose bytes are not those of the official file of that name: altered, truncated, or another file's."""
    altered, swapped = [], []
    for path, expected, content in zip(table.files["path"], table.files["sha256"], contents):
        if expected is None or content is None or content == expected:
            continue
        name = relative(path, table.root)
        if content in table.official_digests:
            swapped.append(f"{name} is {table.official_digests[content]}")
        else:
            altered.append(name)
    findings = []
    if altered:
        findings.append(
            Finding(
                "altered_file",
                "error",
                f"{len(altered)} files are not byte for byte the official ones (truncated, re-encoded or edited); "
                "download them again.",
                len(altered),
                shown(altered),
            )
        )
    if swapped:
        findings.append(
            Finding(
                "swapped_file",
                "error",
                f"{len(swapped)} files hold the content of another official file; their labels and subjects are wrong. "
                "Download them again.",
                len(swapped),
                shown(swapped),
            )
        )
    return tuple(findings)


def duplicate_findings(table: ImageTable, contents: Sequence[str | None]) -> tuple[Finding, ...]:
    """Byte-identical files, told apart by what their copies disagree on.

    A group of copies is named under the gravest heading it belongs to: class, subject, part, none.
    """
    files = table.files.assign(content=np.array(contents, dtype=object), name=table.names())
    files = files[files["content"].notna() & files.duplicated("content", keep=False)]
    groups: dict[str, list[str]] = {}
    copies: dict[str, int] = {}
    across_parts = 0
    for _, rows in files.groupby("content", sort=False):
        many = {c: rows[c].dropna().nunique() > 1 for c in ("label", "subject", "part")}
        across_parts += many["part"]
        kind = next((c for c in ("label", "subject", "part") if many[c]), "none")
        groups.setdefault(kind, []).append(" = ".join(sorted(rows["name"])))
        copies[kind] = copies.get(kind, 0) + len(rows)
    care = "Splits keep equal contents together by default (keep_together: content)"
    headings: dict[str, tuple[str, Any, str]] = {
        "label": (
            "duplicate_content_across_classes",
            "error",
            "carry different class labels: at least one label is wrong. Remove or relabel them.",
        ),
        "subject": (
            "duplicate_content_across_subjects",
            "warning",
            f"carry different subject ids. {care}.",
        ),
        "part": (
            "duplicate_content_across_parts",
            "warning",
            f"lie in different parts. {care}, official ones do not.",
        ),
        "none": ("duplicate_content", "warning", f"differ only in name. {care}."),
    }
    findings = []
    for kind, (rule, severity, text) in headings.items():
        if kind in groups:
            found = sorted(groups[kind])
            also = (
                f" {across_parts} groups of identical files in all lie across parts."
                if kind == "subject"
                else ""
            )
            message = (
                f"{len(found)} groups of byte-identical images ({copies[kind]} files) {text}{also}"
            )
            findings.append(Finding(rule, severity, message, len(found), shown(found)))
    return tuple(findings)


def subject_findings(table: ImageTable) -> tuple[Finding, ...]:
    """Subjects whose images lie in two official parts, or carry two classes."""
    findings = []
    samples = table.samples[table.samples["subject"].notna()]
    for column, rule, text in (
        (
            "official",
            "subject_in_two_parts",
            "have images in more than one official part, which therefore share people",
        ),
        (
            "label",
            "subject_in_two_classes",
            "have images of more than one class; right for cells, wrong for diagnoses",
        ),
    ):
        n = samples.groupby("subject")[column].nunique()
        both = sorted(n.index[n > 1])
        if both:
            findings.append(
                Finding(rule, "warning", f"{len(both)} subjects {text}.", len(both), shown(both))
            )
    return tuple(findings)


def decode_findings(table: ImageTable, facts: Sequence[ImageFacts]) -> tuple[Finding, ...]:
    """What decoding showed: damaged, blank, wrongly sized and wrongly named images, equal pixels in unequal files."""
    names = table.names()
    findings = []
    for fault, text in (
        ("truncated", "end before their last pixel; download or copy them again"),
        ("unreadable", "cannot be read as images; download or copy them again"),
        ("too_large", "are larger than any smear image and were not decoded; remove them"),
        ("deep", "have more than 8 bits a channel; convert them to RGB"),
    ):
        hit = [f"{n}: {f.reason}" for n, f in zip(names, facts) if f.fault == fault]
        if hit:
            rule = {
                "truncated": "truncated_file",
                "unreadable": "unreadable_file",
                "too_large": "oversized_file",
                "deep": "pixel_mode",
            }[fault]
            findings.append(
                Finding(rule, "error", f"{len(hit)} files {text}.", len(hit), shown(hit))
            )

    wrong = [
        f"{n}: {f.size[0]} x {f.size[1]}, expected {s[0]} x {s[1]}"
        for n, f, s in zip(names, facts, table.files["size"])
        if s is not None and f.size is not None and tuple(s) != f.size
    ]
    if wrong:
        message = (
            f"{len(wrong)} images have another size than the official ones; download them again."
        )
        findings.append(Finding("wrong_size", "error", message, len(wrong), shown(wrong)))

    formats = Image.registered_extensions()
    misnamed = [
        f"{n}: {f.format}"
        for n, p, f in zip(names, table.files["path"], facts)
        if f.format is not None
        and formats.get(p.suffix.lower()) not in (f.format, None)
        and {formats.get(p.suffix.lower()), f.format}
        != {"JPEG", "MPO"}  # MPO: a camera's JPEG with a preview
    ]
    if misnamed:
        message = f"{len(misnamed)} files are of another format than their name says; they are read by their content."
        findings.append(Finding("wrong_suffix", "warning", message, len(misnamed), shown(misnamed)))

    blank = [n for n, f in zip(names, facts) if f.blank]
    if blank:
        message = f"{len(blank)} images have one colour only; remove them or download them again."
        findings.append(Finding("blank_image", "error", message, len(blank), shown(blank)))

    seen: dict[str, list[int]] = {}
    for i, fact in enumerate(facts):
        if fact.pixels is not None and not fact.blank:
            seen.setdefault(fact.pixels, []).append(i)
    same = [[names[i] for i in g] for g in seen.values() if len({facts[i].content for i in g}) > 1]
    if same:
        message = (
            f"{len(same)} groups of images have equal pixels in files of unequal bytes (re-saved copies); splits, which "
            "compare bytes, do not keep them together. Remove the copies."
        )
        findings.append(
            Finding(
                "duplicate_pixels",
                "warning",
                message,
                len(same),
                shown(" = ".join(g) for g in same),
            )
        )
    return tuple(findings)


# Loading and checking -------------------------------------------------------------------------------------------------


class ImageSource(DataSource):
    """A folder of images. A subclass states the facts and lists the files (`scan`); the rest is the same for all.

    Class attributes:
        suffixes: File endings of its images, in lower case.
        how_to_get: How a user gets the files: registration, licence form, address.
        no_subjects: Why the source has no subject ids; None where it has them.
    """

    family: ClassVar[str] = "image"
    suffixes: ClassVar[tuple[str, ...]] = ()
    how_to_get: ClassVar[str] = ""
    no_subjects: ClassVar[str | None] = None

    @abstractmethod
    def scan(self, root: Path, everything: bool) -> ImageTable:
        """List the files under `root`: those this configuration trains on, or `everything` the data set has."""

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
            table.name,
            list(files["path"]),
            list(files["content"]),
            list(files["id"]),
            list(files["label"]),
            list(table.classes),
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
        if self.no_subjects is not None:
            findings.append(Finding("no_subjects", "note", self.no_subjects, len(table.samples)))
        if table.simulated:
            text = "These are simulated images; official counts and contents do not apply."
            findings.append(Finding("simulated", "note", text, len(table.files)))
        sizes = pd.Series(
            [f"{f.size[0]} x {f.size[1]} {f.mode}" for f in facts if f.size is not None],
            dtype=object,
        )
        verified = sum(s is not None and s == c for s, c in zip(table.files["sha256"], contents))
        about: dict[str, Any] = {
            "root": str(table.root),
            "files": len(paths),
            "bytes": sum(f.bytes for f in facts),
            "sizes": {str(k): int(v) for k, v in sizes.value_counts().items()},
            "distinct contents": len({c for c in contents if c is not None}),
            **table.facts,
        }
        if table.official_digests:
            about["verified"] = (
                f"{verified} of {len(paths)} files are byte for byte the official ones"
            )
        order = {"error": 0, "warning": 1, "note": 2}
        return Report(
            table.name,
            count_rows(table.found(), table.expected),
            tuple(sorted(findings, key=lambda f: order[f.severity])),
            about,
        )

    def further_findings(
        self, table: ImageTable, facts: Sequence[ImageFacts]
    ) -> tuple[Finding, ...]:
        """Checks that only this source has; `facts` is in the order of the table's files."""
        return ()

    def get(self) -> Path | None:
        """The folder, where the files are there already.

        Raises:
            MissingDataError: They are not: the text says how to get them; a licence stands before a download.
        """
        if self.root is not None and self.root.exists() and self._has_images(self.root):
            return self.root
        raise MissingDataError(self._instructions("is not downloaded by LeukoBench"))

    def simulate(
        self, out: Path, samples: int | None = None, subjects: int | None = None, seed: int = 0
    ) -> Path:
        """Write simulated images in the official layout below `out`; see `leukobench.data.simulate_images`."""
        from leukobench.data import simulate_images

        function = getattr(simulate_images, f"simulate_{self.name}", None)
        if function is None:
            return super().simulate(out, samples, subjects, seed)
        with console_progress() as progress:
            return function(Path(out), samples, subjects, seed, progress)

    def _has_images(self, root: Path) -> bool:
        return root.is_dir() and any(
            p.suffix.lower() in (*self.suffixes, ".zip") for p in find_files(root)
        )

    def _scan(self, everything: bool, progress: Progress | None) -> ImageTable:
        root = self._ready_root(progress)
        table = self.scan(root, everything)
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
            f"{self.name} ({self.title}) {what}. {self.how_to_get} Unpack it, or put the zip as downloaded, into {where} "
            "(below the folder that the environment variable LEUKOBENCH_DATA names, or set `data.root=FOLDER`). "
            f"Licence: {self.licence}. Simulated files of the same layout: "
            f"`leukobench data simulate {self.name} --out FOLDER`."
        )

    def _is_simulated(self, root: Path) -> bool:
        """Whether any of the files is marked as simulated: in the root, in a folder around it, or anywhere below."""
        around = (root, *root.resolve().parents[:2])
        return any(is_simulated(p) for p in around) or any(p.name == MARK for p in find_files(root))


def quick_findings(table: ImageTable, contents: Sequence[str | None]) -> tuple[Finding, ...]:
    """Everything that names and byte digests show, without decoding."""
    return (
        *double_id_findings(table),
        *class_findings(table),
        *content_findings(table, contents),
        *duplicate_findings(table, contents),
        *subject_findings(table),
    )


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
    """Found beside expected counts, in the order of the found ones; what is expected and absent has 0 found."""
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

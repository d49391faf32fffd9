"""What can be wrong with a folder of images, and how it is found.

Loading and `leukobench data check` look at the same table: loading compares names, labels and byte
digests, the check decodes every image besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from leukobench.data.check import Finding
from leukobench.data.image_files import ImageFacts, shown
from leukobench.data.image_table import ImageTable, relative


def quick_findings(table: ImageTable, contents: Sequence[str | None]) -> tuple[Finding, ...]:
    """Everything that names and byte digests show, without decoding."""
    return (
        *double_id_findings(table),
        *class_findings(table),
        *content_findings(table, contents),
        *duplicate_findings(table, contents),
        *subject_findings(table),
    )


def double_id_findings(table: ImageTable) -> tuple[Finding, ...]:
    """Files that claim to be the same sample, for instance two copies of the download under one
    root.
    """
    samples = table.samples
    double = samples[samples["id"].duplicated(keep="first")]
    if double.empty:
        return ()
    return (
        Finding(
            "sample_twice",
            "error",
            f"{len(double)} files have the name of another file and would be the same sample; keep "
            f"one copy of the "
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
            f"no image of {', '.join(empty)} was found under {table.root}; a class folder is "
            f"missing or empty. "
            "Unpack the whole download there.",
            len(empty),
            tuple(empty),
        ),
    )


def content_findings(table: ImageTable, contents: Sequence[str | None]) -> tuple[Finding, ...]:
    """Files whose bytes are not those of the official file of that name: altered, truncated, or
    another file's.
    """
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
                f"{len(altered)} files are not byte for byte the official ones (truncated, "
                f"re-encoded or edited); "
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
                f"{len(swapped)} files hold the content of another official file; their labels and "
                f"subjects are wrong. "
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
    """What decoding showed: damaged, blank, wrongly sized and wrongly named images, equal pixels in
    unequal files.
    """
    names = table.names()
    return (
        *_damaged(names, facts),
        *_wrong_size(table, names, facts),
        *_wrong_suffix(table, names, facts),
        *_blank(names, facts),
        *_equal_pixels(names, facts),
    )


DAMAGES = (
    ("truncated", "truncated_file", "end before their last pixel; download or copy them again"),
    ("unreadable", "unreadable_file", "cannot be read as images; download or copy them again"),
    (
        "too_large",
        "oversized_file",
        "are larger than any smear image and were not decoded; remove them",
    ),
    ("deep", "pixel_mode", "have more than 8 bits a channel; convert them to RGB"),
)
"""Fault of an image, rule of the finding, and its text."""


def _damaged(names: Sequence[str], facts: Sequence[ImageFacts]) -> list[Finding]:
    findings = []
    for fault, rule, text in DAMAGES:
        hit = [f"{n}: {f.reason}" for n, f in zip(names, facts) if f.fault == fault]
        if hit:
            message = f"{len(hit)} files {text}."
            findings.append(Finding(rule, "error", message, len(hit), shown(hit)))
    return findings


def _wrong_size(
    table: ImageTable, names: Sequence[str], facts: Sequence[ImageFacts]
) -> list[Finding]:
    wrong = []
    for name, fact, size in zip(names, facts, table.files["size"]):
        if size is None or fact.size is None or tuple(size) == fact.size:
            continue
        (width, height), found = size, fact.size
        wrong.append(f"{name}: {found[0]} x {found[1]}, expected {width} x {height}")
    if not wrong:
        return []
    message = f"{len(wrong)} images have another size than the official ones; download them again."
    return [Finding("wrong_size", "error", message, len(wrong), shown(wrong))]


def _wrong_suffix(
    table: ImageTable, names: Sequence[str], facts: Sequence[ImageFacts]
) -> list[Finding]:
    formats = Image.registered_extensions()
    misnamed = []
    for name, path, fact in zip(names, table.files["path"], facts):
        said = formats.get(path.suffix.lower())
        if fact.format is None or said in (None, fact.format):
            continue
        if {said, fact.format} != {"JPEG", "MPO"}:  # MPO: a camera's JPEG with a preview
            misnamed.append(f"{name}: {fact.format}")
    if not misnamed:
        return []
    message = (
        f"{len(misnamed)} files are of another format than their name says; they are read by their "
        f"content."
    )
    return [Finding("wrong_suffix", "warning", message, len(misnamed), shown(misnamed))]


def _blank(names: Sequence[str], facts: Sequence[ImageFacts]) -> list[Finding]:
    blank = [n for n, f in zip(names, facts) if f.blank]
    if not blank:
        return []
    message = f"{len(blank)} images have one colour only; remove them or download them again."
    return [Finding("blank_image", "error", message, len(blank), shown(blank))]


def _equal_pixels(names: Sequence[str], facts: Sequence[ImageFacts]) -> list[Finding]:
    seen: dict[str, list[int]] = {}
    for i, fact in enumerate(facts):
        if fact.pixels is not None and not fact.blank:
            seen.setdefault(fact.pixels, []).append(i)
    same = []
    for group in seen.values():
        if len({facts[i].content for i in group}) > 1:
            same.append(" = ".join(names[i] for i in group))
    if not same:
        return []
    message = (
        f"{len(same)} groups of images have equal pixels in files of unequal bytes (re-saved "
        f"copies); splits, which "
        "compare bytes, do not keep them together. Remove the copies."
    )
    return [Finding("duplicate_pixels", "warning", message, len(same), shown(same))]

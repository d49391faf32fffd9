"""What can be wrong with the complete set beyond what any table of expression is checked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from leukobench.data.base import array_digest, digest
from leukobench.data.check import Finding, some
from leukobench.data.sources.golub.files import DAMAGED_FILE, LABELS_FILE, PART_FILES, Part
from leukobench.data.sources.golub.official import facts, official_arrays


@dataclass(frozen=True, eq=False)
class Array:
    """One patient's array in one part's file; `values` has shape (genes,)."""

    patient: int
    part: str
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Parts:
    """Both parts over the same genes."""

    genes: list[str]
    descriptions: list[str]
    arrays: list[Array]
    findings: list[Finding]


def joined(parts: Mapping[str, Part]) -> Parts:
    """The parts with the genes of the first one, in its order; genes that not all parts have are
    left out and reported.
    """
    first = next(iter(parts.values()))
    genes, descriptions, findings = first.genes, first.descriptions, []
    if any(part.genes != genes for part in parts.values()):
        shared = set.intersection(*(set(part.genes) for part in parts.values()))
        lost = sorted(set().union(*(part.genes for part in parts.values())) - shared)
        named = dict(zip(genes, descriptions))
        genes = [g for g in genes if g in shared]
        descriptions = [named[g] for g in genes]
        parts = {name: _with_genes(part, genes) for name, part in parts.items()}
        if lost:
            message = (
                f"{len(lost)} genes are not in both files, for instance {lost[0]!r}; "
                f"only the {len(genes)} shared ones are read"
            )
            findings.append(Finding("genes_differ", "error", message, len(lost), some(lost)))
    arrays = []
    for name, part in parts.items():
        arrays += [Array(p, name, part.values[i]) for i, p in enumerate(part.patients)]
    arrays.sort(key=lambda a: (a.patient, a.part))
    return Parts(genes, descriptions, arrays=arrays, findings=findings)


def _with_genes(part: Part, genes: Sequence[str]) -> Part:
    at = {g: i for i, g in enumerate(part.genes)}
    return replace(part, genes=list(genes), values=part.values[:, [at[g] for g in genes]])


def label_findings(patients: Sequence[int], labels: Mapping[int, str]) -> list[Finding]:
    """Patients without class, and classes without array."""
    findings = []
    unlabelled = sorted(set(patients) - set(labels))
    if unlabelled:
        message = (
            f"patients {unlabelled} have an array and no line in {LABELS_FILE}; their arrays are "
            f"left out"
        )
        findings.append(
            Finding("label_missing", "error", message, len(unlabelled), some(unlabelled))
        )
    absent = sorted(set(labels) - set(patients))
    if absent:
        message = f"patients {absent[:10]} are in {LABELS_FILE} and have no array"
        findings.append(Finding("array_missing", "error", message, len(absent), some(absent)))
    return findings


def wrong_label_findings(labels: Mapping[int, str]) -> list[Finding]:
    """Classes that differ from the official ones."""
    wrong = []
    for patient, array in official_arrays().items():
        if labels.get(patient, array.label) != array.label:
            wrong.append(patient)
    if not wrong:
        return []
    message = (
        f"{LABELS_FILE} gives patients {wrong} another class than the source; get the file again"
    )
    return [Finding("label_disagrees", "error", message, len(wrong), some(wrong))]


def array_findings(genes: Sequence[str], arrays: Sequence[Array]) -> list[Finding]:
    """Arrays whose values differ from the source's, or are another patient's, or lie in the other
    part.
    """
    if digest(*genes)[:12] != facts("golub").more["genes_digest"]:
        message = (
            "the genes are not the 7129 of the source in its order, so that values were not "
            "compared with the source"
        )
        return [Finding("genes_not_official", "warning", message, len(genes))]
    official = official_arrays()
    owner = {a.digest: a.patient for a in official.values()}
    changed, swapped, moved = [], [], []
    for array in arrays:
        found = owner.get(array_digest(array.values)[:8])
        if found is None:
            changed.append(array.patient)
        elif found != array.patient:
            swapped.append(f"{array.patient} (is patient {found})")
        if array.patient in official and official[array.patient].part != array.part:
            moved.append(array.patient)
    findings = []
    if changed:
        message = (
            f"the arrays of patients {changed[:10]} have other values than the source (raw, not "
            f"scaled); "
            "get the files again"
        )
        findings.append(Finding("array_differs", "error", message, len(changed), some(changed)))
    if swapped:
        listed = ", ".join(swapped[:6])
        message = (
            f"{len(swapped)} arrays stand under another patient's number: {listed}; get the files "
            f"again"
        )
        findings.append(Finding("array_swapped", "error", message, len(swapped), some(swapped)))
    if moved:
        message = f"the arrays of patients {moved[:10]} are in the file of the other part"
        findings.append(Finding("array_in_other_part", "error", message, len(moved), some(moved)))
    return findings


def surplus_findings(root: Path) -> list[Finding]:
    """Further tables in the folder, which are not read."""
    stems = {Path(f).stem.lower() for f in (*PART_FILES.values(), LABELS_FILE)}
    others = []
    for path in sorted(root.glob("*")):
        if path.suffix.lower() in {".csv", ".tsv"} and path.stem.lower() not in stems:
            others.append(path.name)
    if not others:
        return []
    listed = ", ".join(others[:5])
    message = f"{len(others)} further tables lie in the folder and are not read: {listed}"
    if Path(DAMAGED_FILE).stem in {Path(name).stem.lower() for name in others}:
        message += f"; {DAMAGED_FILE} is the damaged copy (data=golub_corrupt)"
    return [Finding("surplus_files", "note", message, len(others), some(others))]

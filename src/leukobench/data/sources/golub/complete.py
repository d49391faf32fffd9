"""The complete set: 72 arrays x 7129 genes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from leukobench.data.base import DataSource, array_digest
from leukobench.data.check import Finding, Report
from leukobench.data.expression_table import check_table, to_dataset
from leukobench.data.expression_values import ExpressionTable
from leukobench.data.families.expression import FAMILY, ExpressionDataset
from leukobench.data.simulated import is_simulated
from leukobench.data.sources.golub.files import (
    BY_HAND,
    HOW_TO_GET,
    LABELS_FILE,
    PART_FILES,
    Part,
    find_table,
    nothing_found,
    read_labels,
    read_part,
    root_of,
    write_golub,
)
from leukobench.data.sources.golub.findings import (
    array_findings,
    joined,
    label_findings,
    surplus_findings,
    wrong_label_findings,
)
from leukobench.data.sources.golub.official import CLASSES, facts, file_order, official_arrays
from leukobench.errors import FaultyDataError, MissingDataError


class Golub(DataSource):
    """The complete set: 72 arrays x 7129 genes, raw values, official part in column `official`
    (`train`, `test`).

    Layout: `data_set_ALL_AML_train.csv`, `data_set_ALL_AML_independent.csv` (one row a gene, one
    column a patient number,
    each followed by a column `call`) and `actual.csv` (`patient,cancer`); comma, semicolon or
    tabulator. Rows are in the order of patient numbers, whatever the order of the columns. One
    array a patient: the subject is the patient number.
    """

    name: ClassVar[str] = "golub"
    family: ClassVar[str] = FAMILY.name
    facts = facts("golub")
    simulates: ClassVar[str | None] = "golub"
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"

    def load(self) -> ExpressionDataset:
        return to_dataset(self.table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self.table(progress))

    def get(self) -> Path | None:
        """Fetch the set from OpenML with scikit-learn and write it in the official layout.

        OpenML names neither patients nor parts: each array is recognised by its values.

        Raises:
            MissingDataError: OpenML cannot be reached; the message says how to get the files by
                hand.
            FaultyDataError: What came is not the raw data.
        """
        from sklearn.datasets import fetch_openml

        root = root_of(self)
        try:
            bunch = fetch_openml(name="leukemia", version=1, as_frame=False)
        except (OSError, ValueError) as error:
            raise MissingDataError(
                f"golub: OpenML could not be reached or did not answer ({error}). {BY_HAND} {root}"
            ) from error
        values = np.asarray(bunch.data, dtype=np.float32) + np.float32(0)
        rows = _recognised(values)
        labels = {p: str(bunch.target[row]).strip().upper() for p, row in rows.items()}
        wrong = [p for p, array in official_arrays().items() if labels[p] != array.label]
        if wrong:
            raise FaultyDataError(
                f"golub: OpenML's data set `leukemia` gives patients {wrong} another class than "
                f"the source"
            )
        write_golub(
            root,
            genes=list(bunch.feature_names),
            arrays={p: values[row] for p, row in rows.items()},
            labels=labels,
            order={part: file_order(part) for part in PART_FILES},
        )
        return root

    def table(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        """The files as read, faults included."""
        root = root_of(self)
        official = not is_simulated(root)
        labels = read_labels(root)
        parts, findings = _read_parts(root, progress)
        if not parts:
            raise MissingDataError(nothing_found(self.name, root))
        whole = joined(parts)
        findings += whole.findings
        findings += label_findings([a.patient for a in whole.arrays], labels)
        arrays = [a for a in whole.arrays if a.patient in labels]
        if not arrays:
            raise FaultyDataError(
                f"{self.name}: no patient number of the arrays in {root} is in {LABELS_FILE}"
            )
        if official:
            findings += wrong_label_findings(labels)
            findings += array_findings(whole.genes, arrays)
        findings += surplus_findings(root)
        times = Counter(a.patient for a in arrays)
        return ExpressionTable(
            name=self.name,
            values=np.stack([a.values for a in arrays]),
            genes=whole.genes,
            gene_names=whole.descriptions,
            ids=[
                str(a.patient) if times[a.patient] == 1 else f"{a.patient} {a.part}" for a in arrays
            ],
            labels=[labels[a.patient] for a in arrays],
            classes=CLASSES,
            positive=self.positive,
            subjects=[str(a.patient) for a in arrays],
            official=[a.part for a in arrays],
            expected=self.facts.counts if official else {},
            findings=tuple(findings),
            root=root,
        )


def _recognised(values: np.ndarray) -> dict[int, int]:
    """Row of each patient's array among values of shape (72, 7129).

    Raises:
        FaultyDataError: They are not the 72 raw arrays.
    """
    row_of = {array_digest(row)[:8]: i for i, row in enumerate(values)}
    rows = {}
    for patient, array in official_arrays().items():
        if array.digest in row_of:
            rows[patient] = row_of[array.digest]
    if values.shape != (72, 7129) or len(rows) < 72:
        raise FaultyDataError(
            f"golub: OpenML's data set `leukemia` has shape {values.shape} and {len(rows)} of the "
            f"72 raw arrays; "
            f"expected (72, 7129) with all of them. {BY_HAND}"
        )
    return rows


def _read_parts(
    root: Path, progress: Callable[[str, int, int], None] | None
) -> tuple[dict[str, Part], list[Finding]]:
    """The parts that are there, and findings on them and on those that are not."""
    parts: dict[str, Part] = {}
    findings: list[Finding] = []
    for i, (name, filename) in enumerate(PART_FILES.items(), start=1):
        path = find_table(root, filename)
        if path is None:
            message = f"{filename}, the {name} part, is missing. {HOW_TO_GET}"
            findings.append(Finding("missing_file", "error", message, 1, (filename,)))
        else:
            parts[name] = read_part(path)
            findings += parts[name].findings
        if progress:
            progress("reading", i, len(PART_FILES))
    return parts, findings

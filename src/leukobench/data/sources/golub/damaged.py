"""The damaged copy that circulates as `leukemiamicroarray.csv`: 72 rows, 36 of them distinct."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, Report, some
from leukobench.data.expression_table import check_table, to_dataset
from leukobench.data.expression_values import ExpressionTable
from leukobench.data.families.expression import FAMILY, ExpressionDataset
from leukobench.data.simulated import is_simulated
from leukobench.data.sources.golub.complete import Golub
from leukobench.data.sources.golub.files import (
    DAMAGED_FILE,
    HOW_TO_GET,
    PART_FILES,
    find_table,
    root_of,
)
from leukobench.data.sources.golub.official import CLASSES, facts, file_order, official_arrays
from leukobench.data.wide_table import read_wide
from leukobench.errors import FaultyDataError

LABEL_COLUMN = "Leukemia_class"
LABELS = {"0": "AML", "1": "ALL"}


class GolubCorrupt(DataSource):
    """The damaged copy of the set that circulates as `leukemiamicroarray.csv`: 72 rows, 36 of them
    distinct.

    Every second array of the independent part in file order, its last one repeated until there are
    34 rows; then every second array of the training part likewise, 38 rows; each of the two blocks
    scaled to [0, 1] gene by gene by itself. Read from `leukemiamicroarray.csv` if that lies in
    `root`, else rebuilt from the files of data set `golub`. The two agree within the file's
    rounding to six decimals (5e-7), so their fingerprints differ. Subjects are the patients the
    rows were copied from. Simulated files of `golub` are damaged by the same recipe.
    """

    name: ClassVar[str] = "golub_corrupt"
    family: ClassVar[str] = FAMILY.name
    facts = facts("golub_corrupt")
    simulates: ClassVar[str | None] = "golub"
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"

    def load(self) -> ExpressionDataset:
        return to_dataset(self._table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self._table(progress))

    def get(self) -> Path | None:
        """Fetch data set `golub`, from which the copy is rebuilt."""
        return Golub(self.root).get()

    def _table(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        root = root_of(self)
        path = root if root.is_file() else find_table(root, DAMAGED_FILE)
        return self._rebuilt(progress) if path is None else self._from_file(path)

    def _from_file(self, path: Path) -> ExpressionTable:
        wide = read_wide(path, [LABEL_COLUMN])
        wrong = sorted(set(wide.text[LABEL_COLUMN]) - set(LABELS))
        if wrong:
            raise FaultyDataError(
                f"{path}: column {LABEL_COLUMN!r} holds {wrong}, expected 0 (AML) and 1 (ALL)"
            )
        labels = [LABELS[x] for x in wide.text[LABEL_COLUMN]]
        patients = damaged_rows(file_order("test"), file_order("train"))
        findings, subjects = list(wide.findings), None
        if len(labels) == len(patients):
            subjects = [str(p) for p in patients]
            findings += _label_findings(labels, patients)
        return ExpressionTable(
            name=self.name,
            values=wide.values,
            genes=wide.genes,
            ids=_row_names(len(labels)),
            labels=labels,
            classes=CLASSES,
            positive=self.positive,
            subjects=subjects,
            expected={} if is_simulated(path.parent) else self.facts.counts,
            findings=tuple(findings),
            root=path.parent,
        )

    def _rebuilt(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        whole = Golub(self.root).table(progress)
        simulated = is_simulated(whole.root)
        row = {int(str(subject)): i for i, subject in enumerate(whole.subjects or ())}
        order = {part: file_order(part) for part in PART_FILES}
        if simulated:
            order = {part: _patients(whole, part) for part in PART_FILES}
        absent = sorted({*order["test"], *order["train"]} - set(row))
        if absent or not all(order.values()):
            raise FaultyDataError(
                "golub_corrupt: it is rebuilt from both parts of golub, and the arrays of patients "
                f"{absent} are missing in {whole.root}. {HOW_TO_GET}"
            )
        patients = damaged_rows(order["test"], order["train"])
        rows = [row[p] for p in patients]
        values = whole.values[rows].astype(np.float64)
        cut = len(order["test"])
        scaled = np.concatenate([_unit_scaled(values[:cut]), _unit_scaled(values[cut:])])
        return ExpressionTable(
            name=self.name,
            values=scaled.astype(np.float32),
            genes=[f"Gene_{g + 1}" for g in range(len(whole.genes))],
            gene_names=whole.genes,
            ids=_row_names(len(patients)),
            labels=[whole.labels[i] for i in rows],
            classes=CLASSES,
            positive=self.positive,
            subjects=[str(p) for p in patients],
            expected={} if simulated else self.facts.counts,
            findings=tuple(f for f in whole.findings if f.severity == "error"),
            root=whole.root,
        )


def _patients(table: ExpressionTable, part: str) -> tuple[int, ...]:
    """Patient numbers of a part, in row order."""
    pairs = zip(table.subjects or (), table.official or ())
    return tuple(int(str(subject)) for subject, of in pairs if of == part)


def damaged_rows(test_order: Sequence[int], train_order: Sequence[int]) -> list[int]:
    """Patient numbers of the damaged copy's rows: of each part every second array, the last one
    repeated to fill.
    """

    def every_second(order: Sequence[int]) -> list[int]:
        kept = list(order[1::2])
        return kept + [kept[-1]] * (len(order) - len(kept))

    return every_second(test_order) + every_second(train_order)


def _row_names(n: int) -> list[str]:
    return [f"row {i + 1}" for i in range(n)]


def _label_findings(labels: Sequence[str], patients: Sequence[int]) -> list[Finding]:
    """Rows with another class than the patient they were copied from."""
    official = official_arrays()
    differing = []
    for row, (label, patient) in enumerate(zip(labels, patients), start=1):
        if label != official[patient].label:
            differing.append(row)
    if not differing:
        return []
    message = (
        f"{len(differing)} rows have another class than the patient they were copied from: "
        f"{differing[:9]}"
    )
    return [Finding("label_disagrees", "error", message, len(differing), some(differing))]


def _unit_scaled(values: np.ndarray) -> np.ndarray:
    """Each column min-max scaled to [0, 1]; columns without spread become 0."""
    low, high = values.min(axis=0), values.max(axis=0)
    return (values - low) / np.where(high > low, high - low, 1)

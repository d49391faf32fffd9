"""The audit of a paper's file: its cells as sheets for the solver, and the facts that it states.

Cells that name the same runs are results of one model on one test, whatever table they stand in;
cells without runs belong together by their row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from leukobench.errors import PaperError
from leukobench.papers.audit.data import usable
from leukobench.papers.audit.findings import AuditFinding
from leukobench.papers.audit.formulas import Formulas, score_of
from leukobench.papers.audit.scores import KNOWN
from leukobench.papers.audit.search import Sample
from leukobench.papers.audit.sheet import Aggregate, Line, Score, Sheet
from leukobench.papers.audit.solver import audit_sheet
from leukobench.papers.spec import Cell, Paper, printed_decimals, printed_number
from leukobench.papers.spec.fact import Fact

if TYPE_CHECKING:
    from leukobench.data.base import Dataset

Key = tuple[str, ...]
TOTALS = ("total", "totals", "sum")


def audit_paper(paper: Paper, datasets: Mapping[str, Dataset] | None = None) -> list[AuditFinding]:
    """What the solver finds in a paper's cells, then what its file states under `findings`.

    Args:
        datasets: Loaded data sets by key; facts about absent, simulated or partial ones are passed
            over.

    Raises:
        PaperError: A formula of the file cannot be computed, or does not hold.
    """
    found: list[AuditFinding] = []
    for sheet in sheets(paper):
        found += audit_sheet(sheet, paper.key)
    real = usable(datasets or {})
    for i, fact in enumerate(paper.findings):
        if all(key in real for key in fact.data):
            found += _stated(paper, fact, Formulas(paper, real, paper.where("findings", i)))
    return found


@dataclass(frozen=True)
class UncheckedFact:
    """A fact of a paper's file that could not be checked for want of data.

    Attributes:
        data: Keys of the data sets that it reads and that are not at hand, complete and real.
    """

    finding: str
    data: tuple[str, ...]


def unchecked_facts(
    paper: Paper, datasets: Mapping[str, Dataset] | None = None
) -> list[UncheckedFact]:
    """Facts that `audit_paper` passes over with these data sets."""
    real = usable(datasets or {})
    absent = [(fact, tuple(k for k in fact.data if k not in real)) for fact in paper.findings]
    return [UncheckedFact(fact.finding, keys) for fact, keys in absent if keys]


def data_read(paper: Paper) -> tuple[str, ...]:
    """Keys of the data sets that the paper's facts read."""
    return tuple(dict.fromkeys(key for fact in paper.findings for key in fact.data))


# --- facts ----------------------------------------------------------------------------------------


def _stated(paper: Paper, fact: Fact, formulas: Formulas) -> Iterator[AuditFinding]:
    if fact.check is not None and not bool(formulas.value(fact.check)):
        if fact.data:
            return  # another copy of the data than the one that the file speaks of
        raise PaperError(f"{formulas.where}: the finding does not hold: {fact.check} is false")
    yield AuditFinding(
        rule="fact",
        paper=paper.key,
        place=fact.place,
        finding=formulas.text(fact.finding),
        evidence=formulas.text(fact.evidence),
        severity=fact.severity,
        reading=fact.reading,
        corrected=None if fact.corrected is None else formulas.text(fact.corrected),
        recompute=formulas.python(fact.check) if fact.check and not fact.data else "",
        status="verified on data" if fact.data else ("computed" if fact.check else "stated"),
    )


# --- cells ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TestFacts:
    """What a paper's file says of the test that a line is of."""

    size: int | None
    positives: tuple[int, int] | None
    classes: int | None
    folds: int | None


def sheets(paper: Paper) -> list[Sheet]:
    """The paper's scores, lines of one test together; then the rows that average others."""
    lines: dict[Key, list[Cell]] = {}
    for cell in paper.published():
        if _is_score(cell) and not cell.mean_of:
            lines.setdefault(_line_key(cell), []).append(cell)
    tests: dict[tuple[Key, TestFacts], list[Line]] = {}
    for cells in lines.values():
        facts = _facts(cells)
        tests.setdefault((_test_key(cells, facts), facts), []).append(_line(cells))
    found = [
        Sheet(
            paper.key,
            tuple(group),
            Sample(facts.size, facts.positives),
            folds=facts.folds,
            classes=facts.classes,
        )
        for (_, facts), group in tests.items()
    ]
    return [*found, Sheet(paper.key, (), aggregates=tuple(_aggregates(paper)))]


def _is_score(cell: Cell) -> bool:
    return cell.of is None and cell.part != "all" and _is_number_of_score(cell)


def _is_number_of_score(cell: Cell) -> bool:
    if cell.metric not in KNOWN:
        return False
    return cell.value is not None or "±" in (cell.printed or "")


def _line_key(cell: Cell) -> Key:
    if cell.runs and cell.choose is None:
        return ("runs", cell.part, str(cell.epoch), *sorted(cell.runs))
    return ("row", cell.part, cell.table, cell.row)


def _facts(cells: Sequence[Cell]) -> TestFacts:
    """Of each fact the first that a cell states."""
    return TestFacts(
        size=next((c.size for c in cells if c.size is not None), None),
        positives=next((c.positives for c in cells if c.positives is not None), None),
        classes=next((c.classes for c in cells if c.classes is not None), None),
        folds=next((c.folds for c in cells if c.folds is not None), None),
    )


def _test_key(cells: Sequence[Cell], facts: TestFacts) -> Key:
    """Own results on a part are of one test where its size is known; others are of their table."""
    own = cells[0].kind == "reproducible" and facts.size is not None
    return (cells[0].part,) if own else (cells[0].part, cells[0].table)


def _line(cells: Sequence[Cell]) -> Line:
    places = "; ".join(dict.fromkeys(cell.place for cell in cells))
    scores = tuple(score for cell in cells for score in _scores(cell))
    return Line(f"{cells[0].table}, row {cells[0].row}", places, scores)


def _scores(cell: Cell) -> list[Score]:
    """The score that a cell prints; mean and deviation where it prints `0.95 ± 0.01`."""
    mean, sign, spread = (cell.printed or "").partition("±")
    if not sign:
        return [score_of(cell)]
    percent = "%" if "%" in spread else ""
    texts = (mean.strip().removesuffix("%") + percent, spread.strip())
    found = []
    for deviation, text in enumerate(texts):
        value = printed_number(text)
        if value is None:
            raise PaperError(f"{cell.paper} {cell.ref}: {cell.printed!r} is no mean ± deviation")
        plain = replace(cell, printed=text, value=value, decimals=printed_decimals(text))
        found.append(replace(score_of(plain), deviation=bool(deviation)))
    return found


def _aggregates(paper: Paper) -> Iterator[Aggregate]:
    """Rows that average others; scores of single classes column by column."""
    for table in paper.tables:
        cells = [c for c in paper.cells(table.id) if c.is_published and _is_number_of_score(c)]
        for row in table.rows:
            own = [c for c in cells if c.row == row.id and row.mean_of]
            for column in dict.fromkeys(c.column if c.of else "" for c in own):
                some = [c for c in cells if (c.column if c.of else "") == column]
                parts = [[c for c in some if c.row == other] for other in row.mean_of]
                total = (row.title or row.id).lower() in TOTALS
                lines = tuple(_line(part) for part in parts if part)
                line = _line([c for c in some if c.row == row.id])
                yield Aggregate(line, lines, called_total=total)

"""From tables of scores to findings: which smallest set of printed numbers cannot stand together.

`audit_sheet` tries the readings that the source leaves open. A line that none of them allows is
tried under all others; one that explains it makes a caution of the contradiction, and a hint where
the numbers only were cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from leukobench.papers.audit.aggregates import aggregate_findings
from leukobench.papers.audit.findings import AuditFinding, Severity
from leukobench.papers.audit.readings import (
    Reading,
    Scores,
    demand,
    fits,
    other_readings,
    stated_readings,
)
from leukobench.papers.audit.recompute import python_for
from leukobench.papers.audit.search import Sample, possible_splits, reach
from leukobench.papers.audit.sheet import Line, Score, Sheet

MOST_TRIED = 3
"""Sizes of sets that are tried one by one before larger ones are thinned out."""
LARGEST_SHARED = 20_000
"""Samples of a test up to which the class splits of its lines are compared."""


def audit_sheet(sheet: Sheet, source: str) -> list[AuditFinding]:
    """Everything that cannot be, or needs explaining, in the lines of one test."""
    sheet = _with_size(sheet)
    reading, failing = _best_reading(sheet)
    sound = replace(sheet, lines=tuple(line for line in sheet.lines if line not in failing))
    splits = _splits(sound, reading)
    common = frozenset.intersection(*splits.values()) if splits else frozenset()
    known = _with_positives(sheet, common)
    findings = [_conflict(line, sheet, known, reading=reading, source=source) for line in failing]
    if splits and not common:
        findings.append(_other_test(sound, splits, reading=reading, source=source))
    findings += aggregate_findings(sheet, source)
    findings += _copies(sheet, source)
    return findings


def _with_positives(sheet: Sheet, splits: frozenset[int]) -> Sheet:
    """The sheet with the class split that its other lines leave."""
    if not splits:
        return sheet
    return replace(sheet, sample=Sample(sheet.sample.n, (min(splits), max(splits))))


def _with_size(sheet: Sheet) -> Sheet:
    """The sheet with the test's size where only complete matrices tell it: the most frequent."""
    if sheet.sample.n is not None:
        return sheet
    sizes = [_size(line) for line in sheet.lines]
    known = [size for size in sizes if size]
    if not known:
        return sheet
    n = max(known, key=known.count)
    return replace(sheet, sample=replace(sheet.sample, n=n))


def _size(line: Line) -> int:
    counts = {s.metric: round(s.value) for s in line.scores if s.is_count}
    return sum(counts.values()) if len(counts) == 4 else 0


def _best_reading(sheet: Sheet) -> tuple[Reading, list[Line]]:
    """Of the readings left open, the one that the fewest lines break; and these lines."""
    tried: list[tuple[Reading, list[Line]]] = []
    for reading in stated_readings(sheet):
        failing = [line for line in sheet.lines if not fits(line.scores, sheet, reading)]
        if not failing:
            return reading, []
        tried.append((reading, failing))
    return min(tried, key=lambda one: len(one[1]))


# --- one line -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repair:
    """A score that alone stands against the others of its line, and what it would have to be."""

    score: Score
    low: float
    high: float

    @property
    def words(self) -> str:
        if self.score.is_count:
            least, most = round(self.low), round(self.high)
            return str(least) if least == most else f"{least} to {most}"
        percent = "%" in self.score.text
        scale = 100 if percent else 1
        low, high = f"{self.low * scale:.5g}", f"{self.high * scale:.5g}"
        return (low if low == high else f"{low} to {high}") + (" %" if percent else "")


def _conflict(
    line: Line, stated: Sheet, sheet: Sheet, *, reading: Reading, source: str
) -> AuditFinding:
    """`stated` is the sheet as the source has it, `sheet` with what its other lines say."""

    def together(scores: Sequence[Score]) -> bool:
        return fits(scores, stated, reading)

    smallest = smallest_conflict(line.scores, together)
    other = next((r for r in other_readings(stated) if fits(line.scores, stated, r)), None)
    repairs = list(_repairs(line, sheet, reading))
    named = ", ".join(score.shown for score in smallest)
    return AuditFinding(
        rule="scores",
        paper=source,
        place=_place(line, smallest),
        finding=f"{line.name}: {named} {_cannot(smallest, stated)}".removeprefix("numbers: "),
        evidence=_evidence(smallest, line, sheet, reading=reading, repairs=repairs),
        severity=_severity(stated, other),
        reading=_reading_words(stated, reading, other),
        corrected=f"{repairs[0].score.name} {repairs[0].words}" if len(repairs) == 1 else None,
        recompute=python_for(reading.apply(smallest), stated),
    )


def smallest_conflict(scores: Scores, together: Callable[[Sequence[Score]], bool]) -> Scores:
    """A set of scores that cannot stand together, of which any part can.

    The smallest one if it has up to three scores, else one that cannot be made smaller.
    """
    for size in range(1, min(MOST_TRIED, len(scores) - 1) + 1):
        for some in combinations(scores, size):
            if not together(some):
                return some
    left = scores
    for score in scores:
        without = tuple(s for s in left if s != score)
        if without and not together(without):
            left = without
    return left


def _repairs(line: Line, sheet: Sheet, reading: Reading) -> Iterator[Repair]:
    """Scores without which the line stands, and between which values they would have to lie."""
    if reading.classes == "more" or len(line.scores) < 2 or sheet.folds:
        return
    read = reading.apply(line.scores)
    for i, score in enumerate(read):
        others = [s for k, s in enumerate(read) if k != i and not s.deviation]
        demands = [demand(s, sheet.sample, reading) for s in others]
        found = reach(sheet.sample, demands, demand(score, sheet.sample, reading))
        if found is not None:
            size = (sheet.sample.n or 1) if score.is_count else 1
            yield Repair(line.scores[i], found[0] * size, found[1] * size)


def _cannot(smallest: Scores, sheet: Sheet) -> str:
    verb = "cannot be" if len(smallest) == 1 else "cannot stand together"
    return f"{verb}: {_test_words(sheet)}"


def _test_words(sheet: Sheet) -> str:
    sample = sheet.sample
    if sample.n is None:
        return "no confusion matrix of any size gives this"
    split = f"{sample.n} samples"
    if sample.positives is not None:
        low, high = sample.positives
        split += f" with {low if low == high else f'{low} to {high}'} positives"
    elif sheet.two_classes_stated:
        split += " and any class split"
    if sheet.folds:
        return f"no {sheet.folds} folds of {split} give this"
    return f"no confusion matrix of {split} gives this"


def _evidence(
    smallest: Scores, line: Line, sheet: Sheet, *, reading: Reading, repairs: Sequence[Repair]
) -> str:
    words = [f"{r.score.name} would have to be {r.words} beside the other numbers" for r in repairs]
    words += _exchanges(line, sheet, reading)
    if len(smallest) == 1:
        words += _neighbours(smallest[0], sheet.sample)
    if not words:
        words = ["every result that the test allows was tried"]
    return "; ".join(words)


def _exchanges(line: Line, sheet: Sheet, reading: Reading) -> list[str]:
    """Pairs of scores whose exchange makes the line possible."""
    found = []
    for a, b in combinations(line.scores, 2):
        if a.is_count != b.is_count or a.deviation != b.deviation or a.value == b.value:
            continue
        swapped = {a: replace(a, value=b.value, step=b.step, rounding=b.rounding),
                   b: replace(b, value=a.value, step=a.step, rounding=a.rounding)}  # fmt: skip
        if fits([swapped.get(s, s) for s in line.scores], sheet, reading):
            found.append(f"exchanging {a.name} and {b.name} makes all of them possible")
    return found


def _neighbours(score: Score, sample: Sample) -> list[str]:
    if score.metric not in ("accuracy", "error_rate") or sample.n is None:
        return [f"{score.text} is out of range or not a share of the class"]
    k = int(score.value * sample.n)
    around = " and ".join(f"{j}/{sample.n} = {100 * j / sample.n:.4f} %" for j in (k, k + 1))
    return [f"{score.text} of {sample.n} is {score.value * sample.n:.2f}; nearest are {around}"]


def _severity(sheet: Sheet, other: Reading | None) -> Severity:
    if other is None:
        return "contradiction"
    left_open = {reading.averaging for reading in stated_readings(sheet)}
    only_cut_off = other.rounding == "truncated" and other.averaging in left_open
    return "hint" if only_cut_off and other.pooling == "stratified" else "caution"


def _reading_words(sheet: Sheet, reading: Reading, other: Reading | None) -> str:
    words = f"read as {reading.words(sheet)}"
    if other is None:
        return f"{words}; no other reading that was tried explains it"
    return f"{words}; possible as {other.words(sheet)}"


def _place(line: Line, scores: Scores) -> str:
    return "; ".join(dict.fromkeys(s.place for s in scores if s.place)) or line.place


# --- lines of one test ----------------------------------------------------------------------------


def _other_test(
    sheet: Sheet, splits: dict[str, frozenset[int]], *, reading: Reading, source: str
) -> AuditFinding:
    """Lines of one test share its class split; these leave none that all of them allow."""
    apart = _apart(splits)
    lines = [line for line in sheet.lines if line.name in apart]
    shown = replace(sheet, lines=tuple(lines))
    other = next((r for r in other_readings(shown) if _share_a_split(shown, r)), None)
    needs = "; ".join(f"{name} needs {_spans(splits[name])} positives" for name in apart)
    return AuditFinding(
        rule="test set",
        paper=source,
        place="; ".join(dict.fromkeys(line.place for line in lines)),
        finding=f"{' and '.join(apart)} cannot be of the same test set",
        evidence=f"{needs} of {sheet.sample.n}",
        severity=_severity(sheet, other),
        reading=_reading_words(sheet, reading, other),
        recompute="\n".join(
            python_for(reading.apply(line.scores), sheet, everything=True) for line in lines
        ),
    )


def _splits(sheet: Sheet, reading: Reading) -> dict[str, frozenset[int]]:
    """Of each line that narrows it, the numbers of positives that it allows."""
    n = sheet.sample.n
    fixed = sheet.sample.positives is not None and len(set(sheet.sample.positives)) == 1
    if n is None or n > LARGEST_SHARED or fixed or sheet.folds or reading.classes == "more":
        return {}
    found = {}
    for line in sheet.lines:
        if len(line.scores) > 1 and len(sheet.lines) > 1:
            read = reading.apply(line.scores)
            demands = [demand(s, sheet.sample, reading) for s in read if not s.deviation]
            splits = possible_splits(sheet.sample, demands)
            if splits is not None:
                found[line.name] = splits
    return found


def _apart(splits: dict[str, frozenset[int]]) -> tuple[str, ...]:
    """The fewest lines that have no split in common."""
    for size in (1, 2, 3):
        for names in combinations(splits, size):
            if not frozenset.intersection(*(splits[name] for name in names)):
                return names
    return tuple(splits)


def _share_a_split(sheet: Sheet, reading: Reading) -> bool:
    if reading.classes == "more":
        return all(fits(line.scores, sheet, reading) for line in sheet.lines)
    splits = _splits(sheet, reading)
    return not splits or bool(frozenset.intersection(*splits.values()))


def _spans(numbers: frozenset[int]) -> str:
    if not numbers:
        return "no number of"
    return f"{min(numbers)}" if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _copies(sheet: Sheet, source: str) -> list[AuditFinding]:
    """Two lines that agree in three scores or more, each of three digits or more."""
    found = []
    for a, b in combinations(sheet.lines, 2):
        fine = [s for s in a.scores if s.step <= 0.001 and not s.is_count]
        same = [s for s in a.scores if any(s.metric == t.metric and s.text == t.text
                                           for t in b.scores)]  # fmt: skip
        if len(fine) >= 3 and len(same) == len(a.scores) == len(b.scores):
            found.append(
                AuditFinding(
                    rule="copies",
                    paper=source,
                    place=a.place,
                    finding=f"{a.name} and {b.name} are the same in all {len(same)} numbers",
                    evidence=", ".join(s.shown for s in same),
                    severity="hint",
                    reading="two models may agree in every sample; a copied row is likelier",
                )
            )
    return found

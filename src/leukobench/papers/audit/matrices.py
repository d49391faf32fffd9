"""Rules about confusion matrices and the scores that follow from them: precision, recall, F1, accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from leukobench.evaluation.registry import find
from leukobench.papers.audit.arithmetic import (
    AllMatrices,
    Matrix,
    bounds,
    counts_that_print,
    harmonic,
    macro_f1_near,
    prints_as,
    smallest_size,
)
from leukobench.papers.audit.findings import (
    AuditFinding,
    Severity,
    number,
    percent,
    printed,
    rule,
    select,
)
from leukobench.papers.spec import Cell, Paper

Name = Literal["tp", "fn", "fp", "tn"]
TRUE_ROWS: tuple[tuple[Name, Name], ...] = (("tp", "fn"), ("tn", "fp"))
SWAPPED_ROWS: tuple[tuple[Name, Name], ...] = (("tp", "fp"), ("tn", "fn"))


@dataclass(frozen=True)
class Recovered:
    """Matrices of one table, read so that they agree: what the names mean, the row sums, the repaired entries."""

    swapped: bool
    sums: tuple[int, int]
    agreeing: tuple[int, int]
    matrices: dict[str, Matrix]
    repairs: list[tuple[str, Name, int | None, int]]


def recover(paper: Paper, table: str, named: dict[Name, str], accuracy: str | None) -> Recovered:
    """Read the named counts of all models that were tested on the same samples.

    The same test samples give every model the same two row sums (samples of each true class). The pairing of the four
    names under which most models agree on them is therefore the true one. A row that disagrees or lacks a number is
    repaired from the row sum; which of its two entries is wrong is decided by the printed accuracy, if any.
    """
    rows = [r.id for r in paper.table(table).rows]
    given: dict[str, dict[Name, int | None]] = {}
    for row in rows:
        cells = {name: paper.cell(f"{table}/{row}/{column}") for name, column in named.items()}
        given[row] = {
            name: None if c.value is None else round(c.value) for name, c in cells.items()
        }

    def sums(pair: tuple[Name, Name]) -> Counter[int]:
        return Counter(
            a + b
            for g in given.values()
            if (a := g[pair[0]]) is not None and (b := g[pair[1]]) is not None
        )

    def agreement(pairs: tuple[tuple[Name, Name], ...]) -> list[tuple[int, int]]:
        return [sums(pair).most_common(1)[0] for pair in pairs]

    swapped = sum(k for _, k in agreement(SWAPPED_ROWS)) > sum(k for _, k in agreement(TRUE_ROWS))
    pairs = SWAPPED_ROWS if swapped else TRUE_ROWS
    (positives, k_positive), (negatives, k_negative) = agreement(pairs)
    printed_accuracy = {c.row: c for c in select(paper, accuracy)} if accuracy else {}

    matrices: dict[str, Matrix] = {}
    repairs: list[tuple[str, Name, int | None, int]] = []
    for row, counts in given.items():
        fixed = dict(counts)
        for pair, total in zip(pairs, (positives, negatives)):
            a, b = counts[pair[0]], counts[pair[1]]
            if a is not None and b is not None and a + b == total:
                continue
            options: list[tuple[Name, int]] = []
            if b is not None and (a is None or total - b >= 0):
                options.append((pair[0], total - b))
            if a is not None and (b is None or total - a >= 0):
                options.append((pair[1], total - a))
            if row in printed_accuracy and len(options) > 1:
                cell = printed_accuracy[row]
                right: dict[Name, int | None] = {"tp": counts["tp"], "tn": counts["tn"]}
                options = [
                    (name, value)
                    for name, value in options
                    if any(
                        prints_as(
                            _sum({**right, name: value}) / (positives + negatives),
                            number(cell),
                            cell.step,
                            r,
                        )
                        for r in ("rounded", "truncated")
                    )
                ] or options
            if len(options) == 1:
                name, value = options[0]
                repairs.append((row, name, counts[name], value))
                fixed[name] = value
        if all(v is not None for v in fixed.values()):
            tp, fn, fp, tn = (fixed[name] or 0 for name in ("tp", "fn", "fp", "tn"))
            matrices[row] = Matrix(tp, fp, fn, tn) if swapped else Matrix(tp, fn, fp, tn)
    return Recovered(swapped, (positives, negatives), (k_positive, k_negative), matrices, repairs)


def _sum(right: dict[Name, int | None]) -> int:
    """Correct answers: only tp and tn count."""
    return sum(right[name] or 0 for name in ("tp", "tn") if name in right)


@rule()
def confusion_matrices(
    paper: Paper, *, table: str, named: dict[Name, str], accuracy: str | None = None
) -> Iterator[AuditFinding]:
    """Models tested on the same samples share the row sums of their confusion matrices: the samples of each class.

    Finds the row sums, entries that break them (with the value that mends them), and names given the wrong way round:
    where TP + "FP" is the same for every model and TP + "FN" is not, the "false positives" are missed positives.
    `named` says which column is called what, `accuracy` fits the printed accuracies.
    """
    found = recover(paper, table, named, accuracy)
    positives, negatives = found.sums
    models = len(paper.table(table).rows)
    rows = SWAPPED_ROWS if found.swapped else TRUE_ROWS
    printed_rows = [f"{a.upper()} + {b.upper()}" for a, b in rows]
    place = paper.cells(table)[0].place
    yield AuditFinding(
        "confusion_matrices",
        paper.key,
        place,
        f"All matrices are of the same {positives + negatives} samples, {positives} of one class and {negatives} of "
        "the other",
        f"{printed_rows[0]} = {positives} in {found.agreeing[0]} of {models}, {printed_rows[1]} = {negatives} in "
        f"{found.agreeing[1]} of {models}",
        "note",
    )
    if found.swapped:
        columns = {
            f"TP + FN of {c.keys['row']}": number(c)
            + number(paper.cell(f"{table}/{c.row}/{named['fn']}"))
            for c in select(paper, f"{table}/*/{named['tp']}")
        }
        yield AuditFinding(
            "confusion_matrices",
            paper.key,
            place,
            "False positives and false negatives are named the wrong way round",
            f"{printed_rows[0]} is the same for all models, as the samples of a true class must be; as named, "
            + ", ".join(f"{name} would be {total:.0f}" for name, total in columns.items()),
            "contradiction",
        )
    for row, name, old, new in found.repairs:
        cell = paper.cell(f"{table}/{row}/{named[name]}")
        yield AuditFinding(
            "confusion_matrices",
            paper.key,
            cell.place,
            f"{row}: {name.upper()} is {'not printed' if old is None else f'printed {old}'} and must be {new}",
            f"its row of the matrix has {positives if name in rows[0] else negatives} samples",
            "note" if old is None else "contradiction",
            float(new),
        )


@rule()
def scores_from_counts(
    paper: Paper,
    *,
    table: str,
    named: dict[Name, str],
    accuracy: str,
    scores: list[str] = [],  # noqa: B006
    repeated: list[str] = [],  # noqa: B006
) -> Iterator[AuditFinding]:
    """Printed scores against those of the (repaired) confusion matrices.

    Tells accuracies that were cut off instead of rounded, precision and recall that changed places, and scores that the
    matrix does not give at all. `scores` fits cells of precision, recall and F1, `repeated` further places that print a
    model's accuracy.
    """
    found = recover(paper, table, named, accuracy)
    cut: list[tuple[Cell, float]] = []
    for cell in [*select(paper, accuracy), *(select(paper, repeated) if repeated else [])]:
        if cell.row not in found.matrices:
            continue
        exact = found.matrices[cell.row].scores()["accuracy"]
        if prints_as(exact, number(cell), cell.step):
            continue
        if prints_as(exact, number(cell), cell.step, "truncated"):
            cut.append((cell, exact))
        else:
            n = found.matrices[cell.row].n
            possible = counts_that_print(number(cell), cell.step, n)
            yield AuditFinding(
                "scores_from_counts",
                paper.key,
                cell.place,
                f"{cell.row}: accuracy {printed(cell)} is not that of its confusion matrix"
                + ("" if possible else f", nor of any on {n} samples"),
                f"the matrix gives {percent(exact, 4)}; {printed(cell)} of {n} would be {number(cell) * n:.1f} samples",
                "contradiction",
                exact,
            )
    if cut:
        yield AuditFinding(
            "scores_from_counts",
            paper.key,
            cut[0][0].place,
            "Accuracies are cut off, not rounded",
            "; ".join(
                f"{cell.row}: {percent(exact, 4)} printed {printed(cell)}" for cell, exact in cut
            ),
            "note",
        )
    by_row: dict[str, dict[str, Cell]] = {}
    for cell in select(paper, scores) if scores else []:
        by_row.setdefault(cell.row, {})[cell.metric or ""] = cell
    for row, cells in by_row.items():
        exact_scores = found.matrices[row].scores()
        off = {m: c for m, c in cells.items() if not prints_as(exact_scores[m], number(c), c.step)}
        if {"precision", "recall"} <= set(off) and all(
            prints_as(exact_scores[other], number(off[m]), off[m].step)
            for m, other in (("precision", "recall"), ("recall", "precision"))
        ):
            extra = ("specificity", "balanced_accuracy")
            yield AuditFinding(
                "scores_from_counts",
                paper.key,
                off["precision"].place,
                f"{row}: precision and recall have changed places",
                f"printed precision {printed(off['precision'])}, recall {printed(off['recall'])}; from the counts "
                f"precision {percent(exact_scores['precision'])}, recall {percent(exact_scores['recall'])}, "
                f"F1 {percent(exact_scores['f1'])}; not printed: "
                + ", ".join(f"{m.replace('_', ' ')} {percent(exact_scores[m], 1)}" for m in extra),
                "contradiction",
                exact_scores["precision"],
            )
            continue
        for metric, cell in off.items():
            yield AuditFinding(
                "scores_from_counts",
                paper.key,
                cell.place,
                f"{row}: {metric} {printed(cell)} is not that of its confusion matrix",
                f"from the counts {percent(exact_scores[metric])}",
                "contradiction",
                exact_scores[metric],
            )


@rule()
def hidden_by_accuracy(
    paper: Paper, *, table: str, named: dict[Name, str], accuracy: str | None = None
) -> Iterator[AuditFinding]:
    """What accuracy hides where one class is larger: the recall of the smaller class, and the order of the models.

    From the (repaired) confusion matrices: specificity, balanced accuracy, and models whose rank differs by it.
    """
    found = recover(paper, table, named, accuracy)
    scores = {row: m.scores() for row, m in found.matrices.items()}
    by_accuracy = sorted(scores, key=lambda r: -scores[r]["accuracy"])
    by_balanced = sorted(scores, key=lambda r: -scores[r]["balanced_accuracy"])
    moved = [
        f"{r} is number {by_balanced.index(r) + 1}, not {by_accuracy.index(r) + 1}"
        for r in by_balanced
        if by_balanced.index(r) != by_accuracy.index(r)
    ]
    low = min(scores.values(), key=lambda s: s["specificity"])["specificity"]
    high = max(scores.values(), key=lambda s: s["specificity"])["specificity"]
    majority = max(found.sums) / sum(found.sums)
    yield AuditFinding(
        "hidden_by_accuracy",
        paper.key,
        paper.cells(table)[0].place,
        f"The smaller class is recognised in {percent(low, 1)} to {percent(high, 1)} only; always answering the larger "
        f"one scores {percent(majority)}"
        + (f"; by balanced accuracy {', '.join(moved)}" if moved else ""),
        "; ".join(
            f"{r}: TP {m.tp}, FN {m.fn}, FP {m.fp}, TN {m.tn}, balanced accuracy "
            f"{percent(scores[r]['balanced_accuracy'], 1)}"
            for r, m in found.matrices.items()
        ),
        "caution",
    )


def _triples(paper: Paper, tables: list[str]) -> list[dict[str, Cell]]:
    """Rows with a printed precision, recall and F1 of one test (no means of rows), as metric: cell."""
    triples = []
    for id in tables:
        rows: dict[str, dict[str, Cell]] = {}
        for cell in paper.cells(paper.table(id).id):
            if cell.value is not None and not cell.mean_of and cell.metric:
                rows.setdefault(cell.row, {})[cell.metric] = cell
        triples += [row for row in rows.values() if {"precision", "recall", "f1"} <= set(row)]
    return triples


def _values(row: dict[str, Cell], *metrics: str) -> dict[str, tuple[float, float]]:
    return {m: (number(row[m]), row[m].step) for m in metrics}


def _name(cell: Cell) -> str:
    return f"{cell.table}, row {cell.row}"


@rule()
def impossible_triples(
    paper: Paper,
    *,
    tables: list[str],
    counts: dict[str, int],
    averaging: str = "macro",
    spread: int = 0,
) -> Iterator[AuditFinding]:
    """Precision, recall and F1 of a two-class test must come from some confusion matrix.

    Tries every matrix whose row sums are `counts` (positive class first) and says how many printed rows each averaging
    can explain; that names the averaging. A row that no matrix explains is impossible; the F1 that its precision and
    recall allow is given. `spread` also tries class counts that differ by up to so many samples.
    """
    rows = _triples(paper, tables)
    positives, negatives = counts.values()
    every = AllMatrices(positives, negatives)
    kinds = ("macro", "weighted", "positive", "negative")
    fits = {
        kind: [
            bool(every.that_print(_values(row, "recall", "precision", "f1"), kind).any())
            for row in rows
        ]
        for kind in kinds
    }
    names = dict(zip(("positive", "negative"), counts))
    yield AuditFinding(
        "impossible_triples",
        paper.key,
        "; ".join(dict.fromkeys(row["f1"].place for row in rows)),
        f"Precision, recall and F1 are {max(kinds, key=lambda k: sum(fits[k]))} averages",
        f"of {len(rows)} rows, matrices with {positives} and {negatives} samples explain "
        + ", ".join(
            f"{sum(fits[k])} as "
            + (f"values of {names[k]} alone" if k in names else f"{k} averages")
            for k in kinds
        ),
        "note",
    )
    for row, possible in zip(rows, fits[averaging]):
        if possible or averaging != "macro":
            continue
        value, step = number(row["f1"]), row["f1"].step
        ranges = [
            found
            for shift in range(-spread, spread + 1)
            if (
                found := macro_f1_near(
                    positives + shift,
                    negatives - shift,
                    (number(row["recall"]), row["recall"].step),
                    (number(row["precision"]), row["precision"].step),
                )
            )
        ]
        if not ranges:
            evidence = "no matrix has this precision and recall"
            low = high = float("nan")
        else:
            low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
            if low <= bounds(value, step)[1] and high >= bounds(value, step)[0]:
                continue
            evidence = f"recall {printed(row['recall'])} and precision {printed(row['precision'])} allow {low:.3f} to {high:.3f}"
        tried = (
            f" ({positives - spread} to {positives + spread} {next(iter(counts))} tried)"
            if spread
            else ""
        )
        same = round(low / step) == round(high / step) if ranges else False
        yield AuditFinding(
            "impossible_triples",
            paper.key,
            row["f1"].place,
            f"{_name(row['f1'])}: F1 {printed(row['f1'])} is impossible beside its precision and recall",
            evidence + tried,
            "contradiction",
            round(low / step) * step if same else None,
        )


@rule()
def accuracy_of_triples(
    paper: Paper,
    *,
    accuracies: dict[str, str],
    counts: dict[str, int],
    averaging: str = "macro",
    step: float = 0.01,
) -> Iterator[AuditFinding]:
    """A row of macro precision, recall and F1 leaves room for few accuracies only.

    `accuracies` maps the cell of a printed accuracy to the row (`TABLE/ROW`) of its precision, recall and F1. The
    accuracies of all matrices that explain the row are compared with the printed one, read to `step`: none rounds to
    it, less than a quarter do, or none does when its further decimals are taken at their word. Where the row itself is
    impossible, its F1 is left out.
    """
    every = AllMatrices(*counts.values())
    for ref, row_ref in accuracies.items():
        cell = select(paper, ref)[0]
        row = {c.metric or "": c for c in select(paper, f"{row_ref}/*")}
        mask = every.that_print(_values(row, "recall", "precision", "f1"), averaging)
        without = ""
        if not mask.any():
            mask = every.that_print(_values(row, "recall", "precision"), averaging)
            without = " (without the impossible F1)"
        if not mask.any():
            continue
        possible = np.unique(every.accuracy[mask])
        goes = row_ref.replace("/", ", row ")
        fitting = [x for x in possible if prints_as(float(x), number(cell), max(step, cell.step))]
        evidence = f"{goes} allows {possible[0]:.3f} to {possible[-1]:.3f}{without}; printed {printed(cell)}"
        severity: Severity = "caution"
        if not fitting:
            finding, severity = f"Accuracy {printed(cell)} does not go with {goes}", "contradiction"
        elif len(fitting) < len(possible) / 4:
            finding = f"Accuracy {printed(cell)} hardly goes with {goes}"
            evidence += (
                f", which only {len(fitting)} of the {len(possible)} possible values round to"
            )
        elif not any(prints_as(float(x), number(cell), cell.step) for x in possible):
            finding = f"The decimals of accuracy {printed(cell)} are no digits of the result"
        else:
            continue
        yield AuditFinding(
            "accuracy_of_triples", paper.key, cell.place, finding, evidence, severity
        )


@rule(automatic=True)
def f1_not_harmonic(paper: Paper) -> Iterator[AuditFinding]:
    """F1 of one class is the harmonic mean of its precision and recall, so it lies between them.

    A mean of class F1s (macro, weighted) is not the harmonic mean of the mean precision and recall and may even lie
    outside them. Where it differs beyond rounding, a binary F1 is wrong and an averaged one shows the averaging.
    """
    for table in paper.tables:
        off: list[str] = []
        for row in _triples(paper, [table.id]):
            (p, p_step), (r, r_step), (f, f_step) = _values(
                row, "precision", "recall", "f1"
            ).values()
            low = harmonic(bounds(p, p_step)[0], bounds(r, r_step)[0])
            high = harmonic(bounds(p, p_step)[1], bounds(r, r_step)[1])
            f_low, f_high = bounds(f, f_step)
            if f_high >= low and f_low <= high:
                continue
            text = f"row {row['f1'].row}: 2PR/(P+R) = {harmonic(p, r):.3f}, printed {printed(row['f1'])}"
            if f_low > max(p, r) or f_high < min(p, r):
                text += ", outside precision and recall"
            if row["f1"].averaging == "binary":
                yield AuditFinding(
                    "f1_not_harmonic",
                    paper.key,
                    row["f1"].place,
                    f"{_name(row['f1'])}: F1 is not that of its precision and recall",
                    text,
                    "contradiction",
                    harmonic(p, r),
                )
            else:
                off.append(text)
        if off:
            yield AuditFinding(
                "f1_not_harmonic",
                paper.key,
                paper.cells(table.id)[0].place,
                f"F1 is an average over classes, not the harmonic mean of the printed precision and recall ({len(off)} "
                f"row{'s' * (len(off) > 1)})",
                "; ".join(off),
                "note",
            )


@rule(automatic=True)
def averaging_implied(paper: Paper) -> Iterator[AuditFinding]:
    """Weighted recall equals accuracy, always; macro recall hardly ever does. Equal columns name the averaging."""
    for table in paper.tables:
        pairs = [
            (a, r)
            for row in table.rows
            for a in paper.cells(table.id)
            if a.row == row.id
            and a.metric == "accuracy"
            and a.value is not None
            and a.averaging != "binary"
            for r in paper.cells(table.id)
            if r.row == row.id and r.metric == "recall" and r.value is not None and r.part == a.part
        ]
        if len(pairs) < 2:
            continue
        # Rounding may part equal values, but intervals that only touch (.94 and .95) are taken as different.
        same = [
            (a, r) for a, r in pairs if abs(number(a) - number(r)) < (a.step + r.step) / 2 - 1e-9
        ]
        differ = [
            f"{a.row}: accuracy {printed(a)}, recall {printed(r)}"
            for a, r in pairs
            if (a, r) not in same
        ]
        if len(same) < 2:
            continue
        place = pairs[0][0].place
        if differ:
            text = (
                "; ".join(differ)
                + ": weighted averages cannot differ so, or these rows are averaged otherwise"
            )
            yield AuditFinding(
                "averaging_implied",
                paper.key,
                place,
                f"Recall equals accuracy in {len(same)} of {len(pairs)} rows: weighted averages, with exceptions",
                text,
                "caution",
            )
        else:
            yield AuditFinding(
                "averaging_implied",
                paper.key,
                place,
                "Precision, recall and F1 are weighted averages",
                f"recall equals accuracy in {len(same)} of {len(pairs)} rows",
                "note",
            )


@rule(automatic=True)
def totals_are_means(paper: Paper) -> Iterator[AuditFinding]:
    """A row that averages others (`mean_of`) must be their mean; called a total, it is not one."""
    for table in paper.tables:
        means = [c for c in paper.cells(table.id) if c.mean_of and c.value is not None]
        called_total: list[str] = []
        for cell in means:
            values = [
                number(paper.cell(ref)) for ref in cell.mean_of if paper.cell(ref).value is not None
            ]
            mean = float(np.mean(values))
            if "total" in f"{cell.row} {cell.keys['row']}".lower():
                called_total.append(
                    f"{cell.column}: sum {sum(values):.2f}, mean {mean:.4f}, printed {printed(cell)}"
                )
            if not prints_as(mean, number(cell), cell.step):
                yield AuditFinding(
                    "totals_are_means",
                    paper.key,
                    cell.place,
                    f"{_name(cell)}: {cell.column} {printed(cell)} is not the mean of its rows",
                    f"mean of {len(values)} rows {mean:.4f}",
                    "contradiction",
                    mean,
                )
        if called_total:
            yield AuditFinding(
                "totals_are_means",
                paper.key,
                means[0].place,
                "The row called a total holds means",
                "; ".join(called_total),
                "note",
            )


@rule(automatic=True)
def accuracy_between(paper: Paper) -> Iterator[AuditFinding]:
    """In a two-class test, accuracy is a weighted mean of sensitivity and specificity and lies between them.

    The weight is the share of positives, so the three numbers bound that share.
    """
    for table in paper.tables:
        for row in table.rows:
            cells = {
                c.metric: c
                for c in paper.cells(table.id)
                if c.row == row.id and c.value is not None
            }
            if not {"accuracy", "sensitivity", "specificity"} <= set(cells):
                continue
            acc, sens, spec = (cells[m] for m in ("accuracy", "sensitivity", "specificity"))
            a, s, t = number(acc), number(sens), number(spec)
            low, high = min(s, t) - sens.step, max(s, t) + spec.step
            if a > high or (a < low and acc.relation != ">"):
                yield AuditFinding(
                    "accuracy_between",
                    paper.key,
                    acc.place,
                    f"Accuracy {printed(acc)} does not lie between sensitivity and specificity: this is no two-class test",
                    f"sensitivity {printed(sens)}, specificity {printed(spec)}",
                    "contradiction",
                )
            elif abs(s - t) > max(sens.step, spec.step):
                share = (a - t) / (s - t)
                sign = {">": "less" if s < t else "more", "=": "about"}.get(acc.relation, "about")
                word = f"{sign} than" if sign != "about" else sign
                yield AuditFinding(
                    "accuracy_between",
                    paper.key,
                    acc.place,
                    f"As a two-class test, {word} {percent(share, 0)} of its samples must be positive",
                    f"accuracy {acc.relation if acc.relation != '=' else ''}{printed(acc)}, sensitivity {printed(sens)}, "
                    f"specificity {printed(spec)}",
                    "note",
                )


@rule(automatic=True)
def values_in_range(paper: Paper) -> Iterator[AuditFinding]:
    """Metrics lie within their bounds: shares between 0 and 1 (0 % and 100 %)."""
    for cell in paper.published():
        metric = find(cell.metric)
        if metric is None or cell.value is None:
            continue
        low, high = metric.bounds
        if not low <= cell.value <= high:
            yield AuditFinding(
                "values_in_range",
                paper.key,
                cell.place,
                f"{cell.ref}: {printed(cell)} is no {cell.metric}",
                f"outside {low:g} to {high:g}",
                "contradiction",
            )


@rule()
def joint_counts(
    paper: Paper,
    *,
    sensitivity: str,
    specificity: str,
    accuracy: str,
    known: dict[str, list[int]],
    limit: int = 400,
) -> Iterator[AuditFinding]:
    """The smallest two-class test whose counts print the given sensitivity and specificity.

    `known` are the class counts (positive, negative) of data sets that the paper may have used, `limit` the largest
    class tried.
    """
    sens, spec, acc = (select(paper, ref)[0] for ref in (sensitivity, specificity, accuracy))
    evidence = []
    for cell in (sens, spec):
        rounded = smallest_size(number(cell), cell.step, limit=limit)
        cut = smallest_size(number(cell), cell.step, "truncated", limit=limit)
        texts = [
            f"{counts_that_print(number(cell), cell.step, n, r)[-1]}/{n} {r}"  # type: ignore[arg-type]
            if n
            else f"no k/n up to {limit} {r}"
            for n, r in ((rounded, "rounded"), (cut, "truncated"))
        ]
        evidence.append(f"{printed(cell)}: {', '.join(texts)}")

    def sizes(cell: Cell) -> list[tuple[int, int]]:
        """(n, k) for every n up to the limit that can print the cell, rounded or cut off."""
        return [
            (n, ks[-1])
            for n in range(1, limit + 1)
            if (ks := counts_that_print(number(cell), cell.step, n) or counts_that_print(number(cell), cell.step, n, "truncated"))
        ]  # fmt: skip

    joint = sorted(
        (p + q, p, kp, q, kq)
        for p, kp in sizes(sens)
        for q, kq in sizes(spec)
        if (kp + kq) / (p + q) > number(acc)
    )
    if joint:
        n, p, kp, q, kq = joint[0]
        evidence.append(
            f"smallest test with both and more than {printed(acc)}: {kp}/{p} and {kq}/{q}, n = {n}"
        )
    possible = {cell.ref: {n for n, _ in sizes(cell)} for cell in (sens, spec)}
    evidence += [f"{name}: {p} and {q} of {p + q}" for name, (p, q) in known.items()]
    if not any(p in possible[sens.ref] and q in possible[spec.ref] for p, q in known.values()):
        yield AuditFinding(
            "joint_counts",
            paper.key,
            sens.place,
            "No data set that the paper may have used gives these percentages as a two-class test of all its samples",
            "; ".join(evidence),
            "caution",
        )


@rule()
def one_vs_rest_reading(
    paper: Paper, *, sensitivity: str, specificity: str, accuracy: str, classes: list[int]
) -> Iterator[AuditFinding]:
    """What a K-class result looks like when it is averaged one class against the rest.

    With K classes of equal size and multi-class accuracy a, the mean sensitivity is a, the mean specificity
    1 - (1 - a) / (K - 1), and the mean one-vs-rest accuracy 1 - 2 (1 - a) / K, which is far above a. Tells for which of
    `classes` the printed specificity is nearest; the printed "accuracy" is then no accuracy.
    """
    sens, spec, acc = (select(paper, ref)[0] for ref in (sensitivity, specificity, accuracy))
    a = number(sens)
    rest = {k: (1 - (1 - a) / (k - 1), 1 - 2 * (1 - a) / k) for k in classes}
    near = sorted(sorted(rest, key=lambda k: abs(rest[k][0] - number(spec)))[:2])
    yield AuditFinding(
        "one_vs_rest_reading",
        paper.key,
        acc.place,
        f"The three numbers fit one-vs-rest means of a task with {near[0]} to {near[1]} classes; its multi-class accuracy "
        f"would be {printed(sens)}, not {printed(acc)}",
        "; ".join(
            f"{k} classes: specificity {rest[k][0]:.4f}, one-vs-rest accuracy {rest[k][1]:.4f}"
            for k in near
        )
        + f"; printed {printed(spec)} and {acc.relation}{printed(acc)}",
        "caution",
    )

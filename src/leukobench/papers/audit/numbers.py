"""The audit of a user's own numbers: a confusion matrix, scores, a number of samples, without any paper file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leukobench.errors import LeukoBenchError
from leukobench.papers.audit.arithmetic import (
    AllMatrices,
    Matrix,
    Reading,
    bounds,
    clopper_pearson,
    counts_that_print,
    harmonic,
    prints_as,
    smallest_size,
)
from leukobench.papers.audit.findings import AuditFinding, Severity, percent
from leukobench.papers.spec import printed_decimals, printed_number

Number = str | float | int
MOST_MATRICES = 4_000_000
"""Up to here every confusion matrix is tried: half a second and 300 MB."""

Scores = dict[str, tuple[float, float]]
Say = Callable[..., None]


def audit_numbers(
    confusion: Sequence[int] | None = None,
    *,
    accuracy: Number | None = None,
    precision: Number | None = None,
    recall: Number | None = None,
    specificity: Number | None = None,
    f1: Number | None = None,
    n: int | None = None,
    positives: int | None = None,
) -> list[AuditFinding]:
    """What a confusion matrix and scores say about each other.

    Args:
        confusion: TP, FN, FP, TN; rows are the truth, the positive class first.
        accuracy, precision, recall, specificity, f1: As printed. Text keeps its decimals (`"77.10"`); a number above 1,
            or text with `%`, is a percentage.
        n: Number of samples, where there is no matrix.
        positives: Number of samples of the positive class, where there is no matrix.

    Raises:
        LeukoBenchError: A number that cannot be read, or counts that are negative.
    """
    given = {
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "specificity": specificity,
        "f1": f1,
    }
    scores = {name: _read(name, value) for name, value in given.items() if value is not None}
    shown = {name: str(given[name]) for name in scores}
    findings: list[AuditFinding] = []

    def say(
        rule: str, severity: Severity, finding: str, evidence: str, corrected: float | None = None
    ) -> None:
        findings.append(
            AuditFinding(rule, "numbers", "given numbers", finding, evidence, severity, corrected)
        )

    for name, (value, _) in scores.items():
        if not 0 <= value <= 1:
            raise LeukoBenchError(
                f"{name} {shown[name]}: a share lies between 0 and 1, or 0 and 100 %"
            )
    if confusion is not None:
        if len(confusion) != 4 or min(confusion) < 0 or sum(confusion) == 0:
            raise LeukoBenchError(
                f"confusion {tuple(confusion)}: four counts TP FN FP TN, none negative, not all 0"
            )
        matrix = Matrix(*(int(x) for x in confusion))
        if n is not None and n != matrix.n:
            say(
                "confusion_matrices",
                "contradiction",
                f"The matrix has {matrix.n} samples, not {n}",
                f"{matrix}",
            )
        _against_matrix(matrix, scores, shown, say)
        return findings
    _without_matrix(scores, shown, n, positives, say)
    return findings


def _read(name: str, value: Number) -> tuple[float, float]:
    """(value, step) as fractions."""
    text = str(value).strip()
    number = printed_number(text)
    if number is None:
        raise LeukoBenchError(f"{name} {text!r} is not a number; write 0.771, 77.1 or 77.1%")
    decimals = printed_decimals(text)
    if text.endswith("%"):
        return number, 10.0 ** -(decimals + 2)
    if number > 1:
        return float(f"{text.replace(',', '.')}e-2"), 10.0 ** -(decimals + 2)
    return number, 10.0**-decimals


def _against_matrix(matrix: Matrix, scores: Scores, shown: dict[str, str], say: Say) -> None:
    exact = matrix.scores()
    # The same counts with FP and FN exchanged: another matrix with the same accuracy.
    exchanged = Matrix(matrix.tp, matrix.fp, matrix.fn, matrix.tn).scores()
    off = {m: v for m, v in scores.items() if not prints_as(exact[m], *v)}
    cut = {m for m, v in off.items() if prints_as(exact[m], *v, "truncated")}
    for m in sorted(cut):
        say(
            "scores_from_counts",
            "note",
            f"{m} is cut off, not rounded",
            f"from the counts {percent(exact[m], 4)}, given {shown[m]}",
            exact[m],
        )
    off = {m: v for m, v in off.items() if m not in cut}
    if off and all(prints_as(exchanged[m], *v) for m, v in scores.items() if m not in cut):
        say(
            "scores_from_counts",
            "contradiction",
            "The scores are those of the matrix with FP and FN exchanged"
            if set(off) != {"precision", "recall"}
            else "Precision and recall have changed places (or FP and FN have)",
            "; ".join(f"{m}: {percent(exact[m])} from the counts, given {shown[m]}" for m in off),
        )
    else:
        for m in off:
            say(
                "scores_from_counts",
                "contradiction",
                f"{m} is not that of the matrix",
                f"from the counts {percent(exact[m], 4)}, given {shown[m]}",
                exact[m],
            )
    majority = max(matrix.positives, matrix.negatives) / matrix.n
    say(
        "hidden_by_accuracy",
        "caution" if exact["accuracy"] <= majority + 0.1 and majority > 0.55 else "note",
        f"Accuracy {percent(exact['accuracy'])} beside balanced accuracy {percent(exact['balanced_accuracy'])}; always "
        f"answering the larger class is right in {percent(majority)}",
        f"sensitivity {percent(exact['recall'])}, specificity {percent(exact['specificity'])}, precision "
        f"{percent(exact['precision'])}, F1 {percent(exact['f1'])} of {matrix.n} samples",
    )
    low, high = clopper_pearson(matrix.tp + matrix.tn, matrix.n)
    say(
        "small_test",
        "caution" if high - low > 0.1 else "note",
        f"The accuracy's 95 % interval is {percent(low, 1)} to {percent(high, 1)}",
        f"Clopper-Pearson, {matrix.tp + matrix.tn} of {matrix.n}",
    )


def _without_matrix(
    scores: Scores, shown: dict[str, str], n: int | None, positives: int | None, say: Say
) -> None:
    readings: tuple[Reading, ...] = ("rounded", "truncated")
    if n is not None and "accuracy" in scores:
        value, step = scores["accuracy"]
        ks = {r: counts_that_print(value, step, n, r) for r in readings}
        if not any(ks.values()):
            say(
                "possible_sizes",
                "contradiction",
                f"accuracy {shown['accuracy']} cannot come from {n} samples",
                f"{shown['accuracy']} of {n} is {value * n:.2f}; the smallest test that can print it has "
                f"{smallest_size(value, step)} samples",
            )
        else:
            k = (ks["rounded"] or ks["truncated"])[0]
            low, high = clopper_pearson(k, n)
            say(
                "small_test",
                "caution" if high - low > 0.1 else "note",
                f"The accuracy's 95 % interval is {percent(low, 1)} to {percent(high, 1)}",
                f"Clopper-Pearson, {k} of {n}",
            )
    if {"precision", "recall", "f1"} <= set(scores):
        p, r, f = scores["precision"], scores["recall"], scores["f1"]
        low, high = harmonic(bounds(*p)[0], bounds(*r)[0]), harmonic(bounds(*p)[1], bounds(*r)[1])
        if bounds(*f)[1] < low or bounds(*f)[0] > high:
            say(
                "f1_not_harmonic",
                "caution",
                "F1 is not the harmonic mean of precision and recall: an average over classes, or wrong",
                f"2PR/(P+R) = {harmonic(p[0], r[0]):.4f}, given {shown['f1']}",
            )
    if {"accuracy", "recall", "specificity"} <= set(scores):
        (a, a_step), (s, s_step), (t, t_step) = (
            scores[m] for m in ("accuracy", "recall", "specificity")
        )
        if not min(s, t) - s_step - a_step <= a <= max(s, t) + t_step + a_step:
            say(
                "accuracy_between",
                "contradiction",
                "Accuracy does not lie between sensitivity and specificity: this is no two-class test",
                f"{shown['accuracy']}, {shown['recall']}, {shown['specificity']}",
            )
    triple = {m: v for m, v in scores.items() if m in ("precision", "recall", "f1", "accuracy")}
    if n is None or positives is None or not 0 < positives < n or len(triple) < 2:
        return
    if (positives + 1) * (n - positives + 1) <= MOST_MATRICES:
        every = AllMatrices(positives, n - positives)
        kinds = {
            "positive": "of the positive class",
            "macro": "macro averages",
            "weighted": "weighted averages",
        }
        possible = [text for kind, text in kinds.items() if every.that_print(triple, kind).any()]
        listed = ", ".join(f"{m} {shown[m]}" for m in triple)
        if possible:
            say(
                "impossible_triples",
                "note",
                f"The scores are possible as scores {' or '.join(possible)}",
                listed,
            )
        else:
            say(
                "impossible_triples",
                "contradiction",
                f"No confusion matrix with {positives} positives and {n - positives} negatives gives these scores",
                listed,
            )

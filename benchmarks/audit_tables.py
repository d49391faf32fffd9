"""Tables of scores with known truth for `audit.py`: consistent ones from scikit-learn's scores of
simulated predictions, wrong ones with one planted error, and a brute force that decides whether an
error shows at all. Nothing here uses the audit's own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement
from math import floor

import numpy as np
import sklearn
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedKFold

sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
Row = dict[str, str]
Values = dict[str, float]
COUNTS = ("tp", "fn", "fp", "tn")
AVERAGINGS = ("binary", "macro", "weighted", "micro")


@dataclass(frozen=True)
class Printed:
    """A table: rows as typed, and how its numbers came about."""

    rows: tuple[Row, ...]
    values: tuple[Values, ...]
    n: int
    decimals: int
    truncated: bool
    averaging: str


def predictions(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    """Scores of a model of random quality, between 0 and 1."""
    signal = rng.uniform(0.3, 3) * (y - 0.5) + rng.normal(size=len(y)) + rng.normal(0, 0.4)
    return np.asarray(1 / (1 + np.exp(-signal)))


def scores_of(y: np.ndarray, p: np.ndarray, averaging: str) -> Values:
    """What a paper may print of two classes, by scikit-learn."""
    called = (p >= 0.5).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(
        y, called, average=averaging, zero_division=0
    )
    values = {
        "accuracy": accuracy_score(y, called),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "specificity": recall_score(y, called, pos_label=0, zero_division=0),
        "sensitivity": recall_score(y, called, zero_division=0),
    }
    if 0 < y.sum() < len(y):
        values["auroc"] = roc_auc_score(y, p)
        values["balanced_accuracy"] = balanced_accuracy_score(y, called)
        values["mcc"] = matthews_corrcoef(y, called)
        values["kappa"] = cohen_kappa_score(y, called) if 0 < called.sum() < len(y) else 0.0
    counts = {
        "tp": int((y & called).sum()),
        "fn": int((y & (1 - called)).sum()),
        "fp": int(((1 - y) & called).sum()),
        "tn": int(((1 - y) & (1 - called)).sum()),
    }
    return {k: float(v) for k, v in values.items()} | {k: float(v) for k, v in counts.items()}


def text_of(value: float, decimals: int, truncated: bool) -> str:
    if truncated:
        value = floor(value * 10**decimals + 1e-9) / 10**decimals
    return f"{value:.{decimals}f}"


def row_of(values: Values, columns: list[str], decimals: int, truncated: bool) -> Row:
    return {
        c: str(int(values[c])) if c in COUNTS else text_of(values[c], decimals, truncated)
        for c in columns
    }


def consistent(rng: np.random.Generator) -> Printed:
    """A table of one to four models: of one test, of folds, or of many classes."""
    kind = rng.choice(["test", "folds", "classes"], p=[0.7, 0.15, 0.15])
    if kind == "classes":
        return _of_classes(rng)
    return _of_folds(rng) if kind == "folds" else _of_test(rng)


def labels(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    n = int(rng.integers(low, high))
    positives = int(np.clip(round(n * rng.uniform(0.15, 0.85)), 2, n - 2))
    return rng.permutation(np.repeat([1, 0], [positives, n - positives]))


def _columns(rng: np.random.Generator, averaging: str) -> list[str]:
    names = ["accuracy", "precision", "recall", "f1"]
    others = ["specificity", "sensitivity", "auroc", "balanced_accuracy", "mcc", "kappa"]
    extra = list(rng.choice(others, size=int(rng.integers(0, 4)), replace=False))
    # A table that prints scores of the positive class beside averages says so.
    return names + (extra if averaging == "binary" else [e for e in extra if e in others[2:]])


def _of_test(rng: np.random.Generator, sizes: tuple[int, int] = (15, 300)) -> Printed:
    y = labels(rng, *sizes)
    averaging = str(rng.choice(AVERAGINGS))
    columns = _columns(rng, averaging)
    if rng.random() < 0.3:
        columns += COUNTS
    models = [scores_of(y, predictions(rng, y), averaging) for _ in range(rng.integers(1, 5))]
    return table(rng, y, models, columns=columns, averaging=averaging)


def table(
    rng: np.random.Generator,
    y: np.ndarray,
    models: list[Values],
    *,
    columns: list[str],
    averaging: str,
    folds: int | None = None,
) -> Printed:
    decimals, truncated = int(rng.integers(2, 5)), bool(rng.random() < 0.3)
    facts = {"n": str(len(y))}
    if rng.random() < 0.5:
        facts["positives"] = str(int(y.sum()))
    says = rng.random() < 0.6 or any(c in COUNTS for c in columns)
    if says:
        facts["averaging"] = averaging
    if folds:
        facts["folds"] = str(folds)
    rows = [
        {"model": f"M{i}", **facts, **row_of(values, columns, decimals, truncated)}
        for i, values in enumerate(models)
    ]
    if len(models) > 1 and rng.random() < 0.3 and not any(c in COUNTS for c in columns):
        means = {c: float(np.mean([m[c] for m in models])) for c in columns}
        rows.append({"model": "mean", **facts, **row_of(means, columns, decimals, truncated)})
    return Printed(tuple(rows), tuple(models), len(y), decimals, truncated, averaging)


def _of_folds(rng: np.random.Generator) -> Printed:
    y = labels(rng, 30, 70)
    folds = int(rng.choice([2, 3, 5]))
    averaging = str(rng.choice(AVERAGINGS))
    columns = ["accuracy", "recall", "f1", "accuracy_sd"]
    if min(y.sum(), len(y) - y.sum()) < folds:
        return _of_test(rng)
    ddof = int(rng.integers(0, 2))
    models = []
    for _ in range(int(rng.integers(1, 3))):
        p = predictions(rng, y)
        splitter = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(1 << 30)))
        parts = [scores_of(y[t], p[t], averaging) for _, t in splitter.split(y, y)]
        means = {c: float(np.mean([q[c] for q in parts])) for c in columns[:3]}
        means["accuracy_sd"] = float(np.std([q["accuracy"] for q in parts], ddof=ddof))
        models.append(means)
    return table(rng, y, models, columns=columns, averaging=averaging, folds=folds)


def _of_classes(rng: np.random.Generator) -> Printed:
    classes, n = int(rng.integers(3, 9)), int(rng.integers(30, 400))
    y = rng.choice(classes, size=n, p=rng.dirichlet(np.full(classes, 3)))
    averaging = str(rng.choice(AVERAGINGS[1:]))
    models = []
    for _ in range(int(rng.integers(1, 4))):
        wrong = rng.random(n) < rng.uniform(0.05, 0.6)
        called = np.where(wrong, rng.integers(0, classes, n), y)
        precision, recall, f1, _ = precision_recall_fscore_support(
            y, called, average=averaging, zero_division=0
        )
        accuracy = accuracy_score(y, called)
        models.append({"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1})
    printed = table(rng, y > 0, models, columns=list(models[0]), averaging=averaging)
    facts = {"classes": str(classes)}
    rows = [{**facts, **{k: v for k, v in row.items() if k != "positives"}} for row in printed.rows]
    return replace(printed, rows=tuple(rows))


# --- planted errors -------------------------------------------------------------------------------

Planting = Callable[[np.random.Generator, list[Row], Printed], None]


def _digit(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    row = rows[int(rng.integers(len(printed.values)))]
    column = str(rng.choice(["accuracy", "precision", "recall", "f1"]))
    places = [i for i, c in enumerate(row[column]) if c.isdigit() and i > 1]
    i = int(rng.choice(places))
    digit = str((int(row[column][i]) + int(rng.integers(1, 10))) % 10)
    row[column] = row[column][:i] + digit + row[column][i + 1 :]


def _swap_names(rng: np.random.Generator, rows: list[Row], _: Printed) -> None:
    row = rows[0]
    row["precision"], row["recall"] = row["recall"], row["precision"]


def _swap_columns(rng: np.random.Generator, rows: list[Row], _: Printed) -> None:
    for row in rows:
        row["recall"], row["specificity"] = row["specificity"], row["recall"]


def _total(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    for row in rows:
        row["n"] = str(printed.n + int(rng.choice([-3, -2, -1, 1, 2, 3])))
        break
    for row in rows[1:]:
        row["n"] = rows[0]["n"]


def _mean(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    values = {c: float(np.mean([v[c] for v in printed.values])) for c in ("accuracy", "f1")}
    values["accuracy"] += float(rng.choice([-1, 1])) * float(rng.uniform(0.01, 0.1))
    values["accuracy"] = min(values["accuracy"], 1.0)
    rows.append({"model": "mean", "n": rows[0]["n"], "averaging": rows[0]["averaging"],
                 **row_of(values, ["accuracy", "f1"], 3, False)})  # fmt: skip


def _called_total(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    values = {c: float(np.mean([v[c] for v in printed.values])) for c in ("accuracy", "f1")}
    rows.append({"model": "total", "n": rows[0]["n"], "averaging": rows[0]["averaging"],
                 **row_of(values, ["accuracy", "f1"], 3, False)})  # fmt: skip


def _fraction(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    k = int(rng.integers(printed.n // 2, printed.n))
    rows[0]["accuracy"] = text_of((k + 0.5) / printed.n, 3, False)


def _mislabelled(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    others = [a for a in AVERAGINGS if a != rows[0]["averaging"]]
    label = str(rng.choice(others))
    for row in rows:
        row["averaging"] = label


def _auroc(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    rows[0]["auroc"] = text_of(float(rng.uniform(0.3, 0.999)), 3, False)


def _copied_row(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    for column in ("accuracy", "precision", "recall", "f1", "specificity", "auroc"):
        rows[1][column] = rows[0][column]


def _other_split(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    shift = int(rng.integers(1, 5))
    rows[1]["tp"] = str(int(rows[1]["tp"]) + shift)
    rows[1]["tn"] = str(max(int(rows[1]["tn"]) - shift, 0))


def _wrong_specificity(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    for row, values in zip(rows, printed.values):
        row["specificity"] = text_of(values["sensitivity"], 3, False)


def _exchanged_errors(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    rows[0]["fn"], rows[0]["fp"] = rows[0]["fp"], rows[0]["fn"]


def _arithmetic_f1(rng: np.random.Generator, rows: list[Row], printed: Printed) -> None:
    for row, values in zip(rows, printed.values):
        row["f1"] = text_of((values["precision"] + values["recall"]) / 2, 3, False)


KINDS: dict[str, Planting] = {
    "a digit": _digit,
    "precision and recall exchanged": _swap_names,
    "two columns exchanged": _swap_columns,
    "size of the test": _total,
    "a mean that is none": _mean,
    "a mean called a total": _called_total,
    "an impossible fraction": _fraction,
    "averaging mislabelled": _mislabelled,
    "an AUROC": _auroc,
    "a copied row": _copied_row,
    "counts of another split": _other_split,
    "specificity of the wrong class": _wrong_specificity,
    "FN and FP exchanged": _exchanged_errors,
    "F1 as an arithmetic mean": _arithmetic_f1,
}
WITH_COUNTS = ("a copied row", "counts of another split", "FN and FP exchanged")


def planted(rng: np.random.Generator, kind: str) -> Printed:
    """A table of two or three models on one test of up to 60 samples, with one error."""
    y = labels(rng, 20, 61)
    averaging = str(rng.choice(AVERAGINGS[:3])) if kind == "averaging mislabelled" else "binary"
    columns = ["accuracy", "precision", "recall", "f1", "specificity", "auroc"]
    columns += COUNTS if kind in WITH_COUNTS else ()
    models = [scores_of(y, predictions(rng, y), averaging) for _ in range(rng.integers(2, 4))]
    facts = {"n": str(len(y)), "averaging": averaging}
    if rng.random() < 0.5:
        facts["positives"] = str(int(y.sum()))
    rows = [{"model": f"M{i}", **facts, **row_of(m, columns, 3, False)}
            for i, m in enumerate(models)]  # fmt: skip
    printed = Printed(tuple(rows), tuple(models), len(y), 3, False, averaging)
    KINDS[kind](rng, rows, printed)
    return replace(printed, rows=tuple(rows), n=int(rows[0]["n"]), averaging=rows[0]["averaging"])


def planted_deviation(rng: np.random.Generator) -> Printed:
    """Means over two or three equal folds with a standard deviation that is multiplied."""
    folds, positives, negatives = int(rng.integers(2, 4)), *map(int, rng.integers(3, 7, size=2))
    y = np.repeat([1, 0], [positives, negatives])
    parts = [scores_of(y, predictions(rng, y), "binary") for _ in range(folds)]
    accuracies = [part["accuracy"] for part in parts]
    deviation = float(np.std(accuracies, ddof=1)) * float(rng.uniform(0.3, 4)) + 0.01
    row = {"model": "M", "n": str(folds * len(y)), "positives": str(folds * positives),
           "folds": str(folds), "averaging": "binary",
           "accuracy": text_of(float(np.mean(accuracies)), 3, False),
           "recall": text_of(float(np.mean([q["recall"] for q in parts])), 3, False),
           "accuracy_sd": text_of(min(deviation, 0.999), 3, False)}  # fmt: skip
    return Printed((row,), (), folds * len(y), 3, False, "binary")


# --- brute force ----------------------------------------------------------------------------------


def detectable(printed: Printed) -> bool:
    """Whether no result prints the table: neither rounded nor cut off, by trying every one."""
    if "folds" in printed.rows[0]:
        return not any(_folds_print(printed.rows[0], cut) for cut in (False, True))
    plain = [row for row in printed.rows if row["model"] not in ("mean", "total")]
    others = [row for row in printed.rows if row not in plain]
    if any(not _is_mean(row, plain) or row["model"] == "total" for row in others):
        return True
    return not any(_one_test(plain, printed, cut) for cut in (False, True))


def _one_test(rows: list[Row], printed: Printed, cut: bool) -> bool:
    """Whether one class split lets each row be printed."""
    common: set[int] | None = None
    for row in rows:
        splits = set()
        for matrix in _all_matrices(printed.n, row.get("positives")):
            if _prints(row, matrix, printed.averaging, cut):
                splits.add(matrix[0] + matrix[1])
        common = splits if common is None else common & splits
    return bool(common)


@lru_cache(maxsize=200)
def _all_matrices(n: int, positives: str | None) -> list[tuple[int, int, int, int]]:
    """TP, FN, FP, TN of every test of n samples."""
    choices = range(1, n) if positives is None else [int(positives)]
    return [
        (tp, p - tp, n - p - tn, tn)
        for p in choices
        for tp in range(p + 1)
        for tn in range(n - p + 1)
    ]


def _same(value: float, text: str, cut: bool) -> bool:
    step = 10.0 ** -len(text.partition(".")[2])
    if cut:
        return -1e-9 <= value - float(text) < step - 1e-9
    return abs(value - float(text)) <= step / 2 + 1e-9


def _prints(row: Row, matrix: tuple[int, int, int, int], averaging: str, cut: bool) -> bool:
    tp, fn, fp, tn = matrix
    for name, count in zip(COUNTS, matrix):
        if name in row and int(row[name]) != count:
            return False
    n = tp + fn + fp + tn
    if "accuracy" in row and not _same((tp + tn) / n, row["accuracy"], cut):
        return False
    if "specificity" in row and not _same(
        tn / (tn + fp) if tn + fp else 0, row["specificity"], cut
    ):
        return False
    for name, value in zip(("precision", "recall", "f1"), _triple(matrix, averaging)):
        if name in row and not _same(value, row[name], cut):
            return False
    if "auroc" in row:
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        step = 10.0 ** -len(row["auroc"].partition(".")[2])
        low = sensitivity * specificity - step
        high = 1 - (1 - sensitivity) * (1 - specificity) + step
        return low <= float(row["auroc"]) <= high
    return True


def _triple(matrix: tuple[int, int, int, int], averaging: str) -> tuple[float, float, float]:
    tp, fn, fp, tn = matrix
    if averaging == "micro":
        accuracy = (tp + tn) / (tp + fn + fp + tn)
        return accuracy, accuracy, accuracy
    a, b = _of_class(tp, fn, fp), _of_class(tn, fp, fn)
    if averaging == "binary":
        return a
    w = 0.5 if averaging == "macro" else (tp + fn) / (tp + fn + fp + tn)
    p, r, f = (w * x + (1 - w) * y for x, y in zip(a, b))
    return p, r, f


def _of_class(hit: int, missed: int, wrong: int) -> tuple[float, float, float]:
    precision = hit / (hit + wrong) if hit + wrong else 0.0
    recall = hit / (hit + missed) if hit + missed else 0.0
    f1 = 2 * hit / (2 * hit + missed + wrong) if hit + missed + wrong else 0.0
    return precision, recall, f1


def _is_mean(row: Row, rows: list[Row]) -> bool:
    for name in ("accuracy", "f1"):
        values = [float(r[name]) for r in rows]
        if abs(float(row[name]) - sum(values) / len(values)) > 0.001 + 1e-9:
            return False
    return True


def _folds_print(row: Row, cut: bool) -> bool:
    folds = int(row["folds"])
    p, n = int(row["positives"]) // folds, int(row["n"]) // folds
    matrices = [(tp, tn) for tp in range(p + 1) for tn in range(n - p + 1)]
    for some in combinations_with_replacement(matrices, folds):
        recall = sum(tp / p for tp, _ in some) / folds
        accuracies = [(tp + tn) / n for tp, tn in some]
        if not _same(sum(accuracies) / folds, row["accuracy"], cut):
            continue
        if not _same(recall, row["recall"], cut):
            continue
        deviations = (np.std(accuracies, ddof=d) for d in (0, 1))
        if any(_same(float(d), row["accuracy_sd"], cut) for d in deviations):
            return True
    return False


__all__ = ["KINDS", "Printed", "consistent", "detectable", "planted", "planted_deviation"]

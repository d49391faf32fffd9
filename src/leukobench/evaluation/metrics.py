"""Metrics of a result, computed from its per-sample predictions.

Holds the predictions as arrays (`Predicted`), what is measured (`Metric`) and the measuring (`score`, `compute`,
`all_metrics`). Intervals and tests live beside it; nothing here knows runs, papers or torch.

Definitions: confusion matrices have rows = truth; sensitivity is recall; balanced accuracy is the mean of the class
recalls; a macro average is the plain mean of per-class values (macro F1 is the mean of class F1s, not the harmonic mean
of macro precision and recall), a weighted one is weighted by true support, a binary one is the value of the positive
class against the rest. 0/0 is 0. Classes with neither true nor predicted samples do not enter a macro average, as in
scikit-learn.

Metrics of counts work on whole stacks of confusion matrices, because an interval evaluates thousands of resampled ones
at once, which scikit-learn does not offer; the tests hold every one of them equal to scikit-learn's. Metrics of
probabilities are scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.schema.predictions import classes_among, probability_columns

if TYPE_CHECKING:
    import pandas as pd

Averaging = Literal["macro", "weighted", "micro", "binary", "one_vs_rest"]
By = Literal["sample", "subject"]

COUNT_METRICS = (
    "accuracy",
    "error_rate",
    "balanced_accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "ovr_accuracy",
    "mcc",
    "kappa",
    "tp",
    "fn",
    "fp",
    "tn",
)
PROBABILITY_METRICS = ("auroc", "auprc", "log_loss", "brier", "ece")
METRICS = COUNT_METRICS + PROBABILITY_METRICS
ALIASES = {"sensitivity": "recall", "auc": "auroc"}
"""Other names under which papers print the same metric."""
LOWER_IS_BETTER = ("error_rate", "log_loss", "brier", "ece", "fn", "fp")
DEFAULT_POSITIVE = "ALL"
CALIBRATION_BINS = 15
"""Number of equally wide confidence bins of the expected calibration error (Guo et al. 2017, section 5)."""


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        name: One of `METRICS`, or an alias (`sensitivity`, `auc`).
        averaging: `macro`; `one_vs_rest`, another word for it; `weighted`; `micro`; or `binary`: the positive class
            against all others, in any number of classes. The counts `tp`, `fn`, `fp`, `tn` are always binary.
        positive: The positive class of `binary` averaging.
        threshold: Probability from which the positive class is predicted (`binary` only); None takes the most
            probable class.
        by: `sample`, or `subject`: probabilities averaged over each subject's samples first.
    """

    name: str
    averaging: Averaging = "macro"
    positive: str | None = DEFAULT_POSITIVE
    threshold: float | None = None
    by: By = "sample"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", ALIASES.get(self.name, self.name))
        if self.name not in METRICS:
            raise LeukoBenchError(
                f"unknown metric {self.name!r}; known are {', '.join((*METRICS, *ALIASES))}"
            )
        if self.averaging not in get_args(Averaging):
            raise LeukoBenchError(
                f"unknown averaging {self.averaging!r}; known are {', '.join(get_args(Averaging))}"
            )

    @property
    def of_counts(self) -> bool:
        """Whether a confusion matrix is enough to compute it."""
        return self.name in COUNT_METRICS

    @property
    def lower_is_better(self) -> bool:
        return self.name in LOWER_IS_BETTER


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions as arrays, one row a prediction; a sample predicted in several folds has several rows.

    Attributes:
        classes: Class names in the order of their index.
        y: True class indices, shape (n,), int64.
        p: Class probabilities, shape (n, classes), float64.
        samples: 64-bit keys of the sample ids, shape (n,), uint64; equal ids have equal keys in every frame.
        subjects: Keys of the subject ids, likewise; None where any is unknown.
    """

    classes: tuple[str, ...]
    y: np.ndarray
    p: np.ndarray
    samples: np.ndarray
    subjects: np.ndarray | None

    @classmethod
    def of(cls, frame: pd.DataFrame, part: str | None = "test") -> Predicted:
        """From a predictions frame: the rows of `part` (all rows for None, or where there is no column `part`).

        Raises:
            LeukoBenchError: Columns are missing, or a label is none of the classes.
        """
        classes = classes_of(frame)
        missing = [c for c in ("sample", "label") if c not in frame.columns]
        if missing:
            raise LeukoBenchError(
                f"predictions lack the columns {missing}; found {list(frame.columns)}"
            )
        if part is not None and "part" in frame.columns:
            frame = frame[frame["part"] == part]
        codes, labels = frame["label"].factorize()
        unknown = [str(c) for c in labels if c not in classes]
        if unknown or (codes < 0).any():
            raise LeukoBenchError(
                f"predictions have the label {(unknown or ['?'])[0]!r}, which is none of {list(classes)}"
            )
        y = np.array([classes.index(str(c)) for c in labels], dtype=np.int64)[codes]
        p = frame[probability_columns(classes)].to_numpy(np.float64)
        if not np.isfinite(p).all():
            raise LeukoBenchError("predictions hold probabilities that are not numbers")
        known = "subject" in frame.columns and bool(frame["subject"].notna().all())
        return cls(
            classes, y, p, _keys(frame["sample"]), _keys(frame["subject"]) if known else None
        )

    def __len__(self) -> int:
        return len(self.y)

    def predicted(self, positive: str | None = None, threshold: float | None = None) -> np.ndarray:
        """Predicted class indices, shape (n,). With a threshold: the positive class from there on, else the best other."""
        if threshold is None:
            return self._most_probable
        k = class_index(self.classes, positive)
        others = self.p.copy()
        others[:, k] = -1.0
        return np.where(self.p[:, k] >= threshold, k, others.argmax(axis=1))

    @cached_property
    def _most_probable(self) -> np.ndarray:
        return self.p.argmax(axis=1)

    def confusion(self, positive: str | None = None, threshold: float | None = None) -> np.ndarray:
        """Confusion matrix, shape (classes, classes), int64, rows = truth."""
        k = len(self.classes)
        return np.bincount(
            self.y * k + self.predicted(positive, threshold), minlength=k * k
        ).reshape(k, k)

    @cached_property
    def by_subject(self) -> Predicted:
        """One row a subject and true class: the mean probability of its samples.

        A subject with samples of several classes (several conditions of one person) gives one row a class.
        """
        if self.subjects is None:
            raise LeukoBenchError("subjects are not known for every sample: no metric by subject")
        units = np.stack([self.subjects, self.y.astype(np.uint64)], axis=1)
        _, first, inverse = np.unique(units, axis=0, return_index=True, return_inverse=True)
        sums = np.zeros((len(first), self.p.shape[1]))
        np.add.at(sums, inverse, self.p)
        p = sums / np.bincount(inverse)[:, None]
        subjects = self.subjects[first]
        return Predicted(self.classes, self.y[first], p, subjects, subjects)

    def take(self, rows: np.ndarray) -> Predicted:
        """The same predictions with only these rows, in this order."""
        subjects = None if self.subjects is None else self.subjects[rows]
        return Predicted(self.classes, self.y[rows], self.p[rows], self.samples[rows], subjects)


def classes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Class names of a predictions frame, in class order, from its columns of probabilities."""
    classes = classes_among(frame.columns)
    if len(classes) < 2:
        raise LeukoBenchError(
            f"predictions need one column p_<class> a class; found columns {list(frame.columns)}"
        )
    return classes


def class_index(classes: tuple[str, ...], positive: str | None) -> int:
    """Index of the positive class. Raises LeukoBenchError where it is not among the classes."""
    if positive is None or positive not in classes:
        raise LeukoBenchError(
            f"positive class {positive!r} is not among the classes {list(classes)}"
        )
    return classes.index(positive)


def count_metric(confusion: np.ndarray, metric: Metric, classes: tuple[str, ...]) -> np.ndarray:
    """A metric of counts, for a stack of confusion matrices.

    Args:
        confusion: Shape (..., classes, classes), counts or weights, rows = truth.

    Returns:
        Shape (...), float64.
    """
    c = np.asarray(confusion, dtype=np.float64)
    # einsum: sum over an axis as short as the classes takes several times as long for thousands of resamples.
    support = np.einsum("...ij->...i", c)
    total = np.einsum("...i->...", support)
    if metric.name in ("accuracy", "error_rate"):
        right = _ratio(np.einsum("...ii->...", c), total)
        return right if metric.name == "accuracy" else 1.0 - right
    hits = np.diagonal(c, axis1=-2, axis2=-1)
    called = np.einsum("...ij->...j", c)
    if metric.name == "balanced_accuracy":
        return _ratio(_ratio(hits, support).sum(-1), (support > 0).sum(-1))
    if metric.name == "mcc":
        # Gorodkin 2004, equation 8; the two-class case is Matthews' coefficient.
        covariance = hits.sum(-1) * total - (support * called).sum(-1)
        spread = (total**2 - (called**2).sum(-1)) * (total**2 - (support**2).sum(-1))
        return _ratio(covariance, np.sqrt(spread))
    if metric.name == "kappa":
        chance = _ratio((support * called).sum(-1), total**2)
        return _ratio(_ratio(hits.sum(-1), total) - chance, 1.0 - chance)
    if metric.name in ("tp", "fn", "fp", "tn"):
        k = class_index(classes, metric.positive)
        tp, positives, said = hits[..., k], support[..., k], called[..., k]
        if metric.name in ("tp", "fn"):
            return tp if metric.name == "tp" else positives - tp
        return said - tp if metric.name == "fp" else total - positives - said + tp
    rest = total[..., None]
    if metric.name == "precision":
        values = _ratio(hits, called)
    elif metric.name == "recall":
        values = _ratio(hits, support)
    elif metric.name == "f1":
        values = _ratio(2 * hits, support + called)
    elif metric.name == "specificity":
        values = _ratio(rest - support - called + hits, rest - support)
    else:  # ovr_accuracy
        values = _ratio(rest - support - called + 2 * hits, rest)
    if metric.averaging == "micro":
        # Every class's counts added up: the sum over classes of tp, fp, fn, tn.
        tp, wrong, k = hits.sum(-1), total - hits.sum(-1), c.shape[-1]
        tn = k * total - tp - 2 * wrong
        if metric.name == "specificity":
            return _ratio(tn, tn + wrong)
        return _ratio(tp + tn, k * total) if metric.name == "ovr_accuracy" else _ratio(tp, total)
    return average(values, support, support + called > 0, metric, classes)


def average(
    values: np.ndarray,
    support: np.ndarray,
    present: np.ndarray,
    metric: Metric,
    classes: tuple[str, ...],
) -> np.ndarray:
    """Average per-class values, shape (..., classes), as the metric's averaging says."""
    if metric.averaging == "binary":
        return values[..., class_index(classes, metric.positive)]
    if metric.averaging == "weighted":
        return _ratio((values * support).sum(-1), support.sum(-1))
    return _ratio(np.where(present, values, 0.0).sum(-1), present.sum(-1))


def score(predicted: Predicted, metric: Metric) -> float:
    """The metric's value on these predictions; NaN where it is not defined (no rows, AUROC of one class)."""
    if len(predicted) == 0:
        return float("nan")
    if metric.by == "subject":
        return score(predicted.by_subject, replace(metric, by="sample"))
    if metric.of_counts:
        matrix = predicted.confusion(metric.positive, metric.threshold)
        return float(count_metric(matrix, metric, predicted.classes))
    return _probability_metric(predicted, metric)


def _probability_metric(predicted: Predicted, metric: Metric) -> float:
    from sklearn import metrics as sk

    y, p, k = predicted.y, predicted.p, len(predicted.classes)
    if metric.name == "log_loss":
        return float(sk.log_loss(y, _rows_sum_to_one(p), labels=np.arange(k)))
    if metric.name == "brier":
        # Two classes: Brier's score of the positive class; more: the sum over classes, both as scikit-learn has it.
        if k == 2:
            return float(np.mean((p[:, 1] - (y == 1)) ** 2))
        return float(np.mean(((p - np.eye(k)[y]) ** 2).sum(axis=1)))
    if metric.name == "ece":
        return expected_calibration_error(y, p)
    per_class = sk.roc_auc_score if metric.name == "auroc" else sk.average_precision_score
    support = np.bincount(y, minlength=k)
    defined = (support > 0) & (support < len(y))
    if metric.averaging == "binary":
        i = class_index(predicted.classes, metric.positive)
        return float(per_class(y == i, p[:, i])) if defined[i] else float("nan")
    if not defined.any():
        return float("nan")
    values = np.zeros(k)
    # All classes in one call: scikit-learn's checks of its arguments cost more than the curves.
    values[defined] = per_class(np.eye(k, dtype=int)[y][:, defined], p[:, defined], average=None)
    return float(average(values, support * defined, defined, metric, predicted.classes))


def expected_calibration_error(y: np.ndarray, p: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between confidence and accuracy of the predicted class (Guo et al. 2017, equation 5).

    Args:
        y: Class indices, shape (n,).
        p: Probabilities, shape (n, classes).
    """
    confidence = p.max(axis=1)
    hit = p.argmax(axis=1) == y
    # Bins are open on the left and closed on the right: (0, 1/bins], ..., (1 - 1/bins, 1].
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=confidence - hit, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


def compute(
    frame: pd.DataFrame,
    metric: str = "accuracy",
    averaging: Averaging = "macro",
    positive: str | None = DEFAULT_POSITIVE,
    threshold: float | None = None,
    part: str | None = "test",
    by: By = "sample",
) -> float:
    """One metric of a predictions frame; see `Metric` for the arguments.

    >>> compute(frame, "f1", "binary", positive="ALL")  # doctest: +SKIP
    """
    return score(Predicted.of(frame, part), Metric(metric, averaging, positive, threshold, by))


def per_class(frame: pd.DataFrame, metric: str, part: str | None = "test") -> dict[str, float]:
    """A metric of each class against all others, by class name."""
    predicted = Predicted.of(frame, part)
    return {c: score(predicted, Metric(metric, "binary", c)) for c in predicted.classes}


def confusion_matrix(frame: pd.DataFrame, part: str | None = "test") -> pd.DataFrame:
    """Confusion matrix as a frame: index = truth, columns = prediction, counts."""
    import pandas as pd

    predicted = Predicted.of(frame, part)
    names = list(predicted.classes)
    return pd.DataFrame(
        predicted.confusion(),
        index=pd.Index(names, name="truth"),
        columns=pd.Index(names, name="predicted"),
    )


def all_metrics(
    frame: pd.DataFrame, positive: str | None = DEFAULT_POSITIVE, part: str | None = "test"
) -> dict[str, float]:
    """Every metric of a predictions frame, ready for logging.

    Names: `accuracy`, `balanced_accuracy`, `mcc`, ...; `f1_macro`, `f1_weighted`; `f1` and so on for the positive class
    where it is among the classes; `auroc_class_<class>`; the same with prefix `subject_` from probabilities averaged
    by subject, where all subjects are known. Values that are not defined are left out.
    """
    predicted = Predicted.of(frame, part)
    found = _all_of(predicted, positive)
    if predicted.subjects is not None and len(predicted):
        found |= {
            f"subject_{name}": value
            for name, value in _all_of(predicted.by_subject, positive).items()
        }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _all_of(predicted: Predicted, positive: str | None) -> dict[str, float]:
    whole = (
        "accuracy",
        "error_rate",
        "balanced_accuracy",
        "mcc",
        "kappa",
        "log_loss",
        "brier",
        "ece",
    )
    found = {name: score(predicted, Metric(name)) for name in whole}
    for name in ("precision", "recall", "specificity", "f1", "ovr_accuracy", "auroc", "auprc"):
        for averaging in ("macro", "weighted"):
            found[f"{name}_{averaging}"] = score(
                predicted, Metric(name, cast(Averaging, averaging))
            )
        if positive in predicted.classes:
            found[name] = score(predicted, Metric(name, "binary", positive))
    for name in predicted.classes:
        found[f"auroc_class_{name}"] = score(predicted, Metric("auroc", "binary", name))
    return found


def _keys(ids: pd.Series) -> np.ndarray:
    """64-bit keys of ids by pandas' fixed hash, so that ids of many frames are compared as numbers."""
    from pandas.util import hash_array

    codes, names = ids.factorize()
    return hash_array(np.asarray(names, dtype=str).astype(object), categorize=False)[codes]


def _rows_sum_to_one(p: np.ndarray) -> np.ndarray:
    # Probabilities are kept as float32: their rows sum to one only to about 1e-7, which scikit-learn warns about.
    return p / p.sum(axis=1, keepdims=True)


def _ratio(a: Any, b: Any) -> np.ndarray:
    a, b = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    return np.divide(a, b, out=np.zeros(a.shape), where=b != 0)

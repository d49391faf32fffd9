"""Metrics of a result, computed from its per-sample predictions.

Holds the predictions as arrays (`Predicted`), what is measured (`Metric`) and the measuring
(`score`, `compute`). Which metrics there are is in `leukobench.evaluation.registry`. Intervals and
tests live beside it; nothing here knows runs, papers or torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation import ranking
from leukobench.evaluation.definition import Averaging, MetricDefinition
from leukobench.evaluation.formulas import Confusion, ratio
from leukobench.evaluation.registry import definition, known_names
from leukobench.schema.predictions import classes_among, probability_columns

if TYPE_CHECKING:
    import pandas as pd

By = Literal["sample", "subject"]

DEFAULT_POSITIVE = "ALL"


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        name: Of a metric of the registry that is computed from predictions, or an alias
            (`sensitivity`, `auc`).
        averaging: `macro`; `weighted`; `micro`, for counts alone; or `binary`: the positive class
            against all others, in any number of classes. The counts `tp`, `fn`, `fp`, `tn` are
            always binary; metrics that have no value a class have no averaging.
        positive: The positive class of `binary` averaging.
        threshold: Probability from which the positive class is predicted (`binary` only); None
            takes the most probable class.
        by: `sample`, or `subject`: probabilities averaged over each subject's samples first.
    """

    name: str
    averaging: Averaging = "macro"
    positive: str | None = DEFAULT_POSITIVE
    threshold: float | None = None
    by: By = "sample"

    def __post_init__(self) -> None:
        row = definition(self.name)
        if not row.computed:
            raise LeukoBenchError(
                f"{self.name!r} is not computed from predictions; what is: "
                f"{', '.join(known_names(computed=True))}"
            )
        object.__setattr__(self, "name", row.name)
        if self.averaging not in get_args(Averaging):
            raise LeukoBenchError(
                f"unknown averaging {self.averaging!r}; known are {', '.join(get_args(Averaging))}"
            )
        if self.averaging == "micro" and row.needs == "class_probabilities":
            raise LeukoBenchError(
                f"{row.name} has no micro average; choose macro, weighted or binary"
            )

    @cached_property
    def definition(self) -> MetricDefinition:
        return definition(self.name)

    @property
    def of_counts(self) -> bool:
        """Whether a confusion matrix is enough to compute it."""
        return self.definition.of_counts

    @property
    def is_proportion(self) -> bool:
        """Whether its value on one set of predictions is hits over trials."""
        row = self.definition
        whole = not row.averaged or self.averaging == "binary"
        return row.kind == "proportion" and row.of_counts and whole


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions as arrays, one row a prediction; a sample predicted in several folds has several
    rows.

    Attributes:
        classes: Class names in the order of their index.
        y: True class indices, shape (n,), int64.
        p: Class probabilities, shape (n, classes), float64.
        samples: 64-bit keys of the sample ids, shape (n,), uint64; equal ids have equal keys in
            every frame.
        subjects: Keys of the subject ids, likewise; None where any is unknown.
        models: Which model (run, fold) gave each row, integers from 0, shape (n,); None for one
            model. Ranking metrics order the probabilities of one model only.
    """

    classes: tuple[str, ...]
    y: np.ndarray
    p: np.ndarray
    samples: np.ndarray
    subjects: np.ndarray | None
    models: np.ndarray | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame, part: str | None = "test") -> Predicted:
        """From a predictions frame: the rows of `part` (all rows for None, or where there is no
        column `part`).

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
                f"predictions have the label {(unknown or ['?'])[0]!r}, which is none of "
                f"{list(classes)}"
            )
        y = np.array([classes.index(str(c)) for c in labels], dtype=np.int64)[codes]
        p = frame[probability_columns(classes)].to_numpy(np.float64)
        if not np.isfinite(p).all():
            raise LeukoBenchError("predictions hold probabilities that are not numbers")
        known = "subject" in frame.columns and bool(frame["subject"].notna().all())
        return cls(
            classes,
            y,
            p,
            samples=_keys(frame["sample"]),
            subjects=_keys(frame["subject"]) if known else None,
            models=_models(frame),
        )

    def groups(self, metric: Metric) -> np.ndarray:
        """Within which rows a ranking metric compares: those of one model, or all where its name
        says `pooled`."""
        if self.models is None or metric.name.startswith("pooled_"):
            return np.zeros(len(self.y), dtype=np.int64)
        return self.models

    def __len__(self) -> int:
        return len(self.y)

    def predicted(self, positive: str | None = None, threshold: float | None = None) -> np.ndarray:
        """Predicted class indices, shape (n,). With a threshold: the positive class from there on,
        else the best other."""
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

        A subject with samples of several classes (several conditions of one person) gives one row a
        class.
        """
        if self.subjects is None:
            raise LeukoBenchError("subjects are not known for every sample: no metric by subject")
        units = np.stack([self.subjects, self.y.astype(np.uint64)], axis=1)
        _, first, inverse = np.unique(units, axis=0, return_index=True, return_inverse=True)
        sums = np.zeros((len(first), self.p.shape[1]))
        np.add.at(sums, inverse, self.p)
        p = sums / np.bincount(inverse)[:, None]
        subjects = self.subjects[first]
        models = None if self.models is None else self._models_of(inverse, len(first))
        return Predicted(self.classes, self.y[first], p, subjects, subjects, models)

    def _models_of(self, unit: np.ndarray, n: int) -> np.ndarray:
        """The model of each unit; a number of its own where several gave its rows, which no single
        model ranks."""
        assert self.models is not None
        low = np.full(n, np.iinfo(np.int64).max)
        high = np.full(n, -1)
        np.minimum.at(low, unit, self.models)
        np.maximum.at(high, unit, self.models)
        alone = int(self.models.max(initial=0)) + 1 + np.arange(n)
        return np.where(low == high, low, alone)

    def take(self, rows: np.ndarray) -> Predicted:
        """The same predictions with only these rows, in this order."""
        subjects = None if self.subjects is None else self.subjects[rows]
        models = None if self.models is None else self.models[rows]
        return Predicted(
            self.classes, self.y[rows], self.p[rows], self.samples[rows], subjects, models
        )


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
    row = metric.definition
    counts = Confusion(np.asarray(confusion, dtype=np.float64))
    if not row.averaged or metric.averaging == "binary":
        return ratio(*_fraction(counts, metric, classes))
    if metric.averaging == "micro":
        return ratio(*row.function(counts.by_class.added()))
    values = ratio(*row.function(counts.by_class))
    return average(values, counts.support, counts.present, metric.averaging)


def proportion_counts(predicted: Predicted, metric: Metric) -> tuple[int, int]:
    """Hits and trials of a proportion."""
    confusion = predicted.confusion(metric.positive, metric.threshold)
    counts = Confusion(np.asarray(confusion, dtype=np.float64))
    hits, trials = _fraction(counts, metric, predicted.classes)
    return int(hits), int(trials)


def _fraction(
    counts: Confusion, metric: Metric, classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of a metric that is not averaged over classes, each of shape
    (...)."""
    row = metric.definition
    if row.needs == "confusion":
        return row.function(counts)
    return row.function(counts.by_class.only(class_index(classes, metric.positive)))


def average(
    values: np.ndarray, support: np.ndarray, present: np.ndarray, averaging: Averaging
) -> np.ndarray:
    """Average per-class values, shape (..., classes), weighted by support or plainly over the
    present classes."""
    if averaging == "weighted":
        return ratio((values * support).sum(-1), support.sum(-1))
    return ratio(np.where(present, values, 0.0).sum(-1), present.sum(-1))


def score(predicted: Predicted, metric: Metric) -> float:
    """The metric's value on these predictions; NaN where it is not defined (no rows, AUROC of one
    class).

    Raises:
        LeukoBenchError: Subjects or the positive class are not known; the function of a project's
            own metric fails.
    """
    if len(predicted) == 0:
        return float("nan")
    if metric.by == "subject":
        return score(predicted.by_subject, replace(metric, by="sample"))
    row = metric.definition
    if row.of_counts:
        matrix = predicted.confusion(metric.positive, metric.threshold)
        return float(count_metric(matrix, metric, predicted.classes))
    if not row.version:
        return _of_probabilities(predicted, metric)
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            return _of_probabilities(predicted, metric)
    except LeukoBenchError:
        raise
    except ZeroDivisionError:  # not defined on these predictions
        return float("nan")
    except Exception as error:  # of a project's own function, which may raise anything
        raise LeukoBenchError(f"the function of the metric {row.name} fails: {error}") from error


def _of_probabilities(predicted: Predicted, metric: Metric) -> float:
    if metric.definition.needs == "class_probabilities":
        return _of_class_probabilities(predicted, metric)
    return float(
        metric.definition.function(predicted.y, predicted.p, predicted.classes, metric.positive)
    )


def _of_class_probabilities(predicted: Predicted, metric: Metric) -> float:
    y, p, k = predicted.y, predicted.p, len(predicted.classes)
    support = np.bincount(y, minlength=k)
    defined = (support > 0) & (support < len(y))
    if metric.averaging == "binary":
        of = class_index(predicted.classes, metric.positive)
        defined &= np.arange(k) == of
    if not defined.any():
        return float("nan")
    truth = np.eye(k, dtype=bool)[y][:, defined]
    values = np.full(k, np.nan)
    values[defined] = _class_values(predicted, metric, truth, p[:, defined])
    if metric.averaging == "binary":
        return float(values[of])
    defined &= np.isfinite(values)
    if not defined.any():
        return float("nan")
    values = np.where(defined, values, 0.0)
    return float(average(values, support * defined, defined, metric.averaging))


def _class_values(
    predicted: Predicted, metric: Metric, truth: np.ndarray, p: np.ndarray
) -> np.ndarray:
    """Value of each class, shape (classes,): ranking metrics within models, others of all rows."""
    function = metric.definition.function
    groups = predicted.groups(metric)
    if metric.definition.kind != "ranking" or not groups.any():
        return np.asarray(function(truth, p))
    in_one_pass = {"auroc": ranking.auroc, "auprc": ranking.average_precision}.get(metric.name)
    if in_one_pass is not None:
        values = [in_one_pass(own, score, groups) for own, score in zip(truth.T, p.T)]
    else:
        values = [
            ranking.weighted_by_group(own, score, groups, function)
            for own, score in zip(truth.T, p.T)
        ]
    return np.array(values)


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


def metric_of(
    name: str, averaging: Averaging | None, of: str | None, classes: tuple[str, ...]
) -> Metric:
    """A metric as cells and runs name it: of class `of` against the rest, else of the positive
    class of two, else macro.

    Raises:
        LeukoBenchError: It is of a positive class, and the classes have none.
    """
    positive = of or (DEFAULT_POSITIVE if DEFAULT_POSITIVE in classes else None)
    if averaging is None:
        of_one = of is not None or (len(classes) == 2 and positive is not None)
        averaging = "binary" if of_one else "macro"
    if averaging == "binary" and positive is None:
        raise LeukoBenchError(
            f"the classes {list(classes)} have no {DEFAULT_POSITIVE}: name the positive class "
            "by `of`"
        )
    return Metric(name, averaging, positive)


def _keys(ids: pd.Series) -> np.ndarray:
    """64-bit keys of ids by pandas' fixed hash, so that ids of many frames are compared as
    numbers."""
    from pandas.util import hash_array

    codes, names = ids.factorize()
    return hash_array(np.asarray(names, dtype=str).astype(object), categorize=False)[codes]


def _models(frame: pd.DataFrame) -> np.ndarray | None:
    """Number of the model of each row, from the column `model` (a run's), else `fold`; None where
    there is neither."""
    for column in ("model", "fold"):
        if column in frame.columns:
            return np.asarray(frame[column].factorize()[0], dtype=np.int64)
    return None

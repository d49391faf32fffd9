"""Every metric there is, one row each; whatever lists, orders, titles or computes metrics reads it here.

A project adds its own by a file in its folder of configs (`leukobench.evaluation.own_metrics`).

Definitions: confusion matrices have rows = truth; sensitivity is recall; balanced accuracy is the mean of the class
recalls; a macro average is the plain mean of per-class values (macro F1 is the mean of class F1s, not the harmonic mean
of macro precision and recall), a weighted one is weighted by true support, a binary one is the value of the positive
class against the rest. 0/0 is 0. Classes with neither true nor predicted samples do not enter a macro average, as in
scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from leukobench.errors import LeukoBenchError
from leukobench.evaluation import formulas, kept
from leukobench.evaluation.definition import MetricDefinition
from leukobench.evaluation.own_metrics import read_own_metrics

SHARE = (0.0, 1.0)
SIGNED = (-1.0, 1.0)
POSITIVE = (0.0, float("inf"))

OF_CALLED_CLASSES = (
    MetricDefinition(
        name="accuracy",
        title="accuracy",
        meaning="share of samples classified correctly",
        kind="proportion",
        direction="higher",
        bounds=SHARE,
        needs="confusion",
        function=formulas.accuracy,
        every_class=False,
        summarised=True,
    ),
    MetricDefinition(
        name="error_rate",
        title="error rate",
        meaning="1 - accuracy",
        kind="proportion",
        direction="lower",
        bounds=SHARE,
        needs="confusion",
        function=formulas.error_rate,
        every_class=False,
    ),
    MetricDefinition(
        name="balanced_accuracy",
        title="balanced accuracy",
        meaning="mean of the class recalls",
        kind="score",
        direction="higher",
        bounds=SHARE,
        needs="confusion",
        function=formulas.balanced_accuracy,
        summarised=True,
    ),
    MetricDefinition(
        name="precision",
        title="precision",
        meaning="TP / (TP + FP), averaged as the cell says",
        kind="proportion",
        direction="higher",
        bounds=SHARE,
        needs="class_counts",
        function=formulas.precision,
    ),
    MetricDefinition(
        name="recall",
        title="recall",
        meaning="TP / (TP + FN), averaged as the cell says; sensitivity is another name for it",
        kind="proportion",
        direction="higher",
        bounds=SHARE,
        needs="class_counts",
        function=formulas.recall,
        aliases=(("sensitivity", "sensitivity"),),
    ),
    MetricDefinition(
        name="specificity",
        title="specificity",
        meaning="TN / (TN + FP); one-vs-rest mean for more classes",
        kind="proportion",
        direction="higher",
        bounds=SHARE,
        needs="class_counts",
        function=formulas.specificity,
    ),
    MetricDefinition(
        name="f1",
        title="F1",
        meaning="harmonic mean of precision and recall of a class, averaged as the cell says",
        kind="score",
        direction="higher",
        bounds=SHARE,
        needs="class_counts",
        function=formulas.f1,
    ),
    MetricDefinition(
        name="macro_f1",
        title="macro F1",
        meaning="mean of the F1 of every class",
        kind="score",
        direction="higher",
        bounds=SHARE,
        needs="confusion",
        function=formulas.macro_f1,
        summarised=True,
    ),
    MetricDefinition(
        name="ovr_accuracy",
        title="one-vs-rest accuracy",
        meaning="mean over classes of the accuracy of each against the rest",
        kind="proportion",
        direction="higher",
        bounds=SHARE,
        needs="class_counts",
        function=formulas.class_accuracy,
    ),
    MetricDefinition(
        name="mcc",
        title="MCC",
        meaning="Matthews' correlation coefficient",
        kind="score",
        direction="higher",
        bounds=SIGNED,
        needs="confusion",
        function=formulas.mcc,
    ),
    MetricDefinition(
        name="kappa",
        title="Cohen's kappa",
        meaning="agreement of called and true classes beyond chance",
        kind="score",
        direction="higher",
        bounds=SIGNED,
        needs="confusion",
        function=formulas.kappa,
    ),
    MetricDefinition(
        name="tp",
        title="true positives",
        meaning="positive samples called positive",
        kind="count",
        direction="higher",
        bounds=POSITIVE,
        needs="class_counts",
        function=formulas.true_positives,
    ),
    MetricDefinition(
        name="fn",
        title="false negatives",
        meaning="positive samples called negative",
        kind="count",
        direction="lower",
        bounds=POSITIVE,
        needs="class_counts",
        function=formulas.false_negatives,
    ),
    MetricDefinition(
        name="fp",
        title="false positives",
        meaning="negative samples called positive",
        kind="count",
        direction="lower",
        bounds=POSITIVE,
        needs="class_counts",
        function=formulas.false_positives,
    ),
    MetricDefinition(
        name="tn",
        title="true negatives",
        meaning="negative samples called negative",
        kind="count",
        direction="higher",
        bounds=POSITIVE,
        needs="class_counts",
        function=formulas.true_negatives,
    ),
)


def sensitivity_at(percent: int) -> MetricDefinition:
    """Sensitivity at a fixed specificity, as one row."""
    fixed = percent / 100
    return MetricDefinition(
        name=f"sensitivity_at_specificity_{percent}",
        title=f"sensitivity at specificity {fixed:.2f}",
        meaning=f"highest sensitivity at any threshold with a specificity of {fixed:.2f} or more",
        kind="ranking",
        direction="higher",
        bounds=SHARE,
        needs="class_probabilities",
        function=partial(formulas.sensitivity_at_specificity, specificity=fixed),
    )


OF_PROBABILITIES = (
    MetricDefinition(
        name="auroc",
        title="AUROC",
        meaning="area under the ROC curve within each fold; with `of`, of that class against the rest",
        kind="ranking",
        direction="higher",
        bounds=SHARE,
        needs="class_probabilities",
        function=formulas.auroc,
        aliases=(("auc", "AUC"),),
        summarised=True,
    ),
    MetricDefinition(
        name="auprc",
        title="AUPRC",
        meaning="average precision: area under the curve of precision over recall, of each fold",
        kind="ranking",
        direction="higher",
        bounds=SHARE,
        needs="class_probabilities",
        function=formulas.auprc,
    ),
    MetricDefinition(
        name="pooled_auroc",
        title="pooled AUROC",
        meaning="AUROC that puts the scores of different folds' models in one order",
        kind="ranking",
        direction="higher",
        bounds=SHARE,
        needs="class_probabilities",
        function=formulas.auroc,
    ),
    MetricDefinition(
        name="pooled_auprc",
        title="pooled AUPRC",
        meaning="AUPRC that puts the scores of different folds' models in one order",
        kind="ranking",
        direction="higher",
        bounds=SHARE,
        needs="class_probabilities",
        function=formulas.auprc,
    ),
    sensitivity_at(90),
    sensitivity_at(95),
    MetricDefinition(
        name="log_loss",
        title="log loss",
        meaning="mean negative logarithm of the probability of the true class",
        kind="loss",
        direction="lower",
        bounds=POSITIVE,
        needs="probabilities",
        function=formulas.log_loss,
        summarised=True,
    ),
    MetricDefinition(
        name="brier",
        title="Brier score",
        meaning="mean squared error of the probabilities; of more than two classes their sum",
        kind="loss",
        direction="lower",
        bounds=(0.0, 2.0),
        needs="probabilities",
        function=formulas.brier,
    ),
    MetricDefinition(
        name="ece",
        title="calibration error",
        meaning=f"expected gap of confidence and accuracy, in {formulas.CALIBRATION_BINS} bins",
        kind="loss",
        direction="lower",
        bounds=SHARE,
        needs="probabilities",
        function=formulas.expected_calibration_error,
    ),
)

SIZES = (
    MetricDefinition(
        name="samples",
        title="samples",
        meaning="number of samples",
        kind="size",
        direction="none",
        bounds=POSITIVE,
        needs="labels",
        function=formulas.number_of_samples,
    ),
    MetricDefinition(
        name="class_count",
        title="samples of the class",
        meaning="number of samples of class `of`",
        kind="size",
        direction="none",
        bounds=POSITIVE,
        needs="labels",
        function=formulas.number_of_class,
    ),
    MetricDefinition(
        name="class_share",
        title="share of the class",
        meaning="share of samples of class `of`",
        kind="size",
        direction="none",
        bounds=SHARE,
        needs="labels",
        function=formulas.share_of_class,
    ),
)

KEPT_BY_RUNS = (
    MetricDefinition(
        name="resampled_count",
        title="resampled count",
        meaning="number of samples of class `of`, or of all, in the parts together after resampling",
        kind="kept",
        direction="none",
        bounds=POSITIVE,
        needs="artifact",
        function=kept.of_class,
        artifact="resampled",
    ),
    MetricDefinition(
        name="loss",
        title="loss",
        meaning="mean loss of the part at the checkpoint epoch",
        kind="kept",
        direction="lower",
        bounds=POSITIVE,
        needs="artifact",
        function=kept.of_epoch,
        artifact="curves",
        key="{part}_loss",
    ),
    MetricDefinition(
        name="autoencoder_loss",
        title="autoencoder loss",
        meaning="mean squared reconstruction error of the part",
        kind="kept",
        direction="lower",
        bounds=POSITIVE,
        needs="artifact",
        function=kept.of_series,
        artifact="autoencoder_losses",
        key="{part}",
    ),
    MetricDefinition(
        name="reconstruction_error_min",
        title="smallest reconstruction error",
        meaning="smallest mean squared reconstruction error of a sample",
        kind="kept",
        direction="lower",
        bounds=POSITIVE,
        needs="artifact",
        function=kept.smallest,
        artifact="reconstruction_errors",
    ),
    MetricDefinition(
        name="reconstruction_error_max",
        title="largest reconstruction error",
        meaning="largest mean squared reconstruction error of a sample",
        kind="kept",
        direction="lower",
        bounds=POSITIVE,
        needs="artifact",
        function=kept.largest,
        artifact="reconstruction_errors",
    ),
    MetricDefinition(
        name="reconstruction_error_mean",
        title="mean reconstruction error",
        meaning="mean over samples of the mean squared reconstruction error",
        kind="kept",
        direction="lower",
        bounds=POSITIVE,
        needs="artifact",
        function=kept.mean,
        artifact="reconstruction_errors",
    ),
)

BUILT_IN = (*OF_CALLED_CLASSES, *OF_PROBABILITIES, *SIZES, *KEPT_BY_RUNS)


@dataclass(frozen=True)
class Registry:
    """Rows by name in the order in which they are shown, a project's own last; and by every alias."""

    rows: Mapping[str, MetricDefinition]
    by_alias: Mapping[str, MetricDefinition]


def definitions() -> tuple[MetricDefinition, ...]:
    """Every metric, a project's own last."""
    return tuple(_registry(os.environ.get("LEUKOBENCH_CONF")).rows.values())


def own_definitions() -> tuple[MetricDefinition, ...]:
    """A project's own metrics."""
    return definitions()[len(BUILT_IN) :]


def find(name: str | None) -> MetricDefinition | None:
    """The metric of a name or an alias; None where there is none."""
    known = _registry(os.environ.get("LEUKOBENCH_CONF"))
    if name is None:
        return None
    return known.rows.get(name) or known.by_alias.get(name)


def definition(name: str) -> MetricDefinition:
    """The metric of a name or an alias.

    Raises:
        LeukoBenchError: There is none; the message lists what there is.
    """
    found = find(name)
    if found is None:
        raise LeukoBenchError(f"unknown metric {name!r}; known are {', '.join(known_names())}")
    return found


def known_names(computed: bool = False) -> tuple[str, ...]:
    """Names and then aliases; with `computed`, only of what predictions tell."""
    rows = [row for row in definitions() if row.computed or not computed]
    return (*(row.name for row in rows), *(alias for row in rows for alias, _ in row.aliases))


def title(name: str) -> str:
    """Heading of a metric, an alias or, as it is, of any other quantity."""
    found = find(name)
    if found is None:
        return name
    text = found.title_of(name)
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=8)
def _registry(folder: str | None) -> Registry:
    """Of LeukoBench and of a user's folder of configs (its address is what tells cached ones apart)."""
    rows = {row.name: row for row in BUILT_IN}
    by_alias = {alias: row for row in BUILT_IN for alias, _ in row.aliases}
    for row in read_own_metrics():
        for name in (row.name, *(alias for alias, _ in row.aliases)):
            if name in rows or name in by_alias:
                raise LeukoBenchError(
                    f"metric {row.name!r} of {folder}: the name {name!r} is taken; choose another"
                )
        rows[row.name] = row
        by_alias |= {alias: row for alias, _ in row.aliases}
    return Registry(rows, by_alias)

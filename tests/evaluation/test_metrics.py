"""Metrics of predictions: equal to scikit-learn's, and right on cases worked out by hand."""

import numpy as np
import pytest
import sklearn.metrics as sk
from frames import predictions, random_predictions
from hypothesis import given, settings
from hypothesis import strategies as st

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.logged import kept_metrics, metrics_of
from leukobench.evaluation.metrics import (
    Metric,
    Predicted,
    classes_of,
    compute,
    confusion_matrix,
    count_metric,
    metric_of,
    per_class,
)
from leukobench.evaluation.registry import definition, definitions

CLASSES = ("ALL", "AML", "CLL")


@st.composite
def labelled(draw):
    k = draw(st.integers(2, 3))
    n = draw(st.integers(2, 25))
    y = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    p = draw(st.lists(st.lists(st.integers(1, 5), min_size=k, max_size=k), min_size=n, max_size=n))
    p = np.asarray(p, dtype=float)
    return predictions([CLASSES[i] for i in y], p / p.sum(axis=1, keepdims=True), CLASSES[:k]), k


@given(labelled())
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_scikit_learn(case):
    frame, k = case
    predicted = Predicted.of(frame)
    y, called, labels = predicted.y, predicted.predicted(), np.arange(k)
    expected = {
        ("accuracy", "macro"): sk.accuracy_score(y, called),
        ("balanced_accuracy", "macro"): np.mean(
            sk.recall_score(y, called, labels=np.unique(y), average=None, zero_division=0)
        ),
        ("error_rate", "macro"): 1 - sk.accuracy_score(y, called),
        ("mcc", "macro"): sk.matthews_corrcoef(y, called),
        ("macro_f1", "macro"): sk.f1_score(y, called, average="macro", zero_division=0),
    }
    if len(np.union1d(y, called)) > 1:  # scikit-learn's kappa of one class alone is 0/0
        expected["kappa", "macro"] = sk.cohen_kappa_score(y, called)
    present = np.union1d(y, called)
    for averaging in ("macro", "weighted", "micro"):
        p, r, f, _ = sk.precision_recall_fscore_support(
            y, called, labels=present, average=averaging, zero_division=0
        )
        expected |= {("precision", averaging): p, ("recall", averaging): r, ("f1", averaging): f}
    p, r, f, _ = sk.precision_recall_fscore_support(
        y, called, labels=labels, average=None, zero_division=0
    )
    expected |= {("precision", "binary"): p[0], ("recall", "binary"): r[0], ("f1", "binary"): f[0]}
    tn, fp, _, _ = sk.multilabel_confusion_matrix(y, called, labels=labels)[0].ravel()
    expected["specificity", "binary"] = tn / (tn + fp) if tn + fp else 0.0
    for (name, averaging), value in expected.items():
        assert compute(frame, name, averaging) == pytest.approx(value, abs=1e-12), (name, averaging)


def test_probability_metrics_agree_with_scikit_learn():
    frame = random_predictions(classes=CLASSES)
    predicted = Predicted.of(frame)
    y, p = predicted.y, predicted.p / predicted.p.sum(axis=1, keepdims=True)
    assert compute(frame, "auroc", "macro") == pytest.approx(
        sk.roc_auc_score(y, p, multi_class="ovr")
    )
    assert compute(frame, "auroc", "weighted") == pytest.approx(
        sk.roc_auc_score(y, p, multi_class="ovr", average="weighted")
    )
    assert compute(frame, "auprc", "binary") == pytest.approx(
        sk.average_precision_score(y == 0, predicted.p[:, 0])
    )
    assert compute(frame, "log_loss") == pytest.approx(sk.log_loss(y, p))


def test_two_class_brier_score_is_scikit_learns():
    frame = random_predictions()
    predicted = Predicted.of(frame)
    assert compute(frame, "brier") == pytest.approx(
        sk.brier_score_loss(predicted.y == 0, predicted.p[:, 0]), abs=1e-6
    )


def test_macro_f1_is_the_mean_of_class_f1s_not_of_averages():
    matrix = np.array([[955, 136], [230, 279]])
    f1s = [2 * 955 / (1091 + 1185), 2 * 279 / (509 + 415)]
    assert count_metric(matrix, Metric("f1"), ("ALL", "normal")) == pytest.approx(np.mean(f1s))


def test_published_matrix_gives_its_published_accuracy():
    matrix = np.array([[955, 136], [230, 279]])
    classes = ("ALL", "normal")
    assert count_metric(matrix, Metric("accuracy"), classes) == pytest.approx(0.77125)
    assert count_metric(matrix, Metric("specificity", "binary"), classes) == pytest.approx(
        279 / 509
    )
    assert count_metric(matrix, Metric("balanced_accuracy"), classes) == pytest.approx(
        (955 / 1091 + 279 / 509) / 2
    )


def test_counts_of_a_published_matrix_come_back():
    matrix = np.array([[955, 136], [230, 279]])
    counts = [
        float(count_metric(matrix, Metric(n), ("ALL", "normal"))) for n in ("tp", "fn", "fp", "tn")
    ]
    assert counts == [955, 136, 230, 279]


def test_weighted_recall_is_accuracy():
    frame = random_predictions(classes=CLASSES)
    assert compute(frame, "recall", "weighted") == pytest.approx(compute(frame, "accuracy"))


def test_one_vs_rest_accuracy_is_higher_than_accuracy():
    frame = random_predictions(classes=CLASSES)
    accuracy = compute(frame, "accuracy")
    assert compute(frame, "ovr_accuracy") == pytest.approx(1 - 2 * (1 - accuracy) / 3)


def test_a_threshold_moves_samples_to_the_positive_class():
    frame = predictions(["ALL", "ALL", "AML"], [[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    assert compute(frame, "recall", "binary") == 0.5
    assert compute(frame, "recall", "binary", threshold=0.3) == 1.0


def test_only_the_part_asked_for_is_scored():
    frame = predictions(["ALL", "AML"], [[0.9, 0.1], [0.9, 0.1]], parts=["train", "test"])
    assert compute(frame) == 0.0
    assert compute(frame, part="train") == 1.0
    assert compute(frame, part=None) == 0.5


def test_by_subject_averages_probabilities_before_deciding():
    frame = predictions(
        ["ALL", "ALL", "ALL", "AML"],
        [[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.1, 0.9]],
        subjects=["P1", "P1", "P1", "P2"],
    )
    assert compute(frame) == 0.5
    assert compute(frame, by="subject") == 1.0


def test_a_subject_with_two_conditions_counts_once_for_each():
    frame = predictions(["ALL", "AML"], [[0.9, 0.1], [0.1, 0.9]], subjects=["P1", "P1"])
    assert len(Predicted.of(frame).by_subject) == 2


def test_calibration_error_of_a_sure_and_wrong_classifier_is_its_confidence():
    frame = predictions(["ALL", "ALL"], [[0.1, 0.9], [0.1, 0.9]])
    assert compute(frame, "ece") == pytest.approx(0.9)


def test_confusion_matrix_has_truth_in_rows():
    frame = predictions(["ALL", "ALL", "AML"], [[0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    matrix = confusion_matrix(frame)
    assert matrix.loc["ALL", "AML"] == 1
    assert matrix.loc["AML", "ALL"] == 0
    assert matrix.index.name == "truth"


def test_sensitivity_at_a_fixed_specificity_is_that_of_the_best_threshold_which_keeps_it():
    frame = random_predictions(n=60)
    predicted = Predicted.of(frame)
    positive, p = predicted.y == 0, predicted.p[:, 0]
    called = p >= np.unique(p)[:, None]
    kept = (~called[:, ~positive]).mean(axis=1) >= 0.90
    best = called[kept][:, positive].mean(axis=1).max()
    value = compute(frame, "sensitivity_at_specificity_90", "binary")
    assert value == pytest.approx(best)
    assert compute(frame, "sensitivity_at_specificity_95", "binary") <= value


def test_a_ranking_that_separates_the_classes_has_full_sensitivity_at_any_specificity():
    frame = predictions(["ALL", "ALL", "AML"], [[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]])
    assert compute(frame, "sensitivity_at_specificity_95") == 1.0


def test_every_computed_metric_is_logged_within_its_bounds():
    found = metrics_of(Predicted.of(random_predictions(subjects=9)), "ALL")
    assert set(found) == {row.name for row in definitions() if row.computed}
    for name, value in found.items():
        low, high = definition(name).bounds
        assert low <= value <= high, name


def test_counts_of_more_than_two_classes_are_not_logged():
    found = metrics_of(Predicted.of(random_predictions(classes=CLASSES)), "ALL")
    assert "tp" not in found
    assert found["f1"] == pytest.approx(found["macro_f1"])


def test_metrics_that_one_class_alone_does_not_define_are_not_logged():
    found = metrics_of(Predicted.of(predictions(["ALL", "ALL"], [[0.9, 0.1], [0.2, 0.8]])))
    assert "auroc" not in found
    assert found["accuracy"] == 0.5


def test_what_a_run_kept_is_logged_by_part_where_each_part_has_its_own():
    artifacts = {
        "autoencoder_losses": {"train": [0.5, 0.25], "test": [0.75]},
        "reconstruction_errors": {"a": 1.0, "b": 3.0},
    }
    assert kept_metrics(artifacts, ("train", "validation", "test")) == {
        "train_autoencoder_loss": 0.25,
        "test_autoencoder_loss": 0.75,
        "reconstruction_error_min": 1.0,
        "reconstruction_error_mean": 2.0,
        "reconstruction_error_max": 3.0,
    }


def test_a_cell_without_an_averaging_is_of_the_positive_class_of_two_and_macro_of_more():
    assert metric_of("f1", None, None, ("ALL", "AML")) == Metric("f1", "binary", "ALL")
    assert metric_of("f1", None, None, CLASSES).averaging == "macro"
    assert metric_of("f1", None, "AML", CLASSES) == Metric("f1", "binary", "AML")


def test_each_class_against_the_rest():
    values = per_class(random_predictions(classes=CLASSES), "auroc")
    assert set(values) == set(CLASSES)


def test_classes_come_in_column_order():
    assert classes_of(random_predictions(classes=("b", "a"))) == ("b", "a")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: compute(f, "acuracy"), "unknown metric 'acuracy'"),
        (lambda f: compute(f, "samples"), "'samples' is not computed"),
        (lambda f: compute(f, "auroc", "micro"), "auroc has no micro average"),
        (lambda f: compute(f, "f1", "binary", positive="leukemia"), "positive class 'leukemia'"),
        (lambda f: compute(f, by="subject"), "subjects are not known"),
        (lambda f: compute(f.assign(label="CML")), "none of"),
        (lambda f: compute(f[["sample", "label"]]), "p_<class>"),
    ],
)
def test_errors_say_what_is_wrong(call, words):
    with pytest.raises(LeukoBenchError, match=words):
        call(random_predictions())

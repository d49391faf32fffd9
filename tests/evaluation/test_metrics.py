"""Metrics of predictions: equal to scikit-learn's, and right on cases worked out by hand."""

import numpy as np
import pytest
import sklearn.metrics as sk
from frames import predictions, random_predictions
from hypothesis import given, settings
from hypothesis import strategies as st

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.metrics import (
    Metric,
    Predicted,
    all_metrics,
    classes_of,
    compute,
    confusion_matrix,
    count_metric,
    per_class,
)

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
        ("mcc", "macro"): sk.matthews_corrcoef(y, called),
    }
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


def test_all_metrics_are_finite_and_hold_subjects_where_known():
    found = all_metrics(random_predictions(subjects=9))
    assert np.isfinite(list(found.values())).all()
    assert found["subject_accuracy"] >= 0
    assert {
        "accuracy",
        "f1",
        "f1_macro",
        "auroc",
        "auprc",
        "mcc",
        "brier",
        "ece",
        "log_loss",
    } <= set(found)


def test_all_metrics_leave_out_what_one_class_alone_does_not_define():
    found = all_metrics(predictions(["ALL", "ALL"], [[0.9, 0.1], [0.2, 0.8]]))
    assert "auroc" not in found
    assert found["accuracy"] == 0.5


def test_each_class_against_the_rest():
    values = per_class(random_predictions(classes=CLASSES), "auroc")
    assert set(values) == set(CLASSES)


def test_classes_come_in_column_order():
    assert classes_of(random_predictions(classes=("b", "a"))) == ("b", "a")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: compute(f, "acuracy"), "unknown metric 'acuracy'"),
        (lambda f: compute(f, "f1", "binary", positive="leukemia"), "positive class 'leukemia'"),
        (lambda f: compute(f, by="subject"), "subjects are not known"),
        (lambda f: compute(f.assign(label="CML")), "none of"),
        (lambda f: compute(f[["sample", "label"]]), "p_<class>"),
    ],
)
def test_errors_say_what_is_wrong(call, words):
    with pytest.raises(LeukoBenchError, match=words):
        call(random_predictions())

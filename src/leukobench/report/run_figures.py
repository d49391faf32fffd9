"""Pictures of one result, for browsing beside its run: drawn from its predictions and curves.

Confusion matrix, ROC, precision and recall, calibration, learning curves, subjects with the most errors, and for image
data a contact sheet of samples that were called wrong. Matplotlib is imported only when something is drawn. Drawing takes
a second or two, longer than training a small model: the config key `figures` says which runs do it by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leukobench.data.image_store import decode_image
from leukobench.errors import LeukoBenchError
from leukobench.evaluation.calibration import Calibration, calibrate, with_temperature
from leukobench.evaluation.metrics import Metric, Predicted, score
from leukobench.files import atomic
from leukobench.report.figures import COLOURS, STYLE
from leukobench.report.model_card import worst_subjects
from leukobench.schema import predictions
from leukobench.schema.records import CURVES, RESULT, RUN, RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

CONTACT = 24
"""Samples on a contact sheet: the most confident mistakes."""
TILE = 128
BINS = 10
FOLDER = "figures"


def write_run_figures(
    result: Path,
    training: Path | None = None,
    paths: Mapping[str, Path] | None = None,
    part: str = "test",
    out: Path | None = None,
) -> list[Path]:
    """Draw a result's pictures into its folder's `figures`, from where they are delivered with it.

    Args:
        result: Folder of `result.json` and `predictions.parquet`.
        training: Folder of `run.json` and `curves.json`; two levels up by default.
        paths: File of each sample of an image data set, for the contact sheet; none without.
        part: Part that is drawn.
        out: Another folder to write to.

    Returns:
        The files written, PNG.
    """
    import matplotlib

    training = training or result.parents[1]
    record = RESULT.read(result / RESULT.file)
    run = RUN.read(training / RUN.file) or RunRecord()
    if record is None:
        raise LeukoBenchError(f"{result} holds no finished result (result.json)")
    frame = predictions.read(result / predictions.FILE)
    predicted = Predicted.of(frame, part)
    if not len(predicted):
        raise LeukoBenchError(f"{result} has no predictions of the part {part}")
    curves = CURVES.read(training / CURVES.file) or []
    curves = [row for row in curves if row["epoch"] <= record.epoch]
    remark = _remark(run)
    chosen, scaled = None, None
    if part == "test":
        try:
            chosen = calibrate(frame, record.positive)
            scaled = Predicted.of(with_temperature(frame, chosen.temperature), part)
        except LeukoBenchError:
            pass  # nothing can be chosen without validation rows of both kinds
    drawn: dict[str, Canvas | None] = {}
    with matplotlib.rc_context(STYLE):
        drawn["confusion_matrix"] = _confusion(predicted, part)
        drawn["roc"] = _roc(predicted, record.positive, chosen)
        drawn["precision_recall"] = _precision_recall(predicted, record.positive)
        drawn["calibration"] = _calibration(predicted, record.positive, chosen, scaled)
        drawn["learning_curves"] = _curves(curves)
        drawn["worst_subjects"] = _subjects(frame, part)
        drawn["mistakes"] = _contact_sheet(frame[frame["part"] == part], predicted, paths)
        written = []
        for name, canvas in drawn.items():
            if canvas is None:
                continue
            engine = canvas.get_layout_engine()
            if remark and engine is not None:
                strip = 0.2 / canvas.get_figheight()
                engine.set(rect=(0, strip, 1, 1 - strip))  # type: ignore[call-arg]
                canvas.text(
                    0.995, 0.005, remark, ha="right", va="bottom", fontsize=7, color="#a05000"
                )
            path = (out or result / FOLDER) / f"{name}.png"
            with atomic(path) as temporary:
                canvas.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
            written.append(path)
    return written


def _remark(run: RunRecord) -> str:
    if run.data is None:
        return ""
    words = ["simulated data"] * run.data.simulated
    words += [f"subset: {run.data.subset}"] * bool(run.data.subset)
    return "; ".join(words)


def _canvas(width: float = 4.4, height: float = 3.6) -> tuple[Canvas, Any]:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height))
    return canvas, canvas.subplots()


def _confusion(predicted: Predicted, part: str) -> Canvas:
    matrix = predicted.confusion()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    k = len(predicted.classes)
    canvas, ax = _canvas(1.8 + 0.55 * max(k, 4), 1.4 + 0.45 * max(k, 4))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(k):
        for j in range(k):
            ax.text(
                j,
                i,
                str(matrix[i, j]),
                ha="center",
                va="center",
                color="white" if shares[i, j] > 0.6 else "black",
            )
    ax.set_xticks(range(k), predicted.classes, rotation=90 if k > 4 else 0)
    ax.set_yticks(range(k), predicted.classes)
    ax.grid(False)
    ax.set(
        xlabel="Called",
        ylabel="Truth",
        title=f"Confusion matrix, {part} ({len(predicted)} samples)",
    )
    return canvas


def _drawn_classes(predicted: Predicted, positive: str | None) -> list[int]:
    """The positive class of two; otherwise every class that has both right and wrong samples."""
    if positive is not None and len(predicted.classes) == 2:
        return [predicted.classes.index(positive)]
    return [
        i for i in range(len(predicted.classes)) if 0 < (predicted.y == i).sum() < len(predicted)
    ]


def _roc(predicted: Predicted, positive: str | None, chosen: Calibration | None) -> Canvas | None:
    """With the operating point that was chosen on validation, where it came to lie."""
    from sklearn.metrics import roc_curve

    canvas = _per_class(
        predicted,
        positive,
        lambda truth, p: roc_curve(truth, p)[:2],
        "auroc",
        {"xlabel": "1 - specificity", "ylabel": "Sensitivity", "title": "ROC"},
    )
    if canvas is not None and chosen is not None and chosen.point is not None:
        ax, point = canvas.axes[0], chosen.point
        label = f"threshold of specificity {point.wanted:.2f} on validation"
        ax.plot(
            1 - chosen.specificity,
            chosen.sensitivity,
            "o",
            color=COLOURS[1],
            markersize=5,
            label=label,
        )
        ax.legend(fontsize=7, loc="lower right")
    return canvas


def _precision_recall(predicted: Predicted, positive: str | None) -> Canvas | None:
    from sklearn.metrics import precision_recall_curve

    return _per_class(
        predicted,
        positive,
        lambda truth, p: precision_recall_curve(truth, p)[1::-1],
        "auprc",
        {
            "xlabel": "Recall",
            "ylabel": "Precision",
            "title": "Precision and recall",
            "ylim": (0, 1.02),
        },
    )


def _per_class(
    predicted: Predicted, positive: str | None, curve: Any, metric: str, labels: Mapping[str, Any]
) -> Canvas | None:
    classes = [
        i
        for i in _drawn_classes(predicted, positive)
        if 0 < (predicted.y == i).sum() < len(predicted)
    ]
    if not classes:
        return None
    canvas, ax = _canvas()
    for n, i in enumerate(classes):
        x, y = curve(predicted.y == i, predicted.p[:, i])
        name = predicted.classes[i]
        value = score(predicted, Metric(metric, "binary", name))
        ax.plot(
            x,
            y,
            color=COLOURS[n % len(COLOURS)],
            label=f"{name} {value:.3f}",
            drawstyle="steps-post",
        )
    if metric == "auroc":
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    ax.set(**labels)
    ax.legend(fontsize=7, ncols=1 + len(classes) // 9)
    return canvas


def _calibration(
    predicted: Predicted, positive: str | None, chosen: Calibration | None, scaled: Predicted | None
) -> Canvas:
    """As predicted, and with the temperature that was fitted on validation."""
    from sklearn.calibration import calibration_curve

    if positive is not None and positive in predicted.classes:
        title = f"Calibration of {positive}"
        labels = {"xlabel": f"Probability of {positive}", "ylabel": f"Share of {positive}"}
    else:
        title, labels = (
            "Calibration",
            {"xlabel": "Probability of the called class", "ylabel": "Share called right"},
        )

    def answers(of: Predicted) -> tuple[np.ndarray, np.ndarray]:
        if positive is not None and positive in of.classes:
            k = of.classes.index(positive)
            return of.y == k, of.p[:, k]
        return of.predicted() == of.y, of.p.max(axis=1)

    canvas, ax = _canvas()
    counts, _ = np.histogram(answers(predicted)[1], bins=np.linspace(0, 1, BINS + 1))
    ax.bar(
        (np.arange(BINS) + 0.5) / BINS,
        counts / counts.max() * 0.25,
        width=0.9 / BINS,
        color="#d9d9d9",
        label="samples",
    )
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
    lines = [(predicted, "as predicted")]
    if chosen is not None and scaled is not None:
        lines.append((scaled, f"temperature {chosen.temperature:.2g} from validation"))
    for n, (of, label) in enumerate(lines):
        truth, p = answers(of)
        share, mean = calibration_curve(truth, np.clip(p, 0, 1), n_bins=BINS)
        label = f"{label}, error {score(of, Metric('ece')):.3f}"
        ax.plot(mean, share, ("o-", "s--")[n], color=COLOURS[n], markersize=4, label=label)
    ax.set(title=title, xlim=(0, 1), ylim=(0, 1.02), **labels)
    ax.legend(fontsize=7)
    return canvas


def _curves(curves: Sequence[Mapping[str, float]]) -> Canvas | None:
    if not curves:
        return None
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(7.6, 3.2))
    axes = canvas.subplots(1, 2)
    for ax, quantity in zip(axes, ("loss", "accuracy")):
        for n, part in enumerate(predictions.PARTS):
            points = [
                (c["epoch"], c[f"{part}_{quantity}"]) for c in curves if f"{part}_{quantity}" in c
            ]
            if points:
                x, y = zip(*points)
                ax.plot(x, y, color=COLOURS[n], label=part, marker="o" if len(x) == 1 else None)
        ax.set(xlabel="Epoch", title=quantity.capitalize())
    axes[0].legend()
    return canvas


def _subjects(frame: pd.DataFrame, part: str) -> Canvas | None:
    worst = worst_subjects(frame, part)
    if worst.empty or (worst["samples"] == 1).all():
        return None
    worst = worst.head(15)[::-1]
    canvas, ax = _canvas(5.0, 1.2 + 0.26 * len(worst))
    names = [f"{s} ({c})" for s, c in zip(worst["subject"], worst["label"])]
    ax.barh(names, worst["share"], color=COLOURS[0])
    for i, (right, n) in enumerate(zip(worst["right"], worst["samples"])):
        ax.text(
            0.01,
            i,
            f"{right} of {n}",
            va="center",
            fontsize=7,
            color="white" if right > 0.15 * n else "black",
        )
    ax.set(xlabel="Share called right", xlim=(0, 1), title=f"Subjects with the most errors, {part}")
    return canvas


def _contact_sheet(
    frame: pd.DataFrame, predicted: Predicted, paths: Mapping[str, Path] | None
) -> Canvas | None:
    """The most confident mistakes, with truth and call."""
    if not paths:
        return None
    called = predicted.predicted()
    confidence = predicted.p.max(axis=1)
    wrong = np.flatnonzero(called != predicted.y)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:CONTACT]
    images: list[np.ndarray] = []
    titles: list[str] = []
    for i in wrong:
        path = paths.get(str(frame["sample"].iloc[i]))
        if path is None:
            continue
        try:
            images.append(decode_image(Path(path), TILE))
        except LeukoBenchError:
            continue  # files may have moved since the training; the other pictures do not need them
        titles.append(
            f"{predicted.classes[predicted.y[i]]} called\n{predicted.classes[called[i]]} {confidence[i]:.2f}"
        )
    if not images:
        return None
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    step, head = TILE + 8, 44
    # one picture in one pair of axes: a pair for each image would take ten times as long
    sheet = np.full((rows * (step + head), columns * step, 3), 255, np.uint8)
    canvas, ax = _canvas(1.2 * columns, 1.55 * rows + 0.3)
    for n, (image, title) in enumerate(zip(images, titles)):
        top, left = n // columns * (step + head) + head, n % columns * step
        sheet[top : top + TILE, left : left + TILE] = image
        ax.text(left + TILE / 2, top - 4, title, fontsize=6.5, ha="center", va="bottom")
    ax.imshow(sheet)
    ax.axis("off")
    ax.set_title(
        f"The {len(images)} most confident of {int((called != predicted.y).sum())} mistakes"
    )
    return canvas

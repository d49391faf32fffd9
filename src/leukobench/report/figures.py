"""A paper's figures, drawn from what runs kept: predictions, curves, autoencoder losses and errors.

Every picture says which arm, how many seeds, and whether its runs used simulated data or a subset. A figure that no
run fills gives the commands that would fill it. Matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.intervals import Repeats
from leukobench.evaluation.kept import numbers, series
from leukobench.evaluation.metrics import Metric, Predicted
from leukobench.papers.answers import Answer, FilledTable
from leukobench.papers.results import Result, ResultSet, one_configuration, pooled
from leukobench.papers.selection import Selector
from leukobench.papers.spec import Arm, Figure, Paper, Series, merge_overrides
from leukobench.papers.verdicts import Verdict
from leukobench.schema.documents import Document, Json
from leukobench.schema.names import Tag
from leukobench.schema.records import (
    AUTOENCODER_LOSSES,
    CURVES,
    RECONSTRUCTION,
    RECONSTRUCTION_ERRORS,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

T = TypeVar("T")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
"""Okabe and Ito's palette, told apart by colour-blind readers; its yellow is too light for lines and replaced."""
STYLE: Any = {
    "svg.fonttype": "path",
    "svg.hashsalt": "leukobench",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
}
MOST_GENES = 20
MOST_LINES = 28
"""Published cells up to which the overview gives each a line of its own."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        svg: The picture, None where no run fills it.
        notes: What a reader has to know: simulated data, subsets, missing arms.
        commands: What would fill the missing arms.
    """

    id: str
    title: str
    place: str
    note: str
    svg: str | None
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def data_uri(self) -> str:
        """The picture for an `<img>`."""
        return data_uri(self.svg or "")


@dataclass
class _Panel:
    """The runs of one series under one arm."""

    arm: str
    label: str
    series: str
    of: str | None
    overrides: tuple[str, ...]
    chosen: list[Result]


@dataclass
class _Drawing:
    paper: Paper
    figure: Figure
    results: ResultSet
    panels: list[_Panel]
    notes: list[str] = field(default_factory=list)

    @property
    def filled(self) -> list[_Panel]:
        return [p for p in self.panels if p.chosen]

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(p.label for p in self.filled))

    def of_arm(self, label: str) -> list[_Panel]:
        return [p for p in self.filled if p.label == label]

    def repeats(self, panel: _Panel, part: str | None = None) -> Repeats:
        part = part or self.figure.part
        return pooled(self.results, panel.chosen, None if part == "all" else part)

    def artifacts(self, panel: _Panel, name: str) -> list[Json]:
        """Content of an artifact of each run that has it."""
        return [kept for r in panel.chosen if (kept := self.results.artifact(r, name))]

    def documents(self, panel: _Panel, document: Document[T]) -> list[T]:
        """The same, of a known type."""
        kept = self.artifacts(panel, document.name)
        return [document.of(body, f"{document.file} of {panel.label}") for body in kept]


def data_uri(svg: str) -> str:
    """A drawing as the source of an `<img>`: embedded, and its ids out of the way of other drawings'."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def draw(paper: Paper, results: ResultSet, figures: Sequence[str] | None = None) -> list[Picture]:
    """Draw a paper's figures, all or those named (`figure7` or `7`)."""
    select = Selector(paper, results)
    wanted = list(paper.figures) if not figures else [paper.figure(f) for f in figures]
    return [_picture(figure, select) for figure in wanted]


def _picture(figure: Figure, select: Selector) -> Picture:
    paper = select.paper
    arms: Mapping[str, Arm] = {k: paper.arms[k] for k in figure.arms or paper.arms} or {
        "": Arm(label="Runs")
    }
    series = figure.series or (Series(label=""),)
    panels, notes, commands = [], [], []
    for key, arm in arms.items():
        if not arm.possible:
            notes.append(f"{arm.label}: no leak-free protocol possible, {arm.reason}")
            continue
        for one in series:
            own = merge_overrides(figure.overrides, one.overrides)
            if (
                figure.type == "test_accuracy_by_epoch"
            ):  # runs of every number of epochs belong to one line
                chosen = _every_epoch(select.fitting(own, key), paper.sweep)
            else:
                chosen = list(select.one(own, key).runs)
            panels.append(
                _Panel(key, arm.label, one.label, one.of, select.wanted(own, key), chosen)
            )
            if not chosen:
                commands.append(select.command(own, key))
    drawing = _Drawing(paper, figure, select.results, panels)
    used = [r for p in drawing.filled for r in p.chosen]
    if any(r.tags.get(Tag.SIMULATED) == "true" for r in used):
        notes.append("made from simulated data, not a measurement of patients")
    notes += [
        f"subset of the data: {s}"
        for s in sorted({r.tags.get(Tag.SUBSET, "") for r in used} - {""})
    ]
    svg = None
    if drawing.filled:
        from matplotlib import rc_context

        try:
            with rc_context(STYLE):
                svg = _DRAW[figure.type](drawing)
        except LeukoBenchError as error:
            notes.append(str(error))
    return Picture(
        figure.id,
        figure.title,
        figure.place,
        figure.note or "",
        svg,
        tuple(notes + drawing.notes),
        tuple(dict.fromkeys(commands)),
    )


def _every_epoch(fitting: Sequence[Result], sweep: str | None) -> list[Result]:
    by_epoch: dict[str, list[Result]] = {}
    for r in fitting:
        by_epoch.setdefault(r.params.get("epochs", "0"), []).append(r)
    return [r for group in by_epoch.values() for r in one_configuration(group, sweep)[0]]


def _canvas(
    rows: int, columns: int, width: float = 3.6, height: float = 2.7, same_y: bool = False
) -> tuple[Canvas, np.ndarray]:
    """A canvas and its axes, shape (rows, columns); `same_y` gives a row one scale, so that arms can be compared."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width * columns, height * rows))
    return canvas, canvas.subplots(rows, columns, squeeze=False, sharey="row" if same_y else False)


def _svg(canvas: Canvas) -> str:
    out = io.StringIO()
    canvas.savefig(
        out, format="svg", metadata={"Date": None, "Creator": "leukobench"}, transparent=True
    )
    return out.getvalue()[out.getvalue().index("<svg") :]


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


# --- one function a figure type -----------------------------------------------------------------------------------


def _learning_curves(d: _Drawing) -> str:
    arms = d.arms
    canvas, axes = _canvas(2, len(arms), same_y=True)
    drawn = False
    for column, arm in enumerate(arms):
        for s, panel in enumerate(d.of_arm(arm)):
            curves = d.documents(panel, CURVES)
            for row, quantity in enumerate(("loss", "accuracy")):
                for part, line in (("train", "-"), ("validation", "--"), ("test", ":")):
                    name = f"{part}_{quantity}"
                    lines = [{int(e["epoch"]): e[name] for e in c if name in e} for c in curves]
                    lines = [x for x in lines if x]
                    if not lines:
                        continue
                    drawn = True
                    epochs = sorted(set.union(*(set(x) for x in lines)))
                    values = np.array([[x.get(e, np.nan) for e in epochs] for x in lines])
                    label = " ".join(w for w in (panel.series, part) if w)
                    _band(axes[row, column], epochs, values, label, _colour(s), line)
        axes[0, column].set(title=arm, ylabel="" if column else "Loss")
        axes[1, column].set(ylabel="" if column else "Accuracy", xlabel="Epoch")
        _legend(axes[1, column])
        for ax in axes[:, column]:
            _whole_epochs(ax)
    if not drawn:
        raise LeukoBenchError("the runs kept no curves")
    if any(len(panel.chosen) > 1 for panel in d.filled):
        d.notes.append(
            "lines are means over seeds and folds, bands reach from the lowest to the highest"
        )
    axes[1, 0].set_ylim(
        top=1.01
    )  # after all curves are drawn: a limit stops the axes from making room for more
    return _svg(canvas)


def _legend(ax: Axes) -> None:
    """A legend where there is something to name."""
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="best")


def _whole_epochs(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _band(
    ax: Axes, x: Sequence[float], values: np.ndarray, label: str, colour: str, line: str
) -> None:
    """Mean of several runs as a line, their range as a band."""
    ax.plot(x, np.nanmean(values, axis=0), line, color=colour, label=label, linewidth=1.5)
    if len(values) > 1:
        ax.fill_between(
            x,
            np.nanmin(values, axis=0),
            np.nanmax(values, axis=0),
            color=colour,
            alpha=0.12,
            linewidth=0,
        )


def _test_accuracy_by_epoch(d: _Drawing) -> str:
    arms = d.arms
    canvas, axes = _canvas(1, len(arms), 4.2, 3.2, same_y=True)
    for column, arm in enumerate(arms):
        ax = axes[0, column]
        for s, panel in enumerate(d.of_arm(arm)):
            by_epoch: dict[int, list[Result]] = {}
            for r in panel.chosen:
                by_epoch.setdefault(int(float(r.params.get("epochs", "0"))), []).append(r)
            epochs = sorted(by_epoch)
            found = [
                d.repeats(_Panel(panel.arm, "", "", None, (), by_epoch[e])).estimate(
                    Metric("accuracy")
                )
                for e in epochs
            ]
            mean = [e.mean for e in found]
            low = [e.mean if e.low is None else e.low for e in found]
            high = [e.mean if e.high is None else e.high for e in found]
            ax.fill_between(epochs, low, high, color=_colour(s), alpha=0.12, linewidth=0)
            ax.plot(
                epochs,
                mean,
                "o-",
                color=_colour(s),
                label=panel.series or "ours",
                markersize=3.5,
                linewidth=1.5,
            )
            published = _published_by_epoch(d, panel)
            if published:
                ax.plot(*zip(*sorted(published.items())), "x", color=_colour(s), markersize=6)
        ax.set(title=arm, xlabel="Epochs", ylabel="" if column else "Test accuracy")
        ax.legend(loc="best")
    d.notes.append("bands are 95 % intervals; crosses are published values")
    return _svg(canvas)


def _published_by_epoch(d: _Drawing, panel: _Panel) -> dict[int, float]:
    arm = d.paper.arms.get(panel.arm)
    own = set(panel.overrides) - set(arm.overrides if arm else ())
    found = {}
    for cell in d.paper.published():
        named = cell.choose is None and own <= set(cell.runs)
        if cell.metric != "accuracy" or cell.part != "test" or cell.value is None or not named:
            continue
        epochs = [o.partition("=")[2] for o in cell.runs if o.startswith("epochs=")]
        if epochs:
            found[int(epochs[0])] = cell.value
    return found


def _confusion_matrix(d: _Drawing) -> str:
    matrices: list[tuple[str, tuple[str, ...], np.ndarray]] = []
    first = d.filled[0]
    published = _published_confusion(d, first)
    if published is not None:
        classes = d.repeats(first).classes
        other = next((c for c in classes if c != "ALL"), "") if len(classes) == 2 else "other"
        matrices.append(("Published", ("ALL", other), published))
    for panel in d.filled:
        repeats = d.repeats(panel)
        title = ": ".join(w for w in (panel.label, panel.series) if w)
        matrices.append((title, repeats.classes, repeats.confusion() / len(repeats.seeds)))
    size = 2.9 if len(matrices[-1][1]) <= 4 else 5.2
    columns = min(len(matrices), 4 if size < 3 else 2)
    rows = -(-len(matrices) // columns)
    canvas, axes = _canvas(rows, columns, size, size)
    for ax in axes.flat[len(matrices) :]:
        ax.set_axis_off()
    for ax, (title, classes, matrix) in zip(axes.flat, matrices):
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        ax.grid(False)
        k = len(classes)
        ax.set_xticks(range(k), classes, rotation=90 if k > 4 else 0)
        ax.set_yticks(range(k), classes)
        ax.set(title=title, xlabel="Predicted", ylabel="True")
        for i in range(k):
            for j in range(k):
                if matrix[i, j] >= 0.05:
                    ax.text(
                        j,
                        i,
                        f"{matrix[i, j]:.0f}"
                        if float(matrix[i, j]).is_integer()
                        else f"{matrix[i, j]:.1f}",
                        ha="center",
                        va="center",
                        fontsize=10 if k <= 4 else 6.5,
                        color="white" if share[i, j] > 0.55 else "#333",
                    )
    d.notes.append(
        "counts are means over seeds of pooled out-of-fold predictions; shades are shares of a row"
    )
    return _svg(canvas)


def _published_confusion(d: _Drawing, panel: _Panel) -> np.ndarray | None:
    arm = d.paper.arms.get(panel.arm)
    own = set(panel.overrides) - set(arm.overrides if arm else ())
    counts: dict[str, float] = {}
    for cell in d.paper.published():
        if (
            cell.metric in ("tp", "fn", "fp", "tn")
            and cell.value is not None
            and own == set(cell.runs)
        ):
            counts.setdefault(str(cell.metric), cell.value)
    if len(counts) < 4:
        return None
    return np.array([[counts["tp"], counts["fn"]], [counts["fp"], counts["tn"]]])


def _roc_of_seed(predicted: Predicted, metric: Metric, grid: np.ndarray) -> np.ndarray:
    """Sensitivity on a grid of 1 - specificity: the mean curve of a seed's models by their pairs; its area is AUROC."""
    from sklearn.metrics import roc_curve

    k = predicted.classes.index(str(metric.positive))
    groups = predicted.groups(metric)
    curves, pairs = [], []
    for group in np.unique(groups):
        own = groups == group
        truth = predicted.y[own] == k
        if truth.any() and not truth.all():
            fpr, tpr, _ = roc_curve(truth, predicted.p[own, k])
            curves.append(np.interp(grid, fpr, tpr))
            pairs.append(truth.sum() * (~truth).sum())
    return np.average(curves, axis=0, weights=pairs)


def _roc(d: _Drawing) -> str:
    panels = d.filled
    columns = min(len(panels), 4)
    canvas, axes = _canvas(-(-len(panels) // columns), columns, 3.4, 3.4)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    grid = np.linspace(0, 1, 201)
    for ax, panel in zip(axes.flat, panels):
        repeats = d.repeats(panel)
        classes = repeats.classes
        shown = [panel.of] if panel.of else list(classes[:1] if len(classes) == 2 else classes)
        for i, name in enumerate(shown):
            metric = Metric("auroc", "binary", name)
            area = repeats.estimate(metric, with_interval=False).mean
            if np.isfinite(area):
                seeds = [_roc_of_seed(p, metric, grid) for p in repeats.predicted]
                mean = np.r_[0.0, np.mean(seeds, axis=0)]
                ax.plot(
                    np.r_[0.0, grid],
                    mean,
                    color=_colour(i),
                    linewidth=1.3,
                    linestyle=("-", "--", ":")[i // len(COLOURS) % 3],
                    label=f"{name} {area:.3f}",
                )
        ax.plot([0, 1], [0, 1], color="#bbb", linewidth=0.8)
        ax.set(
            title=": ".join(w for w in (panel.label, panel.series) if w),
            xlabel="1 - specificity",
            ylabel="Sensitivity",
            xlim=(-0.01, 1),
            ylim=(0, 1.01),
        )
        ax.legend(
            loc="lower right",
            fontsize=8 if len(shown) < 6 else 5.5,
            title="AUROC",
            title_fontsize=7,
        )
    d.notes.append(
        "each class against the rest; curves are means over seeds of pooled out-of-fold predictions"
    )
    return _svg(canvas)


def _autoencoder_loss(d: _Drawing) -> str:
    arms = d.arms
    canvas, axes = _canvas(1, len(arms), same_y=True)
    drawn = False
    for column, arm in enumerate(arms):
        for s, panel in enumerate(d.of_arm(arm)):
            kept = d.artifacts(panel, AUTOENCODER_LOSSES.name)
            for part, line in (("train", "-"), ("validation", "--")):
                lines = [x for x in (series(k, part) for k in kept) if x]
                if lines:
                    drawn = True
                    length = min(len(x) for x in lines)
                    values = np.array([x[:length] for x in lines])
                    label = " ".join(w for w in (panel.series, part) if w)
                    _band(axes[0, column], range(1, length + 1), values, label, _colour(s), line)
        axes[0, column].set(
            title=arm, xlabel="Epoch", ylabel="" if column else "Mean squared error"
        )
        _legend(axes[0, column])
        _whole_epochs(axes[0, column])
    if not drawn:
        raise LeukoBenchError("the runs kept no autoencoder losses")
    return _svg(canvas)


def _autoencoder_error_histogram(d: _Drawing) -> str:
    arms = d.arms
    canvas, axes = _canvas(1, len(arms), same_y=True)
    drawn = False
    for column, arm in enumerate(arms):
        errors = [
            np.asarray(numbers(k), dtype=float)
            for panel in d.of_arm(arm)
            for k in d.artifacts(panel, RECONSTRUCTION_ERRORS.name)
        ]
        if errors:
            drawn = True
            # Every run weighs the same, and the histogram counts the samples of one.
            values, weights = (
                np.concatenate(errors),
                np.concatenate([np.full(len(e), 1 / len(errors)) for e in errors]),
            )
            axes[0, column].hist(values, bins=40, weights=weights, color=_colour(0))
            axes[0, column].axvline(
                values.mean(), color=_colour(1), label=f"mean {values.mean():.3f}"
            )
            axes[0, column].legend()
        axes[0, column].set(
            title=arm,
            xlabel="Mean squared reconstruction error",
            ylabel="" if column else "Samples",
        )
    if not drawn:
        raise LeukoBenchError("the runs kept no reconstruction errors")
    return _svg(canvas)


def _reconstruction(d: _Drawing) -> str:
    for panel in d.filled:
        for kept in d.documents(panel, RECONSTRUCTION):
            canvas, axes = _canvas(1, 1, 7.2, 2.8)
            axes[0, 0].plot(kept.original, color=_colour(0), label="original", linewidth=0.8)
            axes[0, 0].plot(
                kept.reconstructed, color=_colour(1), label="reconstructed", linewidth=0.8
            )
            axes[0, 0].set(title=panel.label, xlabel="Gene", ylabel="Value")
            axes[0, 0].legend()
            return _svg(canvas)
    raise LeukoBenchError("the runs kept no reconstructed sample")


def _class_pie(d: _Drawing) -> str:
    pies: list[tuple[str, dict[str, float]]] = []
    published = {
        str(c.of): c.value
        for c in d.paper.published()
        if c.metric == "class_share" and c.of and c.value is not None
    }
    if published:
        pies.append(("Published", published))
    seen = set()
    for panel in d.filled:
        frame = d.results.predictions(panel.chosen[0])
        predicted = Predicted.of(frame.drop_duplicates("sample"), None)
        counts = {c: float((predicted.y == i).sum()) for i, c in enumerate(predicted.classes)}
        data = panel.chosen[0].params.get("data", "")
        if (data, *counts.values()) not in seen:
            seen.add((data, *counts.values()))
            pies.append((f"{data or panel.label}, {len(predicted)} samples", counts))
    canvas, axes = _canvas(1, len(pies), 3.2, 2.8)
    order = list(pies[-1][1])
    for ax, (title, counts) in zip(axes.flat, pies):
        names = [n for n in order if counts.get(n)] + [n for n in counts if n not in order]
        total = sum(counts.values())
        ax.pie(
            [counts[n] for n in names],
            labels=[f"{n}\n{100 * counts[n] / total:.1f} %" for n in names],
            colors=[_colour(order.index(n) if n in order else 7) for n in names],
            startangle=90,
            wedgeprops={"edgecolor": "white"},
        )
        ax.set_title(title)
    return _svg(canvas)


@runtime_checkable
class _Genes(Protocol):
    """A data set whose inputs are named genes: `values` of shape (samples, genes)."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def positive(self) -> str | None: ...
    @property
    def samples(self) -> pd.DataFrame: ...
    @property
    def values(self) -> np.ndarray: ...
    @property
    def genes(self) -> Sequence[str]: ...


def _gene_correlations(d: _Drawing) -> str:
    names = list(dict.fromkeys(p.chosen[0].params.get("data", "") for p in d.filled))
    data: list[tuple[str, _Genes]] = []
    for name in names:
        found = d.results.dataset(name)
        if isinstance(found, _Genes):
            data.append((name, found))
    if not data:
        raise LeukoBenchError(
            f"the correlations need the data set itself ({', '.join(names)}), which is not here"
        )
    canvas, axes = _canvas(1, len(data), 4.0, 4.2)
    for ax, (name, dataset) in zip(axes.flat, data):
        positive = dataset.positive or dataset.classes[0]
        genes, pearson, logistic = gene_correlations(
            dataset.values, np.asarray(dataset.samples["label"]) == positive, dataset.genes
        )
        rows = np.arange(len(genes))[::-1]
        ax.barh(rows + 0.2, np.abs(pearson), 0.4, color=_colour(0), label="Pearson")
        ax.barh(rows - 0.2, np.abs(logistic), 0.4, color=_colour(1), label="logistic")
        ax.set_yticks(rows, genes)
        ax.set(title=name, xlabel=f"|correlation| with {positive}", xlim=(0, 1.02))
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return _svg(canvas)


def gene_correlations(
    values: np.ndarray, positive: np.ndarray, genes: Sequence[str], most: int = MOST_GENES
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The genes that correlate most with a class.

    Args:
        values: Shape (samples, genes).
        positive: Shape (samples,), bool.

    Returns:
        Names of the `most` genes of highest absolute Pearson correlation, that correlation, and the logistic one:
        between the class and its probability under a logistic curve of the one gene, with the sign of the slope.
    """
    from sklearn.linear_model import LogisticRegression

    x = np.asarray(values, dtype=np.float64)
    y = positive.astype(np.float64)
    z, t = x - x.mean(axis=0), y - y.mean()
    spread = np.sqrt((z**2).sum(axis=0) * (t**2).sum())
    pearson = np.divide(t @ z, spread, out=np.zeros(x.shape[1]), where=spread > 0)
    top = np.argsort(-np.abs(pearson), kind="stable")[:most]
    logistic = []
    for g in top:
        column = (z[:, g] / (z[:, g].std() or 1.0))[:, None]
        model = LogisticRegression(C=1e3, max_iter=1000).fit(column, positive)
        r = np.corrcoef(model.predict_proba(column)[:, 1], y)[0, 1]
        logistic.append(float(np.sign(model.coef_[0, 0]) * r))
    return [str(genes[g]) for g in top], pearson[top], np.array(logistic)


_DRAW: Mapping[str, Callable[[_Drawing], str]] = {
    "learning_curves": _learning_curves,
    "test_accuracy_by_epoch": _test_accuracy_by_epoch,
    "confusion_matrix": _confusion_matrix,
    "roc": _roc,
    "autoencoder_loss": _autoencoder_loss,
    "autoencoder_error_histogram": _autoencoder_error_histogram,
    "reconstruction": _reconstruction,
    "class_pie": _class_pie,
    "gene_correlations": _gene_correlations,
}


def overview(tables: Sequence[FilledTable]) -> str | None:
    """Published values and ours at a glance, for cells that are shares; None where no run fills any.

    One line a cell where they are few, else a scatter of ours against published. Where nothing is published, as in a
    sweep of one's own, ours alone.
    """
    lines: list[tuple[str, float | None, dict[str, Answer]]] = []
    arms: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            for c, title in zip(row.cells, table.columns):
                if c is None or c.cell.unit not in ("fraction", "percent"):
                    continue
                filled = {arm: a for arm, a in c.answers.items() if a.estimate is not None}
                if filled:
                    words = (table.id, row.title, title) if len(tables) > 1 else (row.title, title)
                    lines.append(("  ".join(words), c.cell.value, filled))
                    arms |= {arm: table.arms[arm] for arm in filled}
    compared = [(name, value, filled) for name, value, filled in lines if value is not None]
    if not lines or (not compared and len(lines) > MOST_LINES):
        return None
    from matplotlib import rc_context

    with rc_context(STYLE):
        return (
            _scatter(compared, arms)
            if len(compared) > MOST_LINES
            else _dots(compared or lines, arms)
        )


def _dots(
    lines: Sequence[tuple[str, float | None, Mapping[str, Answer]]], arms: Mapping[str, str]
) -> str:
    from matplotlib.lines import Line2D

    canvas, axes = _canvas(1, 1, 8.4, 0.9 + 0.2 * len(lines) * max(1, len(arms)) ** 0.5)
    ax = axes[0, 0]
    for i, (_, value, filled) in enumerate(lines):
        if value is not None:
            ax.plot(value, -i, "|", color="black", markersize=11, markeredgewidth=1.8)
        for k, arm in enumerate(arms):
            if arm in filled:
                y = -i - (k - (len(arms) - 1) / 2) * 0.22
                _estimate_mark(ax, filled[arm], k, y=y)
    ax.set_yticks([-i for i in range(len(lines))], [name for name, _, _ in lines], fontsize=7)
    ax.set_ylim(-len(lines) + 0.4, 0.6)
    handles = _arm_handles(arms, [filled for _, _, filled in lines])
    if any(value is not None for _, value, _ in lines):
        handles.insert(
            0,
            Line2D(
                [], [], color="black", marker="|", linestyle="", markersize=10, label="published"
            ),
        )
    canvas.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return _svg(canvas)


def _scatter(
    lines: Sequence[tuple[str, float, Mapping[str, Answer]]], arms: Mapping[str, str]
) -> str:
    canvas, axes = _canvas(1, 1, 6.6, 4.6)
    ax = axes[0, 0]
    for k, arm in enumerate(arms):
        for _, value, filled in lines:
            if arm in filled:
                x = (
                    value + (k - (len(arms) - 1) / 2) * 0.0012
                )  # so that arms of one cell do not hide each other
                _estimate_mark(ax, filled[arm], k, x=x)
    values = [v for _, v, _ in lines]
    (equal,) = ax.plot(
        [min(values), max(values)],
        [min(values), max(values)],
        "k-",
        linewidth=1,
        label="as published",
    )
    ax.set(xlabel="Published", ylabel="Ours")
    handles = [equal, *_arm_handles(arms, [filled for _, _, filled in lines])]
    canvas.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return _svg(canvas)


def _estimate_mark(
    ax: Axes, answer: Answer, k: int, x: float | None = None, y: float | None = None
) -> None:
    """A dot with its interval, upright at `x` or level at `y`; hollow where it is not comparable."""
    e = answer.estimate
    assert e is not None
    low, high = (e.mean, e.mean) if e.low is None or e.high is None else (e.low, e.high)
    colour, fill = _colour(k), "white" if answer.verdict is Verdict.NOT_COMPARABLE else _colour(k)
    if x is not None:
        ax.plot([x, x], [low, high], color=colour, linewidth=1.4, alpha=0.3)
        ax.plot(x, e.mean, "o", color=colour, markersize=4, markerfacecolor=fill)
    elif y is not None:
        ax.plot([low, high], [y, y], color=colour, linewidth=1.4, alpha=0.75)
        ax.plot(e.mean, y, "o", color=colour, markersize=4, markerfacecolor=fill)


def _arm_handles(arms: Mapping[str, str], filled: Iterable[Mapping[str, Answer]]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_colour(k), marker="o", label=label)
        for k, label in enumerate(arms.values())
    ]
    if any(a.verdict is Verdict.NOT_COMPARABLE for answers in filled for a in answers.values()):
        hollow = Line2D(
            [],
            [],
            color="#666",
            marker="o",
            markerfacecolor="white",
            linestyle="",
            label="not comparable",
        )
        handles.append(hollow)
    return handles

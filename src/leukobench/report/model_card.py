"""The model card of one result: what it was trained on, how it was measured, how far it can be trusted.

Everything is read from the result's own record and predictions (Markdown by `model_card`, HTML by `card_html`); limits
are derived from them, so that a subset, a leak or a small test set cannot be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from leukobench.data.families import family
from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.evaluation.baselines import majority
from leukobench.evaluation.calibration import TEMPERATURES, calibrate
from leukobench.evaluation.estimates import Estimate
from leukobench.evaluation.intervals import FEWEST_CLUSTERS, Repeats
from leukobench.evaluation.metrics import Metric, Predicted, score
from leukobench.evaluation.registry import own_definitions
from leukobench.schema.predictions import PARTS, classes_among
from leukobench.schema.records import DataRecord, Environment, ResultRecord, RunRecord
from leukobench.targets import Provenance, locate

if TYPE_CHECKING:
    import pandas as pd

FEW_SUBJECTS = 30
"""Test subjects below which a card warns: the interval of a proportion is then wider than about 0.3."""
WORST = 5


def model_card(
    name: str,
    record: ResultRecord,
    run: RunRecord,
    *,
    config: Mapping[str, Any],
    frame: pd.DataFrame,
    provenance: Provenance,
    reads: str = "",
    chosen: str = "",
    curves: Sequence[Mapping[str, float]] = (),
) -> str:
    """The card as Markdown.

    Args:
        name: Title.
        record: The result's.
        run: Its run's.
        config: Its resolved config.
        frame: Its predictions.
        provenance: Where the config was read: what describes the data set is code that it names.
        reads: What the model reads, in words.
        chosen: How it was chosen among others, in words.
        curves: Learning curves, for how far training went.
    """
    data, positive = run.data, record.positive
    lines = [
        f"# {name}",
        "",
        "**Not for clinical use.** This model was trained to measure methods on a benchmark. It has not been validated "
        "for diagnosis and must not be used on patients.",
        "",
    ]
    lines += _labels(data, run)
    lines += _model(record, reads, chosen, curves)
    lines += _data(data, _source(config, provenance), frame)
    lines += _protocol(record, run, config)
    lines += _metrics(frame, positive)
    lines += _calibration(frame, positive)
    lines += _subjects(frame)
    lines += _limits(run, frame)
    lines += _origin(record, run)
    return "\n".join(lines).rstrip() + "\n"


def card_html(markdown: str) -> str:
    """A card as one HTML page without outside references."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    title = markdown.partition("\n")[0].lstrip("# ")
    escaped = title.replace("&", "&amp;").replace("<", "&lt;")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }}
table {{ border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: 0.2rem 0.9rem 0.2rem 0; border-bottom: 1px solid #ddd; }}
h2 {{ margin-top: 2rem; }}
blockquote {{ margin: 1rem 0; padding: 0.1rem 1rem; background: #fff3d6; border-left: 4px solid #d9a400; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #161616; color: #e6e6e6; }} th, td {{ border-color: #444; }}
  blockquote {{ background: #3a2f10; }}
}}
</style></head><body>
{body}</body></html>
"""


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    if not rows:
        return []
    clean = [[str(c).replace("|", "\\|") for c in row] for row in rows]
    return [
        "| " + " | ".join(header) + " |",
        "| " + " | ".join("---" for _ in header) + " |",
        *("| " + " | ".join(row) + " |" for row in clean),
        "",
    ]


def _labels(data: DataRecord | None, run: RunRecord) -> list[str]:
    labels = []
    if data is not None and data.simulated:
        labels.append(
            "**Simulated data.** Nothing here says anything about real cells or patients."
        )
    if data is not None and data.subset:
        labels.append(f"**Subset.** Trained and measured on {data.subset} of the data set.")
    if run.leaks:
        labels.append(
            f"**Leaks.** The protocol lets test data into training: {', '.join(run.leaks)}."
        )
    return [line for label in labels for line in (f"> {label}", "")]


def _model(
    record: ResultRecord, reads: str, chosen: str, curves: Sequence[Mapping[str, float]]
) -> list[str]:
    p = record.params
    epoch = f"{record.epoch} epochs"
    if record.best_epoch:
        epoch += f", weights of epoch {record.best_epoch} (lowest validation loss)"
    rows: list[tuple[str, object]] = [("network", _choice(p, "model"))]
    if reads:
        rows.append(("reads", reads))
    rows += [
        ("answers", "probabilities of " + ", ".join(record.classes)),
        ("training", f"{_choice(p, 'optimizer')}, {epoch}, batch size {p.get('batch_size')}"),
        ("preprocessing", _choice(p, "preprocess")),
        ("resampling, augmentation", f"{p.get('resample')}, {p.get('augment')}"),
    ]
    now = [c for c in curves if c.get("epoch") == record.epoch]
    if now:
        rows.append(("training loss at the end", f"{now[0]['train_loss']:.4g}"))
    if chosen:
        rows.append(("chosen by", chosen))
    return ["## Model", "", *_table(("", ""), rows)]


def _choice(params: Mapping[str, str], group: str) -> str:
    """A choice with its own keys."""
    keys = {
        k.removeprefix(group + "."): v
        for k, v in params.items()
        if k.startswith(group + ".") and v not in ("null", "false", "") and k != f"{group}.name"
    }
    listed = ", ".join(f"{k} {v}" for k, v in keys.items())
    return f"{params.get(group, '')}" + (f" ({listed})" if listed else "")


def _data(data: DataRecord | None, source: Mapping[str, str], frame: pd.DataFrame) -> list[str]:
    title = source.get("title") or (None if data is None else data.name)
    rows: list[tuple[str, object]] = [("data set", title)]
    rows += [
        (key, source[key]) for key in ("citation", "licence", "url", "source") if source.get(key)
    ]
    if data is not None:
        known_subjects = "not known for every sample" if data.subjects is None else data.subjects
        rows += [("samples", data.samples), ("subjects", known_subjects)]
        if data.faults:
            rows.append(("known faults", "; ".join(data.faults)))
    classes = classes_among(frame.columns)
    known = frame["subject"].notna().all()
    parts = []
    for part in PARTS:
        mine = frame[frame["part"] == part]
        if len(mine):
            counts = [int((mine["label"] == c).sum()) for c in classes]
            parts.append((part, len(mine), mine["subject"].nunique() if known else "–", *counts))
    return [
        "## Data",
        "",
        *_table(("", ""), rows),
        *_table(("part", "samples", "subjects", *classes), parts),
    ]


def _source(config: Mapping[str, Any], provenance: Provenance) -> dict[str, str]:
    """Facts of the data source's class; only its name where it is not here or may not be run."""
    target = config.get("data", {}).get("_target_")
    if not target:
        return {}
    try:
        cls = locate(str(target), provenance, "data")
    except ConfigError:
        return {"source": f"{target}, which was not run to read its title, citation and licence"}
    return {k: str(getattr(cls, k, "") or "") for k in ("title", "citation", "licence", "url")}


def _protocol(record: ResultRecord, run: RunRecord, config: Mapping[str, Any]) -> list[str]:
    data, p = run.data, record.params
    shared = {} if data is None else data.shared
    folds = "" if data is None else f"; fold {data.fold}, folds {data.folds}"
    rows = [
        ("protocol", p.get("protocol")),
        ("split", f"{_choice(p, 'split')}{folds}"),
        ("preprocessing fitted on", config.get("protocol", {}).get("fit_on", "train")),
        ("seed", p.get("seed")),
        *(
            (f"{what}s on both sides of the split", count if count else "none")
            for what, count in shared.items()
        ),
    ]
    return ["## Protocol", "", *_table(("", ""), [*rows, ("leak status", _leaks(run, shared))])]


def _leaks(run: RunRecord, shared: Mapping[str, int]) -> str:
    """Whether test data reach training, in words."""
    status = "no switch of the protocol lets test rows into training"
    if run.leaks:
        status = f"leaks: {', '.join(run.leaks)}"
    if any(shared.values()):
        listed = ", ".join(f"{n} {kind}s" for kind, n in shared.items() if n)
        return f"{status}; but training and test share {listed}"
    if "subject" not in shared:
        status += "; whether a subject stands on both sides cannot be known from this source"
    return status


def _metrics(frame: pd.DataFrame, positive: str | None) -> list[str]:
    metrics = [("accuracy", Metric("accuracy")), ("balanced accuracy", Metric("balanced_accuracy"))]
    if positive is not None:
        metrics += [
            (f"sensitivity ({positive})", Metric("recall", "binary", positive)),
            (f"specificity ({positive})", Metric("specificity", "binary", positive)),
            (f"F1 ({positive})", Metric("f1", "binary", positive)),
        ]
    metrics += [
        ("macro F1", Metric("f1", "macro")),
        ("AUROC", Metric("auroc", "macro")),
        ("log loss", Metric("log_loss")),
    ]
    metrics += [("expected calibration error", Metric("ece"))]
    metrics += [(row.title, Metric(row.name, "macro", positive)) for row in own_definitions()]
    parts = [p for p in ("test", "validation") if (frame["part"] == p).any()]
    repeats = {p: Repeats.of([("0", frame)], p) for p in parts}
    base = (
        Predicted.of(majority(frame), "test")
        if (frame["part"] == "train").any() and "test" in parts
        else None
    )
    rows = []
    for label, metric in metrics:
        cells = [_estimate(repeats[p].estimate(metric, with_interval=p == "test")) for p in parts]
        baseline = (
            ""
            if base is None or metric.name not in ("accuracy", "balanced_accuracy")
            else f"{score(base, metric):.3f}"
        )
        rows.append((label, *cells, baseline))
    out = ["## Metrics", "", *_table(("", *parts, "majority class, test"), rows)]
    if "test" not in parts:
        return out
    test = repeats["test"]
    estimate = test.estimate(Metric("accuracy"))
    unit = "subjects" if test.has_subjects else "samples"
    out += [
        f"Brackets: 95 % intervals over {unit} of the test part ({estimate.method}, one seed, one fold); none where "
        f"a class that a metric needs has fewer than {FEWEST_CLUSTERS:.0f} effective {unit}.",
        "",
    ]
    if test.has_subjects and (test.subjects or 0) < test.samples:
        by = [
            (label, Metric(m.name, m.averaging, m.positive, by="subject"))
            for label, m in metrics[:2]
        ]
        listed = ", ".join(f"{label} {_estimate(test.estimate(m))}" for label, m in by)
        out += [f"By subject, probabilities averaged over each one's samples: {listed}.", ""]
    predicted = test.predicted[0]
    matrix = predicted.confusion()
    out += ["Confusion matrix of the test part, rows are the truth:", ""]
    counts = [(c, *(str(v) for v in line)) for c, line in zip(predicted.classes, matrix)]
    return out + _table(("", *predicted.classes), counts)


def _estimate(e: Estimate) -> str:
    if not np.isfinite(e.mean):
        return "not defined"
    if e.low is not None and e.high is not None:
        return f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]"
    if e.spread is not None:
        return f"{e.mean:.3f} (over subjects {e.spread[0]:.3f} to {e.spread[1]:.3f})"
    return f"{e.mean:.3f}"


def _calibration(frame: pd.DataFrame, positive: str | None) -> list[str]:
    try:
        found = calibrate(frame, positive)
    except LeukoBenchError as e:
        return ["## Calibration and operating point", "", f"Not chosen: {e}.", ""]
    rows: list[tuple[str, object]] = [
        ("temperature fitted on validation", f"{found.temperature:.3g}{_limit(found.temperature)}"),
        (
            "test log loss, before and after",
            f"{found.before['log_loss']:.3f}, {found.after['log_loss']:.3f}",
        ),
        (
            "test calibration error, before and after",
            f"{found.before['ece']:.3f}, {found.after['ece']:.3f}",
        ),
    ]
    point = found.point
    if point is not None:
        rows += [
            (
                f"threshold for a specificity of {point.wanted:.2f}",
                f"{point.positive} from {point.threshold:.3f} (of scaled probabilities), chosen on "
                f"{point.positives} {point.positive} and {point.negatives} other validation samples",
            ),
            (
                "there, on validation",
                f"sensitivity {point.sensitivity:.3f}, specificity {point.specificity:.3f}",
            ),
            (
                "there, on test",
                f"sensitivity {found.sensitivity:.3f}, specificity {found.specificity:.3f}",
            ),
        ]
    return ["## Calibration and operating point", "", *_table(("", ""), rows)]


def _limit(temperature: float) -> str:
    at_limit = temperature > 0.99 * TEMPERATURES[1]
    return (
        ", the largest that is sought: on validation the probabilities say nothing"
        if at_limit
        else ""
    )


def worst_subjects(frame: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Subjects by their share of right predictions, worst first: `subject`, `label`, `samples`, `right`, `share`."""
    import pandas as pd

    mine = frame[frame["part"] == part]
    if mine.empty or mine["subject"].isna().any():
        return pd.DataFrame(columns=["subject", "label", "samples", "right", "share"])
    predicted = Predicted.of(frame, part)
    hit = predicted.predicted() == predicted.y
    rows = pd.DataFrame(
        {"subject": mine["subject"].to_numpy(), "label": mine["label"].to_numpy(), "hit": hit}
    )
    out = rows.groupby(["subject", "label"], as_index=False).agg(
        samples=("hit", "size"), right=("hit", "sum")
    )
    out["share"] = out["right"] / out["samples"]
    return out.sort_values(
        ["share", "samples", "subject"], ascending=[True, False, True], ignore_index=True
    )


def _subjects(frame: pd.DataFrame) -> list[str]:
    worst = worst_subjects(frame)
    if worst.empty or (worst["samples"] == 1).all():
        return []
    rows = [
        (r.subject, r.label, r.samples, r.right, f"{r.share:.2f}")
        for r in worst.head(WORST).itertuples()
    ]
    return [
        "## Subjects with the most errors",
        "",
        *_table(("subject", "truth", "samples", "right", "share"), rows),
    ]


def _limits(run: RunRecord, frame: pd.DataFrame) -> list[str]:
    data = run.data
    test = frame[frame["part"] == "test"]
    limits = [
        "Research on benchmarks only; not for clinical use.",
        "One seed and one fold: another seed or another split gives other numbers, which the intervals do not cover.",
        "Other microscopes, stains, arrays, laboratories and populations were not tested.",
    ]
    if data is not None and data.simulated:
        limits.append("Trained on simulated data.")
    if data is not None and data.subset:
        limits.append(f"A subset of the data set: {data.subset}.")
    if data is not None:
        limits += family(data.family).limits
    subjects = test["subject"].nunique() if len(test) and test["subject"].notna().all() else None
    if subjects is not None and subjects < FEW_SUBJECTS:
        limits.append(f"Few test subjects: {subjects}.")
    if subjects is None:
        limits.append(
            "Subjects are not known, so that samples of one person may stand in training and test."
        )
    if not (frame["part"] == "validation").any():
        limits.append(
            "No validation part: epoch, temperature and threshold were not chosen on any."
        )
    counts = test["label"].value_counts()
    if len(counts) > 1 and counts.max() > 3 * counts.min():
        limits.append(
            f"Unequal classes in the test part: {counts.max()} {counts.idxmax()}, {counts.min()} {counts.idxmin()}."
        )
    if run.leaks:
        limits.append(
            f"Numbers are too good, because of the leaks of the protocol: {', '.join(run.leaks)}."
        )
    if data is not None and any(data.shared.values()):
        limits.append(
            "Training and test share subjects or contents, so that the numbers are too good."
        )
    return ["## Limits", "", *(f"- {line}" for line in limits), ""]


def _origin(record: ResultRecord, run: RunRecord) -> list[str]:
    machine, data = run.environment or Environment(), run.data
    versions = ", ".join(f"{name} {v}" for name, v in machine.packages.items() if v)
    changes = " with local changes" if machine.dirty else ""
    rows = [
        ("identity", record.identity),
        ("finished", (record.finished or "")[:10]),
        ("commit", f"{machine.commit}{changes}" if machine.commit else "unknown"),
        ("versions", versions),
        ("data fingerprint", "" if data is None else data.fingerprint),
        ("split hash", "" if data is None else data.split_hash),
    ]
    return ["## Origin", "", *_table(("", ""), rows)]

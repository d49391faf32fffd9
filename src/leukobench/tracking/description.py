"""What a person reads in the store: Markdown notes of runs and sweeps, and a sweep's summary with its plot.

The summary is for browsing: plain means over the runs of a configuration. Tables with intervals are made from the
pooled predictions (`leukobench tables`).
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leukobench.evaluation.registry import definitions, find, own_definitions
from leukobench.schema.predictions import PARTS
from leukobench.tracking.identity import NODES
from leukobench.tracking.views import TAG, TITLES, address, saved_views

if TYPE_CHECKING:
    import pandas as pd

    from leukobench.tracking.store import Store, SweepRun

NOTE = "mlflow.note.content"
REPEATS = ("seed", "fold")
"""Params in which the runs of one configuration differ."""
LONGEST_NOTE = 8000
"""Characters that MLflow keeps of a tag."""
LONGEST_TABLE = 40
DISCLAIMER = "Results are for research, not for clinical use."


# --- runs -----------------------------------------------------------------------------------------------------------


def run_note(
    params: Mapping[str, str],
    facts: Mapping[str, Any],
    job: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    epochs: Sequence[int] = (),
) -> str:
    """Note of a run.

    Args:
        params: As logged.
        facts: Content of `run.json`.
        job: Its `origin` and `overrides`, which make it again; None, or without an origin, where that is not known.
        record: Content of `result.json`; None for a trajectory and for a run without a result.
        epochs: Checkpoint epochs of a trajectory.
    """
    lines = [
        " · ".join(f"**{w}**" for w in _what(params, epochs)),
        "",
        *_data_lines(facts.get("data") or {}),
    ]
    leaks = facts.get("leaks") or []
    protocol = params.get("protocol", "")
    if leaks:
        lines.append(
            f"- protocol `{protocol}`: **test data may leak** ({', '.join(f'`{x}`' for x in leaks)})"
        )
    elif protocol:
        lines.append(f"- protocol `{protocol}`: preprocessing and choices never see test samples")
    if facts.get("error"):
        lines.append(f"- **failed**: {_flat(facts['error'])}")
    if facts.get("seconds") is not None:
        shared = (
            " (the training that its epoch counts share)"
            if record is not None and len(epochs) > 1
            else ""
        )
        lines.append(f"- trained in {facts['seconds']:.1f} s{shared}")
    if record is not None:
        lines += ["", *_metric_table(record["metrics"])]
        if record.get("best_epoch"):
            lines += ["", f"Early stopping kept the weights of epoch {record['best_epoch']}."]
        if len(epochs) > 1:
            lines += [
                "",
                "Curves, split and config are artifacts of the parent run: one training, several epoch counts.",
            ]
    elif len(epochs) > 1:
        lines += [
            "",
            "One training, read out at several epoch counts: the results are the runs below it.",
        ]
    if job is not None and "origin" in job:
        lines += ["", "```sh", command(job["origin"], job["overrides"]), "```"]
    lines += ["", DISCLAIMER]
    return "\n".join(lines)[:LONGEST_NOTE]


def command(origin: str, overrides: Sequence[str]) -> str:
    """The command line that makes a run from its origin: the name of a sweep file, or `train`."""
    start = "leukobench train" if origin == "train" else f"leukobench sweep {origin}"
    return " ".join([start, *map(_quoted, overrides)])


def _quoted(override: str) -> str:
    import shlex

    return shlex.quote(override)


def _what(params: Mapping[str, str], epochs: Sequence[int]) -> list[str]:
    said = [params[k] for k in ("model", "optimizer") if k in params]
    if "epochs" in params:
        said.append(f"{params['epochs']} epoch{'s' if params['epochs'] != '1' else ''}")
    elif epochs:
        said.append(f"epochs {', '.join(map(str, epochs))}")
    return [*said, f"seed {params.get('seed', '0')}"]


def _data_lines(data: Mapping[str, Any]) -> list[str]:
    if not data:
        return []
    said = [f"{data['samples']} samples"]
    if data.get("subjects"):
        said.append(f"{data['subjects']} subjects")
    said.append(f"classes {', '.join(data['classes'])}")
    lines = [
        f"- data `{data['name']}`{' (**simulated**)' if data['simulated'] else ''}: {', '.join(said)}"
    ]
    if data.get("subset"):
        lines.append(f"- **subset**: {data['subset']}")
    if data.get("faults"):
        lines.append(f"- **faulty data**: {_flat('; '.join(data['faults']))}")
    fold = f", fold {data['fold']} ({data['folds']} folds)" if data.get("folds", 1) > 1 else ""
    lines.append(f"- split `{data['split']}`{fold}")
    shared = {k: v for k, v in (data.get("shared") or {}).items() if v and k != "series"}
    if shared:
        lines.append(
            f"- **in more than one part**: {', '.join(f'{v} {k}s' for k, v in shared.items())}"
        )
    return lines


def _summarised() -> list[str]:
    """Metrics that notes and summaries show."""
    return [row.name for row in definitions() if row.summarised]


def _metric_table(metrics: Mapping[str, float]) -> list[str]:
    shown = _summarised()
    names = [m for m in shown if any(f"{part}_{m}" in metrics for part in PARTS)]
    if not names:
        return []
    rows = [
        [part, *(_number(metrics.get(f"{part}_{m}")) for m in names)]
        for part in PARTS
        if any(f"{part}_{m}" in metrics for m in names)
    ]
    return _table(["part", *(words(m) for m in names)], rows)


def words(name: str) -> str:
    """A metric's, of a part or not, or a column's name as people write it."""
    part, _, rest = name.partition("_")
    if part in PARTS and (metric := find(rest)) is not None:
        return f"{part} {metric.title}"
    metric = find(name)
    return name.replace("_", " ") if metric is None else metric.title


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
        *("| " + " | ".join(r) + " |" for r in rows),
    ]


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _flat(text: str, longest: int = 300) -> str:
    text = " ".join(str(text).split()).replace("|", r"\|")
    return text if len(text) <= longest else text[: longest - 1] + "…"


# --- sweeps ---------------------------------------------------------------------------------------------------------


def configuration_keys(results: pd.DataFrame) -> list[str]:
    """Params that tell the configurations of some results apart: those that vary, without seed and fold.

    A key that follows from those before it (a width that only one model has, a seed of the split) is left out.

    Args:
        results: As `leukobench.tracking.reading.Results.frame` gives them.
    """
    import pandas as pd

    params = [str(c) for c in results.columns if c in results.attrs.get("params", results.columns)]
    varying = [c for c in params if c not in REPEATS and results[c].nunique(dropna=False) > 1]
    plain = sorted((c for c in varying if "." not in c), key=lambda c: (c == "epochs", _rank(c)))
    chosen: list[str] = []
    known = [c for c in REPEATS if c in results]
    for key in [*plain, *sorted(set(varying) - set(plain))]:
        if known + chosen:
            groups = pd.Series(
                list(zip(*(results[c].astype(str) for c in known + chosen))), index=results.index
            )
            if "." in key and (results[key].astype(str).groupby(groups).nunique() <= 1).all():
                continue
        chosen.append(key)
    return sorted(chosen, key=lambda c: (c == "epochs", chosen.index(c)))


def _rank(key: str) -> tuple[int, str]:
    order = ("data", "protocol", "split", "model", "optimizer", *NODES)
    return (order.index(key) if key in order else len(order), key)


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and deviation of each metric for each configuration, over seeds and folds.

    Args:
        results: As `leukobench.tracking.reading.Results.frame` gives them.

    Returns:
        One row a configuration in the order of its keys: the keys, then `METRIC` and `METRIC_sd` (NaN for one run) for
        each metric of validation and test, then `n`, the number of runs, and `simulated`, whether any of them is on
        simulated data.
    """
    import pandas as pd

    keys = configuration_keys(results)
    metrics = [
        f"{part}_{m}"
        for part in ("validation", "test")
        for m in _summarised()
        if f"{part}_{m}" in results
    ]
    if not keys:
        results = results.assign(configuration="all")
        keys = ["configuration"]
    grouped = results.groupby(keys, dropna=False, sort=False)
    columns: dict[str, Any] = {}
    for metric in metrics:
        columns[metric], columns[f"{metric}_sd"] = grouped[metric].mean(), grouped[metric].std()
    columns["n"] = grouped.size()
    if "simulated" in results:
        columns["simulated"] = grouped["simulated"].agg(lambda marks: (marks == "true").any())
    table = pd.DataFrame(columns).reset_index()
    return table.sort_values(keys, key=_sortable, kind="stable", ignore_index=True)


def _sortable(column: pd.Series) -> pd.Series:
    """Numbers by value, everything else by text."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().all() else column.astype(str)


def sweep_note(
    name: str,
    results: pd.DataFrame,
    table: pd.DataFrame,
    links: Mapping[str, str],
    shot: str,
    planned: int,
) -> str:
    """Note of a sweep.

    Args:
        results: One row a result.
        table: Its `summary`.
        links: Title and address of saved views.
        shot: Address of the summary's picture.
        planned: Results that the sweep was asked for.
    """
    keys = _keys_of(table)
    seeds = results["seed"].nunique() if "seed" in results else 1
    folds = results["fold"].nunique() if "fold" in results else 1
    done = f"{len(results)} results" + (f" of {planned} planned" if planned > len(results) else "")
    lines = [
        f"**Sweep `{name}`**: {done}, {len(table)} configurations, {_many(seeds, 'seed')} × {_many(folds, 'fold')}.",
        "",
    ]
    if links:
        lines.append("- views: " + " · ".join(f"[{text}]({link})" for text, link in links.items()))
    for data, rows in results.groupby("dataset"):
        first = rows.iloc[0]
        said = f"- data `{data}`{' (**simulated**)' if first['simulated'] == 'true' else ''}"
        if first["subset"]:
            said += f": **subset**, {first['subset']}"
        lines.append(said)
    for protocol, rows in results.groupby("protocol"):
        leaks = rows["leaks"].iloc[0]
        lines.append(
            f"- protocol `{protocol}`: "
            + (f"**test data may leak** ({leaks})" if leaks else "leak-free")
        )
    constant = _same_in_all(results, keys)
    if constant:
        lines.append(f"- in all: {constant}")
    measured = [
        "validation_balanced_accuracy",
        "test_balanced_accuracy",
        "test_accuracy",
        "test_auroc",
        *(f"test_{row.name}" for row in own_definitions()),
    ]
    measured = [m for m in measured if m in table]
    best = _best_on_validation(table)
    rows_md = []
    for i, row in table.head(LONGEST_TABLE).iterrows():
        cells = [str(row[k]) for k in keys] + [
            _number(row[m])
            + (f" ± {row[m + '_sd']:.3f}" if row[m + "_sd"] == row[m + "_sd"] else "")
            for m in measured
        ]
        cells = [f"**{c}**" if i == best and c else c for c in cells]
        rows_md.append([*cells, str(row["n"])])
    lines += [
        "",
        *_table([*(words(k) for k in keys), *(words(m) for m in measured), "n"], rows_md),
        "",
    ]
    if len(table) > LONGEST_TABLE:
        lines.append(f"… and {len(table) - LONGEST_TABLE} more in the artifact `summary.csv`.")
    lines.append(
        "Mean ± standard deviation over n runs (seeds and folds), each run's metric by itself."
    )
    if best is not None:
        lines.append("Bold: best balanced accuracy on validation.")
        lines.append(
            f"The single best run on validation becomes a model with `leukobench register --best {name}`."
        )
    lines.append(f"Pictures of runs that have none: `leukobench figures --sweep {name}`.")
    lines += [
        f"Intervals from pooled predictions: `leukobench tables {p}`."
        for p in sorted(set(results["paper"]))
        if p
    ]
    if shot:
        lines += ["", f"![summary]({shot})"]
    lines += ["", DISCLAIMER]
    text = "\n".join(lines)
    while len(text) > LONGEST_NOTE and rows_md:
        text = text.replace("| " + " | ".join(rows_md.pop()) + " |\n", "")
    return text


def _keys_of(table: pd.DataFrame) -> list[str]:
    first = next(
        (
            i
            for i, c in enumerate(table.columns)
            if str(c).startswith(("validation_", "test_")) or c == "n"
        ),
        0,
    )
    return [str(c) for c in table.columns[:first]]


def _many(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"


def _same_in_all(results: pd.DataFrame, keys: Sequence[str]) -> str:
    shown = [
        k
        for k in (*NODES, "epochs", "batch_size")
        if k in results and k not in (*keys, "data", "protocol")
    ]
    values = {k: results[k].iloc[0] for k in shown if results[k].nunique(dropna=False) == 1}
    return ", ".join(f"{k} `{v}`" for k, v in values.items() if v not in ("none", "null"))


def _best_on_validation(table: pd.DataFrame) -> int | None:
    """Row of the best configuration; None without validation samples, since test chooses nothing."""
    column = "validation_balanced_accuracy"
    if len(table) < 2 or column not in table or table[column].isna().any():
        return None
    return int(table[column].to_numpy(float).argmax())


def picture(table: pd.DataFrame, name: str, simulated: bool = False) -> bytes:
    """PNG of a sweep's summary: balanced accuracy on test, and on validation where there is any.

    Over epochs where they vary, a line a configuration; else a row a configuration. Bars are one standard deviation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = [p for p in ("validation", "test") if f"{p}_balanced_accuracy" in table]
    keys = _keys_of(table)
    over_epochs = "epochs" in keys and len(table) > 1
    others = [k for k in keys if k != "epochs"] if over_epochs else keys
    named = table.assign(
        _name=[" · ".join(str(v) for v in row) or "all" for row in table[others].to_numpy()]
    )
    groups = list(named.groupby("_name", sort=False))[:12] if over_epochs else []
    rows = named.head(40)
    height = 3.4 if over_epochs else 1.2 + 0.26 * len(rows)
    figure = Figure(
        figsize=(4.2 * max(len(parts), 1) + (2.6 if over_epochs else 1.4), height),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(len(parts), 1), sharey=True, squeeze=False)[0]
    for ax, part in zip(axes, parts):
        column = f"{part}_balanced_accuracy"
        if over_epochs:
            for i, (label, group) in enumerate(groups):
                # side by side, so that bars of one epoch count do not hide each other
                x = group["epochs"].astype(float) * (1 + 0.03 * (i - (len(groups) - 1) / 2))
                style = ("-", "--", ":")[i // 4 % 3]
                ax.errorbar(x, group[column], group[f"{column}_sd"].fillna(0), label=label, capsize=2, lw=1.4,
                            marker="o", ms=3.5, ls=style, color=f"C{i % 10}", elinewidth=0.7)  # fmt: skip
            ax.set_xlabel("epochs")
            if named["epochs"].nunique() > 1 and named["epochs"].astype(float).min() > 0:
                ax.set_xscale("log")
                ticks = sorted(named["epochs"].astype(float).unique())
                ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
                ax.minorticks_off()
        else:
            y = range(len(rows))
            ax.errorbar(
                rows[column],
                y,
                xerr=rows[f"{column}_sd"].fillna(0),
                fmt="o",
                ms=4,
                capsize=2,
                elinewidth=0.8,
            )
            ax.set_yticks(list(y), rows["_name"])
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_xlabel("balanced accuracy")
        ax.set_title(part, fontsize=10)
        if not over_epochs:
            ax.set_xlim(right=min(ax.get_xlim()[1], 1.01))
        ax.grid(alpha=0.3)
    if over_epochs:
        axes[0].set_ylabel("balanced accuracy")
        axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.01))
        axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    n = sorted(set(table["n"]))
    spread = f"mean ± sd, n = {n[0]}" + (f" to {n[-1]}" if len(n) > 1 else "")
    figure.suptitle(f"{name}{' (simulated data)' if simulated else ''}: {spread}", fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()


def describe(store: Store, sweep: SweepRun) -> None:
    """Write a sweep's note, `summary.csv` and `summary.png` to its parent run, from all its finished results.

    Raises:
        StoreError
    """
    from mlflow.entities import RunTag

    from leukobench.tracking.reading import Results

    results = Results(store.settings, [sweep.name]).frame()
    if results.empty:
        return
    table = summary(results)
    simulated = bool((results["simulated"] == "true").any())
    shown = [
        m
        for m in ("validation_balanced_accuracy", "test_balanced_accuracy", "test_auroc")
        if m in table
    ]
    views = saved_views(_keys_of(table), shown, "curve/train_loss")
    links = {
        TITLES[key.removeprefix(TAG)]: address(sweep.experiment_id, key.removeprefix(TAG))
        for key in views
    }
    shot = f"get-artifact?path=summary.png&run_uuid={sweep.run_id}"
    note = sweep_note(sweep.name, results, table, links, shot, len(store.read_plan(sweep)))
    with store.errors("write"), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table.to_csv(folder / "summary.csv", index=False, float_format="%.6g")
        if any(c in table for c in ("test_balanced_accuracy", "validation_balanced_accuracy")):
            (folder / "summary.png").write_bytes(picture(table, sweep.name, simulated))
        store.client.log_artifacts(sweep.run_id, str(folder))
        facts = {
            f"leukobench.{k}": ", ".join(sorted(set(results[k])))
            for k in ("dataset", "protocol", "paper")
        }
        facts["leukobench.simulated"] = str(simulated).lower()
        tags = [RunTag(k, v) for k, v in (facts | {NOTE: note}).items()]
        store.client.log_batch(sweep.run_id, tags=tags)
        for key, value in (views | {NOTE: note}).items():
            store.client.set_experiment_tag(sweep.experiment_id, key, value)

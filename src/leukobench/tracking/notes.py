"""Markdown notes of runs and sweeps: what a person reads first in the store."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leukobench.evaluation.registry import find, own_definitions
from leukobench.schema.delivery import ResultOrder
from leukobench.schema.names import REPEATS, Param
from leukobench.schema.predictions import PARTS
from leukobench.schema.records import DataRecord, ResultRecord, RunRecord
from leukobench.tracking.identity import NODES
from leukobench.tracking.summary import best_on_validation, keys_of, summarised

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NOTE = 8000
"""Characters that MLflow keeps of a tag."""
LONGEST_TABLE = 40
DISCLAIMER = "Results are for research, not for clinical use."
MEASURED = (
    "validation_balanced_accuracy",
    "test_balanced_accuracy",
    "test_accuracy",
    "test_auroc",
)
"""Metrics that the table of a sweep's note shows."""
TRAJECTORY = "One training, read out at several epoch counts: the results are the runs below it."
OF_A_TRAJECTORY = (
    "Curves, split and config are artifacts of the parent run: one training, several epoch counts."
)


def run_note(
    params: Mapping[str, str],
    run: RunRecord,
    *,
    job: ResultOrder | None = None,
    result: ResultRecord | None = None,
    epochs: Sequence[int] = (),
) -> str:
    """Note of a run.

    Args:
        params: As logged.
        job: How it is made again; None where that is not known.
        result: None for a trajectory and for a run without a result.
        epochs: Checkpoint epochs of a trajectory.
    """
    lines = [
        " · ".join(f"**{word}**" for word in _subject(params, epochs)),
        "",
        *([] if run.data is None else _data_lines(run.data)),
        *_protocol_lines(params.get(Param.PROTOCOL, ""), run.leaks),
    ]
    if run.error:
        lines.append(f"- **failed**: {_flat(run.error)}")
    shares = len(epochs) > 1
    if run.seconds is not None:
        remark = " (the training that its epoch counts share)" if result and shares else ""
        lines.append(f"- trained in {run.seconds:.1f} s{remark}")
    if result is not None:
        lines += _result_lines(result)
    if shares:
        lines += ["", OF_A_TRAJECTORY if result else TRAJECTORY]
    if job is not None and job.origin is not None:
        lines += ["", "```sh", command(job.origin, job.overrides), "```"]
    lines += ["", DISCLAIMER]
    return "\n".join(lines)[:LONGEST_NOTE]


def _protocol_lines(protocol: str, leaks: Sequence[str]) -> list[str]:
    if leaks:
        listed = ", ".join(f"`{leak}`" for leak in leaks)
        return [f"- protocol `{protocol}`: **test data may leak** ({listed})"]
    if protocol:
        return [f"- protocol `{protocol}`: preprocessing and choices never see test samples"]
    return []


def _result_lines(result: ResultRecord) -> list[str]:
    lines = ["", *_metric_table(result.metrics)]
    if result.best_epoch:
        lines += ["", f"Early stopping kept the weights of epoch {result.best_epoch}."]
    return lines


def command(origin: str, overrides: Sequence[str]) -> str:
    """The command line that makes a run from its origin: the name of a sweep file, or `train`."""
    start = "leukobench train" if origin == "train" else f"leukobench sweep {origin}"
    return " ".join([start, *map(shlex.quote, overrides)])


def _subject(params: Mapping[str, str], epochs: Sequence[int]) -> list[str]:
    said = [params[k] for k in (Param.MODEL, Param.OPTIMIZER) if k in params]
    if Param.EPOCHS in params:
        count = params[Param.EPOCHS]
        said.append(f"{count} epoch{'s' if count != '1' else ''}")
    elif epochs:
        said.append(f"epochs {', '.join(map(str, epochs))}")
    return [*said, f"seed {params.get(Param.SEED, '0')}"]


def _data_lines(data: DataRecord) -> list[str]:
    said = [f"{data.samples} samples"]
    if data.subjects:
        said.append(f"{data.subjects} subjects")
    said.append(f"classes {', '.join(data.classes)}")
    mark = " (**simulated**)" if data.simulated else ""
    lines = [f"- data `{data.name}`{mark}: {', '.join(said)}"]
    if data.subset:
        lines.append(f"- **subset**: {data.subset}")
    if data.faults:
        lines.append(f"- **faulty data**: {_flat('; '.join(data.faults))}")
    fold = f", fold {data.fold} ({data.folds} folds)" if data.folds > 1 else ""
    lines.append(f"- split `{data.split}`{fold}")
    lines += [f"- **thin**: {_flat(concern)}" for concern in data.concerns]
    # of a series nothing is learned that could leak
    shared = {kind: n for kind, n in data.shared.items() if n and kind != "series"}
    if shared:
        listed = ", ".join(f"{n} {kind}s" for kind, n in shared.items())
        lines.append(f"- **in more than one part**: {listed}")
    return lines


def _metric_table(metrics: Mapping[str, float]) -> list[str]:
    shown = summarised()
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
    return [_row(head), "|" + " --- |" * len(head), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _flat(text: str, longest: int = 300) -> str:
    text = " ".join(str(text).split()).replace("|", r"\|")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def sweep_note(
    name: str,
    results: pd.DataFrame,
    table: pd.DataFrame,
    *,
    links: Mapping[str, str],
    picture: str,
    planned: int,
) -> str:
    """Note of a sweep.

    Args:
        results: One row a result.
        table: Its `summary`.
        links: Title and address of saved views.
        picture: Address of the summary's picture; empty where there is none.
        planned: Results that the sweep was asked for.
    """
    keys = keys_of(table)
    lines = [
        _counts(name, results, len(table), planned),
        "",
        *_link_lines(links),
        *_sweep_data_lines(results),
        *_sweep_protocol_lines(results),
    ]
    constant = _same_in_all(results, keys)
    if constant:
        lines.append(f"- in all: {constant}")
    head, rows = _summary_rows(table, keys)
    lines += ["", *_table(head, rows), "", *_reading_lines(name, results, table)]
    if picture:
        lines += ["", f"![summary]({picture})"]
    lines += ["", DISCLAIMER]
    text = "\n".join(lines)
    while len(text) > LONGEST_NOTE and rows:
        text = text.replace(_row(rows.pop()) + "\n", "")
    return text


def _counts(name: str, results: pd.DataFrame, configurations: int, planned: int) -> str:
    """The first line: how much there is."""
    seeds, folds = (results[k].nunique() if k in results else 1 for k in REPEATS)
    done = f"{len(results)} results"
    if planned > len(results):
        done += f" of {planned} planned"
    repeats = f"{_many(seeds, 'seed')} × {_many(folds, 'fold')}"
    return f"**Sweep `{name}`**: {done}, {configurations} configurations, {repeats}."


def _link_lines(links: Mapping[str, str]) -> list[str]:
    listed = " · ".join(f"[{title}]({address})" for title, address in links.items())
    return [f"- views: {listed}"] if links else []


def _sweep_data_lines(results: pd.DataFrame) -> list[str]:
    lines = []
    for data, rows in results.groupby("dataset"):
        first = rows.iloc[0]
        line = f"- data `{data}`{' (**simulated**)' if first['simulated'] == 'true' else ''}"
        if first["subset"]:
            line += f": **subset**, {first['subset']}"
        lines.append(line)
    return lines


def _sweep_protocol_lines(results: pd.DataFrame) -> list[str]:
    lines = []
    for protocol, rows in results.groupby("protocol"):
        leaks = rows["leaks"].iloc[0]
        status = f"**test data may leak** ({leaks})" if leaks else "leak-free"
        lines.append(f"- protocol `{protocol}`: {status}")
    return lines


def _summary_rows(table: pd.DataFrame, keys: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the summary in Markdown, the best configuration bold."""
    own = [f"test_{row.name}" for row in own_definitions()]
    measured = [m for m in (*MEASURED, *own) if m in table]
    best = best_on_validation(table)
    rows = []
    for i, row in table.head(LONGEST_TABLE).iterrows():
        cells = [str(row[k]) for k in keys]
        cells += [_mean(row[m], row[f"{m}_sd"]) for m in measured]
        if i == best:
            cells = [f"**{cell}**" if cell else cell for cell in cells]
        rows.append([*cells, str(row["n"])])
    return [*map(words, keys), *map(words, measured), "n"], rows


def _mean(value: float, deviation: float) -> str:
    spread = "" if math.isnan(deviation) else f" ± {deviation:.3f}"
    return _number(value) + spread


def _reading_lines(name: str, results: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What the summary means, and what can be done next."""
    lines = []
    if len(table) > LONGEST_TABLE:
        lines.append(f"… and {len(table) - LONGEST_TABLE} more in the artifact `summary.csv`.")
    lines.append(
        "Mean ± standard deviation over seeds, the folds of a seed together, as tables have it; n runs."
    )
    if best_on_validation(table) is not None:
        lines += [
            "Bold: best balanced accuracy on validation.",
            "The single best run on validation becomes a model with "
            f"`leukobench register --best {name}`.",
        ]
    lines.append(f"Pictures of runs that have none: `leukobench figures --sweep {name}`.")
    papers = sorted(set(results["paper"]) - {""})
    lines += [f"Intervals from pooled predictions: `leukobench tables {p}`." for p in papers]
    return lines


def _same_in_all(results: pd.DataFrame, keys: Sequence[str]) -> str:
    """Choices that all results share."""
    left_out = (*keys, Param.DATA, Param.PROTOCOL)
    candidates = [k for k in (*NODES, Param.EPOCHS, "batch_size") if k in results]
    shown = [k for k in candidates if k not in left_out]
    values = {k: results[k].iloc[0] for k in shown if results[k].nunique(dropna=False) == 1}
    return ", ".join(f"{k} `{v}`" for k, v in values.items() if v not in ("none", "null"))


def _many(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"

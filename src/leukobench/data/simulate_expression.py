"""Simulated expression data in the layouts of the real sets, for trying things out without a download.

Log-expression is a sum of a gene's level, effects of class on a few informative genes, of the person and of the series
on many genes, and noise. Series shift the genes strongly, so that a model can read the series instead of the class where a
class comes from one series; persons shift them enough for a person's arrays to resemble each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from leukobench.data.cumida import SAME_PATIENTS
from leukobench.data.golub import write_golub
from leukobench.data.simulated import mark_simulated
from leukobench.errors import LeukoBenchError

GOLUB_PARTS: Mapping[str, Mapping[str, int]] = {
    "train": {"ALL": 27, "AML": 11},
    "test": {"ALL": 20, "AML": 14},
}
CUMIDA_SERIES: Mapping[str, Mapping[str, int]] = {
    "GSE14317": {"ATL": 17, "normal": 8},
    "GSE71449": {"JMML_LIN28_high": 21, "JMML_LIN28_low": 16, "normal": 8},
    "GSE33615": {"ATL": 48, "normal": 23},
    "GSE63270": {"AML": 58, "normal": 43},
    "GSE28497": {
        "B-CELL_ALL": 75,
        "B-CELL_ALL_ETV6-RUNX1": 53,
        "B-CELL_ALL_HYPERDIP": 50,
        "B-CELL_ALL_HYPO": 18,
        "B-CELL_ALL_MLL": 17,
        "B-CELL_ALL_T-ALL": 46,
        "B-CELL_ALL_TCF3-PBX1": 22,
    },
    "GSE22529_U133A": {"CLL": 41, "normal": 11},
    "GSE22529_U133B": {"CLL": 41, "normal": 11},
}
"""Arrays by series and class: totals by series from paper `kandi`, table 2; by class from its table 3, shared out in
proportion where a class lies in two series (ATL, CLL, normal), the two arrays that table 3 lacks counted as B-CELL_ALL."""


def log_expression(
    rng: np.random.Generator,
    genes: int,
    classes: Sequence[str],
    subjects: Sequence[str] | None = None,
    series: Sequence[str] | None = None,
    *,
    informative: float = 0.02,
    class_effect: float = 1.0,
    subject_effect: float = 0.4,
    series_effect: float = 0.8,
    noise: float = 0.6,
) -> np.ndarray:
    """Log2 expression, shape (samples, genes), of samples with these classes, subjects and series.

    Args:
        informative: Share of the genes that each class shifts.
        class_effect, subject_effect, series_effect, noise: Standard deviations of the shifts, in log2 units.
    """
    values = np.clip(rng.normal(7.5, 2.0, genes), 3, 14) + rng.normal(
        0, noise, (len(classes), genes)
    )
    count = max(1, round(informative * genes))
    for name in sorted(set(classes)):
        rows = [i for i, c in enumerate(classes) if c == name]
        chosen = rng.choice(genes, count, replace=False)
        values[np.array(rows)[:, None], chosen] += rng.normal(0, class_effect, count)
    for groups, effect in ((subjects, subject_effect), (series, series_effect)):
        for name in sorted(set(groups or ())):
            values[[i for i, g in enumerate(groups or ()) if g == name]] += rng.normal(
                0, effect, genes
            )
    return values


def share_out(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in proportion to `weights` that add up to `total`, at least 1 each, by largest remainder.

    Raises:
        LeukoBenchError: `total` is less than the number of weights.
    """
    if total < len(weights):
        raise LeukoBenchError(
            f"{total} samples are too few for {len(weights)} groups ({', '.join(weights)})"
        )
    spare = total - len(weights)
    exact = {name: spare * w / sum(weights.values()) for name, w in weights.items()}
    counts = {name: 1 + int(x) for name, x in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (int(exact[name]) - exact[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def simulate_golub(out: Path, samples: int, seed: int, genes: int = 7129) -> Path:
    """Write the three files of data set `golub`; at 72 samples the classes of both parts have their official counts."""
    rng = np.random.default_rng(seed)
    sizes = {
        f"{part} {label}": n for part, labels in GOLUB_PARTS.items() for label, n in labels.items()
    }
    if samples != sum(sizes.values()):
        sizes = share_out(samples, sizes)
    labels: dict[int, str] = {}
    order: dict[str, list[int]] = {part: [] for part in GOLUB_PARTS}
    for key, n in sizes.items():
        part, label = key.split(" ")
        for _ in range(n):
            patient = len(labels) + 1
            labels[patient] = label
            order[part].append(patient)
    raw = (
        2 ** log_expression(rng, genes, list(labels.values()))
        - 60
        + rng.normal(0, 40, (len(labels), genes))
    )
    raw = np.rint(raw)
    calls = np.where(raw > 200, "P", np.where(raw > 150, "M", "A"))
    write_golub(
        out,
        [f"SIM{g:05d}_at" for g in range(1, genes + 1)],
        {p: raw[p - 1] for p in labels},
        labels,
        {part: [int(p) for p in rng.permutation(patients)] for part, patients in order.items()},
        [f"Simulated gene {g}" for g in range(1, genes + 1)],
        {p: calls[p - 1].tolist() for p in labels},
    )
    mark_simulated(out, _mark("golub", samples, seed))
    return out


def simulate_cumida(out: Path, samples: int, seed: int, genes: int = 20000) -> Path:
    """Write seven series `Leukemia_<GSE>.csv`.

    Each series' platform has 17 in 20 of all `genes`, in an order of its own, so that both ways of merging can be tried:
    about a third of the probes are in all seven. (On the real files, platforms of different makers may share no probe name.)
    The two chips of GSE22529 measure the same simulated patients.
    """
    rng = np.random.default_rng(seed)
    sizes = {
        f"{s} {label}": n for s, labels in CUMIDA_SERIES.items() for label, n in labels.items()
    }
    if samples != sum(sizes.values()):
        sizes = share_out(samples, sizes)
    series, labels, subjects = [], [], []
    for key, n in sizes.items():
        name, _, label = key.partition(" ")
        series += [name] * n
        labels += [label] * n
        study = name.split("_")[0] if name in SAME_PATIENTS else name
        subjects += [f"{study} {label} {i}" for i in range(n)]
    values = log_expression(rng, genes, labels, subjects, series)
    probes = np.array([f"sim{g:05d}_at" for g in range(1, genes + 1)])
    out.mkdir(parents=True, exist_ok=True)
    number = 1000000
    for name in CUMIDA_SERIES:
        columns = rng.choice(genes, max(1, genes * 17 // 20), replace=False)
        rows = [i for i, s in enumerate(series) if s == name]
        with open(out / f"Leukemia_{name}.csv", "w", encoding="utf-8") as file:
            file.write(",".join(["samples", "type", *probes[columns].tolist()]) + "\n")
            for i in rows:
                number += 1
                file.write(
                    f"GSM{number}.CEL.gz,{labels[i]},"
                    + ",".join(map("%.5f".__mod__, values[i, columns].tolist()))
                    + "\n"
                )
    mark_simulated(out, _mark("cumida", samples, seed))
    return out


def simulate_table(
    out: Path, samples: int, subjects: int | None, seed: int, genes: int = 500
) -> Path:
    """Write `expression.csv` with columns sample, subject, series, label and genes.

    Samples are spread over `subjects` persons (half as many as samples by default), each of one class and one series.
    """
    persons = subjects or max(2, samples // 2)
    if not 2 <= persons <= samples:
        raise LeukoBenchError(
            f"{samples} samples cannot be spread over {persons} subjects of two classes"
        )
    rng = np.random.default_rng(seed)
    of = sorted(i % persons for i in range(samples))
    person_class = ["ALL" if i % 5 < 3 else "AML" for i in range(persons)]
    if len(set(person_class)) < 2:
        person_class[-1] = "AML"
    person_series = rng.choice(["series_1", "series_2"], persons).tolist()
    names = [f"P{i + 1:04d}" for i in of]
    labels, series = [person_class[i] for i in of], [person_series[i] for i in of]
    values = log_expression(rng, genes, labels, names, series)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "expression.csv", "w", encoding="utf-8") as file:
        file.write(
            ",".join(
                ["sample", "subject", "series", "label", *(f"gene_{g + 1}" for g in range(genes))]
            )
            + "\n"
        )
        for i, row in enumerate(values.tolist()):
            facts = [f"S{i + 1:05d}", names[i], series[i], labels[i]]
            file.write(",".join([*facts, *map("%.5f".__mod__, row)]) + "\n")
    mark_simulated(out, _mark("expression_csv", samples, seed))
    return out


def _mark(name: str, samples: int, seed: int) -> str:
    return (
        f"Simulated by `leukobench data simulate {name}`, samples={samples}, seed={seed}.\n"
        "No value in this folder was measured; nothing here says anything about leukemia."
    )

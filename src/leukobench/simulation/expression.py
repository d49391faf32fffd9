"""Simulated expression in the layouts of the real sets.

Log-expression is a sum of a gene's level, effects of class on a few informative genes, of the
person and of the series on many genes, and noise. Series shift the genes strongly, so that a model
can read the series instead of the class where a class comes from one series; persons shift them
enough for a person's arrays to resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from leukobench.data.simulated import mark_simulated
from leukobench.data.sources.cumida import SAME_PATIENTS
from leukobench.data.sources.golub import write_golub
from leukobench.errors import LeukoBenchError
from leukobench.simulation.shares import share_out

NOISE = 0.6
"""Standard deviation of the noise, in log2 units, as those of `Effects`."""


@dataclass(frozen=True)
class Effects:
    """Standard deviations of the shifts that class, subject and series make.

    Attributes:
        informative: Share of the genes that each class shifts.
    """

    informative: float = 0.02
    label: float = 1.0
    subject: float = 0.4
    series: float = 0.8


def log_expression(
    rng: np.random.Generator,
    genes: int,
    labels: Sequence[str],
    *,
    subjects: Sequence[str] = (),
    series: Sequence[str] = (),
    effects: Effects = Effects(),
) -> np.ndarray:
    """Log2 expression, shape (samples, genes), of samples with these classes, subjects and
    series.
    """
    level = np.clip(rng.normal(7.5, 2.0, genes), 3, 14)
    values = level + rng.normal(0, NOISE, (len(labels), genes))
    shifted = max(1, round(effects.informative * genes))
    for rows in _groups(labels):
        chosen = rng.choice(genes, shifted, replace=False)
        values[np.ix_(rows, chosen)] += rng.normal(0, effects.label, shifted)
    for names, effect in ((subjects, effects.subject), (series, effects.series)):
        for rows in _groups(names):
            values[rows] += rng.normal(0, effect, genes)
    return values


def _groups(names: Sequence[str]) -> list[np.ndarray]:
    """Rows of each name, in the order of the names."""
    column = np.array(names, dtype=object)
    return [np.flatnonzero(column == name) for name in sorted(set(names))]


def _official_sizes(name: str) -> dict[tuple[str, str], int]:
    """Arrays by part (or series) and class in the official set."""
    text = (files("leukobench.simulation") / "sizes.yaml").read_text(encoding="utf-8")
    sizes = {}
    for group, labels in yaml.safe_load(text)[name].items():
        for label, n in labels.items():
            sizes[group, label] = n
    return sizes


def _sizes(name: str, samples: int | None) -> dict[tuple[str, str], int]:
    """Official sizes, or `samples` shared out in their proportion."""
    sizes = _official_sizes(name)
    if samples is None or samples == sum(sizes.values()):
        return sizes
    shared = share_out(samples, {" ".join(key): n for key, n in sizes.items()})
    return {key: shared[" ".join(key)] for key in sizes}


def simulate_golub(
    out: Path,
    *,
    samples: int | None = None,
    subjects: int | None = None,
    genes: int = 7129,
    seed: int = 0,
) -> Path:
    """Write the three files of data set `golub`; without `samples` classes and parts have their
    official counts.

    Raises:
        LeukoBenchError: `subjects` differs from `samples`: there is one array a patient.
    """
    if subjects is not None and samples not in (None, subjects):
        raise LeukoBenchError(
            "golub has one array a patient: give samples alone, or subjects equal to it"
        )
    rng = np.random.default_rng(seed)
    labels: dict[int, str] = {}
    patients: dict[str, list[int]] = {"train": [], "test": []}
    for (part, label), n in _sizes("golub", samples or subjects).items():
        for _ in range(n):
            patient = len(labels) + 1
            labels[patient] = label
            patients[part].append(patient)
    raw = 2 ** log_expression(rng, genes, list(labels.values())) - 60
    raw = np.rint(raw + rng.normal(0, 40, raw.shape))
    calls = np.where(raw > 200, "P", np.where(raw > 150, "M", "A"))
    write_golub(
        out,
        genes=[f"SIM{g:05d}_at" for g in range(1, genes + 1)],
        arrays={p: raw[p - 1] for p in labels},
        labels=labels,
        order={part: rng.permutation(ours).tolist() for part, ours in patients.items()},
        descriptions=[f"Simulated gene {g}" for g in range(1, genes + 1)],
        calls={p: calls[p - 1].tolist() for p in labels},
    )
    mark_simulated(out, _mark("golub", len(labels), seed))
    return out


def simulate_cumida(
    out: Path, *, samples: int | None = None, genes: int = 20000, seed: int = 0
) -> Path:
    """Write seven series `Leukemia_<GSE>.csv`.

    Each series' platform has 17 in 20 of all `genes`, in an order of its own, so that both ways of
    merging can be tried: about a third of the probes are in all seven. (On the real files,
    platforms of different makers may share no probe name.) The two chips of GSE22529 measure the
    same simulated patients.
    """
    rng = np.random.default_rng(seed)
    series, labels, subjects = [], [], []
    for (name, label), n in _sizes("cumida", samples).items():
        study = name.split("_")[0] if name in SAME_PATIENTS else name
        series += [name] * n
        labels += [label] * n
        subjects += [f"{study} {label} {i}" for i in range(n)]
    values = log_expression(rng, genes, labels, subjects=subjects, series=series)
    probes = np.array([f"sim{g:05d}_at" for g in range(1, genes + 1)])
    out.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(series):
        columns = rng.choice(genes, max(1, genes * 17 // 20), replace=False)
        lines = []
        for i in [i for i, s in enumerate(series) if s == name]:
            lines.append(_line([f"GSM{1000001 + i}.CEL.gz", labels[i]], values[i, columns]))
        head = ",".join(["samples", "type", *probes[columns]]) + "\n"
        (out / f"Leukemia_{name}.csv").write_text(head + "".join(lines), encoding="utf-8")
    mark_simulated(out, _mark("cumida", len(labels), seed))
    return out


def simulate_table(
    out: Path, *, samples: int = 120, subjects: int | None = None, genes: int = 500, seed: int = 0
) -> Path:
    """Write `expression.csv` with columns sample, subject, series, label and genes.

    Samples are spread over `subjects` persons (half as many as samples by default), each of one
    class and one series.

    Raises:
        LeukoBenchError: There are fewer samples than subjects, or fewer subjects than classes.
    """
    persons = subjects or max(2, samples // 2)
    if not 2 <= persons <= samples:
        raise LeukoBenchError(
            f"{samples} samples cannot be spread over {persons} subjects of two classes"
        )
    rng = np.random.default_rng(seed)
    of = sorted(i % persons for i in range(samples))
    label_of = ["ALL" if i % 5 < 3 else "AML" for i in range(persons)]
    if "AML" not in label_of:
        label_of[-1] = "AML"
    series_of = rng.choice(["series_1", "series_2"], persons).tolist()
    names = [f"P{i + 1:04d}" for i in of]
    labels, series = [label_of[i] for i in of], [series_of[i] for i in of]
    values = log_expression(rng, genes, labels, subjects=names, series=series)
    lines = []
    for i, row in enumerate(values):
        lines.append(_line([f"S{i + 1:05d}", names[i], series[i], labels[i]], row))
    columns = ["sample", "subject", "series", "label", *(f"gene_{g + 1}" for g in range(genes))]
    out.mkdir(parents=True, exist_ok=True)
    text = ",".join(columns) + "\n" + "".join(lines)
    (out / "expression.csv").write_text(text, encoding="utf-8")
    mark_simulated(out, _mark("expression_csv", samples, seed))
    return out


def _line(facts: Sequence[str], values: np.ndarray) -> str:
    return ",".join([*facts, *map("%.5f".__mod__, values.tolist())]) + "\n"


def _mark(name: str, samples: int, seed: int) -> str:
    return (
        f"Simulated by `leukobench data simulate {name}`, samples={samples}, seed={seed}.\n"
        "No value in this folder was measured; nothing here says anything about leukemia."
    )

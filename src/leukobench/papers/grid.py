"""The tables of a sweep that no paper file describes: a paper made from what its runs vary.

The rule, which `GridChoice` overrides key by key: the data set splits tables, the model is the row,
the protocol the arm, and the rest of what varies makes the columns. Where nothing is left for
columns, they are metrics. What a cell took to train stands in a table of the same form.

What comes out is an ordinary `Paper` in which nothing is published; the table engine fills it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from leukobench.errors import PaperError
from leukobench.evaluation.registry import title as metric_title
from leukobench.papers.results import REPEATED, Result, configuration, normal
from leukobench.papers.spec import GROUPS, SCALARS, Arm, Column, Paper, Row, Table
from leukobench.schema.names import Param, Tag
from leukobench.schema.predictions import Part

FIRST_KEYS = (Param.DATA, Param.PROTOCOL, Param.MODEL)
"""What an experiment is about; other keys are named only where these do not tell runs apart."""
METRIC = "accuracy"
METRICS = ("accuracy", "balanced_accuracy", "auroc")
"""Columns where nothing varies but rows."""
SECONDS = "seconds"
PROTOCOLS = {"paper": "Paper's protocol", "leak_free": "Leak-free"}

Values = tuple[str | None, ...]
"""Values of some keys in their order, None where a run does not have the key."""


@dataclass(frozen=True)
class GridChoice:
    """Which keys go where, as far as the user says; None leaves it to the rule. A key that tells
    runs apart and is named nowhere makes columns; where those are named, it splits tables.

    Attributes:
        rows, columns: Their keys; every combination that was run is one.
        by: Keys that split tables.
        metrics: Names of metrics; empty for the usual ones.
    """

    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    by: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that is named."""
        return (*(self.rows or ()), *(self.columns or ()), *(self.by or ()))


@dataclass(frozen=True)
class Places:
    """Where each key goes that tells the runs apart; `arms` says whether the protocol makes them."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    by: tuple[str, ...]
    arms: bool


def grid_paper(
    sweeps: Sequence[str], results: Sequence[Result], choice: GridChoice | None = None
) -> Paper:
    """A paper whose tables show these results of sweeps.

    Raises:
        PaperError: There are no results, or a key is named that they do not have.
    """
    choice = choice or GridChoice()
    if not results:
        raise PaperError(f"{_named(sweeps)}: no finished runs to make a table of")
    configurations = _configurations(results)
    told = varied_keys(results)
    places = _places(told, choice, configurations)
    named = (*told, *places.rows, *places.columns, *places.by)
    note = _note(named, configurations, results)
    tables: list[Table] = []
    for values in _positions(places.by, configurations):
        members = [c for c in configurations if _values(c, places.by) == values]
        tables += _tables(values, members, places, choice.metrics, note=note)
    return Paper(
        key=_key(sweeps),
        version=1,
        title=_named(sweeps).capitalize(),
        citation="Own runs; nothing is published of them.",
        source="this project",
        sweep=sweeps[0],
        arms=_arms(configurations) if places.arms else {},
        tables=tuple(tables),
    )


def configurations_paper(
    sweep: str, results: Sequence[Result], identities: Collection[str]
) -> Paper | None:
    """A paper with one table: a row a configuration that one of these identities is of, a column
    the test part, one the validation part. None where there is no such result."""
    asked = _configurations([r for r in results if r.identity in identities])
    if not asked:
        return None
    told = varied_keys(results) or (Param.DATA, Param.EPOCHS)
    keys = told if Param.MODEL in told else (Param.MODEL, *told)
    rows = tuple(
        Row(id=id_, title=title, overrides=overrides)
        for id_, title, overrides in _lines(keys, _positions(keys, asked))
    )
    parts: tuple[Part, ...] = ("test", "validation")
    columns = tuple(Column(id=part, metric=METRIC, part=part) for part in parts)
    return Paper(
        key=_key([sweep]),
        version=1,
        title=_named([sweep]),
        citation="Own runs.",
        source="this project",
        sweep=sweep,
        tables=(Table(id="configurations", title="Configurations", columns=columns, rows=rows),),
    )


def varied_keys(results: Sequence[Result]) -> tuple[str, ...]:
    """The fewest keys that tell the configurations of these results apart.

    They are tried in a fixed order: data, protocol, model, the other groups, numbers, keys that the
    runs were launched with, all others. One that says nothing beyond those before it is left out.
    """
    configurations = _configurations(results)
    kept: tuple[str, ...] = ()
    told = 1
    for key in _candidates(results, configurations):
        if told == len(configurations):
            break
        more = len({_values(c, (*kept, key)) for c in configurations})
        if more > told:
            kept, told = (*kept, key), more
    return kept


def _configurations(results: Sequence[Result]) -> list[Mapping[str, str]]:
    """Params of each configuration, once."""
    return list({configuration(r): r.params for r in results}.values())


def _candidates(
    results: Sequence[Result], configurations: Sequence[Mapping[str, str]]
) -> tuple[str, ...]:
    """Every key in the order in which it is tried."""
    launched = _launched(results)
    present = {key for params in configurations for key in params}
    ordered = (*FIRST_KEYS, *GROUPS, *SCALARS, *sorted(launched), *sorted(present))
    return tuple(k for k in dict.fromkeys(ordered) if k in present and k not in REPEATED)


def _launched(results: Sequence[Result]) -> set[str]:
    """Keys of the overrides with which runs were launched."""
    texts = {r.tags.get(Tag.OVERRIDES, "") for r in results}
    return {key for text in texts for key in re.findall(r'"[+~]*([\w.]+)=', text)}


def _values(params: Mapping[str, str], keys: Sequence[str]) -> Values:
    return tuple(normal(params[k]) if k in params else None for k in keys)


# --- which key goes where -------------------------------------------------------------------------


def _places(
    told: Sequence[str], choice: GridChoice, configurations: Sequence[Mapping[str, str]]
) -> Places:
    known = {key for params in configurations for key in params}
    for key in choice.keys:
        if key not in known or key in REPEATED:
            varied = ", ".join(told) or "nothing"
            raise PaperError(f"{key!r} is no key of these runs to make a table by; {varied} varies")
    left = [key for key in told if key not in choice.keys]
    arms = Param.PROTOCOL in left
    by = _taken(left, choice.by, Param.DATA)
    rows = _taken(left, choice.rows, Param.MODEL)
    if not rows:
        rows = (Param.MODEL,)
    rest = tuple(key for key in left if key not in (*by, *rows, Param.PROTOCOL))
    if choice.columns is None:
        return Places(rows, rest, by, arms)
    return Places(rows, choice.columns, (*by, *rest), arms)


def _taken(left: Sequence[str], named: Sequence[str] | None, group: str) -> tuple[str, ...]:
    """The keys that the user names; where none, what is left of a group and of the keys below it."""
    if named is not None:
        return tuple(named)
    return tuple(key for key in left if key.split(".")[0] == group)


def _positions(keys: Sequence[str], configurations: Iterable[Mapping[str, str]]) -> list[Values]:
    """Every combination of values that was run, numbers by size, names by the alphabet."""
    return sorted({_values(c, keys) for c in configurations}, key=_order)


def _order(values: Values) -> tuple[tuple[int, float, str], ...]:
    return tuple(_order_of(value) for value in values)


def _order_of(value: str | None) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


# --- the tables -----------------------------------------------------------------------------------


def _tables(
    by: Values,
    configurations: Sequence[Mapping[str, str]],
    places: Places,
    metrics: Sequence[str],
    *,
    note: str,
) -> list[Table]:
    """The tables of one combination of what splits them: one a metric, then one of seconds."""
    rows = tuple(
        Row(id=id_, title=title, overrides=overrides)
        for id_, title, overrides in _lines(places.rows, _positions(places.rows, configurations))
    )
    where = words(places.by, by)
    last = f"-{slug}" if (slug := _slug(by)) else ""
    overrides = _overrides(places.by, by)
    if not places.columns:
        shown = tuple(metrics) or METRICS
        columns = tuple(Column(id=m, title=metric_title(m), metric=m) for m in (*shown, SECONDS))
        return [
            Table(
                id=f"metrics{last}",
                title=": ".join(filter(None, ("Test part", where))),
                note=note,
                columns=columns,
                rows=rows,
                overrides=overrides,
                baselines=("majority",),
                compare="rows",
                difference=_difference(places, configurations),
            )
        ]
    columns = tuple(
        Column(id=id_, title=title, overrides=own)
        for id_, title, own in _lines(places.columns, _positions(places.columns, configurations))
    )
    shown = (*(metrics or (METRIC,)), SECONDS)
    return [
        Table(
            id=f"{metric}{last}",
            title=": ".join(filter(None, (metric_title(metric), where))),
            note=note if metric == SECONDS else None,
            metric=metric,
            columns=columns,
            rows=rows,
            overrides=overrides,
            baselines=() if metric == SECONDS else ("majority",),
            compare="none" if metric == SECONDS else "rows",
            difference=None if metric == SECONDS else _difference(places, configurations),
        )
        for metric in shown
    ]


def _lines(
    keys: Sequence[str], positions: Sequence[Values]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Id, title and overrides of each row or column."""
    lines: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for values in positions:
        id_ = _slug(values) or "all"
        if id_ in lines:
            id_ = f"{id_}-{len(lines)}"
        lines[id_] = (id_, words(keys, values) or "all", _overrides(keys, values))
    return list(lines.values())


def words(keys: Sequence[str], values: Values) -> str:
    """`resnet18, 20 epochs, lr 0.01`: a choice of a file stands for itself, a number has its name."""
    return ", ".join(_word(k, plain(v)) for k, v in zip(keys, values) if v is not None)


def _word(key: str, value: str) -> str:
    if key in GROUPS:
        return value
    if key == Param.EPOCHS:
        return f"{value} epoch{'' if value == '1' else 's'}"
    return f"{key.rpartition('.')[2]} {value}"


def plain(value: str) -> str:
    """A value in the one spelling of `normal`, whole numbers without their point: `10` for `10.0`."""
    return value.removesuffix(".0")


def _overrides(keys: Sequence[str], values: Values) -> tuple[str, ...]:
    return tuple(f"{k}={plain(v)}" for k, v in zip(keys, values) if v is not None)


def _slug(values: Values) -> str:
    text = "-".join(plain(v) for v in values if v is not None)
    return re.sub(r"[^\w.-]+", "_", text).lstrip(".-")


# --- what stands around them ----------------------------------------------------------------------


def _arms(configurations: Sequence[Mapping[str, str]]) -> dict[str, Arm]:
    found = {c[Param.PROTOCOL] for c in configurations if Param.PROTOCOL in c}
    names = [*(p for p in PROTOCOLS if p in found), *sorted(found - set(PROTOCOLS))]
    return {
        name: Arm(
            label=PROTOCOLS.get(name, name),
            overrides=(f"{Param.PROTOCOL}={name}",),
            leak_free=name == "leak_free",
        )
        for name in names
    }


def _difference(
    places: Places, configurations: Sequence[Mapping[str, str]]
) -> tuple[str, str] | None:
    """Between the two protocols that every paper is shown under, where both were run."""
    found = {c.get(Param.PROTOCOL) for c in configurations}
    return ("paper", "leak_free") if places.arms and found >= set(PROTOCOLS) else None


def _note(
    named: Sequence[str], configurations: Sequence[Mapping[str, str]], results: Sequence[Result]
) -> str:
    """What training took in all, and what differs without being named."""
    trainings = {r.tags.get(Tag.TRAINING, r.run_id): r.tags.get(Tag.SECONDS) for r in results}
    known = [float(seconds) for seconds in trainings.values() if seconds]
    lines = [
        f"Training took {sum(known):,.1f} s in {len(trainings)} trainings in all. Seconds are those "
        "of one run; a training that serves several epoch counts is shared out by epochs."
    ]
    follows = [
        key
        for key in (*GROUPS, *SCALARS)
        if key not in (*named, *REPEATED) and len({_values(c, (key,)) for c in configurations}) > 1
    ]
    if follows:
        lines.append(f"Differs with these, and is not named: {', '.join(follows)}.")
    return " ".join(lines)


def _named(sweeps: Sequence[str]) -> str:
    return f"sweep{'s' if len(sweeps) > 1 else ''} {', '.join(sweeps)}"


def _key(sweeps: Sequence[str]) -> str:
    """Key of the paper that is made of sweeps, whose names may hold spaces."""
    return "-".join(sweeps).replace(" ", "_")

"""A paper as data: what `conf/paper/KEY.yaml` may say, and the cells it resolves to.

Only the form lives here. Tables are filled by the table engine, contradictions are found by `leukobench.papers.audit`.
Files are read as plain YAML; whatever is wrong is a `PaperError` that names file, line and key.

A table is a matrix. What a cell is (metric, averaging, part, runs, ...) is said at the table, a row, a column or the
cell, the later of these winning; override strings of all four are merged, the later winning by key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from leukobench.errors import ConfigError, PaperError
from leukobench.evaluation.definition import Averaging
from leukobench.evaluation.registry import find, known_names
from leukobench.plain_yaml import compose, faults, read_text
from leukobench.schema.predictions import Part as SplitPart

Kind = Literal["reproducible", "cited", "descriptive"]
Part = Literal[SplitPart, "all"]
Unit = Literal["fraction", "percent", "count", "number"]
Rounding = Literal["rounded", "truncated"]
Relation = Literal["=", ">", "<", "~"]
FigureType = Literal[
    "learning_curves",
    "test_accuracy_by_epoch",
    "confusion_matrix",
    "roc",
    "autoencoder_loss",
    "autoencoder_error_histogram",
    "reconstruction",
    "class_pie",
    "gene_correlations",
]
Baseline = Literal["majority", "series_oracle"]

GROUPS = (
    "data",
    "split",
    "preprocess",
    "resample",
    "augment",
    "model",
    "loss",
    "optimizer",
    "schedule",
    "protocol",
    "trainer",
)
SCALARS = ("epochs", "batch_size", "seed", "fold")
_OVERRIDE = re.compile(r"(?P<key>[A-Za-z_][\w.]*)=(?P<value>\S(.*\S)?)")
_IDENTIFIER = r"^[A-Za-z0-9_][\w.-]*$"


def merge_overrides(*levels: Iterable[str]) -> tuple[str, ...]:
    """Override strings of all levels, one a key, a later level winning; groups first, then scalars, then the rest.

    The order is fixed, so that the same choice is always written the same way.
    """
    merged: dict[str, str] = {}
    for level in levels:
        for override in level:
            key, _, value = override.partition("=")
            merged[key] = value
    rank = {key: i for i, key in enumerate((*GROUPS, *SCALARS))}
    return tuple(
        f"{k}={merged[k]}" for k in sorted(merged, key=lambda k: (rank.get(k, len(rank)), k))
    )


def printed_number(text: str) -> float | None:
    """The number that a published text states, percentages as fractions; None where it is not one plain number.

    `84.73%`, `83,30%` (decimal comma) and `10,661` (thousands) are read as people read them.
    """
    text = text.strip()
    percent = text.endswith("%")
    digits = text.removesuffix("%").strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", digits):
        digits = digits.replace(",", "")
    digits = digits.replace(",", ".")
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", digits):
        return None
    # Dividing would leave 77.1 % at 0.7709999999999999; moving the point in the text does not.
    return float(f"{digits}e-2") if percent and "e" not in digits.lower() else float(digits)


def printed_decimals(text: str) -> int:
    """Number of decimals of the number as written: 2 for `84.73%` and for `0.80`, 0 for `87%`."""
    match = re.search(r"\d[.,](\d+)", text)
    return (
        len(match.group(1)) if match and not re.fullmatch(r"\d{1,3}(,\d{3})+", text.strip()) else 0
    )


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _check_override(text: str) -> str:
    if not _OVERRIDE.fullmatch(text):
        raise ValueError(f"{text!r} is not an override of the form key=value")
    key = text.partition("=")[0]
    if "." not in key and key not in (*GROUPS, *SCALARS):
        raise ValueError(
            f"{key!r} is neither a config group ({', '.join(GROUPS)}) nor one of {', '.join(SCALARS)}"
        )
    return text


Text = Annotated[str, BeforeValidator(_as_text)]
Identifier = Annotated[str, BeforeValidator(_as_text), Field(pattern=_IDENTIFIER)]
Override = Annotated[str, BeforeValidator(_check_override)]
Overrides = tuple[Override, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(_Strict):
    """A configuration that is chosen by its result, as a paper picks its best epoch, instead of being named.

    For each seed and fold the best of all combinations is taken, by `metric` on the part that the runs' protocol chooses
    on (`choose_on`): under the papers' protocols the test part, as they did, in leak-free runs the validation part.

    Attributes:
        metric: What decides.
        averaging: As for cells.
        among: The values to choose from, by config key (`{epochs: [10, 20], model: [vgg16, resnet50]}`).
    """

    metric: str = "accuracy"
    averaging: Averaging | None = None
    among: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_choose(self) -> Choice:
        metric = find(self.metric)
        if metric is None or not metric.computed or metric.direction == "none":
            raise ValueError(
                f"nothing can be chosen by {self.metric!r}, only by "
                f"{', '.join(known_names(computed=True))}"
            )
        for key, values in self.among.items():
            for value in values:
                _check_override(f"{key}={value}")
        if len(self.candidates) < 2:
            raise ValueError("`among` leaves one configuration: nothing to choose")
        return self

    @property
    def candidates(self) -> list[tuple[str, ...]]:
        """Override strings of each configuration, in the order of the file, the last key running fastest."""
        return [
            tuple(f"{k}={v}" for k, v in zip(self.among, values))
            for values in product(*self.among.values())
        ]

    @property
    def overrides(self) -> tuple[str, ...]:
        """Override strings that stand for all configurations together: `epochs=10,20`."""
        return tuple(f"{key}={','.join(values)}" for key, values in self.among.items())


class Facets(_Strict):
    """What may be said of cells at any level: table, row, column or single cell. None = what the level above says.

    Attributes:
        metric: One of the registry of metrics, or any quantity for cited and descriptive cells.
        averaging: How a metric over classes is averaged. None = of the positive class where there are two classes,
            macro where there are more.
        part: The part of the split that is scored; `all` for facts about the whole data set.
        epoch: `last` (the run's checkpoint epoch) or a number.
        of: The class that the metric refers to, against the rest (per-class AUROC, class counts).
        unit: How numbers are shown; values themselves are fractions, never percentages.
        decimals: Decimals to show; None = as the published text has them.
        rounding: How the paper rounded.
        kind: `reproducible` by a run, `cited` from other work, or `descriptive` (facts, claims, counts of the data).
        size: Number of test samples that a published count (tp, fn, fp, tn) is of.
        place: Where in the source (`Table 3`, `2.1`).
        arms: Arms that apply; None = all of the paper.
        overrides: Config choices of the runs that fill the cell.
        choose: The configuration is chosen among several by its result; its keys need no overrides.
    """

    metric: str | None = None
    averaging: Averaging | None = None
    part: Part | None = None
    epoch: Literal["last"] | int | None = None
    of: Text | None = None
    unit: Unit | None = None
    decimals: int | None = Field(default=None, ge=0, le=12)
    rounding: Rounding | None = None
    kind: Kind | None = None
    size: int | None = Field(default=None, ge=1)
    place: Text | None = None
    arms: tuple[str, ...] | None = None
    overrides: Overrides = ()
    choose: Choice | None = None


class Published(Facets):
    """One entry of a row's `cells`. `0.76` or `84.73%` alone is short for `{printed: 84.73%}`; `~` is an empty cell.

    Attributes:
        printed: The text as printed.
        value: The number used; by default what `printed` states. Percentages as fractions.
        numbers: Several numbers where the paper gives a range or a list for one cell.
        words: What stands there where it is no number (`perfect`, `not in the text`).
        relation: `>` for a printed lower bound, and so on.
        note: A short remark for the reader.
    """

    printed: Text | None = None
    value: float | None = None
    numbers: tuple[float, ...] = ()
    words: Text | None = None
    relation: Relation = "="
    note: Text | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Published:
        if self.printed is None and self.words is None:
            raise ValueError(
                "a published cell needs `printed` or `words`; write ~ for an empty cell"
            )
        stated = printed_number(self.printed) if self.printed is not None else None
        if self.value is None and stated is None and not self.numbers and self.words is None:
            raise ValueError(
                f"{self.printed!r} is not a plain number: add `value`, `numbers` or `words`"
            )
        if (
            self.value is not None
            and stated is not None
            and abs(stated - self.value) > 1e-12
            and self.note is None
        ):
            raise ValueError(
                f"`printed` states {stated:g}, `value` is {self.value:g}; a `note` must say why"
            )
        return self

    @property
    def number(self) -> float | None:
        if self.value is not None or self.printed is None or self.numbers or self.words is not None:
            return self.value
        return printed_number(self.printed)


def _published(value: Any) -> Any:
    return {"printed": str(value)} if isinstance(value, str | int | float) else value


Entry = Annotated[Published | None, BeforeValidator(_published)]
Entries = Annotated[
    Annotated[tuple[Entry, ...], Tag("list")] | Annotated[dict[str, Entry], Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict) else "list"),
]


class Column(Facets):
    """A column; `title` defaults to the id.

    Attributes:
        difference: Ids of two columns: the cells are those of the first minus those of the second, and need no runs.
    """

    id: Identifier
    title: Text | None = None
    note: Text | None = None
    difference: tuple[Text, Text] | None = None


class Row(Facets):
    """A row.

    Attributes:
        keys: Facts about the row that belong into the key of its cells (`{study: "[9]", images: 260}`).
        mean_of: Ids of rows of the same table: the row's cells are the means of theirs, and no run fills them.
        difference: Ids of two rows, as for columns.
        cells: A list in the order of the columns, or a mapping from column id for sparse rows.
    """

    id: Identifier
    title: Text | None = None
    note: Text | None = None
    keys: dict[str, Text] = {}
    mean_of: tuple[Text, ...] = ()
    difference: tuple[Text, Text] | None = None
    cells: Entries = ()


class Table(Facets):
    """A table of the paper, or one of our own (no `cells`: nothing is published, runs fill it).

    Attributes:
        keys: Facts that hold for every cell and belong into its key (`{model: VGG16, optimizer: Adam}`).
        baselines: Shown beside the models.
        compare: What is compared with paired tests on the same samples.
        beside: Metrics that an honest reader wants beside the published ones.
        difference: Two arms: each cell also shows the first minus the second.
    """

    id: Identifier
    title: Text
    note: Text | None = None
    keys: dict[str, Text] = {}
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)
    baselines: tuple[Baseline, ...] = ()
    compare: Literal["rows", "columns", "none"] = "none"
    beside: tuple[str, ...] = ()
    difference: tuple[str, str] | None = None


class Series(_Strict):
    """One line or panel of a figure."""

    label: Text
    overrides: Overrides = ()
    of: Text | None = None


class Figure(_Strict):
    """A figure: what kind it is and which runs fill it. Without `series`, `overrides` alone name the one run."""

    id: Identifier
    title: Text
    type: FigureType
    place: Text
    note: Text | None = None
    part: Part = "test"
    arms: tuple[str, ...] | None = None
    overrides: Overrides = ()
    series: tuple[Series, ...] = ()


class Arm(_Strict):
    """One way to reproduce the paper: its own protocol, leak-free, ...

    Attributes:
        label: Heading of its columns.
        overrides: Config choices it adds to every cell.
        leak_free: Whether nothing of the test leaks into training under it.
        reason: Why the arm is impossible; it then has no overrides and its cells say the reason.
    """

    label: Text
    overrides: Overrides = ()
    leak_free: bool = False
    reason: Text | None = None

    @model_validator(mode="after")
    def _runs_or_reason(self) -> Arm:
        if self.reason is not None and self.overrides:
            raise ValueError("an arm with a `reason` cannot be run: it has no `overrides`")
        return self

    @property
    def possible(self) -> bool:
        return self.reason is None


class AuditCheck(BaseModel):
    """One entry of `audit`: a rule of `leukobench.papers.audit` and its parameters (checked there)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    rule: str

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


@dataclass(frozen=True)
class Cell:
    """A cell with everything that the levels above it say. See `Facets` and `Published` for the fields.

    `ref` is `TABLE/ROW/COLUMN`. `mean_of` holds the refs of the cells that this one averages, `difference` those of the
    two that it subtracts. `value` is None where nothing is published or it is no single number; `is_published` tells the
    two apart. `runs` are the overrides without an arm's; those of a `choose` stand for all its configurations.
    """

    paper: str
    table: str
    row: str
    column: str
    keys: Mapping[str, str]
    title: str
    metric: str | None
    averaging: Averaging | None
    part: Part
    epoch: Literal["last"] | int
    of: str | None
    unit: Unit
    decimals: int | None
    rounding: Rounding
    kind: Kind
    size: int | None
    place: str
    printed: str | None
    value: float | None
    numbers: tuple[float, ...]
    words: str | None
    relation: Relation
    note: str | None
    mean_of: tuple[str, ...]
    difference: tuple[str, str] | None
    choose: Choice | None
    runs: tuple[str, ...]
    arms: Mapping[str, Arm]

    @property
    def ref(self) -> str:
        return f"{self.table}/{self.row}/{self.column}"

    @property
    def is_published(self) -> bool:
        return self.printed is not None or self.words is not None

    @property
    def has_runs(self) -> bool:
        """Whether runs of its own fill it: it is to be reproduced, and not computed from other cells."""
        return self.kind == "reproducible" and not self.mean_of and self.difference is None

    @property
    def step(self) -> float:
        """Distance of two neighbouring printed values, as a fraction: 0.01 for `0.76` and `76%`, 0.001 for `96.6%`."""
        percent = self.printed is not None and "%" in self.printed
        return float(f"1e-{(self.decimals or 0) + (2 if percent else 0)}")

    def overrides(self, arm: str) -> tuple[str, ...]:
        """All config choices of the runs that fill the cell under an arm.

        Raises:
            PaperError: The cell has no such arm, or the arm is impossible.
        """
        if arm not in self.arms:
            raise PaperError(
                f"{self.paper} {self.ref} has no arm {arm!r}, only {', '.join(self.arms)}"
            )
        if not self.arms[arm].possible:
            raise PaperError(
                f"{self.paper} {self.ref}: arm {arm!r} is impossible: {self.arms[arm].reason}"
            )
        return merge_overrides(self.runs, self.arms[arm].overrides)


class Paper(_Strict):
    """A paper file. `version` is raised when what the file asks for changes; it is printed under every table."""

    key: Identifier
    version: int = Field(ge=1)
    title: Text
    authors: Text | None = None
    year: int | None = None
    citation: Text
    doi: Text | None = None
    url: Text | None = None
    source: Text
    protocol: dict[str, Any] = {}
    sweep: Identifier | None = None
    data: tuple[str, ...] = ()
    arms: dict[str, Arm] = {}
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    audit: tuple[AuditCheck, ...] = ()
    path: Path | None = Field(default=None, exclude=True)
    lines: dict[tuple[str | int, ...], int] = Field(default={}, exclude=True, repr=False)

    @cached_property
    def _cells(self) -> dict[str, Cell]:
        return {cell.ref: cell for table in self.tables for cell in _resolve(self, table)}

    def cells(self, table: str | None = None) -> list[Cell]:
        """Every cell, published or not, in reading order; of one table where `table` is its id."""
        return [c for c in self._cells.values() if table is None or c.table == table]

    def published(self) -> list[Cell]:
        """The cells in which the paper says something."""
        return [c for c in self.cells() if c.is_published]

    def cell(self, ref: str) -> Cell:
        """The cell `TABLE/ROW/COLUMN`; raises PaperError where there is none."""
        try:
            return self._cells[ref]
        except KeyError:
            raise PaperError(
                f"{self.where()}: there is no cell {ref!r} (TABLE/ROW/COLUMN)"
            ) from None

    def table(self, id: str) -> Table:
        """A table by id; `3` also finds `table3`. Raises PaperError that lists what there is."""
        return _named(self, self.tables, id, "table")

    def figure(self, id: str) -> Figure:
        """A figure by id; `7` also finds `figure7`. Raises PaperError that lists what there is."""
        return _named(self, self.figures, id, "figure")

    def where(self, *keys: str | int) -> str:
        """`FILE, line N (KEY)` of a key in the paper's file, for messages."""
        return _where(self.path, self.lines, keys) if self.path else f"paper {self.key}"


def _named(paper: Paper, things: Sequence[Any], id: str, word: str) -> Any:
    for thing in things:
        if thing.id in (id, f"{word}{id}"):
            return thing
    raise PaperError(
        f"paper {paper.key} has no {word} {id!r}; it has {', '.join(t.id for t in things) or 'none'}"
    )


def _entries(table: Table, row: Row) -> dict[str, Published | None]:
    if isinstance(row.cells, dict):
        return {c.id: row.cells.get(c.id) for c in table.columns}
    cells = row.cells or (None,) * len(table.columns)
    return {c.id: entry for c, entry in zip(table.columns, cells, strict=True)}


def _resolve(paper: Paper, table: Table) -> Iterator[Cell]:
    for row in table.rows:
        entries = _entries(table, row)
        for column in table.columns:
            entry = entries[column.id]
            levels: list[Facets] = [table, row, column, *([entry] if entry else [])]

            def said(name: str, default: Any = None, levels: list[Facets] = levels) -> Any:
                given = [v for level in levels if (v := getattr(level, name)) is not None]
                return given[-1] if given else default

            printed = entry.printed if entry else None
            decimals = said("decimals")
            arms = said("arms", tuple(paper.arms))
            choose: Choice | None = said("choose")
            difference = _difference(table, row, column)
            overrides = [*(level.overrides for level in levels), choose.overrides if choose else ()]
            yield Cell(
                paper=paper.key,
                table=table.id,
                row=row.id,
                column=column.id,
                keys={
                    **table.keys,
                    **row.keys,
                    "row": row.title or row.id,
                    "column": column.title or column.id,
                },
                title=table.title,
                metric=said("metric"),
                averaging=said("averaging"),
                part=said("part", "test"),
                epoch=said("epoch", "last"),
                of=said("of"),
                unit=said("unit", _unit(said("metric"), printed)),
                decimals=printed_decimals(printed)
                if decimals is None and printed is not None
                else decimals,
                rounding=said("rounding", "rounded"),
                kind=said("kind", "reproducible"),
                size=said("size"),
                place=said("place", table.title),
                printed=printed,
                value=entry.number if entry else None,
                numbers=entry.numbers if entry else (),
                words=entry.words if entry else None,
                relation=entry.relation if entry else "=",
                note=(entry.note if entry else None) or row.note or column.note,
                mean_of=tuple(f"{table.id}/{other}/{column.id}" for other in row.mean_of),
                difference=difference,
                choose=choose,
                runs=() if row.mean_of or difference else merge_overrides(*overrides),
                arms={a: paper.arms[a] for a in arms},
            )


def _unit(metric: str | None, printed: str | None) -> Unit:
    """The unit of a cell that names none: as printed; where nothing is, as its metric is shown."""
    if printed is not None:
        return "percent" if printed.rstrip().endswith("%") else "fraction"
    known = find(metric)
    return "fraction" if known is None or not known.computed else known.unit


def _difference(table: Table, row: Row, column: Column) -> tuple[str, str] | None:
    if row.difference is not None:
        first, second = row.difference
        return f"{table.id}/{first}/{column.id}", f"{table.id}/{second}/{column.id}"
    if column.difference is not None and not row.mean_of:
        first, second = column.difference
        return f"{table.id}/{row.id}/{first}", f"{table.id}/{row.id}/{second}"
    return None


def load_paper(path: str | Path) -> Paper:
    """Read and check one paper file.

    Raises:
        PaperError: The file is missing, is no YAML, or breaks the schema; the message names file, line and key.
    """
    path = Path(path)
    if not path.is_file():
        raise PaperError(f"no paper file {path}")
    try:
        content, lines = _read(read_text(path), path)
    except ConfigError as e:
        raise PaperError(str(e)) from None
    if not isinstance(content, dict):
        raise PaperError(
            f"{path}, line 1: a paper file is a mapping of keys, see docs/add-a-paper.md"
        )
    for reserved in {"path", "lines"} & set(content):
        raise PaperError(f"{_where(path, lines, (reserved,))}: unknown key")
    try:
        paper = Paper.model_validate({**content, "path": path, "lines": lines})
    except ValidationError as error:
        raise PaperError(_readable(error, path, lines)) from None
    _check(paper)
    return paper


def available_papers(folders: Iterable[str | Path]) -> dict[str, Path]:
    """Paper files by key (the file's name), of all folders that exist; an earlier folder wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(Path(folder).glob("*.yaml")) if Path(folder).is_dir() else ():
            found.setdefault(file.stem, file)
    return found


def _read(text: str, path: Path) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    """Plain Python content and the line of every key path.

    Scalars directly below `cells` stay text, so that `0.80` is kept as printed. A key given twice is an error: YAML
    would silently keep the last.
    """
    lines: dict[tuple[str | int, ...], int] = {}

    def build(node: yaml.Node, at: tuple[str | int, ...]) -> Any:
        lines[at] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)
            out: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = loader.construct_object(key_node)
                key = key if isinstance(key, str) else key_node.value
                if key in out:
                    raise PaperError(
                        f"{path}, line {key_node.start_mark.line + 1}: key {key!r} is given twice"
                    )
                out[key] = build(value_node, (*at, key))
                lines[(*at, key)] = key_node.start_mark.line + 1
            return out
        if isinstance(node, yaml.SequenceNode):
            return [build(child, (*at, i)) for i, child in enumerate(node.value)]
        value = loader.construct_object(node)
        return node.value if value is not None and len(at) > 1 and at[-2] == "cells" else value

    loader = yaml.SafeLoader("")
    try:
        node = compose(text, str(path))
        with faults(str(path)):
            return (build(node, ()) if node is not None else None), lines
    finally:
        loader.dispose()


def _where(
    path: Path | None, lines: Mapping[tuple[str | int, ...], int], keys: Sequence[str | int]
) -> str:
    known = tuple(keys)
    while known and known not in lines:
        known = known[:-1]
    name = ".".join(str(k) for k in keys)
    return f"{path}, line {lines.get(known, 1)}" + (f" ({name})" if name else "")


def _readable(
    error: ValidationError, path: Path, lines: Mapping[tuple[str | int, ...], int]
) -> str:
    messages: dict[str, None] = {}
    for problem in error.errors():
        # pydantic puts the names of union members into the location: only what the file has is kept.
        keys: tuple[str | int, ...] = ()
        for key in problem["loc"]:
            if (*keys, key) in lines:
                keys = (*keys, key)
        missing = problem["type"] == "missing"
        if missing:
            keys = (*keys, problem["loc"][-1])
        text = {"missing": "this key is required", "extra_forbidden": "unknown key"}.get(
            problem["type"], problem["msg"].removeprefix("Value error, ")
        )
        if problem["type"] not in ("missing", "extra_forbidden", "value_error"):
            text += f", found {problem['input']!r}"
        messages[f"{_where(path, lines, keys)}: {text}"] = None
    return "\n".join(messages)


def _check(paper: Paper) -> None:
    """What one field alone cannot show: unique ids, rows as long as the columns, arms and metrics that exist."""

    def fail(keys: tuple[str | int, ...], message: str) -> None:
        raise PaperError(f"{paper.where(*keys)}: {message}")

    def unique(things: Sequence[Any], at: tuple[str | int, ...], word: str) -> None:
        seen: set[str] = set()
        for i, thing in enumerate(things):
            if thing.id in seen:
                fail((*at, i, "id"), f"{word} id {thing.id!r} is given twice")
            seen.add(thing.id)

    def arms_exist(
        names: Sequence[str] | None, at: tuple[str | int, ...], key: str = "arms"
    ) -> None:
        for name in names or ():
            if name not in paper.arms:
                fail((*at, key), f"arm {name!r} is not among the paper's arms {list(paper.arms)}")

    if paper.path is not None and paper.path.stem != paper.key:
        fail(("key",), f"the key is {paper.key!r}, but the file is named {paper.path.name!r}")
    unique(paper.tables, ("tables",), "table")
    unique(paper.figures, ("figures",), "figure")
    for f, figure in enumerate(paper.figures):
        arms_exist(figure.arms, ("figures", f))
    for t, table in enumerate(paper.tables):
        at: tuple[str | int, ...] = ("tables", t)
        unique(table.columns, (*at, "columns"), "column")
        unique(table.rows, (*at, "rows"), "row")
        arms_exist(table.arms, at)
        arms_exist(table.difference, at, "difference")
        for metric in table.beside:
            if find(metric) is None:
                known = ", ".join(known_names())
                fail((*at, "beside"), f"{metric!r} is none of the metrics {known}")
        columns = [c.id for c in table.columns]
        for c, column in enumerate(table.columns):
            arms_exist(column.arms, (*at, "columns", c))
        for r, row in enumerate(table.rows):
            here = (*at, "rows", r)
            arms_exist(row.arms, here)
            for other in row.mean_of:
                if other not in {x.id for x in table.rows if not x.mean_of}:
                    fail((*here, "mean_of"), f"there is no row {other!r} to average")
            if isinstance(row.cells, dict):
                for unknown in set(row.cells) - set(columns):
                    fail(
                        (*here, "cells", unknown), f"there is no column {unknown!r}, only {columns}"
                    )
            elif row.cells and len(row.cells) != len(columns):
                fail(
                    (*here, "cells"),
                    f"{len(row.cells)} cells for the {len(columns)} columns {columns}",
                )
            for entry in row.cells.values() if isinstance(row.cells, dict) else row.cells:
                arms_exist(entry.arms if entry else None, (*here, "cells"))
        differences: list[tuple[str, list[tuple[str, tuple[str, str] | None]]]] = [
            ("column", [(x.id, x.difference) for x in table.columns]),
            ("row", [(x.id, x.difference) for x in table.rows]),
        ]
        for word, said in differences:
            for i, (_, pair) in enumerate(said):
                for other in pair or ():
                    if other not in {name for name, its_own in said if its_own is None}:
                        fail(
                            (*at, f"{word}s", i, "difference"),
                            f"there is no {word} {other!r} to subtract",
                        )
    for t, table in enumerate(paper.tables):
        for cell in paper.cells(table.id):
            r = next(i for i, row in enumerate(table.rows) if row.id == cell.row)
            if cell.kind == "reproducible" and cell.difference is not None:
                first, second = (paper.cell(ref) for ref in cell.difference)
                if not (first.has_runs and second.has_runs and _measure(first) == _measure(second)):
                    fail(
                        ("tables", t, "rows", r),
                        f"cell {cell.ref} subtracts {second.ref} from {first.ref}: both must be filled by runs and "
                        "have the same metric, averaging, class and part",
                    )
            if cell.choose is not None:
                for name, arm in cell.arms.items():
                    for key in {o.partition("=")[0] for o in arm.overrides} & set(
                        cell.choose.among
                    ):
                        fail(
                            ("tables", t, "rows", r),
                            f"cell {cell.ref} chooses among values of {key!r}, which the arm {name!r} fixes",
                        )
            if cell.kind == "reproducible" and find(cell.metric) is None:
                fail(
                    ("tables", t, "rows", r),
                    f"cell {cell.ref} is to be reproduced by runs, but its metric {cell.metric!r} is none of "
                    f"{', '.join(known_names())}; name one, or give it kind cited or descriptive",
                )


def _measure(cell: Cell) -> tuple[str | None, ...]:
    return (cell.metric, cell.averaging, cell.of, cell.part, str(cell.epoch))

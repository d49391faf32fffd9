"""One self-contained HTML report for one paper or several: no network, sortable, printable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from leukobench import __version__
from leukobench.papers.answers import FilledTable
from leukobench.papers.audit import AuditFinding, UncheckedFact, by_severity
from leukobench.papers.spec import Paper
from leukobench.papers.verdicts import Verdict
from leukobench.report.figures import Picture, data_uri, overview
from leukobench.report.layout import Layout, lay_out

TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class Chapter:
    """One paper's part of a report.

    Attributes:
        tables: Filled tables.
        pictures: Drawn figures.
        findings: What the audit found in the published numbers.
        unchecked: Facts of the paper's file that could not be checked for want of data.
        glance: Drawing of published values and ours; made from the tables by default.
    """

    paper: Paper
    tables: Sequence[FilledTable]
    pictures: Sequence[Picture] = ()
    findings: Sequence[AuditFinding] = ()
    unchecked: Sequence[UncheckedFact] = ()
    glance: str | None = None

    @cached_property
    def audit(self) -> list[AuditFinding]:
        """Findings, contradictions first."""
        return by_severity(self.findings)

    @property
    def absent_data(self) -> list[str]:
        """Keys of the data sets that unchecked facts read."""
        return list(dict.fromkeys(key for fact in self.unchecked for key in fact.data))

    @property
    def layouts(self) -> list[Layout]:
        return [lay_out(t) for t in self.tables]

    @property
    def overview(self) -> str | None:
        svg = self.glance or overview(self.tables)
        return None if svg is None else data_uri(svg)

    @property
    def verdicts(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """How often each verdict was given on published cells, by arm."""
        counts: dict[str, Counter[str]] = {}
        for table in self.tables:
            for row in table.rows:
                for c in row.cells:
                    if c is None or not c.cell.is_published:
                        continue
                    for arm, answer in c.answers.items():
                        if answer.verdict:
                            counts.setdefault(table.arms[arm], Counter())[answer.verdict] += 1
        return [
            (arm, [(v, found[v]) for v in Verdict if found[v]]) for arm, found in counts.items()
        ]

    @property
    def protocol(self) -> list[tuple[str, str]]:
        """The paper's protocol facts, flat."""
        return [(k.replace("_", " "), _flat(v)) for k, v in self.paper.protocol.items()]

    @property
    def published(self) -> int:
        return sum(
            c is not None and c.cell.is_published
            for t in self.tables
            for r in t.rows
            for c in r.cells
        )


def html(chapters: Sequence[Chapter], title: str | None = None) -> str:
    """The report as one file's text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["slug"] = lambda text: str(text).replace(" ", "-")
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    if title is None:
        title = (
            chapters[0].paper.title
            if len(chapters) == 1
            else "Published results and their reproduction"
        )
    return template.render(chapters=chapters, title=title, version=__version__)


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{str(k).replace('_', ' ')}: {_flat(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(v) for v in value)
    return "not stated" if value is None else str(value)

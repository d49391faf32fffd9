"""The audit of one paper or table as a report that stands alone: Markdown, HTML, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from leukobench import __version__
from leukobench.papers.audit import AuditFinding, UncheckedFact, by_severity

TEMPLATE = Path(__file__).with_name("audit.html.j2")
EXPLANATION = (
    "A contradiction cannot be as printed under any reading that was tried; a caution can be under "
    "the reading that is named, or misleads; a hint helps to read the numbers. The solver tried "
    "every result that the test allows; the Python below a finding shows it without this software."
)


@dataclass(frozen=True)
class AuditReport:
    """What an audit found, and what of the paper's file could not be checked."""

    title: str
    findings: Sequence[AuditFinding]
    unchecked: Sequence[UncheckedFact] = ()
    citation: str = ""

    @property
    def ordered(self) -> list[AuditFinding]:
        """Findings, contradictions first."""
        return by_severity(self.findings)

    @property
    def absent_data(self) -> list[str]:
        """Keys of the data sets that unchecked facts read."""
        return list(dict.fromkeys(key for fact in self.unchecked for key in fact.data))


def markdown(reports: Sequence[AuditReport]) -> str:
    """Each report with its findings as a list, contradictions first."""
    return "\n".join(_markdown(report) for report in reports)


def _markdown(report: AuditReport) -> str:
    lines = [f"## {report.title}", ""]
    if report.citation:
        lines += [report.citation, ""]
    if not report.findings:
        return "\n".join([*lines, "Nothing contradicts anything.", ""])
    lines += [EXPLANATION, ""]
    for i, f in enumerate(report.ordered, start=1):
        lines += [f"### {i}. {f.severity}: {f.finding}", "", f"- place: {f.place}"]
        lines.append(f"- evidence: {f.evidence} ({f.status})")
        if f.reading:
            lines.append(f"- reading: {f.reading}")
        if f.corrected:
            lines.append(f"- must be: {f.corrected}")
        if f.recompute:
            lines += ["", "```python", f.recompute, "```"]
        lines.append("")
    for fact in report.unchecked:
        lines.append(f"Not checked without {', '.join(fact.data)}: {fact.finding}")
    return "\n".join([*lines, f"LeukoBench {__version__}", ""])


def html(reports: Sequence[AuditReport]) -> str:
    """One self-contained page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(reports=reports, explanation=EXPLANATION, version=__version__)


def json_text(reports: Sequence[AuditReport]) -> str:
    """Findings by title."""
    body = {report.title: [asdict(f) for f in report.findings] for report in reports}
    return json.dumps(body, indent=2) + "\n"

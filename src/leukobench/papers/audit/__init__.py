"""What in the published numbers cannot be: recomputed from a paper's cells, and from its data where they are at hand.

`audit_paper` applies the rules that a paper's `audit` section names, and the automatic ones; `audit_numbers` does it for
a user's own numbers; `to_markdown` renders findings. Nothing is printed here. A rule is one small function with a
docstring that explains it: `RULES[name].explanation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leukobench.errors import PaperError
from leukobench.papers.audit import counts, data, matrices, training
from leukobench.papers.audit.findings import RULES, AuditFinding, Rule
from leukobench.papers.audit.numbers import audit_numbers
from leukobench.papers.spec import Paper

if TYPE_CHECKING:
    from leukobench.data.base import Dataset

__all__ = [
    "RULES", "AuditFinding", "Rule", "UncheckedRule", "audit_numbers", "audit_paper", "counts", "data", "data_read",
    "matrices", "to_markdown", "training", "unchecked_rules",
]  # fmt: skip

SEVERITIES = ("contradiction", "caution", "note")


def audit_paper(paper: Paper, datasets: Mapping[str, Dataset] | None = None) -> list[AuditFinding]:
    """Every finding about a paper, in the order of its `audit` section, then those of the automatic rules.

    Args:
        datasets: Loaded data sets by their key (`golub_corrupt`, `cnmc`, ...); rules about absent ones are passed over.

    Raises:
        PaperError: The `audit` section names an unknown rule, or gives one the wrong parameters.
    """
    findings: list[AuditFinding] = []
    for i, check in enumerate(paper.audit):
        where = paper.where("audit", i)
        if check.rule not in RULES:
            raise PaperError(
                f"{where}: there is no audit rule {check.rule!r}; rules are {', '.join(RULES)}"
            )
        findings += RULES[check.rule].run(paper, check.parameters, datasets or {}, where)
    for found in RULES.values():
        if found.automatic:
            findings += found.run(paper, {}, datasets or {}, paper.where())
    return findings


@dataclass(frozen=True)
class UncheckedRule:
    """A rule that a paper's `audit` names and that could not be checked for want of data.

    Attributes:
        data: Keys of the data sets that it reads and that are not at hand, complete and real.
    """

    rule: str
    data: tuple[str, ...]

    @property
    def about(self) -> str:
        """What the rule looks at, in a sentence."""
        return RULES[self.rule].explanation.partition("\n\n")[0].replace("\n", " ")


def data_read(parameters: Mapping[str, object]) -> tuple[str, ...]:
    """Keys of the data sets that a rule with these parameters reads."""
    return tuple(str(parameters[k]) for k in ("data", "true_data") if k in parameters)


def unchecked_rules(
    paper: Paper, datasets: Mapping[str, Dataset] | None = None
) -> list[UncheckedRule]:
    """Rules of the paper's `audit` that `audit_paper` passes over with these data sets."""
    found = []
    for check in paper.audit:
        rule = RULES.get(check.rule)
        if rule is None or not rule.needs_data:
            continue
        usable = rule.usable(datasets or {})
        absent = tuple(key for key in data_read(check.parameters) if key not in usable)
        if absent:
            found.append(UncheckedRule(check.rule, absent))
    return found


def to_markdown(findings: Iterable[AuditFinding], title: str | None = None) -> str:
    """Findings as a Markdown table, contradictions first."""
    ordered = sorted(findings, key=lambda f: SEVERITIES.index(f.severity))
    lines = [f"## {title}", ""] if title else []
    if not ordered:
        return "\n".join([*lines, "Nothing contradicts anything.", ""])
    lines += [
        "| | place | finding | evidence | must be | shown by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for f in ordered:
        must_be = "" if f.corrected is None else f"{f.corrected:.6g}"
        row = (f.severity, f.place, f.finding, f.evidence, must_be, f"{f.rule} ({f.status})")
        lines.append(
            "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in row) + " |"
        )
    return "\n".join([*lines, ""])

"""What the audit says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["contradiction", "caution", "hint"]
Status = Literal["computed", "verified on data", "stated"]
SEVERITIES: tuple[Severity, ...] = ("contradiction", "caution", "hint")


@dataclass(frozen=True)
class AuditFinding:
    """One finding.

    Attributes:
        rule: The constraint that is broken: `scores`, `test set`, `mean`, ... or `fact`, which the
            paper's file states itself.
        paper: Key of the paper, or what else was audited.
        place: Where in the source.
        finding: What is the matter, in a sentence.
        evidence: The numbers that show it.
        severity: `contradiction` (cannot be as printed under any reading that was tried),
            `caution` (some reading explains it, or it misleads) or `hint` (helps to read it).
        reading: Under which reading of the numbers it holds, and which one would explain them.
        corrected: The value that would mend it, or the range of such values.
        recompute: Python that shows it without this software.
        status: Whether the printed numbers alone show it, the data set was read, or the paper's
            file states it with its evidence.
    """

    rule: str
    paper: str
    place: str
    finding: str
    evidence: str
    severity: Severity
    reading: str = ""
    corrected: str | None = None
    recompute: str = ""
    status: Status = "computed"


def by_severity(findings: Iterable[AuditFinding]) -> list[AuditFinding]:
    """Contradictions first, then cautions, then hints; else in the order given."""
    return sorted(findings, key=lambda f: SEVERITIES.index(f.severity))

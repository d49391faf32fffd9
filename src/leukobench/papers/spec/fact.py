"""What a paper's file itself finds in the printed numbers."""

from __future__ import annotations

from typing import Literal

from leukobench.papers.spec.base import Strict, Text


class Fact(Strict):
    """A finding of one paper, with its evidence.

    Attributes:
        finding: What is the matter, in a sentence.
        place: Where in the source.
        evidence: The numbers that show it; `{formula:format}` is computed.
        check: A formula of cells (and data sets) that must be true; see docs/audit.md.
        severity: `contradiction` (cannot be), `caution` (misleads) or `hint` (helps to read).
        reading: Under which reading of the source it holds.
        corrected: The value that would mend it; may hold formulas, too.
        data: Keys of the data sets that its formulas read; passed over where one is not at hand.
    """

    finding: Text
    place: Text
    evidence: Text
    severity: Literal["contradiction", "caution", "hint"]
    check: Text | None = None
    reading: Text = ""
    corrected: Text | None = None
    data: tuple[str, ...] = ()

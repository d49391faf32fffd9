"""What the audit says (`AuditFinding`), how a rule is declared (`rule`), and how a paper's cells are picked.

The rules themselves live beside this module, by subject.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from leukobench.errors import PaperError
from leukobench.papers.spec import Cell, Paper

if TYPE_CHECKING:
    from leukobench.data.base import Dataset

Severity = Literal["contradiction", "caution", "note"]
Status = Literal["computed", "verified on data"]


@dataclass(frozen=True)
class AuditFinding:
    """One finding.

    Attributes:
        rule: Name of the rule that found it; its docstring explains it.
        paper: Key of the paper, or `numbers` for a user's own.
        place: Where in the source.
        finding: What is the matter, in a sentence.
        evidence: The numbers that show it.
        severity: `contradiction` (cannot be as printed), `caution` (can be, but misleads) or `note` (follows from the
            numbers and helps to read them).
        corrected: What the printed value must have been, where that follows.
        status: Whether the printed numbers alone show it, or the data set was read.
    """

    rule: str
    paper: str
    place: str
    finding: str
    evidence: str
    severity: Severity
    corrected: float | None = None
    status: Status = "computed"


@dataclass(frozen=True)
class Rule:
    """A rule of the audit: a function that yields findings, and the parameters that a paper's file gives it."""

    name: str
    check: Callable[..., Iterable[AuditFinding]]
    automatic: bool
    parameters: type[BaseModel]
    needs_data: bool

    @property
    def explanation(self) -> str:
        return inspect.cleandoc(self.check.__doc__ or "")

    @staticmethod
    def usable(datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
        """Those data sets that can show anything about what was printed: real and complete ones."""
        return {k: d for k, d in datasets.items() if not d.simulated and not d.is_subset}

    def run(
        self, paper: Paper, given: Mapping[str, Any], datasets: Mapping[str, Dataset], where: str
    ) -> list[AuditFinding]:
        """Check the parameters and the paper. A rule about a data set that is not at hand finds nothing.

        Raises:
            PaperError: A parameter is missing, unknown or of the wrong kind, or names a cell that is not there.
        """
        try:
            values = self.parameters.model_validate(given)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()
            )
            raise PaperError(f"{where}: audit rule {self.name!r}: {problems}") from None
        arguments = {name: getattr(values, name) for name in type(values).model_fields}
        if self.needs_data:
            arguments["datasets"] = self.usable(datasets)
        return list(self.check(paper, **arguments))


RULES: dict[str, Rule] = {}
"""All rules by name, in the order in which they are explained."""


def rule(
    automatic: bool = False,
) -> Callable[[Callable[..., Iterable[AuditFinding]]], Callable[..., Any]]:
    """Register a rule: `f(paper, **parameters)` that yields findings.

    An automatic rule needs no parameters and runs on every paper; the others run where a paper's `audit` names them.
    A rule with a parameter `datasets` is given the loaded data sets by name.
    """

    def register(check: Callable[..., Iterable[AuditFinding]]) -> Callable[..., Any]:
        signature = inspect.signature(check)
        hints = get_type_hints(
            check, vars(__import__(check.__module__, fromlist=["_"])), {"Dataset": Any}
        )
        fields: dict[str, Any] = {
            name: (hints[name], ... if p.default is inspect.Parameter.empty else p.default)
            for name, p in signature.parameters.items()
            if name not in ("paper", "datasets")
        }
        model = create_model(check.__name__, __config__=ConfigDict(extra="forbid"), **fields)
        RULES[check.__name__] = Rule(
            check.__name__, check, automatic, model, "datasets" in signature.parameters
        )
        return check

    return register


def select(paper: Paper, refs: str | Iterable[str]) -> list[Cell]:
    """Published cells by refs `TABLE/ROW/COLUMN`, each part with `*` as a wildcard, in the order asked for.

    Raises:
        PaperError: A ref that fits no published cell.
    """
    found: list[Cell] = []
    for ref in [refs] if isinstance(refs, str) else refs:
        cells = [c for c in paper.published() if fnmatchcase(c.ref, ref)]
        if not cells:
            raise PaperError(
                f"{paper.where('audit')}: no published cell fits {ref!r} (TABLE/ROW/COLUMN)"
            )
        found += cells
    return found


def number(cell: Cell) -> float:
    """The cell's value; raises PaperError where it has none."""
    if cell.value is None:
        raise PaperError(
            f"{cell.paper} {cell.ref}: the audit needs a number here, the cell says {cell.words!r}"
        )
    return cell.value


def printed(cell: Cell) -> str:
    return cell.printed or cell.words or "nothing"


def percent(value: float, decimals: int = 2) -> str:
    return f"{100 * value:.{decimals}f} %"

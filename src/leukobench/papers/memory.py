"""Statistics of finished runs, kept between calls.

Finished runs never change, so neither does what was computed from their predictions: it is kept by the ids of the runs
and by what was computed. Nothing that can change (tags, which runs exist) is kept here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from leukobench.errors import LeukoBenchError
from leukobench.evaluation.estimates import Estimand, Estimate
from leukobench.evaluation.intervals import METHOD_VERSION
from leukobench.evaluation.replicates import Replicates
from leukobench.evaluation.significance import Comparison
from leukobench.integrity import read_lines, write_lines


@dataclass
class Memory:
    """Kept statistics of one paper's tables; without a folder they live as long as the object."""

    file: Path | None = None
    content: dict[str, Any] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    @contextmanager
    def open(cls, folder: Path | None, name: str) -> Iterator[Memory]:
        """Read what is kept in a folder; write it back at the end. A file that cannot be read is begun anew."""
        memory = cls(None if folder is None else Path(folder) / f"statistics-{name}.json")
        if memory.file is not None:
            memory.content = read_lines(memory.file, "its statistics are computed again") or {}
        try:
            yield memory
        finally:
            memory._write()

    def estimate(
        self, runs: str, facts: Sequence[Any], compute: Callable[[], Estimate]
    ) -> Estimate:
        """An estimate from these runs' predictions, computed once."""
        kept = self._keep("estimate", runs, facts, lambda: asdict(compute()))
        return Estimate.of_record(kept)

    def replicates(
        self, runs: str, facts: Sequence[Any], compute: Callable[[], Replicates]
    ) -> Replicates:
        """What these runs show of how replicates differ, computed once."""
        kept = self._keep("replicates", runs, facts, lambda: asdict(compute()))
        return Replicates.of_record(kept)

    def value(self, run: str, facts: Sequence[Any], compute: Callable[[], float]) -> float:
        """A single number from a run's predictions, computed once."""
        return float(self._keep("value", run, facts, compute))

    def comparisons(
        self,
        groups: Sequence[Sequence[str]],
        facts: Sequence[Any],
        compute: Callable[[], Sequence[Comparison | None]],
    ) -> list[Comparison | None]:
        """Comparisons of groups of candidates, each named by its runs, computed once and together."""

        names = {_short(name): name for group in groups for name in group}

        def plain() -> list[Any]:
            return [None if found is None else _plain(found) for found in compute()]

        key = "||".join("|".join(group) for group in groups)
        kept = self._keep("comparisons", key, facts, plain)
        return [None if record is None else _comparison(record, names) for record in kept]

    def _keep(self, kind: str, runs: str, facts: Sequence[Any], compute: Callable[[], Any]) -> Any:
        key = _short(json.dumps([METHOD_VERSION, kind, runs, list(facts)]))
        if key not in self.content:
            self.content[key] = compute()
            self.changed = True
        return self.content[key]

    def _write(self) -> None:
        """Replace the file in one step. A folder that cannot be written costs time on the next call, no result."""
        if self.file is None or not self.changed:
            return
        with suppress(LeukoBenchError):
            write_lines(self.file, self.content)


def _plain(found: Comparison) -> dict[str, Any]:
    shares = {_short(name): p for name, p in found.p.items()}
    return {**asdict(found), "best": _short(found.best), "p": shares}


def _comparison(record: dict[str, Any], names: Mapping[str, str]) -> Comparison:
    best = names[record["best"]]
    p = {names[name]: value for name, value in record["p"].items()}
    estimand = Estimand(record["estimand"])
    return Comparison(**{**record, "best": best, "p": p, "estimand": estimand})


def _short(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()

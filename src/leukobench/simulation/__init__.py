"""Simulated data in the official layouts, for trying the software and for tests; nothing is learned
about leukemia.

A source names what simulates its layout (`DataSource.simulates`); no module of the core imports
this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from leukobench.data.base import DataSource
from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.simulation.expression import (
    simulate_cumida,
    simulate_golub,
    simulate_table,
)
from leukobench.simulation.images import (
    simulate_all_idb1,
    simulate_all_idb2,
    simulate_aml,
    simulate_cnmc,
)


@dataclass(frozen=True)
class Simulator:
    """What writes simulated data, and the sizes that it takes beside `seed`."""

    write: Callable[..., Path]
    sizes: tuple[str, ...]


SIMULATORS: Mapping[str, Simulator] = {
    "all_idb1": Simulator(simulate_all_idb1, ("samples", "subjects")),
    "all_idb2": Simulator(simulate_all_idb2, ("samples", "subjects")),
    "aml": Simulator(simulate_aml, ("samples", "subjects")),
    "cnmc": Simulator(simulate_cnmc, ("samples", "subjects")),
    "cumida": Simulator(simulate_cumida, ("samples", "genes")),
    "expression_table": Simulator(simulate_table, ("samples", "subjects", "genes")),
    "golub": Simulator(simulate_golub, ("samples", "subjects", "genes")),
}
"""By the name in `DataSource.simulates`."""


def simulate(source: DataSource, out: str | Path, *, seed: int = 0, **sizes: int | None) -> Path:
    """Write simulated data in the layout of a source.

    Args:
        out: Folder to write to.
        sizes: `samples`, `subjects`, `genes`, as far as the layout has them; None for its default.

    Returns:
        The root to read it from.

    Raises:
        ConfigError: The layout has no such size.
        LeukoBenchError: The source has no simulation, or not of that size.
    """
    if source.simulates is None:
        raise LeukoBenchError(f"data set {source.name} has no simulation")
    simulator = SIMULATORS[source.simulates]
    given = {name: n for name, n in sizes.items() if n is not None}
    odd = [name for name in given if name not in simulator.sizes]
    if odd:
        raise ConfigError(
            f"simulated {source.name} has no {' and no '.join(odd)} to choose; give "
            f"{' or '.join(simulator.sizes)}"
        )
    return simulator.write(Path(out), seed=seed, **given)

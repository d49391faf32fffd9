"""LeukoBench's sweepers, in the one namespace in which Hydra accepts them.

Hydra imports this package in every app of the environment. So nothing is registered here: what names these classes is
in `conf/hydra`, which LeukoBench's own apps alone can see.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PlannedSweeper(Sweeper):
    """Plans the whole grid, then runs what is left of it; see `leukobench.sweeps.plan`."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = dict(params or {})

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from leukobench.sweeps.launch import Multirun

        self.multirun = Multirun(hydra_context, config, task_function)

    def sweep(self, arguments: list[str]) -> Any:
        from leukobench.sweeps.launch import sweep

        return sweep(self.multirun, self.params, arguments)


class SearchSweeper(PlannedSweeper):
    """Searches hyper-parameters with optuna; see `leukobench.sweeps.search`."""

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(params)
        self.options = options

    def sweep(self, arguments: list[str]) -> Any:
        from leukobench.sweeps.search import Search, search

        return search(self.multirun, self.params, arguments, options=Search(**self.options))

"""Registration with Hydra: the sweeper `search`."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SearchSweeperConf:
    """Config of `hydra/sweeper=search`; see `leukobench.sweeps.search.Search` for the keys."""

    _target_: str = "hydra_plugins.leukobench_search.SearchSweeper"
    params: dict[str, str] | None = field(default=None)
    trials: int = 20
    at_once: int = 1
    metric: str = "validation_balanced_accuracy"
    seed: int = 0


ConfigStore.instance().store(group="hydra/sweeper", name="search", node=SearchSweeperConf, provider="leukobench")


class SearchSweeper(Sweeper):
    """Searches hyper-parameters with optuna; see `leukobench.sweeps.search`."""

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        self.params, self.options = params or {}, options
        self.context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from leukobench.sweeps.guard import guarded
        from leukobench.sweeps.search import Search, search

        assert self.context is not None
        assert self.config is not None
        assert self.task_function is not None
        options = Search(**self.options)
        return guarded(search)(self.context, self.config, self.task_function, dict(self.params), arguments, options)

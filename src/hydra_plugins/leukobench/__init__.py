"""Registration with Hydra: the sweepers `planned` and `search`, the launcher `ray`, the way to LeukoBench's configs, and
resolvers for its settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class PlannedSweeperConf:
    """Config of `hydra/sweeper=planned`; `params` is the grid, as for Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.leukobench.PlannedSweeper"
    params: dict[str, str] | None = field(default=None)


@dataclass
class SearchSweeperConf:
    """Config of `hydra/sweeper=search`; see `leukobench.sweeps.search.Search` for the keys."""

    _target_: str = "hydra_plugins.leukobench.SearchSweeper"
    params: dict[str, str] | None = field(default=None)
    trials: int = 20
    at_once: int = 1
    metric: str = "validation_balanced_accuracy"
    seed: int = 0


@dataclass
class RayLauncherConf:
    """Config of `hydra/launcher=ray`."""

    _target_: str = "hydra_plugins.leukobench.ray_launcher.RayLauncher"
    address: str | None = None
    num_cpus: int = 1
    num_gpus: float = 0


ConfigStore.instance().store(
    group="hydra/sweeper", name="planned", node=PlannedSweeperConf, provider="leukobench"
)
ConfigStore.instance().store(
    group="hydra/sweeper", name="search", node=SearchSweeperConf, provider="leukobench"
)
ConfigStore.instance().store(
    group="hydra/launcher", name="ray", node=RayLauncherConf, provider="leukobench"
)


def _settings() -> Any:
    from leukobench import settings

    return settings.resolve()


OmegaConf.register_new_resolver("leukobench.data", lambda: str(_settings().data), replace=True)
OmegaConf.register_new_resolver("leukobench.output", lambda: str(_settings().output), replace=True)
OmegaConf.register_new_resolver("leukobench.store", lambda: _settings().store, replace=True)


class LeukoBenchSearchPath(SearchPathPlugin):
    """Makes LeukoBench's configs, and those of a user's own folder, known to any primary config."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from leukobench import settings

        user = settings.user_conf_dir()
        if user is not None:
            search_path.append("leukobench-user", f"file://{user.resolve()}")
        search_path.append("leukobench", f"file://{settings.conf_dir()}")


class PlannedSweeper(Sweeper):
    """Plans the whole grid, then runs what is left of it; see `leukobench.sweeps.plan`."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        self.params = params or {}
        self.context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from leukobench.sweeps.launch import sweep

        return self._call(sweep, arguments)

    def _call(self, function: Callable[..., Any], *more: Any) -> Any:
        from leukobench.sweeps.guard import guarded

        assert self.context is not None
        assert self.config is not None
        assert self.task_function is not None
        return guarded(function)(
            self.context, self.config, self.task_function, dict(self.params), *more
        )


class SearchSweeper(PlannedSweeper):
    """Searches hyper-parameters with optuna; see `leukobench.sweeps.search`."""

    def __init__(self, params: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(params)
        self.options = options

    def sweep(self, arguments: list[str]) -> Any:
        from leukobench.sweeps.search import Search, search

        return self._call(search, arguments, Search(**self.options))

"""Hydra's launcher on Ray: each job a Ray task, on this machine or on a cluster that shares the output folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Args:
    address: Of a running cluster, or `auto`; None starts Ray here and ends it afterwards.
    num_cpus, num_gpus: What each job reserves. On this machine as many jobs as are launched run at once; where it has
        several GPUs, LeukoBench's workers share them out.
    """

    def __init__(self, address: str | None = None, num_cpus: int = 1, num_gpus: float = 0) -> None:
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from leukobench.errors import ConfigError

        if find_spec("ray") is None:
            raise ConfigError("this launcher is not installed: pip install leukobench[ray]")
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        import ray

        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self.address is None:
            options |= {"include_dashboard": False, "num_cpus": len(job_overrides) * self.num_cpus}
        ray.init(address=self.address, **options)
        try:
            # a task whose process died is begun anew, and takes what is left like any other
            remote = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus, max_retries=-1)(
                _run
            )
            state = Singleton.get_state()
            tasks = [
                remote.remote(
                    initial_job_idx + i,
                    list(o),
                    self.hydra_context,
                    self.config,
                    self.task_function,
                    state,
                )
                for i, o in enumerate(job_overrides)
            ]
            return list(ray.get(tasks))
        finally:
            ray.shutdown()


def _run(
    index: int,
    overrides: list[str],
    hydra_context: HydraContext,
    config: DictConfig,
    task_function: TaskFunction,
    state: dict[Any, Any],
) -> JobReturn:
    """One job, in Ray's process."""
    setup_globals()
    Singleton.set_state(state)
    job = hydra_context.config_loader.load_sweep_config(config, overrides)
    job.hydra.job.id, job.hydra.job.num = f"{job.hydra.job.name}_{index}", index
    return run_job(
        hydra_context=hydra_context,
        task_function=task_function,
        config=job,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )

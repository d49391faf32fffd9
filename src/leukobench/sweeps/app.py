"""LeukoBench as a Hydra app: its configs on a search path of its own, Hydra's flags, errors as exceptions.

Hydra's public doors do not lead here: `hydra.main` takes its arguments from `sys.argv` and prints
errors instead of raising them; `initialize_config_dir` knows one folder, and a plugin that added
more would add them to every Hydra app of the environment. So this module calls what lies behind
those doors, and is the only one that does.
"""

from __future__ import annotations

import gc
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.settings import conf_dir, user_conf_dir
from leukobench.sweeps.messages import STACK_IS_GONE, translating

COMMANDS = ("run", "multirun", "cfg", "info", "shell_completion", "hydra_help")
"""Flags of Hydra of which a command line has at most one."""


@contextmanager
def opened(folder: Path, config_dir: Path | None = None) -> Iterator[Hydra]:
    """Hydra over the primary configs in a folder, for `hydra.compose` and for its own methods.

    Groups are looked up in that folder, in the user's own (`LEUKOBENCH_CONF`), in LeukoBench's,
    then in `config_dir`.

    Raises:
        ConfigError: One of these folders is not there.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"--config-dir {config_dir}: no such folder")
    version.setbase("1.3")
    path = create_config_search_path(str(folder))
    more = {
        "leukobench-user": user_conf_dir(),
        "leukobench": conf_dir(),
        "command-line": config_dir,
    }
    for provider, place in more.items():
        if place is not None:
            last = SearchPathQuery(provider="schema")
            path.prepend(provider, f"file://{place.resolve()}", anchor=last)
    try:
        yield Hydra.create_main_hydra2("leukobench", path)
    finally:
        GlobalHydra.instance().clear()


def run_app(folder: Path, name: str, arguments: Sequence[str]) -> None:
    """What the arguments of Hydra's command line ask for, of the primary config `name` in a folder.

    Raises:
        ConfigError: Hydra cannot compose what is asked for; its message, without its search path.
        LeukoBenchError: From planning and running.
    """
    refuse(arguments)
    gc.disable()  # until trainings begin: searching for cycles takes a fifth of the imports
    try:
        _parse_and_answer(folder, name, arguments)
    finally:
        gc.unfreeze()  # what holds resources must be found when the process ends
        gc.enable()


def _parse_and_answer(folder: Path, name: str, arguments: Sequence[str]) -> None:
    parser = get_args_parser()
    parser.prog = "leukobench"
    options = parser.parse_args(list(arguments))
    given = [flag for flag, value in vars(options).items() if flag in COMMANDS and value]
    if len(given) > 1:
        raise ConfigError(f"only one of --{', --'.join(given).replace('_', '-')} can be asked for")
    if options.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: a pickled config is code, and is not loaded")
    if options.config_path is not None:
        folder = Path(options.config_path).absolute()
    config_dir = None if options.config_dir is None else Path(options.config_dir)
    with translating(), opened(folder, config_dir) as hydra:
        if options.hydra_help:
            hydra.hydra_help(config_name=name, args_parser=parser, args=options)
            return
        _answer(hydra, options.config_name or name, options)


def refuse(arguments: Sequence[str]) -> None:
    """Overrides that are none.

    Raises:
        ConfigError: One is among the arguments; what to do instead.
    """
    for argument in arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        if key == "paper":
            raise ConfigError(
                f"{argument}: a paper is no choice of a run; `leukobench sweep {value}` launches its "
                "sweep, and tables find runs by what they were run with, in whatever sweep"
            )
        if key == "planner.stack":
            raise ConfigError(STACK_IS_GONE)


def _answer(hydra: Hydra, name: str, options: Namespace) -> None:
    from leukobench.sweeps.launch import task

    overrides: list[str] = options.overrides
    if options.cfg:
        hydra.show_cfg(
            config_name=name,
            overrides=overrides,
            cfg_type=options.cfg,
            package=options.package,
            resolve=options.resolve,
        )
    elif options.resolve:
        raise ConfigError("--resolve goes with --cfg")
    elif options.info:
        # what is wrong is raised here; `show_info` would print it and leave
        hydra.compose_config(config_name=name, overrides=overrides, run_mode=RunMode.RUN)
        hydra.show_info(options.info, config_name=name, overrides=overrides)
    elif options.shell_completion:
        hydra.shell_completion(config_name=name, overrides=overrides)
    elif options.multirun or (
        not options.run and hydra.get_mode(name, overrides) == RunMode.MULTIRUN
    ):
        several = [*overrides, "hydra.mode=MULTIRUN"]
        hydra.multirun(config_name=name, task_function=task, overrides=several)
    else:
        run_once(hydra, name, overrides)


def run_once(hydra: Hydra, name: str, overrides: list[str]) -> None:
    """One run, with what Hydra does around a job.

    Raises:
        LeukoBenchError
    """
    from leukobench.sweeps.launch import run_single

    def task(config: DictConfig) -> Any:
        try:
            return run_single(config)
        except LeukoBenchError as e:
            return e  # of what a job raises, Hydra prints a line before it hands it on

    job = hydra.run(config_name=name, task_function=task, overrides=overrides)
    if isinstance(job.return_value, LeukoBenchError):
        raise job.return_value

"""Carries errors past Hydra, which would print them with a traceback, and says Hydra's own in one message."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.sweeps.suggest import suggestion

P = ParamSpec("P")
T = TypeVar("T")
STACK_IS_GONE = "planner.stack is gone, because every training runs by itself now: leave it out"


class Caught:
    """The first error of LeukoBench that was raised inside Hydra."""

    def __init__(self) -> None:
        self.error: LeukoBenchError | None = None

    def raise_any(self) -> None:
        if self.error is not None:
            raise self.error


_current: Caught | None = None


@contextmanager
def collecting() -> Iterator[Caught]:
    """Errors of guarded functions are kept instead of raised, until the end of the block."""
    global _current
    before, _current = _current, Caught()
    try:
        yield _current
    finally:
        _current = before


@contextmanager
def translating() -> Iterator[None]:
    """Errors that Hydra and OmegaConf find in configs and overrides become ConfigErrors."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hands errors on instead of printing them and leaving
    try:
        yield
    except (HydraException, OmegaConfBaseException) as e:
        said = one_message(e)
        raise ConfigError(said + suggestion(said)) from e
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def one_message(error: Exception) -> str:
    """What Hydra says of a mistaken config or override, without its search path and the config's types."""
    text = str(error).partition("Config search path")[0]
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and not re.match(r"\s+(full_key|object_type)", line)
    ]
    options = [line.strip() for line in lines if line.startswith("\t")]
    said = [line.strip() for line in lines if not line.startswith("\t")]
    ended = [line if line.endswith((".", ":", ",")) else line + "." for line in said]
    missing = re.search(r"hydra/launcher/(joblib|submitit)", text)
    if missing is not None:
        return f"this launcher is not installed: pip install leukobench[{missing[1]}]"
    return " ".join([*ended, ", ".join(options)]).strip() or type(error).__name__


def guarded(function: Callable[P, T]) -> Callable[P, T | None]:
    """Keep an error of LeukoBench for the caller of `collecting`, where there is one."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except LeukoBenchError as e:
            if _current is None:
                raise
            _current.error = _current.error or e
            return None

    return wrapper


def task(config: DictConfig) -> Any:
    """Hydra's task function."""
    from leukobench.sweeps import launch

    return guarded(launch.task)(config)

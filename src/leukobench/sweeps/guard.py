"""Carries errors past Hydra, which would print them with a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from omegaconf import DictConfig

from leukobench.errors import LeukoBenchError

P = ParamSpec("P")
T = TypeVar("T")


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

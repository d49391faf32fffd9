"""What Hydra says of mistaken configs and overrides, as LeukoBench's own errors in one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from leukobench.errors import ConfigError
from leukobench.sweeps.suggest import suggestion

STACK_IS_GONE = "planner.stack is gone, because every training runs by itself now: leave it out"


@contextmanager
def translating() -> Iterator[None]:
    """Errors that Hydra and OmegaConf find in configs and overrides become ConfigErrors."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as e:
        said = one_message(e)
        raise ConfigError(said + suggestion(said)) from e


def one_message(error: Exception) -> str:
    """What Hydra says of a mistaken config or override, without its search path and the config's types."""
    text = str(error).partition("Config search path")[0]
    launcher = re.search(r"hydra/launcher/(joblib|submitit|ray\b)", text)
    if launcher is not None and launcher[1] == "ray":
        return (
            "hydra/launcher=ray is the launcher of hydra-ray-launcher, which is not installed; "
            "LeukoBench's own is hydra/launcher=leukobench_ray"
        )
    if launcher is not None:
        return f"this launcher is not installed: pip install leukobench[{launcher[1]}]"
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and not re.match(r"\s+(full_key|object_type)", line)
    ]
    options = [line.strip() for line in lines if line.startswith("\t")]
    said = [line.strip() for line in lines if not line.startswith("\t")]
    ended = [line if line.endswith((".", ":", ",")) else line + "." for line in said]
    return " ".join([*ended, ", ".join(options)]).strip() or type(error).__name__

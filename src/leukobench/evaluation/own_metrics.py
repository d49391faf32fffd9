"""A project's own metrics: one file `metric/NAME.yaml` a metric, in the project's folder of
configs.

```yaml
_target_: our_metrics.youden    # f(y, p, classes, positive, **arguments) -> float, or NaN
title: Youden's J
direction: higher               # or lower
bounds: [-1, 1]
kind: score                     # proportion, score, ranking or loss
weight: 2                       # any other key is an argument of the function
```
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leukobench.errors import ConfigError
from leukobench.evaluation.definition import UNBOUNDED, MetricDefinition
from leukobench.plain_yaml import load, read_text
from leukobench.settings import config_folders, use_own_modules
from leukobench.targets import Provenance, locate


class OwnMetric(BaseModel):
    """The file of a metric.

    Attributes:
        target: Dotted name of its function.
        title: As people write it within a sentence.
        direction: Which values are better.
        kind: As in `MetricDefinition`; `ranking` and `loss` are of probabilities.
        bounds: Smallest and largest possible value; null for none.
        meaning: What it is, in a few words.
        needs: `probabilities` (see above), or `class_probabilities` for a function f(truth, p,
            **arguments) of arrays of shape (n, classes) that gives a value a class, averaged as
            other metrics of classes are.
        aliases: Other names.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    target: str = Field(alias="_target_")
    title: str
    direction: Literal["higher", "lower"]
    kind: Literal["proportion", "score", "ranking", "loss"]
    bounds: tuple[float | None, float | None] = (None, None)
    meaning: str = ""
    needs: Literal["probabilities", "class_probabilities"] = "probabilities"
    aliases: tuple[str, ...] = ()


def read_own_metrics() -> tuple[MetricDefinition, ...]:
    """The metrics of the folders of configs, by name.

    Raises:
        ConfigError: A file lacks a key, or its function cannot be imported.
    """
    use_own_modules()
    files = [path for folder in config_folders("metric") for path in folder.glob("*.yaml")]
    return tuple(read_metric(path) for path in sorted(files, key=lambda path: path.stem))


def read_metric(path: Path) -> MetricDefinition:
    """The metric of one file, named by it.

    Raises:
        ConfigError: As above.
    """
    text = read_text(path)
    try:
        own = OwnMetric.model_validate(load(text, str(path)) or {})
    except ValidationError as error:
        problems = [f"{p['loc'][0] if p['loc'] else ''}: {p['msg']}" for p in error.errors()]
        raise ConfigError(f"{path}: no metric: {'; '.join(problems)}") from None
    function = locate(own.target, Provenance(str(path), trusted=True))
    arguments = own.model_extra or {}
    low, high = own.bounds
    return MetricDefinition(
        name=path.stem,
        title=own.title,
        meaning=own.meaning or own.title,
        kind=own.kind,
        direction=own.direction,
        bounds=(
            UNBOUNDED[0] if low is None else low,
            UNBOUNDED[1] if high is None else high,
        ),
        needs=own.needs,
        function=partial(function, **arguments) if arguments else function,
        aliases=tuple((alias, alias) for alias in own.aliases),
        summarised=True,
        version=_version(text, function),
    )


def _version(text: str, function: Callable[..., Any]) -> str:
    """Digest of the file and of the module that holds the function."""
    digest = blake2b(text.encode(), digest_size=6)
    source = inspect.getsourcefile(function) if inspect.isfunction(function) else None
    if source is not None:
        digest.update(Path(source).read_bytes())
    return digest.hexdigest()

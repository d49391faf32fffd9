"""Options that several commands have."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from leukobench.papers.grid import GridChoice

F = TypeVar("F", bound=Callable[..., Any])


def use_config_dir(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    """Callback of `--config-dir`: for this command and its workers what `LEUKOBENCH_CONF` is for all."""
    from leukobench.settings import use_own_modules

    if value is not None:
        before = os.environ.get("LEUKOBENCH_CONF")
        os.environ["LEUKOBENCH_CONF"] = value
        ctx.call_on_close(lambda: _set_environment("LEUKOBENCH_CONF", before))
    before_path, before_modules = os.environ.get("PYTHONPATH"), list(sys.path)
    use_own_modules()
    ctx.call_on_close(lambda: _set_environment("PYTHONPATH", before_path))
    ctx.call_on_close(lambda: sys.path.__setitem__(slice(None), before_modules))


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def config_dir_option(function: F) -> F:
    """`--config-dir`, wherever it stands among the arguments."""
    return click.option(
        "--config-dir",
        metavar="DIR",
        callback=use_config_dir,
        expose_value=False,
        is_eager=True,
        help="Folder of your own configs [LEUKOBENCH_CONF].",
    )(function)


class MetricName(click.ParamType):
    """A metric that is computed from predictions, LeukoBench's or a project's own; aliases are taken."""

    name = "metric"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from leukobench.evaluation.registry import find, known_names

        metric = find(str(value))
        if metric is None or not metric.computed:
            known = ", ".join(known_names(computed=True))
            self.fail(f"{value!r} is no metric; there are {known}", param, ctx)
        return metric.name


def settings_options(function: F) -> F:
    """Options that name store, data, output folder and the folder of the user's own configs."""
    function = config_dir_option(function)
    for option in (
        click.option(
            "--store",
            help="MLflow tracking URI [MLFLOW_TRACKING_URI, else SQLite in the output folder].",
        ),
        click.option("--output", help="Output folder [LEUKOBENCH_OUTPUT, else ./outputs]."),
        click.option(
            "--data-root", "data", help="Folder of data sets [LEUKOBENCH_DATA, else ./data]."
        ),
    ):
        function = option(function)
    return function


def grid_options(function: F) -> F:
    """Options that say what goes where in a table of sweeps, handed on as one `grid`: a
    `GridChoice`, None where none of them is given."""

    @functools.wraps(function)
    def with_choice(*args: Any, **values: Any) -> Any:
        asked = {name: values.pop(name) for name in ("rows", "columns", "by", "metrics", "grid")}
        return function(*args, grid=_grid_choice(**asked), **values)

    made: Any = with_choice
    for option in (
        click.option(
            "--grid", is_flag=True, help="The sweep's own tables, where a paper has them."
        ),
        click.option(
            "--metric",
            "metrics",
            type=MetricName(),
            multiple=True,
            help="What is shown; may be given several times.",
        ),
        click.option("--by", metavar="KEYS", help="Keys that split tables."),
        click.option("--columns", metavar="KEYS", help="Keys that make columns: optimizer,epochs."),
        click.option("--rows", metavar="KEYS", help="Keys that make rows: model."),
    ):
        made = option(made)
    return cast(F, made)


def _grid_choice(
    *,
    rows: str | None,
    columns: str | None,
    by: str | None,
    metrics: tuple[str, ...],
    grid: bool,
) -> GridChoice | None:
    if not (grid or rows or columns or by or metrics):
        return None
    from leukobench.papers.grid import GridChoice

    return GridChoice(_keys(rows), _keys(columns), _keys(by), metrics)


def _keys(text: str | None) -> tuple[str, ...] | None:
    """Keys with commas between them; None where nothing is said."""
    if not text:
        return None
    return tuple(key.strip() for key in text.split(",") if key.strip())


def trust_option(function: F) -> F:
    """The option that lets a stored config name any code."""
    return click.option(
        "--trust",
        is_flag=True,
        help="Run the code that the stored config names, whatever it is: for models of your own.",
    )(function)

"""The command group: one clear message for every error of LeukoBench."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from leukobench import __version__
from leukobench.errors import LeukoBenchError


class Group(click.Group):
    """Shows LeukoBench's own errors as one message, without a traceback unless `--debug`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LeukoBenchError as e:
            if ctx.params.get("debug"):
                raise
            from leukobench.terminal import wrapped

            click.echo(wrapped(f"error: {e}"), err=True)
            sys.exit(e.status)
        except KeyboardInterrupt:
            click.echo("stopped at once", err=True)
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as e:
            if ctx.params.get("debug") or e.filename is None:
                raise
            click.echo(f"error: {e.filename}: {e.strerror}", err=True)
            sys.exit(1)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leukobench")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Benchmark harness for leukemia classification: sweeps, MLflow runs, published tables rebuilt.

    \b
    leukobench sweep quickstart      launch a sweep; every run is logged to MLflow
    leukobench ui                    browse the runs
    leukobench tables quickstart     rebuild the table from what the runs logged
    """

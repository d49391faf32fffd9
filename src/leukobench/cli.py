"""The command `leukobench`: thin. Nothing heavy is imported until a subcommand runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from leukobench import __version__
from leukobench.errors import LeukoBenchError
from leukobench.evaluation.definition import Averaging

F = TypeVar("F", bound=Callable[..., Any])
HYDRA = {"ignore_unknown_options": True, "allow_extra_args": True}


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


def trust_option(function: F) -> F:
    """The option that lets a stored config name any code."""
    return click.option(
        "--trust",
        is_flag=True,
        help="Run the code that the stored config names, whatever it is: for models of your own.",
    )(function)


def launch_options(function: F) -> F:
    """Options of the commands that launch trainings, and their help."""
    function = config_dir_option(function)
    for option in (
        click.option("-h", "--help", "show_help", is_flag=True, help="Show this help."),
        click.option("--fail-fast", is_flag=True, help="Stop at the first failure."),
        click.option("--force", is_flag=True, help="Run again what is finished."),
        click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    ):
        function = option(function)
    return function


def switches(**flags: bool) -> list[str]:
    """Overrides of the planner for flags that are set."""
    return [f"planner.{key}=true" for key, on in flags.items() if on]


@cli.command(context_settings=HYDRA, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@launch_options
@click.pass_context
def train(
    ctx: click.Context,
    arguments: tuple[str, ...],
    dry_run: bool,
    force: bool,
    fail_fast: bool,
    show_help: bool,
) -> None:
    """One run, or several with -m: plain Hydra.

    Any key of the config can be overridden; --cfg job shows it, --info defaults shows where it comes from.

    \b
    leukobench train model=gene_mlp optimizer=rmsprop epochs=50
    leukobench train -m model=logistic,gene_mlp seed=0,1,2
    leukobench train split=kfold fold=all 'evaluate_at=[10,20,50]'
    leukobench train --config-dir my_configs data=mine
    """
    if show_help:
        click.echo(ctx.get_help())
        return
    from leukobench.settings import conf_dir
    from leukobench.sweeps.app import run_app

    planner = switches(dry_run=dry_run, force=force, fail_fast=fail_fast)
    run_app(conf_dir(), "train", [*arguments, *planner])


@cli.command(context_settings=HYDRA, add_help_option=False)
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@launch_options
@click.pass_context
def sweep(
    ctx: click.Context,
    name: str | None,
    arguments: tuple[str, ...],
    dry_run: bool,
    force: bool,
    fail_fast: bool,
    show_help: bool,
) -> None:
    """Launch the sweep in sweeps/NAME.yaml: the same as Hydra's multirun on that file.

    Overriding a swept key replaces its values. Finished runs are never run twice.

    \b
    leukobench sweep quickstart
    leukobench sweep fata model=vgg16 epochs=10,20 seed=0,1,2
    leukobench sweep rai protocol=leak_free --dry-run
    """
    if show_help or name is None:
        click.echo(ctx.get_help())
        sys.exit(0 if show_help else 2)
    from leukobench.settings import find_sweep
    from leukobench.sweeps.app import run_app

    path = find_sweep(name)
    planner = switches(dry_run=dry_run, force=force, fail_fast=fail_fast)
    run_app(path.parent, path.stem, ["--multirun", *arguments, *planner])


@cli.command()
@click.argument("name", required=False)
@settings_options
@click.option("--jobs", is_flag=True, help="List every job.")
def status(name: str | None, jobs: bool, **where: str | None) -> None:
    """A sweep's jobs: done, failed, unfinished, not started; time spent and left. Without NAME, every sweep's.

    \b
    leukobench status
    leukobench status quickstart --jobs
    leukobench status fata --store http://server:5000
    """
    from leukobench import commands

    if name is None:
        commands.show_sweeps(where)
    else:
        commands.show_status(name, jobs, where)


@cli.command()
@click.argument("name")
@click.argument("only", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "csv", "tex", "html"]),
    help="Default: for the terminal.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write to.")
@click.option("--refresh", is_flag=True, help="Read the whole store again instead of what is new.")
@settings_options
def tables(
    name: str,
    only: tuple[str, ...],
    form: str | None,
    out: Path | None,
    refresh: bool,
    **where: str | None,
) -> None:
    """Rebuild the tables of a paper (or `all`) from the runs in the store, beside what was published.

    \b
    leukobench tables quickstart
    leukobench tables fata table3 --format md
    leukobench tables all --format html --out report
    """
    from leukobench.commands import show_tables

    show_tables(name, only, form, out, refresh, where)


@cli.command()
@click.argument("name", default="all")
@click.option("--confusion", nargs=4, type=int, metavar="TP FN FP TN", help="Your own counts.")
@click.option("--accuracy", help="As printed, so that its decimals count.")
@click.option("--precision")
@click.option("--recall")
@click.option("--specificity")
@click.option("--f1")
@click.option("--n", type=int, help="Size of the test set.")
@click.option(
    "--format", "form", type=click.Choice(["md", "json"]), help="Default: for the terminal."
)
@settings_options
def audit(
    name: str,
    confusion: tuple[int, int, int, int] | None,
    form: str | None,
    n: int | None,
    **values: str | None,
) -> None:
    """What in the published numbers (of a paper, of all, or of your own) cannot be.

    \b
    leukobench audit
    leukobench audit rai --format md
    leukobench audit --confusion 955 136 230 279 --accuracy 77.1 --precision 88
    """
    from leukobench.commands import show_audit

    show_audit(name, confusion, form, n, values)


@cli.group()
def data() -> None:
    """List, get, check and simulate data sets."""


@data.command("list")
@settings_options
def data_list(**where: str | None) -> None:
    """All data sets: what they hold, whether they are here, their licence.

    \b
    leukobench data list
    """
    from leukobench.commands import list_data

    list_data(where)


@data.command("get")
@click.argument("name")
@settings_options
def data_get(name: str, **where: str | None) -> None:
    """Download a data set, or say exactly how to get it where a licence form stands in between.

    \b
    leukobench data get golub
    leukobench data get cnmc --data-root data
    """
    from leukobench.commands import get_data

    get_data(name, where)


@data.command("check")
@click.argument("name")
@click.argument("overrides", nargs=-1)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of this data set.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@settings_options
def data_check(
    name: str, overrides: tuple[str, ...], root: Path | None, as_json: bool, **where: str | None
) -> None:
    """Read everything and report what is wrong. Exit status 1 where anything is.

    \b
    leukobench data check golub38
    leukobench data check cnmc --root data/cnmc/C-NMC_Leukemia
    leukobench data check golub --json > report.json
    """
    from leukobench.commands import check_data

    sys.exit(0 if check_data(name, overrides, root, as_json, where) else 1)


@data.command("simulate")
@click.argument("name")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--samples", type=int, help="How many samples.")
@click.option("--subjects", type=int, help="How many subjects.")
@click.option("--genes", type=int, help="How many genes, of expression data.")
@click.option("--seed", type=int, default=0, show_default=True)
@settings_options
def data_simulate(
    name: str,
    out: Path,
    samples: int | None,
    subjects: int | None,
    genes: int | None,
    seed: int,
    **where: str | None,
) -> None:
    """Write simulated data in the official layout, marked as simulated wherever they are used.

    \b
    leukobench data simulate cnmc --out data/cnmc --samples 400 --subjects 20
    leukobench data simulate cumida --out data/cumida --genes 600
    """
    from leukobench.commands import simulate_data

    sizes = {"samples": samples, "subjects": subjects, "genes": genes}
    simulate_data(name, out, seed, sizes, where)


@cli.command()
@click.option("--port", type=int, default=5000, show_default=True)
@settings_options
def ui(port: int, **where: str | None) -> None:
    """The MLflow UI on 127.0.0.1 over the store that sweeps log to.

    \b
    leukobench ui
    leukobench ui --port 5001 --output outputs
    """
    from leukobench.commands import serve_ui

    serve_ui(port, where)


@cli.command()
@click.argument("name", required=False)
@settings_options
def sync(name: str | None, **where: str | None) -> None:
    """Deliver run folders that the store does not hold yet (it was out of reach, or another one is meant).

    \b
    leukobench sync
    leukobench sync fata --store http://server:5000
    """
    from leukobench.commands import sync_folders

    sync_folders(name, where)


@cli.command("export")
@click.argument("sweep")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@settings_options
def export_sweep(sweep: str, file: Path, **where: str | None) -> None:
    """Write a sweep's finished runs, with their artifacts, to one file, to be imported into another store.

    \b
    leukobench export quickstart quickstart.zip
    leukobench export fata fata.zip --store http://server:5000
    """
    from leukobench import commands_store

    commands_store.export_sweep(sweep, file, where)


@cli.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@settings_options
def import_sweep(file: Path, **where: str | None) -> None:
    """Bring an exported sweep into the store. Results that it has stay as they are; importing twice adds nothing.

    \b
    leukobench import quickstart.zip
    leukobench import fata.zip --store http://server:5000
    """
    from leukobench import commands_store

    commands_store.import_sweep(file, where)


@cli.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--metric", type=MetricName(), default="balanced_accuracy", show_default=True, metavar="METRIC"
)
@click.option("--averaging", type=click.Choice(get_args(Averaging)), default="macro")
@click.option(
    "--part", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True
)
@click.option(
    "--format", "form", type=click.Choice(["md", "csv"]), help="Default: for the terminal."
)
@settings_options
def diff(
    first: str,
    second: str,
    metric: str,
    averaging: str,
    part: str,
    form: str | None,
    **where: str | None,
) -> None:
    """Compare two sweeps cell by cell: differences with intervals, paired tests, changed predictions.

    A and B are names of sweeps or exported files; :KEY=VALUE behind one takes some of its results, by a param or by
    what was recorded of a run (version.torch, commit, protocol, ...).

    \b
    leukobench diff quickstart quickstart_again
    leukobench diff before.zip after.zip --metric auroc
    leukobench diff rai:protocol=paper rai:protocol=leak_free
    leukobench diff fata:version.torch=2.8.0 fata:version.torch=2.9.1 --format md
    """
    from leukobench.commands_store import show_difference

    show_difference(first, second, metric, averaging, part, form, where)


@cli.command()
@click.option(
    "--keep-days", default=14.0, show_default=True, help="What was used within so many days stays."
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--dry-run", is_flag=True, help="List, and remove nothing.")
@settings_options
def gc(keep_days: float, yes: bool, dry_run: bool, **where: str | None) -> None:
    """List what is no longer needed in the output folder, with sizes and reasons, and remove it after asking.

    Checkpoints of finished trainings, run folders that the store holds, feature and image stores that nobody uses,
    saved plans and leftovers of killed processes. Undelivered results and whatever a launch uses stay.

    \b
    leukobench gc --dry-run
    leukobench gc --keep-days 30
    """
    from leukobench.commands_store import collect_garbage

    collect_garbage(keep_days, yes, dry_run, where)


@cli.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o",
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV to write; default: print it.",
)
@click.option("--id", "id_column", help="Column of sample names in a table.")
@click.option(
    "--threshold", type=float, help="Probability from which the positive class is called."
)
@click.option(
    "--specificity", type=float, help="Call at the threshold with this specificity on validation."
)
@click.option(
    "--calibrated",
    is_flag=True,
    help="Scale probabilities by the temperature fitted on validation.",
)
@click.option("--any-scale", is_flag=True, help="Predict expression values whatever their range.")
@trust_option
@settings_options
def predict(
    inputs: tuple[str, ...],
    run: str | None,
    name: str | None,
    to: Path | None,
    id_column: str | None,
    threshold: float | None,
    specificity: float | None,
    calibrated: bool,
    any_scale: bool,
    trust: bool,
    **where: str | None,
) -> None:
    """Predict new images, folders, zips or tables with a trained model.

    Exit status 3 where some of the inputs could not be predicted; they are listed, with the reason.

    \b
    leukobench predict --run 8f1c... cells/ -o predictions.csv
    leukobench predict --model golub38-logistic expression.csv
    """
    from leukobench.commands_models import predict_files

    complete = predict_files(
        inputs,
        run,
        name,
        to,
        id_column,
        threshold,
        specificity,
        calibrated,
        any_scale,
        trust,
        where,
    )
    sys.exit(0 if complete else 3)


@cli.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o",
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default="explanation",
    show_default=True,
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(["grad_cam", "integrated_gradients", "occlusion"]),
    multiple=True,
    help="For images; all by default.",
)
@click.option(
    "--samples",
    default=8,
    show_default=True,
    help="Own test images of each class, where none is named.",
)
@click.option(
    "--activation", is_flag=True, help="Also an image that each class's logit is large for."
)
@trust_option
@settings_options
def explain(
    inputs: tuple[str, ...],
    run: str | None,
    name: str | None,
    to: Path,
    methods: tuple[str, ...],
    samples: int,
    activation: bool,
    trust: bool,
    **where: str | None,
) -> None:
    """Why a model decided: saliency over images and how much of it lies outside the cell, or genes ranked.

    \b
    leukobench explain --run 8f1c... cell.bmp other.bmp -o explanation
    leukobench explain --run 8f1c...
    """
    from leukobench.commands_models import explain_model

    complete = explain_model(inputs, run, name, to, methods, samples, activation, trust, where)
    sys.exit(0 if complete else 3)


@cli.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.argument("only", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--best", "sweep", help="Take the best result of this sweep instead of naming a run.")
@click.option(
    "--rule", default="validation_balanced_accuracy", show_default=True, help="Metric that decides."
)
@click.option("--name", help="Name in the registry; default: DATA-MODEL.")
@trust_option
@settings_options
def register(
    run: str | None,
    only: tuple[str, ...],
    sweep: str | None,
    rule: str,
    name: str | None,
    trust: bool,
    **where: str | None,
) -> None:
    """Register a trained model, with preprocessing, classes and card, in MLflow's model registry.

    \b
    leukobench register 8f1c...
    leukobench register --best rai --rule validation_log_loss model=lenet5
    """
    from leukobench.commands_models import register_model

    if sweep is not None and run is not None:
        only, run = (run, *only), None
    register_model(run, sweep, only, rule, name, trust, where)


@cli.command()
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o", "--to", type=click.Path(dir_okay=False, path_type=Path), help="card.md or card.html."
)
@trust_option
@settings_options
def card(
    run: str | None, name: str | None, to: Path | None, trust: bool, **where: str | None
) -> None:
    """A model's card: data, protocol, leaks, metrics with intervals, subjects, limits.

    \b
    leukobench card --run 8f1c... -o card.html
    """
    from leukobench.commands_models import write_card

    write_card(run, name, to, trust, where)


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--sweep", help="All results of this sweep.")
@trust_option
@settings_options
def figures(runs: tuple[str, ...], sweep: str | None, trust: bool, **where: str | None) -> None:
    """Draw the pictures of finished runs into their artifacts: confusion matrix, ROC, calibration, worst mistakes.

    Long trainings draw theirs by themselves, as the key `figures` of their config says.

    \b
    leukobench figures 8f1c...
    leukobench figures --sweep quickstart
    """
    from leukobench.commands_models import draw_figures

    draw_figures(runs, sweep, trust, where)


@cli.command("export-model")
@click.option("--run", help="Run id, or the folder of a run or result.")
@click.option("--model", "name", help="Registered model: NAME or NAME/VERSION.")
@click.option(
    "-o",
    "--to",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="x.onnx or x.pt2.",
)
@trust_option
@settings_options
def export_model(
    run: str | None, name: str | None, to: Path, trust: bool, **where: str | None
) -> None:
    """Write a model for other programs, as ONNX or torch.export, and check that it answers the same.

    \b
    leukobench export-model --run 8f1c... -o model.onnx
    leukobench export-model --model golub38-logistic -o model.pt2
    """
    from leukobench import commands_models

    commands_models.export_model(run, name, to, trust, where)


def main() -> None:
    """Entry point. `--debug` counts wherever it stands."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    if len(arguments) < len(sys.argv) - 1:
        arguments.insert(0, "--debug")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    cli(arguments)

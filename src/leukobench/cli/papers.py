"""Tables of papers rebuilt, and the audit of published numbers."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leukobench.cli.console import Where, err, escape, findings_counted, out, progress
from leukobench.cli.options import grid_options, settings_options
from leukobench.cli.root import cli
from leukobench.errors import LeukoBenchError, PaperError
from leukobench.settings import config_folders, resolve

if TYPE_CHECKING:
    from leukobench.data.base import Dataset
    from leukobench.papers.answers import FilledTable
    from leukobench.papers.grid import GridChoice
    from leukobench.papers.spec import Paper
    from leukobench.report.audit import AuditReport
    from leukobench.report.html import Chapter
    from leukobench.tracking.reading import Results


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="PAPER [TABLE]... | SWEEP...")
@grid_options
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
    names: tuple[str, ...],
    grid: GridChoice | None,
    form: str | None,
    out: Path | None,
    refresh: bool,
    **where: str | None,
) -> None:
    """Rebuild the tables of a paper (or `all`) beside what was published, or make those of sweeps.

    Of a sweep, what it varies makes rows and columns. A paper counts before a sweep of its name;
    --grid, or any option that says what goes where, asks for the sweep.

    \b
    leukobench tables quickstart
    leukobench tables fata table3 --format md
    leukobench tables all --format html --out report
    leukobench tables cross
    leukobench tables quickstart --rows model,optimizer --columns epochs --metric auroc
    """
    show_tables(names, grid, form, out, refresh, where)


@cli.command()
@click.argument("name")
@click.option(
    "--format", "form", type=click.Choice(["md", "csv", "html"]), help="Default: for the terminal."
)
@settings_options
def ladder(name: str, form: str | None, **where: str | None) -> None:
    """Take a paper's leak apart: from its protocol to a leak-free one, one switch at a time.

    \b
    leukobench ladder grain
    leukobench ladder neuraldesigner --format md
    leukobench ladder grain --format html
    """
    show_ladder_of(name, form, where)


@cli.command()
@click.argument("name", default="all", metavar="[KEY|FILE.csv]")
@click.option("--confusion", nargs=4, type=int, metavar="TP FN FP TN", help="Your own counts.")
@click.option("--accuracy", help="As printed, so that its decimals count.")
@click.option("--precision")
@click.option("--recall")
@click.option("--specificity")
@click.option("--f1")
@click.option("--auroc")
@click.option("--n", type=int, help="Size of the test set.")
@click.option("--positives", type=int, help="Its samples of the positive class.")
@click.option("--folds", type=int, help="Of how many folds the scores are means.")
@click.option("--averaging", type=click.Choice(["binary", "macro", "weighted", "micro"]))
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "json", "html"]),
    help="Default: for the terminal.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write to.")
@settings_options
def audit(
    name: str,
    form: str | None,
    out: Path | None,
    store: str | None,
    output: str | None,
    data: str | None,
    **numbers: Any,
) -> None:
    """What in the published numbers (of a paper, of all, of a table, or of your own) cannot be.

    \b
    leukobench audit
    leukobench audit rai --format html --out rai.html
    leukobench audit scores.csv
    leukobench audit --confusion 955 136 230 279 --accuracy 77.1 --precision 88
    """
    given = {key: value for key, value in numbers.items() if value is not None}
    reports = audited(name, given, {"store": store, "output": output, "data": data})
    show_audit(reports, form, out)


def is_paper(name: str) -> bool:
    """Whether there is a paper file of this name, or all are meant."""
    from leukobench.papers.spec import available_papers

    return name == "all" or name in available_papers(config_folders("paper"))


def paper_of_sweeps(names: Sequence[str], results: Results, choice: GridChoice | None) -> Paper:
    """What runs of these sweeps vary, as a paper.

    Raises:
        PaperError: One of them is no sweep of the store, or has no finished run.
    """
    from leukobench.papers.grid import grid_paper
    from leukobench.papers.spec import available_papers

    there = set(results.experiments.values())
    for name in names:
        if name not in there:
            known = ", ".join(sorted(available_papers(config_folders("paper"))))
            raise PaperError(
                f"{name!r} is neither a paper nor a sweep with runs in {results.store}; papers are "
                f"{known} (or all), `leukobench status` lists sweeps, and "
                f"`leukobench sweep {name}` launches one"
            )
    return grid_paper(names, results.results, choice)


def papers(name: str) -> list[Paper]:
    """The paper of this key, or every paper for `all`.

    Raises:
        PaperError: No such paper.
    """
    from leukobench.papers.spec import available_papers, load_paper

    files = available_papers(config_folders("paper"))
    if name == "all":
        return [load_paper(path) for key, path in sorted(files.items()) if key != "quickstart"]
    if name not in files:
        raise PaperError(f"no paper {name!r}; there are: {', '.join(sorted(files))} (or all)")
    return [load_paper(files[name])]


def show_tables(
    names: Sequence[str],
    grid: GridChoice | None,
    form: str | None,
    folder: Path | None,
    refresh: bool,
    where: Where,
) -> None:
    """Rebuild tables and print or write them."""
    from leukobench.papers.own_rows import with_own_rows
    from leukobench.papers.tables import rebuild
    from leukobench.tracking.reading import Results

    settings = resolve(**where)
    name, *only = names
    chosen = [] if grid is not None or not is_paper(name) else papers(name)
    sweeps = {p.sweep or p.key for p in chosen} or set(names)
    with progress("reading") as update:
        results = Results(settings, sweeps, refresh, update)
    if chosen:
        chosen = [with_own_rows(p, results) for p in chosen]
    else:
        chosen, only = [paper_of_sweeps(names, results, grid)], []
        name = chosen[0].key
    gc.freeze()  # what was read stays to the end: the search for reference cycles need not look at it again and again
    filled = [(p, rebuild(p, results, only or None)) for p in chosen]
    results.close()
    if form is None and folder is None:
        from leukobench.report.terminal import show

        for _, tables in filled:
            show(tables, out.console)
        return
    texts = _rendered(filled, form or "html", results, name, where)
    if folder is None:
        for text in texts.values():
            sys.stdout.write(text)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
        err.print(f"written: {folder / file}")


def show_ladder_of(name: str, form: str | None, where: Where) -> None:
    """Fill the ladder of a paper and print it."""
    from leukobench.papers.ladder import climb
    from leukobench.report import ladder as report
    from leukobench.tracking.reading import Results

    if name == "all":
        raise PaperError("a ladder is climbed one paper at a time: leukobench ladder KEY")
    (paper,) = papers(name)
    with progress("reading") as update:
        results = Results(resolve(**where), {paper.sweep or paper.key}, False, update)
    filled = climb(paper, results)
    results.close()
    if form is None:
        report.show_ladder(filled, out.console)
        return
    render = {
        "md": report.markdown_ladder,
        "csv": report.csv_ladder,
        "html": report.html_ladder,
    }[form]
    sys.stdout.write(render(filled))


def _rendered(
    filled: Sequence[tuple[Paper, Any]],
    form: str,
    results: Results,
    name: str,
    where: Where,
) -> dict[str, str]:
    """File names and their text."""
    if form == "html":
        from leukobench.report.html import html

        chapters = [_chapter(paper, tables, results, where) for paper, tables in filled]
        return {f"{name}.html": html(chapters)}
    from leukobench.report import text

    if form == "csv":
        return {f"{paper.key}.csv": text.csv_text(tables) for paper, tables in filled}
    render = text.markdown if form == "md" else text.latex
    return {f"{paper.key}.{form}": render(paper, tables) for paper, tables in filled}


def _chapter(
    paper: Paper, tables: Sequence[FilledTable], results: Results, where: Where
) -> Chapter:
    """A paper's part of the report, audited beside the data sets that are here."""
    from leukobench.papers.audit import audit_paper, unchecked_facts
    from leukobench.report.figures import draw
    from leukobench.report.html import Chapter

    datasets = present_data(paper, where)
    return Chapter(
        paper,
        tables,
        pictures=draw(paper, results),
        findings=audit_paper(paper, datasets),
        unchecked=unchecked_facts(paper, datasets),
    )


def audited(name: str, numbers: dict[str, Any], where: Where) -> list[AuditReport]:
    """The audit of own numbers where there are any, else of a CSV file, else of papers."""
    from leukobench.papers.audit import audit_csv, audit_numbers, audit_paper, unchecked_facts
    from leukobench.report.audit import AuditReport

    if numbers:
        return [AuditReport("your numbers", audit_numbers(**numbers))]
    if name.lower().endswith(".csv"):
        return [AuditReport(name, audit_csv(Path(name)))]
    reports = []
    for paper in papers(name):
        with progress(f"auditing {paper.key}"):
            datasets = present_data(paper, where)
            findings = audit_paper(paper, datasets)
        unchecked = unchecked_facts(paper, datasets)
        reports.append(AuditReport(paper.title, findings, unchecked, citation=paper.citation))
    return reports


def show_audit(reports: Sequence[AuditReport], form: str | None, file: Path | None) -> None:
    """Print reports, or write them to a file."""
    from leukobench.report import audit as rendering

    if form is None and file is None:
        for report in reports:
            _print_audit(report)
        return
    renderers = {"md": rendering.markdown, "json": rendering.json_text, "html": rendering.html}
    by_ending = {".md": "md", ".json": "json"}
    ending = by_ending.get(file.suffix, "html") if file is not None else "html"
    text = renderers[form or ending](reports)
    if file is None:
        sys.stdout.write(text)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    err.print(f"written: {file}")


def _print_audit(report: AuditReport) -> None:
    out.print(f"[bold]{escape(report.title)}[/bold]: {findings_counted(report.findings)}")
    for f in report.ordered:
        out.print(f"  [yellow]{escape(f.severity)}[/yellow] {escape(f.place)}: {escape(f.finding)}")
        out.print(f"      [dim]{escape(f.evidence)}[/dim] ({f.rule}, {f.status})")
        if f.reading:
            out.print(f"      [dim]{escape(f.reading)}[/dim]")
        if f.corrected is not None:
            out.print(f"      it must have been: {escape(f.corrected)}")
    if report.unchecked:
        get = "; ".join(f"leukobench data get {key}" for key in report.absent_data)
        out.print(f"  [dim]not checked without real, complete data:[/dim] ({get})")
        for fact in report.unchecked:
            out.print(f"      [dim]{escape(fact.finding)}[/dim]")


def present_data(paper: Paper, where: Where) -> dict[str, Dataset]:
    """The data sets that the paper's audit reads and that are here."""
    from leukobench.data.catalog import data_files, source
    from leukobench.papers.audit import data_read

    settings = resolve(**where)
    known = data_files()
    found: dict[str, Dataset] = {}
    for key in data_read(paper):
        if key not in known:
            continue
        try:
            found[key] = source(key, settings, ["allow_faulty=true"]).load()
        except LeukoBenchError:
            continue  # said by `unchecked_facts`, with the way to get it
    return found

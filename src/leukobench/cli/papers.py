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
    from leukobench.papers.audit import UncheckedRule
    from leukobench.papers.grid import GridChoice
    from leukobench.papers.spec import Paper
    from leukobench.papers.tables import FilledTable
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
    show_audit(name, confusion, form, n, values)


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
    from leukobench.papers.audit import audit_paper, unchecked_rules
    from leukobench.report.figures import draw
    from leukobench.report.html import Chapter

    datasets = present_data(paper, where)
    return Chapter(
        paper,
        tables,
        pictures=draw(paper, results),
        findings=audit_paper(paper, datasets),
        unchecked=unchecked_rules(paper, datasets),
    )


def show_audit(
    name: str,
    confusion: tuple[int, int, int, int] | None,
    form: str | None,
    n: int | None,
    values: Where,
) -> None:
    """Audit papers, beside the data where they are present, or a user's own numbers."""
    from dataclasses import asdict

    from leukobench.papers.audit import (
        AuditFinding,
        audit_numbers,
        audit_paper,
        to_markdown,
        unchecked_rules,
    )

    where = {k: values[k] for k in ("store", "output", "data")}
    numbers: dict[str, Any] = {k: v for k, v in values.items() if k not in where and v is not None}
    findings: dict[str, list[AuditFinding]] = {}
    unchecked: dict[str, list[UncheckedRule]] = {}
    if confusion is not None or numbers:
        findings["your numbers"] = audit_numbers(confusion=confusion, n=n, **numbers)
    else:
        for paper in papers(name):
            with progress(f"auditing {paper.key}"):
                datasets = present_data(paper, where)
                findings[paper.title] = audit_paper(paper, datasets)
                unchecked[paper.title] = unchecked_rules(paper, datasets)
    if form == "md":
        for title, found in findings.items():
            sys.stdout.write(to_markdown(found, title) + "\n")
        return
    if form == "json":
        import json

        body = {title: [asdict(f) for f in found] for title, found in findings.items()}
        sys.stdout.write(json.dumps(body, indent=2, default=str) + "\n")
        return
    for title, found in findings.items():
        out.print(f"[bold]{escape(title)}[/bold]: {findings_counted(found)}")
        for f in found:
            out.print(
                f"  [yellow]{escape(f.severity)}[/yellow] {escape(f.place)}: {escape(f.finding)}"
            )
            out.print(f"      [dim]{escape(f.evidence)}[/dim] ({f.rule}, {f.status})")
            if f.corrected is not None:
                out.print(f"      it must have been: {escape(str(f.corrected))}")
        if unchecked.get(title):
            _say_unchecked(unchecked[title])


def present_data(paper: Paper, where: Where) -> dict[str, Dataset]:
    """The data sets that the paper's audit reads and that are here."""
    from leukobench.data.catalog import data_files, source
    from leukobench.papers.audit import data_read

    settings = resolve(**where)
    known = data_files()
    found: dict[str, Dataset] = {}
    for key in dict.fromkeys(key for check in paper.audit for key in data_read(check.parameters)):
        if key not in known:
            continue
        try:
            found[key] = source(key, settings, ["allow_faulty=true"]).load()
        except LeukoBenchError:
            continue  # said by `unchecked_rules`, with the way to get it
    return found


def _say_unchecked(unchecked: Sequence[UncheckedRule]) -> None:
    """Print which rules could not be checked, and what makes them so."""
    absent = list(dict.fromkeys(key for rule in unchecked for key in rule.data))
    rules = ", ".join(rule.rule for rule in unchecked)
    get = "; ".join(f"leukobench data get {key}" for key in absent)
    out.print(f"  [dim]not checked without real, complete data: {rules}[/dim] ({get})")

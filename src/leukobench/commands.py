"""What the subcommands do; imported when one runs. None of this imports torch, Lightning or Hydra."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from leukobench.errors import ConfigError, LeukoBenchError, PaperError, StoreError
from leukobench.settings import config_folders, resolve
from leukobench.terminal import bars, console

if TYPE_CHECKING:
    import subprocess

    from leukobench.data.base import Dataset
    from leukobench.papers.audit import UncheckedRule
    from leukobench.papers.spec import Paper
    from leukobench.papers.tables import FilledTable
    from leukobench.report.html import Chapter
    from leukobench.tracking.reading import Results

MOST_ROWS = 20
"""Rows of one kind that a table of counts shows on a terminal."""

Where = Mapping[str, str | None]
out = console()
err = console(stderr=True)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not err.is_terminal:
        yield None
        return
    with bars(err) as bar:
        tasks: dict[str, Any] = {}

        def update(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(text, total=total, note=label)
            bar.update(tasks[label], completed=done, total=total)

        yield update


# --- sweeps ---------------------------------------------------------------------------------------------------------


STATES = ("done", "failed", "unfinished", "not started")


def show_sweeps(where: Where) -> None:
    """Print how many jobs of each sweep of the store are in which state."""
    from leukobench.sweeps.states import status
    from leukobench.tracking.store import Store

    settings = resolve(**where)
    table = Table("sweep", *STATES, box=None, header_style="bold", pad_edge=False)
    for name in Store(settings).sweep_names():
        try:
            rows = status(settings, name)
        except StoreError:
            continue  # an experiment of another program
        counts = [sum(r["state"] == state for r in rows) for state in STATES]
        table.add_row(escape(name), *map(str, counts))
    if not table.row_count:
        out.print(
            f"no sweep in {settings.shown_store} yet; launch one: leukobench sweep quickstart"
        )
        return
    out.print(f"sweeps in {settings.shown_store}")
    out.print(table)


def show_status(name: str, jobs: bool, where: Where) -> None:
    """Print counts of a sweep's jobs by state, time spent and an estimate of the time left."""
    from leukobench.sweeps.states import duration, go_on, seconds_left, status

    settings = resolve(**where)
    rows = status(settings, name)
    counts = {state: sum(r["state"] == state for r in rows) for state in STATES}
    out.print(f"[bold]sweep {escape(name)}[/bold] in {settings.shown_store}: {len(rows)} jobs")
    for state in STATES:
        out.print(f"  {state:<12}{counts[state]:>6}")
    spent = {
        r["training"]: r["training_seconds"] for r in rows if r["training_seconds"] is not None
    }
    total = sum(spent.values())
    left = {r["training"] for r in rows if r["state"] != "done"}
    line = f"time spent {duration(total)} in {len(spent)} trainings"
    if left:
        line += f", {len(left)} left"
        seconds = seconds_left(rows)
        line += f" of about {duration(seconds)}" if seconds is not None else ""
    out.print(line)
    for row in rows:
        if jobs or row["state"] == "failed":
            error = f": {row['error']}" if row.get("error") else ""
            out.print(f"  {row['state']:<12} {escape(row['name'] + error)}")
    for command in go_on(name, rows):
        out.print(f"go on with: {escape(command)}")


def sync_folders(name: str | None, where: Where) -> None:
    """Deliver what the store does not hold yet."""
    from leukobench.sweeps.outcome import NotDelivered
    from leukobench.tracking.delivery import sync

    settings = resolve(**where)
    try:
        delivered = sync(settings, name)
    except StoreError as e:
        raise NotDelivered(str(e)) from e
    out.print(f"{delivered} run folders of {settings.output} are in {settings.shown_store}")


# --- papers ---------------------------------------------------------------------------------------------------------


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
    name: str,
    only: Sequence[str],
    form: str | None,
    folder: Path | None,
    refresh: bool,
    where: Where,
) -> None:
    """Rebuild tables and print or write them."""
    from leukobench.papers.tables import rebuild
    from leukobench.tracking.reading import Results

    settings = resolve(**where)
    chosen = papers(name)
    names = {p.sweep or p.key for p in chosen}
    with progress("reading") as update:
        results = Results(settings, names, refresh, update)
    gc.freeze()  # what was read stays to the end: the search for reference cycles need not look at it again and again
    filled = [(p, rebuild(p, results, list(only) or None)) for p in chosen]
    results.close()
    if form is None and folder is None:
        from leukobench.report.terminal import show

        for _, tables in filled:
            show(tables, out)
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
        out.print(f"[bold]{escape(title)}[/bold]: {_findings(found)}")
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


# --- data -----------------------------------------------------------------------------------------------------------


def list_data(where: Where) -> None:
    """Print all data sets."""
    from leukobench.data.catalog import data_files, source

    settings = resolve(**where)
    table = Table(
        "name", "family", "what", "here", "licence", box=None, header_style="bold", pad_edge=False
    )
    for name in data_files():
        s = source(name, settings)
        here = "yes" if s.root is None or (s.root.exists() and any(s.root.iterdir())) else "no"
        table.add_row(name, s.family, escape(s.title), here, escape(s.licence))
    out.print(table)
    out.print(
        f"data folder: {settings.data} (LEUKOBENCH_DATA); get one with: leukobench data get NAME"
    )


def get_data(name: str, where: Where) -> None:
    """Download, or print instructions."""
    from leukobench.data.catalog import source

    path = source(name, resolve(**where)).get()
    out.print(f"{name} is ready" + (f" in {path}" if path is not None else "; nothing to download"))


def check_data(
    name: str, overrides: Sequence[str], root: Path | None, as_json: bool, where: Where
) -> bool:
    """Check, print the report, and say whether it is clean."""
    from leukobench.data.catalog import source

    s = source(name, resolve(**where), overrides, root)
    with progress(f"checking {name}") as update:
        report = s.check(update)
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
        return report.clean
    counts = Table(
        "what", "name", "found", "expected", box=None, header_style="bold", pad_edge=False
    )
    cells: list[list[Any]] = (
        report.counts.astype(object).where(report.counts.notna(), None).to_numpy().tolist()
    )
    shown: Counter[str] = Counter()
    for what, which, found, expected in cells:
        shown[what] += 1
        if shown[what] > MOST_ROWS:
            continue
        differs = expected is not None and found != expected
        counts.add_row(
            str(what),
            escape(str(which)),
            str(found),
            "" if expected is None else str(expected),
            style="yellow" if differs else "",
        )
    for what, n in shown.items():
        if n > MOST_ROWS:
            counts.add_row(what, f"… and {n - MOST_ROWS} more (--json has all)")
    out.print(f"[bold]{escape(name)}[/bold]")
    for key, value in report.facts.items():
        out.print(f"  {key}: {escape(str(value))}")
    out.print(counts)
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    for finding in report.findings:
        out.print(
            f"[{colours[finding.severity]}]{finding.severity}[/] {finding.rule}: {escape(finding.message)}"
        )
        if finding.where:
            more = f" … ({finding.count} in all)" if finding.count > len(finding.where[:5]) else ""
            out.print("    " + escape(", ".join(finding.where[:5])) + more)
    out.print(
        "[green]clean[/green]"
        if report.clean
        else f"[bold]not clean[/bold]: {_findings(report.findings)}"
    )
    return report.clean


def simulate_data(
    name: str, folder: Path, seed: int, sizes: Mapping[str, int | None], where: Where
) -> None:
    """Write simulated data; `sizes` are `samples`, `subjects` and `genes`, None for what the layout has."""
    from leukobench.data.catalog import source
    from leukobench.simulation import simulate

    path = simulate(source(name, resolve(**where)), folder, seed=seed, **sizes)
    out.print(f"simulated {name} written to {path}; use it with data.root={path}")


# --- UI -------------------------------------------------------------------------------------------------------------


def serve_ui(port: int, where: Where) -> None:
    """Start MLflow's server in its light form, say the address once it answers, and stop it with Ctrl-C or a signal."""
    import signal
    import socket
    import subprocess

    settings = resolve(**where)
    if settings.store.startswith("http"):
        out.print(f"the store is a server already: open {settings.shown_store}")
        return
    if (
        settings.store.startswith("sqlite:///")
        and not Path(settings.store.removeprefix("sqlite:///")).is_file()
    ):
        raise LeukoBenchError(
            f"there is no store at {settings.shown_store} yet; launch one: leukobench sweep quickstart"
        )
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigError(f"port {port} is taken; choose another with --port")
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        # not an argument: those of a process are for everyone on the machine to see
        "MLFLOW_BACKEND_STORE_URI": settings.store,
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "mlflow", "server"]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level warning",
    ]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out.print(f"starting MLflow over {settings.shown_store} …")
    before = signal.signal(signal.SIGTERM, stop)
    # a session of its own: the server's processes are stopped together, and none outlives this command
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        if _answers(f"http://127.0.0.1:{port}/health", server):
            out.print(f"MLflow UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
            for name, page in _sweep_pages(f"http://127.0.0.1:{port}"):
                out.print(f"  {escape(name)}: {page}")
        code = server.wait()
        raise LeukoBenchError(
            f"the MLflow server ended by itself, status {code}; its messages stand above"
        )
    except KeyboardInterrupt:
        out.print("stopping")
    finally:
        _stop(server)
        signal.signal(signal.SIGTERM, before)


def _answers(url: str, server: subprocess.Popen[bytes], seconds: float = 120) -> bool:
    """Wait until a server answers; False where it ended before, or after so many seconds."""
    import time
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            direct.open(url, timeout=5).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def _sweep_pages(url: str, most: int = 12) -> list[tuple[str, str]]:
    """Names of the sweeps of a running server, the latest first, with the address of their results."""
    import json
    import urllib.request

    from leukobench.tracking.views import RESULTS, TAG, address

    body = json.dumps({"max_results": most + 1, "order_by": ["last_update_time DESC"]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/experiments/search", body, headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=60
    ) as answer:
        experiments = json.load(answer).get("experiments", [])
    pages = []
    for e in experiments:
        saved = any(tag["key"] == TAG + RESULTS for tag in e.get("tags", []))
        if e["experiment_id"] != "0":
            pages.append(
                (e["name"], f"{url}/{address(e['experiment_id'], RESULTS if saved else '')}")
            )
    return pages[:most]


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End a server and the processes it started."""
    import signal
    import subprocess

    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            return


def _findings(found: Sized) -> str:
    return f"{len(found)} finding{'' if len(found) == 1 else 's'}"

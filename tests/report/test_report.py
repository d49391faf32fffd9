"""Tables as text, LaTeX, HTML, and the figures."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "papers"))
from kept import frame, golden_paper, golden_results, results

from leukobench.papers.audit import unchecked_facts
from leukobench.papers.results import Kept
from leukobench.papers.spec import Figure, load_paper
from leukobench.papers.tables import rebuild
from leukobench.report.figures import draw, gene_correlations, overview
from leukobench.report.html import Chapter, html
from leukobench.report.layout import lay_out, number
from leukobench.report.terminal import show
from leukobench.report.text import csv_text, latex

PAPERS = sorted((Path(__file__).parents[2] / "conf" / "paper").glob("*.yaml"))
BASE = {
    "data": "cells",
    "model": "small",
    "optimizer": "adam",
    "protocol": "paper",
    "seed": "0",
    "fold": "0",
}


@pytest.fixture(scope="module")
def golden():
    return rebuild(golden_paper(), golden_results())


def with_figure(type_: str, **more):
    figure = Figure(
        id="f", title="A figure", type=type_, place="Figure 1", overrides=("model=small",), **more
    )
    return golden_paper().model_copy(update={"figures": (figure,)})


def test_the_terminal_shows_every_number_and_note(golden):
    from rich.console import Console

    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(golden, console)
    text = console.export_text()
    assert "Small net" in text
    assert "+9.6 inconclusive" in text
    assert "[1] leukobench sweep golden split=official model=large" in text


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_breaks_no_number_at_any_width(golden, width):
    from rich.console import Console

    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(golden, console)
    text = console.export_text()
    for table in golden:
        for line in lay_out(table).lines:
            assert all(t.main in text for t in line.cells if t.sort is not None)
    assert ("(continued)" in text) == (width == 80)
    assert max(map(len, text.splitlines()[:12])) <= width


def test_csv_reads_back_with_one_row_a_cell(golden, tmp_path):
    (tmp_path / "t.csv").write_text(csv_text(golden), encoding="utf-8")
    table = pd.read_csv(tmp_path / "t.csv")
    assert len(table) == sum(c is not None for t in golden for r in t.rows for c in r.cells)
    row = table[
        (table.table == "table1") & (table.row == "small") & (table.column == "accuracy")
    ].iloc[0]
    assert row.published == "77.1%"
    assert row.paper_verdict == "inconclusive"
    assert row.paper_delta == pytest.approx(row.paper_mean - 0.771)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("path", [None, *PAPERS], ids=lambda p: p.stem if p else "golden")
def test_latex_compiles(path, golden, tmp_path):
    paper = golden_paper() if path is None else load_paper(path)
    tables = golden if path is None else rebuild(paper, Kept([], {}))
    (tmp_path / "t.tex").write_text(latex(paper, tables), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-1500:].decode(errors="replace")
    assert b"Float too large" not in done.stdout, "a table is cut at the end of its page"


class _Sources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.loaded += [v for k, v in attrs if k == "src" or (tag == "link" and k == "href")]


def test_the_html_report_loads_nothing_from_anywhere(golden):
    page = html(
        [Chapter(golden_paper(), golden, draw(with_figure("confusion_matrix"), golden_results()))]
    )
    parser = _Sources()
    parser.feed(page)
    assert parser.loaded
    assert all(source.startswith("data:") for source in parser.loaded)
    assert "@import" not in page
    assert page.count("<tbody") == page.count("</tbody>")


def test_the_html_report_escapes_what_papers_say(golden):
    assert "cells &amp; genes" in html([Chapter(golden_paper(), golden)])


def test_the_report_shows_what_the_audit_found(golden):
    from leukobench.papers.audit.findings import AuditFinding

    found = AuditFinding(
        "mean", "golden", "Table 1", "rows do not add up", "3 + 4 is not 8", "contradiction"
    )
    page = html([Chapter(golden_paper(), golden, findings=[found])])
    assert "rows do not add up" in page
    assert "3 + 4 is not 8" in page


def test_the_report_says_which_facts_could_not_be_checked_and_how_to_check_them():
    paper = load_paper(next(p for p in PAPERS if p.stem == "neuraldesigner"))
    page = html([Chapter(paper, rebuild(paper, Kept([], {})), unchecked=unchecked_facts(paper))])
    assert "one 18 times (golub_corrupt)" in page
    assert "leukobench data get golub_corrupt" in page
    assert "leukobench audit neuraldesigner" in page


def test_all_papers_make_one_report_before_anything_is_run():
    chapters = []
    for path in PAPERS:
        paper = load_paper(path)
        chapters.append(Chapter(paper, rebuild(paper, Kept([], {})), draw(paper, Kept([], {}))))
    page = html(chapters)
    for path in PAPERS:
        assert f'id="{path.stem}"' in page
    assert "not run" in page


@pytest.mark.parametrize(
    "type_", ["confusion_matrix", "roc", "class_pie", "test_accuracy_by_epoch"]
)
def test_figures_from_predictions(type_):
    picture = draw(
        with_figure(type_, part="all" if type_ == "class_pie" else "test"), golden_results()
    )[0]
    assert picture.svg is not None
    assert picture.svg.startswith("<svg")
    assert any("simulated" in note for note in picture.notes)
    assert any("60 of 600" in note for note in picture.notes)


@pytest.mark.parametrize(
    ("type_", "name", "content"),
    [
        (
            "learning_curves",
            "curves",
            [{"epoch": e, "train_loss": 1 / e, "train_accuracy": 0.9} for e in (1, 2, 3)],
        ),
        ("autoencoder_loss", "autoencoder_losses", {"train": [0.5, 0.4], "validation": [0.7, 0.6]}),
        ("autoencoder_error_histogram", "reconstruction_errors", [0.1, 0.2, 0.3]),
        (
            "reconstruction",
            "reconstruction",
            {"sample": "s0", "original": [0.0, 1.0], "reconstructed": [0.2, 0.8]},
        ),
    ],
)
def test_figures_from_what_runs_kept(type_, name, content):
    paper = with_figure(type_)
    bare = results((BASE, frame()))
    assert draw(paper, bare)[0].svg is None
    assert any("kept no" in note for note in draw(paper, bare)[0].notes)
    kept = replace(bare, artifacts={("run0", name): content})
    assert draw(paper, kept)[0].svg is not None


def test_a_figure_that_no_run_fills_gives_the_commands():
    picture = draw(with_figure("roc"), Kept([], {}))[0]
    assert picture.svg is None
    assert "leukobench sweep golden model=small protocol=paper" in picture.commands


def test_drawing_is_deterministic(golden):
    assert overview(golden) == overview(golden)


def test_a_sweep_with_nothing_published_shows_its_own_numbers_at_a_glance(golden):
    paper = load_paper(next(p for p in PAPERS if p.stem == "quickstart"))
    params = {
        "data": "golub38",
        "model": "logistic",
        "optimizer": "adam",
        "epochs": "5",
        "seed": "0",
        "fold": "0",
    }
    assert overview(rebuild(paper, Kept([], {}))) is None
    ours = overview(rebuild(paper, results((params, frame(classes=("ALL", "AML"))))))
    assert ours is not None
    assert "logistic, Adam" in ours
    assert "Majority class" in ours
    assert "published" not in ours
    assert "published" in overview(golden)


def test_gene_correlations_find_the_gene_that_separates():
    rng = np.random.default_rng(0)
    positive = np.arange(30) < 12
    values = rng.normal(size=(30, 50))
    values[:, 7] = -3.0 * positive + 0.1 * rng.normal(size=30)
    genes, pearson, logistic = gene_correlations(
        values, positive, [f"g{i}" for i in range(50)], most=3
    )
    assert genes[0] == "g7"
    assert pearson[0] < -0.95
    assert logistic[0] < -0.95


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.77125, "percent", 1, "77.1"),
        (0.8125, "fraction", 2, "0.813"),
        (-0.00001, "fraction", 2, "0.000"),
        (955, "count", 0, "955"),
        (1091, "count", 0, "1,091"),
    ],
)
def test_numbers_are_rounded_half_up_in_the_cells_unit(value, unit, decimals, text):
    cell = replace(golden_paper().cell("table1/small/accuracy"), unit=unit, decimals=decimals)
    assert number(value, cell) == text


def test_no_footnote_letter_is_missing(golden):
    for table in golden:
        letters = {letter for letter, _ in table.footnotes}
        used = {
            m for r in table.rows for c in r.cells if c for a in c.answers.values() for m in a.marks
        }
        assert used <= letters
        assert all(re.fullmatch("[a-z]+", m) for m in letters)

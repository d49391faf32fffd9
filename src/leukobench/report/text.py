"""Filled tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from leukobench.papers.spec import Paper
from leukobench.papers.tables import FilledTable
from leukobench.report.layout import Layout, Text, lay_out, published_text


def markdown(paper: Paper, tables: Sequence[FilledTable]) -> str:
    """GitHub Markdown: a heading and citation, then the tables with their notes."""
    out = [f"# {paper.title}", "", paper.citation, ""]
    for table in tables:
        out += markdown_table(lay_out(table))
    return "\n".join(out).rstrip() + "\n"


def markdown_table(layout: Layout) -> list[str]:
    """Lines of a table with its heading and notes."""
    out = [f"## {layout.title} (`{layout.id}`)", ""]
    if layout.note:
        out += [layout.note, ""]
    header = layout.header
    out.append("| " + " | ".join(_md(h) for h in header) + " |")
    out.append("| " + " | ".join("---" for _ in header) + " |")
    for line in layout.lines:
        out.append("| " + " | ".join(_markdown_cell(t) for t in layout.texts(line)) + " |")
    out.append("")
    for letter, text in layout.footnotes:
        out.append(f"- <sup>{letter}</sup> {_md(text)}")
    if layout.footnotes:
        out.append("")
    if layout.commands:
        out += ["What is not run is filled by:", ""]
        out += [f"{i}. `{command}`" for i, command in enumerate(layout.commands, 1)]
        out.append("")
    if layout.footer:
        out += [" ".join(layout.footer), ""]
    return out


def _markdown_cell(text: Text) -> str:
    main = f"**{_md(text.main)}**" if text.best else _md(text.main)
    marks = f"<sup>{','.join(text.marks)}</sup>" if text.marks else ""
    detail = f"<br>{_md(text.detail)}" if text.detail else ""
    return f"{main}{marks}{detail}"


def _md(text: str) -> str:
    for special in "\\|*_`<":
        text = text.replace(special, "\\" + special)
    return text.replace("\n", " ")


CSV_CELL = (
    "paper",
    "table",
    "row",
    "column",
    "keys",
    "place",
    "kind",
    "metric",
    "averaging",
    "part",
    "of",
    "published",
    "published_value",
)
CSV_ARM = (
    "mean",
    "low",
    "high",
    "method",
    "unit",
    "seeds",
    "folds",
    "samples",
    "subjects",
    "delta",
    "verdict",
    "reason",
    "simulated",
    "subset",
    "best",
    "marks",
    "command",
    "runs",
    "chosen",
)
CSV_DIFFERENCE = ("mean", "low", "high")


def csv_text(tables: Sequence[FilledTable]) -> str:
    """One row a cell: the published value and, for each arm, mean, interval, sizes, verdict and command.

    Columns of arms are named `<arm>_mean` and so on (`mean` where a table has one nameless arm), those of the difference
    between two arms `difference_mean`, `difference_low` and `difference_high`. Values are fractions, unrounded.
    """
    arms = list(dict.fromkeys(arm for table in tables for arm in table.arms))
    names = [f"{arm}_{name}" if arm else name for arm in arms for name in CSV_ARM]
    if any(table.difference for table in tables):
        names += [f"difference_{name}" for name in CSV_DIFFERENCE]
    out = io.StringIO()
    writer = csv.DictWriter(out, [*CSV_CELL, *names], lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for filled in row.cells:
                if filled is None:
                    continue
                cell = filled.cell
                record: dict[str, object] = {
                    "paper": cell.paper,
                    "table": cell.table,
                    "row": row.id if row.baseline else cell.row,
                    "column": cell.column,
                    "keys": "" if row.baseline else "; ".join(f"{k}={v}" for k, v in cell.keys.items()),
                    "place": cell.place,
                    "kind": "baseline" if row.baseline else cell.kind,
                    "metric": cell.metric or "",
                    "averaging": cell.averaging or "",
                    "part": cell.part,
                    "of": cell.of or "",
                    "published": published_text(cell) if cell.is_published else "",
                    "published_value": "" if cell.value is None else repr(cell.value),
                }
                for arm, a in filled.answers.items():
                    e = a.estimate
                    values = {
                        "mean": _plain(e.mean if e else None),
                        "low": _plain(e.low if e else None),
                        "high": _plain(e.high if e else None),
                        "method": e.method if e else "",
                        "unit": e.unit if e else "",
                        "seeds": e.seeds if e else "",
                        "folds": a.folds,
                        "samples": e.samples if e else "",
                        "subjects": "" if e is None or e.subjects is None else e.subjects,
                        "delta": _plain(a.delta),
                        "verdict": a.verdict or "",
                        "reason": a.reason,
                        "simulated": str(a.simulated).lower() if e else "",
                        "subset": a.subset,
                        "best": str(a.best).lower() if e else "",
                        "marks": " ".join(a.marks),
                        "command": a.command,
                        "runs": " ".join(a.runs),
                        "chosen": a.chosen,
                    }
                    record |= {f"{arm}_{name}" if arm else name: value for name, value in values.items()}
                if filled.difference is not None and (e := filled.difference.estimate) is not None:
                    record |= {f"difference_{name}": _plain(getattr(e, name)) for name in CSV_DIFFERENCE}
                writer.writerow(record)
    return out.getvalue()


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def latex(paper: Paper, tables: Sequence[FilledTable]) -> str:
    """A LaTeX document that compiles with pdflatex; each table is a float with booktabs rules, ready to be copied."""
    out = [
        r"\documentclass{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage{booktabs,graphicx}",
        r"\usepackage[a4paper,landscape,margin=15mm]{geometry}",
        r"\begin{document}",
        rf"\section*{{{_tex(paper.title)}}}",
        _tex(paper.citation),
    ]
    for table in tables:
        out += _latex_table(lay_out(table))
    out.append(r"\end{document}")
    return "\n".join(out) + "\n"


def _latex_table(layout: Layout) -> list[str]:
    header = layout.header
    columns = "l" * len(header)
    out = [
        "",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{_tex(layout.title)}}}",
        rf"\label{{tab:{layout.id}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_tex(h) for h in header) + r" \\",
        r"\midrule",
    ]
    for i, line in enumerate(layout.lines):
        if i and line.row and layout.with_sources:
            out.append(r"\addlinespace")
        out.append(" & ".join(_latex_cell(t) for t in layout.texts(line)) + r" \\")
    out += [r"\bottomrule", r"\end{tabular}}", ""]
    notes = [rf"\textsuperscript{{{letter}}} {_tex(text)}" for letter, text in layout.footnotes]
    if layout.note:
        notes.insert(0, _tex(layout.note))
    if layout.commands:
        notes.append("What is not run is filled by:")
        notes += [
            rf"\textsuperscript{{{i}}} \texttt{{{_tex(command)}}}" for i, command in enumerate(layout.commands, 1)
        ]
    if layout.footer:
        notes.append(_tex(" ".join(layout.footer)))
    if notes:
        out.append(r"\par\medskip\begin{minipage}{\linewidth}\footnotesize\raggedright")
        out += [note + r"\par" for note in notes]
        out.append(r"\end{minipage}")
    out.append(r"\end{table}")
    if len(layout.lines) > 20:
        out.append(r"\clearpage")
    return out


def _latex_cell(text: Text) -> str:
    main = rf"\textbf{{{_tex(text.main)}}}" if text.best else _tex(text.main)
    if text.marks:
        main += rf"\textsuperscript{{{_tex(','.join(text.marks))}}}"
    if text.detail:
        return rf"\shortstack[l]{{{main}\\{{\scriptsize {_tex(text.detail)}}}}}"
    return main


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "[": "{[}",  # a row that begins with a bracket would be an argument of the line break before it
    "]": "{]}",
    "–": "--",
    "−": r"$-$",
    "—": "---",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in text)

"""Filled tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from leukobench.papers.answers import FilledTable
from leukobench.papers.spec import Paper
from leukobench.report.layout import Layout, Line, Text, lay_out, published_text


def markdown(paper: Paper, tables: Sequence[FilledTable]) -> str:
    """GitHub Markdown: a heading and citation, then the tables with their notes."""
    out = [f"# {_md(paper.title)}", "", _prose(paper.citation), ""]
    for table in tables:
        out += markdown_table(lay_out(table))
    return "\n".join(out).rstrip() + "\n"


def markdown_table(layout: Layout) -> list[str]:
    """Lines of a table with its heading and notes."""
    out = [f"## {_md(layout.title)} (`{layout.id}`)", ""]
    if layout.note:
        out += [_prose(layout.note), ""]
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
        out += [f"{i}. {_code(command)}" for i, command in enumerate(layout.commands, 1)]
        out.append("")
    if layout.footer:
        out += [_prose(" ".join(layout.footer)), ""]
    return out


def _markdown_cell(text: Text) -> str:
    main = f"**{_md(text.main)}**" if text.best else _md(text.main)
    marks = f"<sup>{','.join(text.marks)}</sup>" if text.marks else ""
    detail = f"<br>{_md(text.detail)}" if text.detail else ""
    return f"{main}{marks}{detail}"


def _md(text: str) -> str:
    """Text of a table's cell or a heading."""
    return _inert(text).replace("|", "\\|")


def _prose(text: str) -> str:
    """A paragraph; its beginning makes no heading, list, quotation or reference either."""
    shown = _inert(text)
    return "\\" + shown if shown[:1] in ("#", ">", "-", "+", "=", "~", "[") else shown


def _inert(text: str) -> str:
    """A line without what Markdown takes for emphasis, code, HTML, links or pictures."""
    for special in "\\*_`<":
        text = text.replace(special, "\\" + special)
    return " ".join(text.replace("](", "]\\(").split())


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


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
    "reach",
    "detectable",
    "variance_of",
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
                    "keys": ""
                    if row.baseline
                    else "; ".join(f"{k}={v}" for k, v in cell.keys.items()),
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
                        "reach": _plain(a.reach.half if a.reach else None),
                        "detectable": _plain(a.reach.detectable if a.reach else None),
                        "variance_of": a.reach.configurations if a.reach else "",
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
                    record |= {
                        f"{arm}_{name}" if arm else name: value for name, value in values.items()
                    }
                if filled.difference is not None and (e := filled.difference.estimate) is not None:
                    record |= {
                        f"difference_{name}": _plain(getattr(e, name)) for name in CSV_DIFFERENCE
                    }
                writer.writerow(record)
    return out.getvalue()


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def latex(paper: Paper, tables: Sequence[FilledTable]) -> str:
    """A LaTeX document that compiles with pdflatex; each table is one float or more with booktabs rules, ready to copy."""
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


LATEX_LINES = 24
"""Lines of text that a float may have, so that it fits on a landscape page."""
LATEX_NOTES = 40
"""Lines of notes that a float may have."""
LATEX_WIDTH = 240
"""Characters of a table's line that are still readable when they are scaled to the page's width."""
LATEX_NOTE_WIDTH = 190
"""Characters of a note that fit on a line, about."""


def _latex_table(layout: Layout) -> list[str]:
    """A table as one float, or as several where it is larger than a page; what explains it stands in or below the last."""
    parts: list[list[Line]] = [[]]
    room = LATEX_LINES
    for block in layout.blocks:
        height = sum(2 if any(text.detail for text in line.cells) else 1 for line in block)
        if height > room and parts[-1]:
            parts.append([])
            room = LATEX_LINES
        parts[-1] += block
        room -= height
    widths = [
        3
        + max(len(title), *(max(len(t.main) + len(t.marks), 3 * len(t.detail) // 4) for t in texts))
        for title, texts in zip(layout.header, zip(*(layout.texts(line) for line in layout.lines)))
    ]
    floats = [
        (lines, columns) for columns in layout.side_by_side(widths, LATEX_WIDTH) for lines in parts
    ]
    notes = _latex_notes(layout)
    height = sum(1 + len(note) // LATEX_NOTE_WIDTH for note in notes)
    out: list[str] = []
    for i, (lines, columns) in enumerate(floats):
        last = i + 1 == len(floats)
        out += _latex_float(layout, lines, columns, i > 0, notes if last and height <= room else [])
    if notes and height > room:
        small = [r"{\footnotesize\raggedright", *notes, "}"]
        if height <= LATEX_NOTES:  # a float of its own stays behind the table's
            small = [r"\begin{table}[htbp]", *small, r"\end{table}"]
        else:
            small.insert(0, r"\clearpage")
        out += ["", *small]
    if len(floats) > 1 or height > room:
        out.append(r"\clearpage")
    return out


def _latex_float(
    layout: Layout,
    lines: Sequence[Line],
    columns: Sequence[int],
    continued: bool,
    notes: Sequence[str],
) -> list[str]:
    title = _tex(layout.title)
    out = [
        "",
        r"\begin{table}[htbp]",
        r"\centering",
        *([r"\addtocounter{table}{-1}"] if continued else []),
        rf"\caption{{{title} (continued)}}"
        if continued
        else rf"\caption{{{title}}}\label{{tab:{layout.id}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * len(columns)}}}",
        r"\toprule",
        " & ".join(_tex(layout.header[c]) for c in columns) + r" \\",
        r"\midrule",
    ]
    for i, line in enumerate(lines):
        if i and line.row and layout.with_sources:
            out.append(r"\addlinespace")
        texts = layout.texts(line)
        out.append(" & ".join(_latex_cell(texts[c]) for c in columns) + r" \\")
    out += [r"\bottomrule", r"\end{tabular}}", ""]
    if notes:
        out += [
            r"\par\medskip\begin{minipage}{\linewidth}\footnotesize\raggedright",
            *notes,
            r"\end{minipage}",
        ]
    return [*out, r"\end{table}"]


def _latex_notes(layout: Layout) -> list[str]:
    notes = [rf"\textsuperscript{{{letter}}} {_tex(text)}" for letter, text in layout.footnotes]
    if layout.note:
        notes.insert(0, _tex(layout.note))
    if layout.commands:
        notes.append("What is not run is filled by:")
        notes += [
            rf"\textsuperscript{{{i}}} \texttt{{{_tex(command)}}}"
            for i, command in enumerate(layout.commands, 1)
        ]
    if layout.footer:
        notes.append(_tex(" ".join(layout.footer)))
    return [note + r"\par" for note in notes]


def _latex_cell(text: Text) -> str:
    main = rf"\textbf{{{_tex(text.main)}}}" if text.best else _tex(text.main)
    if text.marks:
        main += rf"\textsuperscript{{{_tex(','.join(text.marks))}}}"
    if text.detail:
        return rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{main}\\[-2pt]{{\scriptsize {_tex(text.detail)}}}\end{{tabular}}"
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

"""A paper as data: what `conf/paper/KEY.yaml` may say, and the cells it resolves to.

Only the form lives here. Tables are filled by the table engine, contradictions are found by
`leukobench.papers.audit`. Files are read as plain YAML; whatever is wrong is a `PaperError` that
names file, line and key.

A table is a matrix. What a cell is (metric, averaging, part, runs, ...) is said at the table, a
row, a column or the cell, the later of these winning; override strings of all four are merged, the
later winning by key.
"""

from leukobench.papers.spec.cell import Cell
from leukobench.papers.spec.facets import Choice, Facets, Published, Unit
from leukobench.papers.spec.loading import available_papers, load_paper
from leukobench.papers.spec.overrides import GROUPS, SCALARS, merge_overrides
from leukobench.papers.spec.paper import Paper
from leukobench.papers.spec.printed import printed_decimals, printed_number
from leukobench.papers.spec.table import Arm, Column, Figure, Row, Series, Table

__all__ = [
    "GROUPS",
    "SCALARS",
    "Arm",
    "Cell",
    "Choice",
    "Column",
    "Facets",
    "Figure",
    "Paper",
    "Published",
    "Row",
    "Series",
    "Table",
    "Unit",
    "available_papers",
    "load_paper",
    "merge_overrides",
    "printed_decimals",
    "printed_number",
]

"""The picture of a sweep's summary, for browsing beside its note."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leukobench.tracking.summary import keys_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


LINES, ROWS = 12, 40
"""Most configurations that are drawn, over epochs and without."""


def picture(table: pd.DataFrame, name: str, simulated: bool = False) -> bytes:
    """PNG of a sweep's summary: balanced accuracy on test, and on validation where there is any.

    Over epochs where they vary, a line a configuration; else a row a configuration. Bars are one
    standard deviation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = [p for p in ("validation", "test") if f"{p}_balanced_accuracy" in table]
    keys = keys_of(table)
    over_epochs = "epochs" in keys and len(table) > 1
    named = _named(table, [k for k in keys if k != "epochs"] if over_epochs else keys)
    width = 4.2 * max(len(parts), 1) + (2.6 if over_epochs else 1.4)
    height = 3.4 if over_epochs else 1.2 + 0.26 * min(len(named), ROWS)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(len(parts), 1), sharey=True, squeeze=False)[0]
    for ax, part in zip(axes, parts):
        draw = _draw_lines if over_epochs else _draw_rows
        draw(ax, named, f"{part}_balanced_accuracy")
        ax.set_title(part, fontsize=10)
        ax.grid(alpha=0.3)
    if over_epochs:
        axes[0].set_ylabel("balanced accuracy")
        axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.01))
        axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    n = sorted(set(table["n"]))
    spread = f"mean ± sd, n = {n[0]}" + (f" to {n[-1]}" if len(n) > 1 else "")
    figure.suptitle(f"{name}{' (simulated data)' if simulated else ''}: {spread}", fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()


def _named(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The table with each configuration's name in column `_name`."""
    rows = table[list(keys)].astype(str).to_numpy()
    return table.assign(_name=[" · ".join(row) or "all" for row in rows])


def _draw_lines(ax: Axes, named: pd.DataFrame, column: str) -> None:
    """A line a configuration, over epochs."""
    groups = list(named.groupby("_name", sort=False))[:LINES]
    for i, (label, group) in enumerate(groups):
        # side by side, so that bars of one epoch count do not hide each other
        shift = 1 + 0.03 * (i - (len(groups) - 1) / 2)
        ax.errorbar(
            group["epochs"].astype(float) * shift,
            group[column],
            group[f"{column}_sd"].fillna(0),
            label=str(label),
            capsize=2,
            lw=1.4,
            marker="o",
            ms=3.5,
            ls=("-", "--", ":")[i // 4 % 3],
            color=f"C{i % 10}",
            elinewidth=0.7,
        )
    ax.set_xlabel("epochs")
    ticks = sorted(named["epochs"].astype(float).unique())
    if len(ticks) > 1 and ticks[0] > 0:
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()


def _draw_rows(ax: Axes, named: pd.DataFrame, column: str) -> None:
    """A row a configuration."""
    rows = named.head(ROWS)
    places = list(range(len(rows)))
    deviations = rows[f"{column}_sd"].fillna(0)
    ax.errorbar(rows[column], places, xerr=deviations, fmt="o", ms=4, capsize=2, elinewidth=0.8)
    ax.set_yticks(places, rows["_name"])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("balanced accuracy")
    ax.set_xlim(right=min(ax.get_xlim()[1], 1.01))

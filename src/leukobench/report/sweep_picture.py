"""The picture of a sweep's summary, for browsing beside its note."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from leukobench.tracking.summary import keys_of

if TYPE_CHECKING:
    import pandas as pd


def picture(table: pd.DataFrame, name: str, simulated: bool = False) -> bytes:
    """PNG of a sweep's summary: balanced accuracy on test, and on validation where there is any.

    Over epochs where they vary, a line a configuration; else a row a configuration. Bars are one standard deviation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = [p for p in ("validation", "test") if f"{p}_balanced_accuracy" in table]
    keys = keys_of(table)
    over_epochs = "epochs" in keys and len(table) > 1
    others = [k for k in keys if k != "epochs"] if over_epochs else keys
    named = table.assign(
        _name=[" · ".join(str(v) for v in row) or "all" for row in table[others].to_numpy()]
    )
    groups = list(named.groupby("_name", sort=False))[:12] if over_epochs else []
    rows = named.head(40)
    height = 3.4 if over_epochs else 1.2 + 0.26 * len(rows)
    figure = Figure(
        figsize=(4.2 * max(len(parts), 1) + (2.6 if over_epochs else 1.4), height),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(len(parts), 1), sharey=True, squeeze=False)[0]
    for ax, part in zip(axes, parts):
        column = f"{part}_balanced_accuracy"
        if over_epochs:
            for i, (label, group) in enumerate(groups):
                # side by side, so that bars of one epoch count do not hide each other
                x = group["epochs"].astype(float) * (1 + 0.03 * (i - (len(groups) - 1) / 2))
                style = ("-", "--", ":")[i // 4 % 3]
                ax.errorbar(x, group[column], group[f"{column}_sd"].fillna(0), label=label, capsize=2, lw=1.4,
                            marker="o", ms=3.5, ls=style, color=f"C{i % 10}", elinewidth=0.7)  # fmt: skip
            ax.set_xlabel("epochs")
            if named["epochs"].nunique() > 1 and named["epochs"].astype(float).min() > 0:
                ax.set_xscale("log")
                ticks = sorted(named["epochs"].astype(float).unique())
                ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
                ax.minorticks_off()
        else:
            y = range(len(rows))
            ax.errorbar(
                rows[column],
                y,
                xerr=rows[f"{column}_sd"].fillna(0),
                fmt="o",
                ms=4,
                capsize=2,
                elinewidth=0.8,
            )
            ax.set_yticks(list(y), rows["_name"])
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_xlabel("balanced accuracy")
        ax.set_title(part, fontsize=10)
        if not over_epochs:
            ax.set_xlim(right=min(ax.get_xlim()[1], 1.01))
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

"""Python that shows a finding with numpy alone, for readers who do not have this software."""

from __future__ import annotations

from collections.abc import Sequence

from leukobench.papers.audit.scores import SAME_AS
from leukobench.papers.audit.sheet import Score, Sheet

OF_CLASS = {
    "recall": ("tp/P", "tn/(n-P)"),
    "precision": ("tp/np.maximum(tp+n-P-tn, 1)", "tn/np.maximum(tn+P-tp, 1)"),
    "f1": ("2*tp/(2*tp+n-P-tn+P-tp)", "2*tn/(2*tn+n-P-tn+P-tp)"),
}
"""Scores of the positive and of the other class, of P positives among n."""
OTHERS = {"tp": "tp", "tn": "tn", "fn": "P-tp", "fp": "n-P-tn"}


def python_for(scores: Sequence[Score], sheet: Sheet, *, everything: bool = False) -> str:
    """Three lines that list the numbers of positives with which some matrix prints the scores.

    An empty list is the proof; with `everything` the list itself is. Empty where three lines do
    not do: for folds, unknown sizes and scores of more than two classes.
    """
    n = sheet.sample.n
    terms = [_term(score) for score in scores]
    if n is None or sheet.folds or None in terms or sheet.classes not in (None, 2):
        return ""
    low, high = sheet.sample.positives or (1, n - 1)
    conditions = " & ".join(f"({term})" for term in terms)
    return (
        f"import numpy as np; n = {n}\n"
        "def fits(P): tp, tn = np.mgrid[0:P+1, 0:n-P+1]; "
        f"return ({conditions}).any()\n"
        f"print([P for P in range({low}, {high + 1}) if fits(P)])"
        + (" # compare with the other line's" if everything else " # none")
    )


def _term(score: Score) -> str | None:
    formula = _formula(score)
    if formula is None or score.deviation:
        return None
    low, high = score.interval()
    if score.relation != "=":
        return f"{formula} {score.relation} {score.value}"
    if score.is_count:
        return f"{formula} == {score.value:.0f}"
    middle, half = (low + high) / 2, (high - low) / 2
    return f"abs({formula} - {middle:.10g}) <= {half:.10g} + 1e-9"


def _formula(score: Score) -> str | None:
    if score.metric in OTHERS:
        return OTHERS[score.metric]
    if score.metric == "error_rate":
        return "1-(tp+tn)/n"
    metric, averaging = SAME_AS.get(score.metric, (score.metric, score.averaging or "binary"))
    if metric not in OF_CLASS:
        return None
    positive, negative = OF_CLASS[metric]
    if averaging == "micro" or (metric, averaging) == ("recall", "weighted"):
        return "(tp+tn)/n"
    return {
        "binary": positive,
        "negative": negative,
        "macro": f"({positive}+{negative})/2",
        "weighted": f"({positive}*P+{negative}*(n-P))/n",
    }[averaging]

"""Saved views of a sweep in MLflow's UI: a table of its results with the columns that matter, and
charts to compare them.

Without one, the UI shows neither params nor metrics and only the runs just below the sweep. The
format is the UI's own (what its "Save as new view" writes as a tag of the experiment, MLflow 3.17);
another UI ignores it.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Sequence

from leukobench.schema.documents import Json
from leukobench.schema.names import Tag

TAG = "mlflow.sharedViewState."
RESULTS, COMPARE, CURVES = "leukobench-results", "leukobench-compare", "leukobench-curves"
TITLES = {
    RESULTS: "Results",
    COMPARE: "Parallel coordinates",
    CURVES: "Learning curves",
}
WIDE, NARROW = 340, 150


def saved_views(
    keys: Sequence[str], metrics: Sequence[str], curve: str | None = None
) -> dict[str, str]:
    """Tags of an experiment that save its views.

    Args:
        keys: Params that tell configurations apart.
        metrics: Final metrics to show.
        curve: A metric that every run with learning curves has.
    """
    params = [f"params.`{k}`" for k in dict.fromkeys([*keys, "seed", "fold"])]
    measured = [f"metrics.`{m}`" for m in metrics]
    widths: dict[str, Json] = {"attributes.`Run Name`": WIDE}
    widths |= dict.fromkeys(measured, NARROW)
    table: dict[str, Json] = {
        **_STATE,
        "searchFilter": f"tags.`{Tag.KIND}` = 'result'",
        "selectedColumns": [*params, *measured, "attributes.`Dataset`"],
        "columnOrder": ["attributes.`Run Name`", *params, *measured],
        "columnWidths": widths,
        # in any order but that of time the UI lists results flat; else it folds them away below
        # their trajectories
        "orderByKey": params[0],
        "orderByAsc": True,
    }
    states = {RESULTS: table}
    if keys and metrics:
        section: dict[str, Json] = {
            "uuid": "leukobench-compare",
            "name": "configurations",
            "columns": 1,
        }
        chart: dict[str, Json] = {
            "uuid": "leukobench-parallel",
            "type": "PARALLEL",
            "runsCountToCompare": 10,
            "metricSectionId": section["uuid"],
            "selectedParams": list(keys),
            "selectedMetrics": list(metrics),
            "showAllRuns": True,
        }
        states[COMPARE] = {
            **table,
            "compareRunCharts": [{**chart, **_KEPT}],
            "compareRunSections": [{**section, **_KEPT, "display": True, "isReordered": False}],
        }
    if curve is not None:
        # true of every run that has curves: trajectories, and results with a training of their own
        states[CURVES] = {**table, "searchFilter": f"metrics.`{curve}` > -1e30"}
    return {TAG + key: _packed(TITLES[key], state) for key, state in states.items()}


def address(experiment_id: str, view: str = "") -> str:
    """Address of a sweep's runs inside the UI, in a saved view."""
    mode = "&compareRunsMode=CHART" if view in (COMPARE, CURVES) else ""
    shared = f"&viewStateShareKey={view}" if view else ""
    # the UI opens with pages for language models unless told otherwise
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning{mode}{shared}"


_STATE: dict[str, Json] = {
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsHiddenMode": "FIRST_20_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "globalLineChartConfig": {
        "xAxisKey": "step",
        "lineSmoothness": 0,
        "selectedXAxisMetricKey": "",
    },
}
_KEPT: dict[str, Json] = {"deleted": False, "isGenerated": False}


def _packed(name: str, state: Json) -> str:
    text = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{text}"}
    )

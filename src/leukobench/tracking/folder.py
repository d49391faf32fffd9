"""The run folder: the record of a training, written atomically before anything is delivered to the store.

```
<output>/runs/<training id>/
    job.json            config, choices and overrides of the training
    run.json            state, times, facts of data, split, machine, packages
    split.json          the split
    curves.json         one entry an epoch
    preprocess.safetensors  how raw values become network input; genes and classes by name
    checkpoint.pt       weights, optimizer and progress of an unfinished training
    traceback.txt       of a failure
    system_metrics.json, fit-profile.txt  where the trainer was asked for them
    results/<identity>/ result.json, predictions.parquet, model.safetensors: one a checkpoint epoch
    delivered.json      which store holds what
```
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leukobench.files import atomic, read_json, write_json
from leukobench.schema.predictions import FILE as PREDICTIONS
from leukobench.schema.predictions import write as write_predictions

if TYPE_CHECKING:
    import pandas as pd

SYSTEM_METRICS = "system_metrics.json"
"""One entry a sample: `time` in Unix milliseconds, and the values."""


class RunFolder:
    """Paths and reading and writing of one training's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, output: Path, training_id: str) -> RunFolder:
        return cls(output / "runs" / training_id)

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def result(self, identity: str) -> Path:
        return self.path / "results" / identity

    def has_result(self, identity: str) -> bool:
        """Whether a result is complete: its `result.json` is written last."""
        return (self.result(identity) / "result.json").is_file()

    def results(self) -> list[dict[str, Any]]:
        """Records of all complete results, by epoch."""
        found = [read_json(p) for p in (self.path / "results").glob("*/result.json")]
        return sorted(found, key=lambda r: r["epoch"])

    def run(self) -> dict[str, Any]:
        return read_json(self.path / "run.json", {})

    def update(self, **facts: Any) -> dict[str, Any]:
        """Merge facts into `run.json`; `created` is when the folder was first written to."""
        created = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = {"created": created, **self.run(), **facts}
        write_json(self.path / "run.json", body)
        return body

    def curves(self) -> list[dict[str, float]]:
        return read_json(self.path / "curves.json", [])

    def write_result(
        self,
        identity: str,
        record: Mapping[str, Any],
        predictions: pd.DataFrame,
        model: Mapping[str, Any] | None,
    ) -> None:
        """Write a result; the record comes last, so that a killed process leaves none that looks complete."""
        folder = self.result(identity)
        with atomic(folder / PREDICTIONS) as temporary:
            write_predictions(predictions, temporary)
        if model is not None:
            from safetensors.torch import save_file

            with atomic(folder / "model.safetensors") as temporary:
                save_file(dict(model), str(temporary))
        write_json(folder / "result.json", dict(record))

"""The run folder: the record of a training, written atomically before anything is delivered to the
store.

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

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from leukobench.files import atomic
from leukobench.integrity import body_digest, file_digest
from leukobench.schema import predictions
from leukobench.schema.documents import Document
from leukobench.schema.records import CURVES, RESULT, RUN, Curves, ResultRecord, RunRecord

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

WEIGHTS = "model.safetensors"
"""Name of the file with a result's trained weights."""


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

    @property
    def traceback(self) -> Path:
        return self.path / "traceback.txt"

    def result(self, identity: str) -> Path:
        return self.path / "results" / identity

    def has_result(self, identity: str) -> bool:
        """Whether a result is complete: its record is written last."""
        return (self.result(identity) / RESULT.file).is_file()

    def results(self) -> list[ResultRecord]:
        """Records of all complete results, by epoch."""
        paths = (self.path / "results").glob(f"*/{RESULT.file}")
        found = [record for path in paths if (record := RESULT.read(path)) is not None]
        return sorted(found, key=lambda record: record.epoch)

    def read(self, document: Document[T]) -> T | None:
        """Content of one of the folder's files, None where it has none. Raises DocumentError."""
        return document.read(self.path / document.file)

    def write(self, document: Document[T], value: T) -> None:
        """Write one of the folder's files. Raises LeukoBenchError."""
        write(document, value, self.path)

    def run(self) -> RunRecord:
        """State and facts of the training; a new folder has none."""
        return self.read(RUN) or RunRecord()

    def update(self, **facts: Any) -> RunRecord:
        """Change fields of the run's record; `created` is when the folder was first written to."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        before = self.run()
        record = replace(before, created=before.created or now)
        record = replace(record, **facts)
        self.write(RUN, record)
        return record

    def curves(self) -> Curves:
        return self.read(CURVES) or []

    def write_result(
        self,
        record: ResultRecord,
        frame: pd.DataFrame,
        save_model: Callable[[Path], None] | None,
    ) -> None:
        """Write a result; the record comes last, so that a killed process leaves none that looks
        complete.

        Args:
            frame: Its predictions.
            save_model: Writes its weights to a file; None keeps none.
        """
        folder = self.result(record.identity)
        digests = {}
        with atomic(folder / predictions.FILE) as temporary:
            predictions.write(frame, temporary)
            digests[predictions.FILE] = file_digest(temporary)
        if save_model is not None:
            with atomic(folder / WEIGHTS) as temporary:
                save_model(temporary)
                digests[WEIGHTS] = file_digest(temporary)
        body = json.loads(RESULT.text(replace(record, digests=digests)))
        write(RESULT, replace(record, digests={**digests, RESULT.file: body_digest(body)}), folder)


def write(document: Document[T], value: T, folder: Path) -> None:
    """Write a document into a folder. Raises LeukoBenchError."""
    text = document.text(value)
    with atomic(folder / document.file) as temporary:
        temporary.write_text(text, encoding="utf-8")

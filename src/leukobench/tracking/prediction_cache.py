"""Predictions kept between readings: many small files of a store become a few large ones in the
output folder.

Finished runs never change, so a copy stays right for as long as the run exists. A copy that is
damaged or absent is made anew from the store.
"""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leukobench.files import atomic
from leukobench.integrity import checked, seal, warn

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROWS_A_FILE = 200_000
ROWS_IN_MEMORY = 4_000_000


class PredictionCache:
    """Predictions by run id: `read` gives a frame, from the copy where there is one, else by
    `fetch`.

    Files `<name>.arrow` hold the rows of many runs one below the other, `<name>.json` says where
    each run's begin and end. They are written by `flush`, which `read` calls when enough has
    gathered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._where: dict[str, tuple[str, int, int]] = {}
        self._frames: OrderedDict[str, pd.DataFrame] = OrderedDict()
        self._new: dict[str, pa.Table] = {}
        self._new_rows = 0
        for path in folder.glob("*.json"):
            with suppress(OSError, ValueError, TypeError, KeyError):
                for run_id, start, stop in json.loads(path.read_bytes())["runs"]:
                    self._where[run_id] = (path.stem, start, stop)

    def read(self, run_id: str, fetch: Callable[[str], pa.Table]) -> pd.DataFrame:
        """The frame of one run."""
        [(frame, _)] = self.pieces([run_id], fetch)
        return frame

    def pieces(
        self, run_ids: Sequence[str], fetch: Callable[[str], pa.Table]
    ) -> list[tuple[pd.DataFrame, np.ndarray]]:
        """The frames of many runs, as few as possible: thousands of small frames take seconds to
        make.
        """
        by_file: dict[str, list[int]] = {}
        fetched: list[int] = []
        for i, run_id in enumerate(run_ids):
            if run_id in self._where and run_id not in self._new:
                by_file.setdefault(self._where[run_id][0], []).append(i)
            else:
                fetched.append(i)
        out: list[tuple[pd.DataFrame, np.ndarray]] = []
        for name, members in by_file.items():
            frame = self._frame(name)
            start, stop = np.array([self._where[run_ids[i]][1:] for i in members]).T
            if frame is None or len(frame) < stop.max():
                fetched += members
                continue
            length = stop - start
            rows = np.arange(length.sum()) + np.repeat(start - (np.cumsum(length) - length), length)
            out.append((frame.take(rows).reset_index(drop=True), np.repeat(members, length)))
        tables = [self._fetched(run_ids[i], fetch) for i in fetched]
        for whole, members, bounds in _together(tables):
            out.append(
                (whole.to_pandas(), np.repeat([fetched[m] for m in members], np.diff(bounds)))
            )
        return out

    def _fetched(self, run_id: str, fetch: Callable[[str], pa.Table]) -> pa.Table:
        if run_id in self._new:
            return self._new[run_id]
        table = fetch(run_id)
        self._new[run_id] = table
        self._new_rows += table.num_rows
        if self._new_rows >= ROWS_A_FILE:
            self.flush()
        return table

    def _frame(self, name: str) -> pd.DataFrame | None:
        import pyarrow as pa

        if name in self._frames:
            self._frames.move_to_end(name)
            return self._frames[name]
        if not self._sound(name):
            return None
        try:
            with pa.memory_map(str(self.folder / f"{name}.arrow")) as source:
                frame = pa.ipc.open_file(source).read_all().to_pandas()
        except (OSError, pa.ArrowInvalid):
            return None
        self._frames[name] = frame
        while len(self._frames) > 1 and sum(map(len, self._frames.values())) > ROWS_IN_MEMORY:
            self._frames.popitem(last=False)
        return frame

    def _sound(self, name: str) -> bool:
        """Whether a file is what was written; one that is not is removed, after saying so."""
        header = self.folder / f"{name}.json"
        damages = checked(header).damages
        if damages:
            warn(damages, "its predictions are read from the store again")
            for path in (header, self.folder / f"{name}.arrow"):
                path.unlink(missing_ok=True)
        return not damages

    def flush(self) -> None:
        """Write what was fetched since the last time; a folder that cannot be written is done
        without.
        """
        import pyarrow as pa

        from leukobench.errors import LeukoBenchError

        runs = list(self._new)
        with suppress(LeukoBenchError):
            for whole, members, bounds in _together(list(self._new.values())):
                name = uuid.uuid4().hex
                places = [
                    (runs[m], start, stop) for m, start, stop in zip(members, bounds, bounds[1:])
                ]
                with (
                    atomic(self.folder / f"{name}.arrow") as temporary,
                    pa.OSFile(str(temporary), "wb") as sink,
                    pa.ipc.new_file(sink, whole.schema) as writer,
                ):
                    writer.write_table(whole.combine_chunks())
                header, data = self.folder / f"{name}.json", self.folder / f"{name}.arrow"
                seal(header, {"runs": places}, data)
                self._where |= {run_id: (name, start, stop) for run_id, start, stop in places}
        self._new, self._new_rows = {}, 0


def _together(tables: Sequence[pa.Table]) -> Iterator[tuple[pa.Table, list[int], list[int]]]:
    """Tables of equal columns one below the other, with their places in `tables` and the row at
    which each begins.
    """
    import pyarrow as pa

    by_schema: dict[str, list[int]] = {}
    for i, table in enumerate(tables):
        by_schema.setdefault(str(table.schema.remove_metadata()), []).append(i)
    for members in by_schema.values():
        whole = pa.concat_tables([tables[m].replace_schema_metadata(None) for m in members])
        yield whole, members, [0, *accumulate(tables[m].num_rows for m in members)]

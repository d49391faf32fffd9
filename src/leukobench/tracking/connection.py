"""The connection to the MLflow store: opening it, making it, asking it page by page, writing in
batches.

Only MLflow's public client is used, so that SQLite files and servers work the same.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from leukobench.errors import StoreError
from leukobench.progress import Progress
from leukobench.settings import Settings
from leukobench.tracking.claims import Claims

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# of a server, MLflow would announce every run and file
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag


PAGE = 1000
METRICS_A_BATCH, PARAMS_A_BATCH = 1000, 100


class StoreRefused(StoreError):
    """A store that waiting does not mend: its address, its file or what was deleted in it must be
    seen to first.
    """


class Store:
    """A connection to the MLflow store at `settings.store`.

    Raises:
        StoreError: The store cannot be reached or written; the message names it.
        StoreRefused: And will not be, whatever one waits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.uri = settings.store
        _fail_fast()
        try:
            self._open()
        except StoreError as e:
            if self.uri.startswith("sqlite:") and not re.search(r"locked|busy|full", str(e)):
                raise StoreRefused(str(e)) from e
            raise

    def _open(self) -> None:
        with self.errors("open"):
            import logging

            for name in ("mlflow", "alembic", "mlflow.store.db.utils"):
                logging.getLogger(name).setLevel(logging.ERROR)
            if self.uri.startswith("sqlite:///"):
                path = Path(self.uri.removeprefix("sqlite:///"))
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists() and not os.access(path, os.W_OK):
                    raise StoreError(
                        f"the MLflow store {self.uri} is not writable: change the file's "
                        f"permissions"
                    )
                if not path.exists():
                    create_database(path)
            elif "://" not in self.uri or self.uri.startswith("file:"):
                raise StoreRefused(
                    f"MLFLOW_TRACKING_URI={self.uri}: MLflow keeps runs no longer in plain files; "
                    f"use an SQLite file "
                    "(sqlite:////absolute/path/mlflow.db) or a server (http://host:port)"
                )
            from mlflow import MlflowClient

            self.client: MlflowClient = MlflowClient(tracking_uri=self.uri)
            self.client.search_experiments(max_results=1)

    @cached_property
    def claims(self) -> Claims:
        """What this process holds, so that no other launch is at it."""
        return Claims(self)

    @contextmanager
    def errors(self, verb: str) -> Iterator[None]:
        """Errors of MLflow become a StoreError that says what was tried: to `verb` the store."""
        try:
            yield
        except StoreError:
            raise
        except Exception as e:
            first = str(e).strip().splitlines()[0][:300] if str(e).strip() else type(e).__name__
            raise StoreError(
                f"cannot {verb} the MLflow store {self.uri}: {first}. Check the address "
                f"(MLFLOW_TRACKING_URI, or "
                "settings.store=...), that its server runs, and that its folder can be written. "
                "Results already "
                "computed stay in the output folder; `leukobench sync` delivers them"
            ) from e

    def search(
        self,
        experiment_id: str,
        condition: str,
        deleted: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Run]:
        """All runs of an experiment that meet a condition, newest first; `deleted` for those in the
        bin.
        """
        from mlflow.entities import ViewType

        token, read = None, 0
        while True:
            # A page of 1,000 runs is 100,000 objects that all stay: looking for cycles among them
            # doubles the time.
            with self.errors("read"), without_collecting():
                page = self.client.search_runs(
                    [experiment_id],
                    condition,
                    run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
                    max_results=PAGE,
                    page_token=token,
                    order_by=["attributes.start_time DESC"],
                )
            yield from page
            token, read = page.token, read + len(page)
            if progress is not None and read:
                progress("runs", read, read + (PAGE if token else 0))
            if not token:
                return

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
    ) -> None:
        """Log to a run in as few calls as MLflow takes them; the tags with the first."""
        batches = max(-(-len(metrics) // METRICS_A_BATCH), -(-len(params) // PARAMS_A_BATCH), 1)
        for i in range(batches):
            self.client.log_batch(
                run_id,
                metrics=metrics[i * METRICS_A_BATCH : (i + 1) * METRICS_A_BATCH],
                params=params[i * PARAMS_A_BATCH : (i + 1) * PARAMS_A_BATCH],
                tags=tags if i == 0 else [],
            )

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """Content of a run's artifact, None where it has none of that name."""
        with self.errors("read"):
            uri = self.client.get_run(run_id).info.artifact_uri
        local = local_path(uri)
        try:
            if local is not None:
                return (local / name).read_bytes()
            return Path(self.download(f"{uri}/{name}")).read_bytes()
        except OSError:
            return None

    def download(self, uri: str, folder: Path | None = None) -> Path:
        """A copy of the artifacts at an address, in `folder` or in one of their own.

        Raises:
            FileNotFoundError: There is nothing at the address.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        to = None if folder is None else str(folder)
        try:
            return Path(download_artifacts(artifact_uri=uri, dst_path=to, tracking_uri=self.uri))
        except MlflowException as e:
            raise FileNotFoundError(str(e)) from e

    def attach(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Add a file, or the files in a folder, to a run's artifacts.

        Args:
            folder: Where among the artifacts; at the top by default.

        Raises:
            StoreError
        """
        with self.errors("write"):
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), folder)
            else:
                self.client.log_artifact(run_id, str(path), folder)

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        """Set a tag of a run. Raises StoreError."""
        with self.errors("write"):
            self.client.set_tag(run_id, name, value)


def quoted(text: str) -> str:
    """A value for an MLflow filter string."""
    return "'" + text.replace("'", "''") + "'"


def local_path(uri: str) -> Path | None:
    """The folder behind a local artifact URI, None for a remote one."""
    if uri.startswith("file:"):
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(uri).path))
    return Path(uri) if "://" not in uri and not uri.startswith("mlflow-artifacts:") else None


@contextmanager
def without_collecting() -> Iterator[None]:
    """Without Python's search for reference cycles, whose time grows with all objects that live."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def create_database(path: Path) -> None:
    """Make an SQLite store whole or not at all, whoever else is at it: MLflow cannot open one that
    it half made.
    """
    from mlflow import MlflowClient

    with FileLock(str(path.with_name(f".{path.name}.lock"))):
        if path.exists():
            return
        folder = path.with_name(f".{path.name}.new")
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed here
        folder.mkdir()
        try:
            MlflowClient(tracking_uri=f"sqlite:///{folder / 'made.db'}").search_experiments(
                max_results=1
            )
            with closing(sqlite3.connect(folder / "made.db")) as made:
                # a file that no connection is open to
                made.execute("VACUUM INTO ?", [str(folder / "whole.db")])
            os.replace(folder / "whole.db", path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _fail_fast() -> None:
    """MLflow retries an unreachable server for minutes; a person waits for none."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

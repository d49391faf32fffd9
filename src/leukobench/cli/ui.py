"""MLflow's UI over the right store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leukobench.cli.console import Where, escape, out
from leukobench.cli.options import settings_options
from leukobench.cli.root import cli
from leukobench.errors import ConfigError, LeukoBenchError
from leukobench.settings import resolve

if TYPE_CHECKING:
    import subprocess


@cli.command()
@click.option("--port", type=int, default=5000, show_default=True)
@settings_options
def ui(port: int, **where: str | None) -> None:
    """The MLflow UI on 127.0.0.1 over the store that sweeps log to.

    \b
    leukobench ui
    leukobench ui --port 5001 --output outputs
    """
    serve_ui(port, where)


def serve_ui(port: int, where: Where) -> None:
    """Start MLflow's server in its light form, say the address once it answers, and stop it with Ctrl-C or a signal."""
    import signal
    import socket
    import subprocess

    settings = resolve(**where)
    if settings.store.startswith("http"):
        out.print(f"the store is a server already: open {settings.shown_store}")
        return
    if (
        settings.store.startswith("sqlite:///")
        and not Path(settings.store.removeprefix("sqlite:///")).is_file()
    ):
        raise LeukoBenchError(
            f"there is no store at {settings.shown_store} yet; launch one: leukobench sweep quickstart"
        )
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigError(f"port {port} is taken; choose another with --port")
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        # not an argument: those of a process are for everyone on the machine to see
        "MLFLOW_BACKEND_STORE_URI": settings.store,
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "mlflow", "server"]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level warning",
    ]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out.print(f"starting MLflow over {settings.shown_store} …")
    before = signal.signal(signal.SIGTERM, stop)
    # a session of its own: the server's processes are stopped together, and none outlives this command
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        if _answers(f"http://127.0.0.1:{port}/health", server):
            out.print(f"MLflow UI: http://127.0.0.1:{port} (Ctrl-C ends it)")
            for name, page in _sweep_pages(f"http://127.0.0.1:{port}"):
                out.print(f"  {escape(name)}: {page}")
        code = server.wait()
        raise LeukoBenchError(
            f"the MLflow server ended by itself, status {code}; its messages stand above"
        )
    except KeyboardInterrupt:
        out.print("stopping")
    finally:
        _stop(server)
        signal.signal(signal.SIGTERM, before)


def _answers(url: str, server: subprocess.Popen[bytes], seconds: float = 120) -> bool:
    """Wait until a server answers; False where it ended before, or after so many seconds."""
    import time
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            direct.open(url, timeout=5).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def _sweep_pages(url: str, most: int = 12) -> list[tuple[str, str]]:
    """Names of the sweeps of a running server, the latest first, with the address of their results."""
    import json
    import urllib.request

    from leukobench.tracking.views import RESULTS, TAG, address

    body = json.dumps({"max_results": most + 1, "order_by": ["last_update_time DESC"]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/experiments/search", body, headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=60
    ) as answer:
        experiments = json.load(answer).get("experiments", [])
    pages = []
    for e in experiments:
        saved = any(tag["key"] == TAG + RESULTS for tag in e.get("tags", []))
        if e["experiment_id"] != "0":
            pages.append(
                (e["name"], f"{url}/{address(e['experiment_id'], RESULTS if saved else '')}")
            )
    return pages[:most]


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End a server and the processes it started."""
    import signal
    import subprocess

    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            return

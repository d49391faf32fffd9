"""`leukobench` as a process forked from one that has imported everything: a command costs what it does, not its imports.

`Warm(folder)` starts the server and writes `leukobench` into the folder, to be put on PATH. What the command prints, its
exit status, environment, working directory and standard input are its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

CLIENT = """\
#!{python} -SE
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
connection.sendall(request)
answer = connection.recv(1)
sys.exit(answer[0] if answer else 70)
"""

IMPORTS = (
    "leukobench.cli",
    "leukobench.report.html",
    "leukobench.report.figures",
    "leukobench.sweeps.launch",
    "leukobench.training.run",
    "hydra",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.pipeline",
)


class Warm:
    """The server, for as long as the `with` block.

    Args:
        folder: Gets the command, the socket and the server's log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Warm:
        address = str(self.folder / "socket")
        command = self.folder / "leukobench"
        command.write_text(CLIENT.format(python=sys.executable, address=address))
        command.chmod(0o755)
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [sys.executable, __file__, address], stdout=self.log, stderr=self.log
        )
        while not Path(address).exists():
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()


def serve(address: str) -> None:
    """Answer until killed, each request in a process of its own."""
    import importlib

    for name in IMPORTS:
        importlib.import_module(name)
    server = socket.socket(socket.AF_UNIX)
    server.bind(address + ".new")
    server.listen(16)
    os.rename(address + ".new", address)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _answer(connection)
        connection.close()
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(connection: socket.socket) -> None:
    """Run the command in a child of this process, so that its exit status can be sent whatever it does."""
    length, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(length, "big"):
        request += connection.recv(1 << 16)
    arguments, folder, environment = json.loads(request)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(arguments, folder, environment, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(bytes([status % 256]))
    os._exit(0)


def _become(arguments: list[str], folder: str, environment: dict[str, str], files: Any) -> None:
    for target, descriptor in enumerate(files):
        os.dup2(descriptor, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["leukobench", *arguments]
    from leukobench.cli import main

    code = 0
    try:
        main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])

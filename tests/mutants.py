"""Mutated run folders, bundles and paper files, read in a process that an audit hook watches.

`python mutants.py RUN_FOLDER PAPER COUNT SEED` prints one line of JSON: how many were tried, how
many were read or refused, what else came up, and what the hook saw that reading data never does.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from leukobench.errors import LeukoBenchError
from leukobench.papers.spec import load_paper
from leukobench.schema import predictions
from leukobench.settings import resolve
from leukobench.training.saved import load_bundle, load_result, write_bundle

PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork")
CONNECTIONS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request")
CODE = ("leukobench.", "torch", "numpy", "pandas", "pyarrow", "pydantic", "yaml", "safetensors")
"""Begin the names of modules that may be imported while something is read, besides Python's own."""
EVIL: tuple[Any, ...] = (
    "os.system",
    "../../../../etc/passwd",
    "/etc/passwd",
    "${oc.env:HOME}",
    "!!python/object/apply:os.system ['touch ran']",
    {"_target_": "os.system", "command": "touch ran"},
    {"_target_": "subprocess.Popen", "args": ["touch", "ran"]},
    {"_target_": "antigravity.geohash"},
    {"_target_": "this"},
    [[]],
    {},
    None,
    -1,
    1e308,
    float("nan"),
    "x" * 100_000,
)
LINES = (
    "evil: !!python/object/apply:os.system ['touch ran']",
    "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    "<<: {sweep: ../../escape}",
    "extends: /etc/passwd",
    "? [1, 2]",
    "\t- x",
)


class Watch:
    """Sees what this process does while it is armed."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = [str(folder.resolve()) for folder in folders]
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        self.armed = False
        try:
            if self.is_strange(event, arguments):
                self.seen.append(f"{event} {str(arguments)[:200]}")
        finally:
            self.armed = True

    def is_strange(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "import":
            name = str(arguments[0])
            known = name.partition(".")[0] in sys.stdlib_module_names or name.startswith(CODE)
            return name in ("antigravity", "this") or not known
        if event == "open":
            return isinstance(arguments[0], str | bytes) and not self.is_inside(arguments[0])
        return event.startswith((*PROCESSES, *CONNECTIONS)) or event == "pickle.find_class"

    def is_inside(self, name: str | bytes) -> bool:
        path = name.decode() if isinstance(name, bytes) else name
        return str(Path(path).resolve()).startswith((*self.folders, "/proc/", "/sys/", "/dev/"))


def leaves(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON body: its container and key."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(pairs):
        yield node, key
        if isinstance(value, dict | list):
            yield from leaves(value)


def mutate_bytes(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    kind = rng.choice(("flip", "cut", "insert", "repeat"))
    at = rng.randrange(max(len(data), 1))
    if kind == "flip" and data:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "cut":
        del data[at:]
    elif kind == "insert":
        data[at:at] = rng.randbytes(rng.randint(1, 50))
    else:
        data[at:at] = data[: rng.randint(1, 500)]
    path.write_bytes(bytes(data))


def mutate_body(path: Path, rng: random.Random) -> None:
    body = json.loads(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(list(leaves(body)))
        container[key] = deepcopy(rng.choice(EVIL))
    path.write_text(json.dumps(body))


def mutate_lines(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    at = rng.randrange(len(lines))
    kind = rng.choice(("insert", "delete", "swap", "value"))
    if kind == "insert":
        lines.insert(at, rng.choice(LINES))
    elif kind == "delete":
        del lines[at]
    elif kind == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        key = lines[at].partition(":")[0]
        lines[at] = f"{key}: {json.dumps(rng.choice(EVIL))}"
    path.write_text("\n".join(lines))


def mutate(path: Path, rng: random.Random) -> None:
    ways: list[Callable[[Path, random.Random], None]] = [mutate_bytes]
    if path.suffix == ".json":
        ways += [mutate_body] * 3
    if path.suffix == ".yaml":
        ways += [mutate_lines] * 3
    rng.choice(ways)(path, rng)


def read_run(folder: Path) -> None:
    model = load_result(folder)
    predictions.read(model.files.file(predictions.FILE))


def main(run: Path, paper: Path, count: int, seed: int) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp())
    bundle = write_bundle(load_result(run), place / "a" / "b" / "bundle")
    sources = {
        "run": (run, read_run),
        "bundle": (bundle, load_bundle),
        "paper": (paper, load_paper),
    }
    resolve()
    load_paper(paper)
    package = Path(__file__).parents[1]
    folders = [place, package, *(Path(p) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix))]
    watch = Watch(folders)
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    for _ in range(count):
        kind = rng.choice(sorted(sources))
        source, read = sources[kind]
        target = place / "mutants" / kind / source.name
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        files = [p for p in sorted(target.rglob("*")) if p.is_file() and p.stat().st_size]
        mutate(rng.choice(files or [target]), rng)
        counts[kind] += 1
        watch.armed = True
        try:
            read(target)
            outcome = "read"
        except LeukoBenchError:
            outcome = "refused"
        except Exception as e:
            outcome = "other"
            frame = traceback.extract_tb(e.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            odd[f"{kind} {type(e).__name__} at {where}: {str(e)[:150]}"] += 1
        finally:
            watch.armed = False
        counts[outcome] += 1
    shutil.rmtree(place)
    return {"tried": count, **counts, "odd": odd, "seen": sorted(set(watch.seen))}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))))

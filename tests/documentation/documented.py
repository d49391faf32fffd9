"""The commands that README, docs and `--help` print: where they stand, and how each is run by the tests.

A command is run in bash as it is printed. The tables below name every exception and why it is one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))

MINUTES = "trains or draws for minutes: only planned here"
WEIGHTS = "weights from the network: only planned here"
SERVER = "waits for a browser until it is stopped; tests/tracking/test_browsing.py starts one"
ELSEWHERE = "names a server that there is not"
TWO_VERSIONS = "needs runs of two versions of torch; tests/papers/test_difference.py compares some"
NOT_HERE = "data that are neither here nor simulated"

DRY = {
    "leukobench sweep quickstart epochs=40 'seed=range(10)'": MINUTES,
    "leukobench sweep quickstart 'seed=range(10)' --force": MINUTES,
    "leukobench sweep fata trainer=gpu": WEIGHTS,
    "leukobench sweep rai trainer=cpu": MINUTES,
    "leukobench train model=resnet50 trainer=gpu trainer.compile=true data=cnmc": WEIGHTS,
    "leukobench sweep grain": MINUTES,
    "leukobench sweep search": MINUTES,
    "leukobench sweep search hydra.sweeper.trials=40": MINUTES,
    "leukobench sweep search hydra/launcher=joblib hydra.sweeper.at_once=4": MINUTES,
    "leukobench train -m hydra/sweeper=search 'optimizer.lr=tag(log, interval(1e-4, 1e-1))' "
    "'model.hidden=[16],[64]' model=gene_mlp split.validation=0.25": MINUTES,
    "leukobench sweep fata model=vgg16 epochs=10,20 seed=0,1,2": WEIGHTS,
}
"""Commands that are run with `--dry-run`."""

NOT_RUN = {
    "make demo": "set-up itself; its commands are run here",
    "make test": "set-up itself; what it runs is this",
    "leukobench ui": SERVER,
    "leukobench ui --port 5001 --output outputs": SERVER,
    "leukobench figures --sweep quickstart": "120 times five pictures; tests/test_cli_models.py draws some",
    "leukobench tables cross": "its runs take hours; tests/papers/test_grid.py has such tables",
    "leukobench data get golub": "downloads; tests/data/test_golub.py answers in the server's place",
    "leukobench sweep cross sweep=all_bioc data=cumida_file data.root=FILE "
    "'data.classes=[ALL1/AF4,BCR/ABL,E2A/PBX1,NEG]' split=kfold model=logistic optimizer=adam "
    "epochs=20 seed=0": NOT_HERE,
    "leukobench sweep kandi sweep=all_bioc data=cumida_file data.root=FILE "
    "'data.classes=[ALL1/AF4,BCR/ABL,E2A/PBX1,NEG]' protocol=leak_free split=kfold "
    "model=kandi_mlp seed=0": NOT_HERE,
    "leukobench diff grain grain_bf16": "real cells, trained twice",
    "leukobench diff fata:version.torch=2.8.0 fata:version.torch=2.9.1 --format csv": TWO_VERSIONS,
    "leukobench diff fata:version.torch=2.8.0 fata:version.torch=2.9.1 --format md": TWO_VERSIONS,
    "mlflow models predict -m models:/cnmc-vgg16/1 -i cells.csv -t csv --env-manager local": (
        "MLflow's own; tests/training/test_register.py runs it"
    ),
    "export MLFLOW_TRACKING_URI=sqlite:////shared/mlflow.db": "a folder that machines share",
    "LEUKOBENCH_OUTPUT=one leukobench sweep quickstart & "
    "LEUKOBENCH_OUTPUT=other leukobench sweep quickstart": (
        "needs the line before it; tests/sweeps/test_processes.py launches twice"
    ),
}
"""Commands that are not run."""


@dataclass(frozen=True)
class Block:
    """Lines of bash as printed, comments and line continuations resolved.

    Attributes:
        place: `docs/sweeps.md, line 3`, or `leukobench data get --help`.
    """

    place: str
    lines: tuple[str, ...]

    def script(self, run_id: str) -> str:
        """What bash is given: the lines, with `--dry-run` or a remark where the tables above say so."""
        out = []
        for line in self.lines:
            if line in NOT_RUN or "http://" in line:
                out.append(f"echo {shlex.quote('not run: ' + NOT_RUN.get(line, ELSEWHERE))}")
            elif line in DRY:
                out.append(f"{line} --dry-run")
            else:
                out.append(_PLACEHOLDER.sub(run_id, line))
        return "\n".join(out) + "\n"


_PLACEHOLDER = re.compile(r"\bRUN_ID\b|\bID\b|8f1c\.\.\.")
"""What stands for a run's id on the pages."""

_FENCE = re.compile(r"^ *```(?P<kind>\w*)\n(?P<body>.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks() -> list[Block]:
    """Every fenced block of shell commands, and the examples of every command's help."""
    return [*(block for page in PAGES for block in _fenced(page)), *_examples()]


def inline() -> list[tuple[str, str]]:
    """Commands in running text that are whole, with their place: something follows the command's name, and no KEY."""
    found = []
    for page in PAGES:
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for command in re.findall(r"`(leukobench \w[^`]*)`", text):
            whole = re.search(r"\b[A-Z]{2,}\b|[\[|]|\.\.\.", command) is None
            rest = resolve(shlex.split(command)[1:])[1]
            if whole and any(not word.startswith("-") for word in rest):
                found.append((str(page.relative_to(REPOSITORY)), command))
    return found


def files() -> Iterator[tuple[str, str]]:
    """Path and text of every config file that a page shows in full: its first line is `# PATH`."""
    for page in PAGES:
        for fence in _FENCE.finditer(page.read_text(encoding="utf-8")):
            named = re.match(r"# (my_configs/\S+\.yaml)\n", fence["body"])
            if fence["kind"] == "yaml" and named is not None:
                yield named[1], fence["body"]


def commands_of(block: Block) -> list[list[str]]:
    """The words of each call of leukobench in a block."""
    found = []
    for line in block.lines:
        words = shlex.split(line, comments=True)
        for i, word in enumerate(words):
            if word == "leukobench":
                rest = words[i + 1 :]
                ends = [k for k, w in enumerate(rest) if w in ("&", "&&", "|", ";")]
                found.append(rest[: ends[0]] if ends else rest)
    return found


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words call, and the words that are left for it."""
    from leukobench.cli import cli

    command: click.Command = cli
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]  # type: ignore[attr-defined]
    return command, words


def _fenced(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        if fence["kind"] == "sh":
            number = text.count("\n", 0, fence.start()) + 1
            yield Block(f"{page.relative_to(REPOSITORY)}, line {number}", _lines(fence["body"]))


def _lines(body: str) -> tuple[str, ...]:
    joined = re.sub(r" *\\\n *", " ", body)
    lines = (re.sub(r"(^|\s+)# .*$", "", line).strip() for line in joined.splitlines())
    return tuple(line for line in lines if line)


def _examples() -> Iterator[Block]:
    from leukobench.cli import cli

    def walk(name: str, command: click.Command) -> Iterator[Block]:
        lines = [line.strip() for line in (command.help or "").splitlines()]
        shown = _lines("\n".join(line for line in lines if line.startswith("leukobench ")))
        if name == "leukobench":
            # here each example is followed by what it does
            shown = tuple(re.split(r" {3,}", line)[0] for line in shown)
        if shown:
            yield Block(f"{name} --help", shown)
        for inner, sub in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {inner}", sub)

    yield from walk("leukobench", cli)

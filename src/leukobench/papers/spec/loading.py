"""Paper files: reading one, and finding those there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from leukobench.errors import ConfigError, PaperError
from leukobench.papers.spec.lines import Lines, read, where
from leukobench.papers.spec.mistakes import MISTAKE
from leukobench.papers.spec.paper import Paper
from leukobench.plain_yaml import read_text

OWN_WORDS = {"missing": "this key is required", "extra_forbidden": "unknown key"}
"""What is said for some of pydantic's errors, by their type."""


def load_paper(path: str | Path) -> Paper:
    """Read and check one paper file.

    Raises:
        PaperError: The file is missing, is no YAML, or breaks the schema; the message names file,
            line and key.
    """
    path = Path(path)
    if not path.is_file():
        raise PaperError(f"no paper file {path}")
    try:
        content, lines = read(read_text(path), path)
    except ConfigError as error:
        raise PaperError(str(error)) from None
    if not isinstance(content, dict):
        raise PaperError(
            f"{path}, line 1: a paper file is a mapping of keys, see docs/add-a-paper.md"
        )
    for reserved in {"path", "lines"} & set(content):
        raise PaperError(f"{where(path, lines, (reserved,))}: unknown key")
    try:
        return Paper.model_validate({**content, "path": path, "lines": lines})
    except ValidationError as error:
        raise PaperError(_readable(error, path, lines)) from None


def available_papers(folders: Iterable[str | Path]) -> dict[str, Path]:
    """Paper files by key (the file's name), of all folders that exist; an earlier folder wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(Path(folder).glob("*.yaml")) if Path(folder).is_dir() else ():
            found.setdefault(file.stem, file)
    return found


def _readable(error: ValidationError, path: Path, lines: Lines) -> str:
    """A line a mistake: where it stands, and what is wrong."""
    messages: dict[str, None] = {}
    for problem in error.errors():
        keys = _known(problem["loc"], lines)
        if problem["type"] == "missing":
            keys = (*keys, problem["loc"][-1])
        text = _said(problem["type"], problem["msg"], problem["input"])
        messages[f"{where(path, lines, keys)}: {text}"] = None
    return "\n".join(messages)


def _known(location: tuple[str | int, ...], lines: Lines) -> tuple[str | int, ...]:
    """What of a location the file has: pydantic puts the names of union members into it."""
    keys: tuple[str | int, ...] = ()
    for key in location:
        if (*keys, key) in lines:
            keys = (*keys, key)
    return keys


def _said(type_: str, message: str, found: Any) -> str:
    if type_ in OWN_WORDS:
        return OWN_WORDS[type_]
    if type_ in ("value_error", MISTAKE):
        return message.removeprefix("Value error, ")
    return f"{message}, found {found!r}"

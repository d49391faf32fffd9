"""The fewest commands that fill the empty cells of a table."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from leukobench.papers.answers import FilledCell, FilledTable

Values = tuple[str, ...]


@dataclass(frozen=True)
class _Launch:
    """A command: its words, then the values of each key, in order."""

    words: tuple[str, ...]
    keys: tuple[tuple[str, Values], ...]

    @classmethod
    def of(cls, command: str) -> _Launch:
        parts = shlex.split(command)
        keys = (part.partition("=") for part in parts if "=" in part)
        return cls(
            tuple(part for part in parts if "=" not in part),
            tuple((key, _values(value)) for key, _, value in keys),
        )

    def without(self, key: str) -> _Launch:
        return _Launch(self.words, tuple(item for item in self.keys if item[0] != key))

    def joined(self, key: str, values: Values) -> _Launch:
        """With more values of a key, each once."""
        own = tuple(
            (name, tuple(dict.fromkeys((*old, *values))) if name == key else old)
            for name, old in self.keys
        )
        return _Launch(self.words, own)

    @property
    def command(self) -> str:
        return shlex.join((*self.words, *(f"{key}={','.join(v)}" for key, v in self.keys)))


def _values(text: str) -> Values:
    """The values that a key takes in turn; a list is one value."""
    return (text,) if text.startswith(("[", "{")) else tuple(text.split(","))


def fewest(commands: Iterable[str]) -> dict[str, str]:
    """For each command the one that runs it with others: commands that differ in the values of one
    key are joined, again and again, until no two are left that do. Nothing else is run by them."""
    launches = {command: _Launch.of(command) for command in commands}
    keys = dict.fromkeys(key for launch in launches.values() for key, _ in launch.keys)
    before = -1
    while before != len(set(launches.values())):
        before = len(set(launches.values()))
        for key in keys:
            launches = _joined(launches, key)
    return {command: launch.command for command, launch in launches.items()}


def _joined(launches: dict[str, _Launch], key: str) -> dict[str, _Launch]:
    """Launches that are equal but for the values of a key, as one."""
    groups: dict[_Launch, _Launch] = {}
    for launch in launches.values():
        values = dict(launch.keys).get(key)
        if values is not None:
            rest = launch.without(key)
            groups[rest] = groups.get(rest, launch).joined(key, values)
    return {
        command: groups[launch.without(key)] if key in dict(launch.keys) else launch
        for command, launch in launches.items()
    }


def with_fewest_commands(table: FilledTable) -> FilledTable:
    """The table with commands that fill several cells at once."""
    joined = fewest(table.commands)
    if len(set(joined.values())) == len(joined):
        return table
    rows = [
        replace(row, cells=tuple(_with_command(cell, joined) for cell in row.cells))
        for row in table.rows
    ]
    commands = tuple(dict.fromkeys(joined.values()))
    return replace(table, rows=tuple(rows), commands=commands)


def _with_command(filled: FilledCell | None, joined: Mapping[str, str]) -> FilledCell | None:
    if filled is None:
        return None
    answers = {
        arm: replace(answer, command=joined.get(answer.command, ""))
        for arm, answer in filled.answers.items()
    }
    return replace(filled, answers=answers)

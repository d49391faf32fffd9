"""What one key of a paper file alone cannot show to be wrong, reported at the key that shall be
changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

MISTAKE = "paper_file"
"""Pydantic's type of these errors."""
Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """A message about the key at this path, seen from the part of the file that is checked."""

    keys: Keys
    message: str


class Named(Protocol):
    @property
    def id(self) -> str: ...


def refuse(mistakes: Iterable[Mistake]) -> None:
    """Raise them together, as a validator of pydantic may; nothing without any."""
    found = [
        InitErrorDetails(
            type=PydanticCustomError(MISTAKE, "{message}", {"message": mistake.message}),
            loc=mistake.keys,
            input=None,
        )
        for mistake in mistakes
    ]
    if found:
        raise ValidationError.from_exception_data("paper", found)


def given_twice(things: Sequence[Named], keys: Keys, word: str) -> Iterator[Mistake]:
    """Ids that stand more than once among things that need one of their own."""
    seen: set[str] = set()
    for i, thing in enumerate(things):
        if thing.id in seen:
            yield Mistake((*keys, i, "id"), f"{word} id {thing.id!r} is given twice")
        seen.add(thing.id)

"""JSON files of run folders and artifacts of the store: each has a name, a type, and a way from its
older versions.

A document is checked when it is read and when it is written. What does not fit is said in one
sentence: which file, which field, what was expected.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from leukobench.errors import LeukoBenchError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""Content of a JSON file whose type is not known where it is read, as of a user's own artifact."""
VERSION_KEY = "schema_version"


class DocumentError(LeukoBenchError):
    """A file that is not what its name says; the message names file, field and expectation."""


@dataclass(frozen=True)
class Document(Generic[T]):
    """A kind of JSON file.

    Attributes:
        file: Its name.
        type: What it holds.
        upgrades: The i-th makes the content of version i into that of version i + 1; a file without
            a version is of version 0. Empty for plain series of numbers, whose form never changes.
        indent: Of the text; None for files that only programs read.
    """

    file: str
    type: type[T]
    upgrades: tuple[Callable[[Any], Any], ...] = ()
    indent: int | None = 1

    @property
    def version(self) -> int:
        """The version that is written."""
        return len(self.upgrades)

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.file.removesuffix(".json")

    def read(self, path: Path) -> T | None:
        """Content of a file, None where there is none. Raises DocumentError."""
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise DocumentError(f"{path} cannot be read: {e.strerror or e}") from None
        return self.parse(text, str(path))

    def parse(self, text: bytes | str, where: str) -> T:
        """Content of a text.

        Args:
            where: What to call the text in errors.

        Raises:
            DocumentError
        """
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            raise DocumentError(
                f"{where} is damaged (not JSON); remove its folder and launch again"
            ) from None
        return self.of(body, where)

    def of(self, body: Json, where: str) -> T:
        """A value from the content of a JSON file. Arguments and errors as in `parse`."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(self._upgraded(body, where))
        except ValidationError as e:
            raise DocumentError(f"{where} is no {self.file}: {_sentence(e)}") from None

    def text(self, value: T) -> str:
        """A value as JSON. Raises DocumentError where it is none of the document's type."""
        from pydantic_core import PydanticSerializationError

        try:
            body = self._adapter.dump_python(value, mode="json", warnings="error", fallback=str)
        except PydanticSerializationError as e:
            said = " ".join(str(e).split())
            raise DocumentError(f"this cannot be written as {self.file}: {said[:500]}") from e
        if self.version:
            body = {VERSION_KEY: self.version, **body}
        return json.dumps(body, indent=self.indent)

    def _upgraded(self, body: Any, where: str) -> Any:
        if not self.version:
            return body
        found = body.get(VERSION_KEY, 0) if isinstance(body, dict) else 0
        if not isinstance(found, int) or found < 0:
            raise DocumentError(
                f"{where} is no {self.file}: field {VERSION_KEY} is {found!r}, expected a whole "
                f"number"
            )
        if found > self.version:
            raise DocumentError(
                f"{where} was written by a later LeukoBench (version {found} of {self.file}; this "
                f"one reads up to {self.version}): update it (pip install -U leukobench)"
            )
        for upgrade in self.upgrades[found:]:
            body = upgrade(body)
        return body

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        from pydantic import TypeAdapter

        return TypeAdapter(self.type)


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, and how many more there are."""
    first, *others = error.errors(include_url=False)
    field = ".".join(map(str, first["loc"])) or "the whole"
    if first["type"] == "missing":
        said = f"field {field} is missing"
    else:
        found = repr(first["input"])
        found = found if len(found) <= 60 else found[:59] + "…"
        said = f"field {field} is {found}, expected {_expected(first['msg'])}"
    return said + (f" (and {len(others)} more)" if others else "")


def _expected(message: str) -> str:
    """What was expected, in words of JSON rather than of Python."""
    words = message.removeprefix("Input should be ")
    if " or an instance of " in words:
        return "an object"
    return words.replace("valid tuple", "list").replace("valid dictionary", "valid object")

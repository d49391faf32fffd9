"""Every error a user can meet: one family, shown by the command line without a traceback.

A message says what was found, what was expected, where, and what to do next.
"""

from __future__ import annotations

import re
from typing import ClassVar

from leukobench.credentials import redacted

LONGEST_WORD = 500
LONGEST_MESSAGE = 4000


def cut(text: str, longest: int = 80) -> str:
    """The text, or its beginning and how long it was."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text):,} characters)"


def readable(message: str) -> str:
    """A message in which words of absurd length, which stem from files, are cut."""
    words = re.split(r"(\s+)", message)
    return cut("".join(cut(word, LONGEST_WORD) for word in words), LONGEST_MESSAGE)


class LeukoBenchError(Exception):
    """Base of the family. The command line prints the message and exits with `status`.

    A message shows no credentials of an address, and no word of absurd length.

    Attributes:
        status: What the command exits with.
    """

    status: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(readable(redacted(str(message))))


class ConfigError(LeukoBenchError):
    """A config that cannot be run: an unknown key, an impossible value, parts that do not fit together."""


class MissingDataError(LeukoBenchError):
    """A data set's files are not where they were looked for."""


class FaultyDataError(LeukoBenchError):
    """A data set's files are there and are not what they should be."""


class SplitError(LeukoBenchError):
    """A split that cannot be made from the data, or a split file that does not fit it."""


class StoreError(LeukoBenchError):
    """The MLflow store cannot be reached, read or written."""


class PaperError(LeukoBenchError):
    """A paper file that breaks its schema; the message names file, key and line."""


class TrainingError(LeukoBenchError):
    """A training that cannot go on, for instance because its loss is not a number."""

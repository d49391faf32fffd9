"""The rule for names: what may become a folder, an experiment, a key or a line of a table.

`check_name` is for what a user or a stranger's file chooses and a path is made of (sweeps, data
sets); `check_label` for text of people that is only shown (classes). `cut` shortens what is
echoed.
"""

from __future__ import annotations

import re

from leukobench.errors import ConfigError, cut

LONGEST_NAME = 150
"""Bytes in UTF-8: a file system takes 255, and times and endings are appended."""
LONGEST_LABEL = 200
_NAME = re.compile(r"\w[\w.-]*(?: [\w.-]+)*")


def check_name(kind: str, name: str) -> str:
    """The name, if a folder may be called so.

    Args:
        kind: What it names, for the message.

    Raises:
        ConfigError: It holds separators or other signs, begins with a dot, or is too long.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{kind} {cut(repr(name))}: a name holds letters, digits, '_', '.', '-' and single "
            "spaces, begins with a letter, digit or '_', and names no other folder; choose "
            "another name"
        )
    size = len(name.encode())
    if size > LONGEST_NAME:
        raise ConfigError(
            f"{kind} {cut(repr(name))}: the name has {size} bytes, at most {LONGEST_NAME} are "
            "accepted; choose a shorter one"
        )
    return name


def check_label(kind: str, text: str) -> str:
    """The text, if it can stand in a table: printable, on one line, not empty and not long.

    Raises:
        ConfigError: It cannot.
    """
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_LABEL:
        raise ConfigError(
            f"{kind} {cut(repr(text))}: one line of at most {LONGEST_LABEL} printable characters "
            "is expected; rename it in its source"
        )
    return text

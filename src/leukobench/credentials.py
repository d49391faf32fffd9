"""Passwords and tokens in addresses: what is shown, logged or written to a file has none.

`redacted` is applied where an address leaves the process: in messages of errors, on the console,
in configs that are saved, in tags. The process itself goes on with the address it was given:
`real` gives it back, in this process from memory, in a worker from the environment.
"""

from __future__ import annotations

import os
import re

HIDDEN = "***"
_USER = re.compile(
    r"""([A-Za-z][A-Za-z0-9+.-]*://)
    (?: [^/\s"'?\#]*@            # up to the last @ before the path
      | [^:/@\s"']*:[^@\s"']*@   # a slash in the password
    )""",
    re.VERBOSE,
)
_PARAMETER = re.compile(
    r"([?&;][^=&\#\s\"']*(?:pass|pwd|token|secret|key|sig|credential|auth)[^=&\#\s\"']*=)"
    r"[^&\#\s\"']+",
    re.IGNORECASE,
)
_known: dict[str, str] = {}
"""Addresses with credentials that this process was given, by what is shown of them."""


def redacted(text: str) -> str:
    """The text with `***` in place of credentials in its addresses."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))


def shown(address: str) -> str:
    """What is shown and saved of an address; `real` gives it back."""
    text = redacted(address)
    if text != address:
        _known[text] = address
    return text


def real(address: str) -> str:
    """The address behind what `shown` made of it; the same where its credentials are not known."""
    if HIDDEN not in address:
        return address
    environment = os.environ.get("MLFLOW_TRACKING_URI", "")
    if redacted(environment) == address:
        return environment
    return _known.get(address, address)

"""What all parts of a paper file are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_IDENTIFIER = r"^[A-Za-z0-9_][\w.-]*$"


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)]
Identifier = Annotated[str, BeforeValidator(_as_text), Field(pattern=_IDENTIFIER)]
SweepName = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^\w[\w.-]*( [\w.-]+)*$")]
"""As `leukobench.names` allows: single spaces may stand inside."""


class Strict(BaseModel):
    """A part of a paper file: no key that is not known, nothing changed after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

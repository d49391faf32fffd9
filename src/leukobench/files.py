"""Files written whole: a reader sees what stood there before or what is new, never half of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from leukobench.errors import LeukoBenchError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write to a temporary file beside `path`, then rename it.

    Raises:
        LeukoBenchError: The disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
        # with the permissions of any new file, which tempfile's do not have
        temporary.touch(exist_ok=False)
        yield temporary
        os.replace(temporary, path)
    except OSError as e:
        raise LeukoBenchError(
            f"cannot write {path}: {e.strerror or e}; free some space or choose another folder "
            "with LEUKOBENCH_OUTPUT (or settings.output=...), then launch again: what is finished "
            "is kept"
        ) from e
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, body: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(body, indent=1, default=str), encoding="utf-8")


def read_json(path: Path, default: Any = None) -> Any:
    """Content of a JSON file, `default` where there is none.

    Raises:
        LeukoBenchError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return default
    except OSError as e:
        raise LeukoBenchError(f"{path} cannot be read: {e.strerror or e}") from None
    except (ValueError, RecursionError):
        raise LeukoBenchError(
            f"{path} is damaged (not JSON); remove its folder and launch again"
        ) from None

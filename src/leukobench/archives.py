"""Zip files that others made: what is checked before anything of them is unpacked."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import PurePosixPath

HARMLESS = 256 << 20
"""Bytes that any archive may unpack to."""
RATIO = 200
"""How often its own size a larger one may unpack to; images, tables and weights stay below 30."""
MEMBERS = 2_000_000


def fault_of(archive: zipfile.ZipFile) -> str | None:
    """Why an archive is not unpacked, as half a sentence; None where nothing is wrong.

    A member leads outside its folder, is a link, or stands twice; or all together are far larger
    than the archive.
    """
    members = archive.infolist()
    if len(members) > MEMBERS:
        return f"holds {len(members):,} files, more than the {MEMBERS:,} that are accepted"
    names = set()
    for member in members:
        if _leaves_folder(member.filename):
            return f"holds the path {member.filename[:200]!r}, which leads outside its folder"
        if stat.S_ISLNK(member.external_attr >> 16):
            return f"holds the link {member.filename[:200]!r}"
        if member.filename in names:
            return f"holds {member.filename[:200]!r} twice"
        names.add(member.filename)
    size = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if size > max(HARMLESS, RATIO * packed):
        return f"of {packed / 1e6:,.1f} MB unpacks to {size / 1e9:,.1f} GB, as no real data do"
    return None


def _leaves_folder(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"^[A-Za-z]:", name))

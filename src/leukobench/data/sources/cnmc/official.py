"""The official release as facts: names, folds, subjects and contents of its images, without the
files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import as_file, files

import pandas as pd

from leukobench.data.facts import read_facts
from leukobench.errors import ConfigError

PACKAGE = "leukobench.data.sources.cnmc"
FACTS = read_facts(PACKAGE, "cnmc")
FOLDS = ("fold_0", "fold_1", "fold_2")
CLASS_OF = {"all": "ALL", "hem": "normal"}
NAME = re.compile(r"^UID_([Hh]?\d+)_(\d+)_(\d+)_(all|hem)\.bmp$")
"""`UID_<subject>_<image>_<cell>_<class>.bmp`. One healthy subject is written in lower case in all
its 36 names."""

CELL_SIZE = (450, 450)
FINAL_SIZE = (600, 600)
LABELS_CSV = "C-NMC_test_prelim_phase_data_labels.csv"


def subject_of(name: str) -> str:
    """Subject id of an official name, in upper case: there is an h3 and no H3, among H1, H2, H4 and
    so on.

    >>> subject_of("UID_h3_10_2_hem.bmp")
    'H3'
    """
    match = NAME.match(name)
    if match is None:
        raise ValueError(f"{name!r} is no C-NMC name (UID_<subject>_<image>_<cell>_<all|hem>.bmp)")
    return match[1].upper()


@cache
def official_files() -> pd.DataFrame:
    """All 15,114 official files, as facts.

    Columns: `part` (`fold_0`, `fold_1`, `fold_2`, `preliminary`, `final`), `file` (name on disk),
    `name` (original name
    with subject and class; None for final images, where it is not public), `sha256` (the first 32
    hex digits).
    """
    with as_file(files(PACKAGE) / "files.parquet") as path:
        frame = pd.read_parquet(path)
    names: list[str | None] = []
    for part, file, name in zip(frame["part"], frame["file"], frame["name"]):
        if part == "preliminary":
            names.append(str(name))
        else:
            names.append(None if part == "final" else str(file))
    return pd.DataFrame(
        {
            "part": frame["part"].astype(object),
            "file": frame["file"].astype(object),
            "name": pd.Series(names, dtype=object),
            "sha256": pd.Series([d.hex() for d in frame["sha256"]], dtype=object),
        }
    )


def official_names(parts: Sequence[str] = ("train",)) -> pd.DataFrame:
    """The labelled official images, in sample order.

    Args:
        parts: `train` (10,661 images in three folds), `preliminary` (1,867).

    Returns:
        Frame indexed by sample id (`UID_1_1_1_all`) with columns `label`, `subject`, `official` and
        `content`.
    """
    table = official_files()
    table = table[table["part"].isin(folders_of(parts)) & table["name"].notna()]
    frame = pd.DataFrame(
        {
            "label": [CLASS_OF[NAME.match(n)[4]] for n in table["name"]],  # type: ignore[index]
            "subject": [subject_of(n) for n in table["name"]],
            "official": list(table["part"]),
            "content": list(table["sha256"]),
        },
        index=pd.Index([sample_id(n) for n in table["name"]], name="sample", dtype=object),
        dtype=object,
    )
    return frame.sort_index()


def sample_id(name: str) -> str:
    """Sample id of an original name: the name without its ending."""
    return name.removesuffix(".bmp")


def folders_of(parts: Sequence[str]) -> list[str]:
    """Official folders of the parts asked for.

    Raises:
        ConfigError: There is no such part.
    """
    known = {"train": FOLDS, "preliminary": ("preliminary",)}
    unknown = [p for p in parts if p not in known]
    if unknown or not parts:
        raise ConfigError(f"cnmc has no parts {unknown or '[]'}; choose from {list(known)}")
    folders: list[str] = []
    for part, held in known.items():
        if part in parts:
            folders += held
    return folders


@cache
def subject_counts() -> Mapping[tuple[str, str], int]:
    """Images of each subject of the labelled parts, as counts are keyed."""
    subjects = official_names(("train", "preliminary"))["subject"]
    sizes = subjects.value_counts(sort=False).sort_index()
    return {("subject", str(s)): int(n) for s, n in sizes.items()}

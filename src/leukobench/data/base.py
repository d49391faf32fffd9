"""What a data set is, once loaded (`Dataset`), and where it comes from (`DataSource`).

Nothing here knows a family of data or a file format: `leukobench.data.families` has a module for
each family.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from leukobench.data.facts import SourceFacts
from leukobench.errors import ConfigError, FaultyDataError, LeukoBenchError
from leukobench.names import check_label, check_name

if TYPE_CHECKING:
    from leukobench.data.check import Report
    from leukobench.data.preprocess import ExpressionPreprocess, Resample

SAMPLE_COLUMNS = ("label", "subject", "content", "series", "official")


def digest(*chunks: bytes | str) -> str:
    """Hex BLAKE2b-128 digest of the chunks, each preceded by its length so that borders count."""
    h = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        data = chunk.encode() if isinstance(chunk, str) else chunk
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


def array_digest(values: np.ndarray) -> str:
    """Digest of an array's dtype, shape and content."""
    values = np.ascontiguousarray(values)
    return digest(str(values.dtype), str(values.shape), values.tobytes())


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set.

    Attributes:
        name: Key of the data set (`golub38`, `cnmc`, ...).
        family: Name of its family (`expression`, `image`); a model declares which one it reads.
        samples: One row a sample, indexed by the sample's unique id (str), with columns `label`
            (class name), `subject` (id of the person, None where the source has none), `content`
            (digest of the sample's bytes or values: equal digests are exact duplicates), `series`
            (the experiment series it was measured in, or None) and `official` (the source's own
            fold or part, or None).
        classes: Class names in the order of their index; predictions have one probability column
            for each.
        positive: The class that sensitivity and precision refer to in two-class tables (ALL), None
            for more classes.
        fingerprint: Digest of everything a result depends on: ids, labels, subjects, contents,
            columns.
        simulated: True where any of it was generated; every run, table and figure made from it says
            so.
        expected_samples: How many labelled samples the complete data set has; fewer here means a
            subset.
        faults: What the loader found wrong and was told to live with (`allow_faulty=true`).
        root: Folder the files were read from.
        same_patients: Groups of series that hold the same patients, where it is not known which
            samples are one patient's.
    """

    name: str
    family: str
    samples: pd.DataFrame
    classes: tuple[str, ...]
    positive: str | None
    fingerprint: str
    simulated: bool = False
    expected_samples: int | None = None
    faults: tuple[str, ...] = ()
    root: Path | None = None
    same_patients: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        check_name("data set", self.name)
        for name in self.classes:
            check_label(f"{self.name}: class", name)
        missing = [c for c in SAMPLE_COLUMNS if c not in self.samples.columns]
        if missing:
            raise LeukoBenchError(f"{self.name}: the sample frame lacks the columns {missing}")
        if not self.samples.index.is_unique:
            twice = self.samples.index[self.samples.index.duplicated()][:3].tolist()
            raise FaultyDataError(f"{self.name}: sample ids are not unique, for instance {twice}")
        unknown = sorted(set(self.samples["label"]) - set(self.classes))
        if unknown:
            raise FaultyDataError(
                f"{self.name}: labels {unknown} are not among the classes {list(self.classes)}"
            )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def ids(self) -> pd.Index:
        """Sample ids in row order."""
        return self.samples.index

    @property
    def y(self) -> np.ndarray:
        """Class indices, shape (n,), int64, in row order."""
        index = {c: i for i, c in enumerate(self.classes)}
        return np.array([index[c] for c in self.samples["label"]], dtype=np.int64)

    @property
    def has_subjects(self) -> bool:
        return bool(self.samples["subject"].notna().all())

    @property
    def is_subset(self) -> bool:
        return self.expected_samples is not None and len(self) < self.expected_samples

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """Row positions of sample ids, int64, in the order given. Raises KeyError text for an
        unknown id.
        """
        positions = self.samples.index.get_indexer(pd.Index(list(ids)))
        if (positions < 0).any():
            raise FaultyDataError(
                f"{self.name}: {(positions < 0).sum()} of the sample ids asked for are not in the "
                f"data"
            )
        return positions.astype(np.int64)

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """The same data set with only these rows, in this order; its fingerprint follows the
        content.
        """
        samples = self.samples.iloc[list(rows)]
        return replace(
            self,
            samples=samples,
            fingerprint=digest(self.fingerprint, *samples.index),
            **self._columns(rows),
        )

    def _columns(self, rows: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """What a subclass holds for each sample, for these rows."""
        return {}

    @property
    def matrix(self) -> np.ndarray | None:
        """Values, shape (samples, features), where samples are rows of a matrix; None where they
        are files.
        """
        return None

    def files(self) -> dict[str, Path]:
        """File of each sample by id; empty where samples are no files."""
        return {}

    def resampled(
        self, preprocess: ExpressionPreprocess, resample: Resample, share: float, seed: int
    ) -> tuple[Self, frozenset[str]]:
        """A data set of scaled and resampled rows, and the ids of the synthetic ones among them.

        Raises:
            ConfigError: Data of this family cannot be resampled.
        """
        raise ConfigError(
            f"protocol.resample=before_split is not for {self.family} data: there is no row of "
            f"values to resample"
        )


def sample_frame(
    ids: Sequence[str],
    labels: Sequence[str],
    subjects: Sequence[str | None],
    contents: Sequence[str],
    series: Sequence[str | None],
    official: Sequence[str | None],
) -> pd.DataFrame:
    """The frame of `Dataset.samples`; object columns, so that an unknown value is None
    everywhere.
    """
    columns = {
        "label": labels,
        "subject": subjects,
        "content": contents,
        "series": series,
        "official": official,
    }
    return pd.DataFrame(
        {
            k: np.array([None if x is None else str(x) for x in v], dtype=object)
            for k, v in columns.items()
        },
        index=pd.Index([str(i) for i in ids], name="sample", dtype=object),
        dtype=object,
    )


def frame_digest(samples: pd.DataFrame) -> str:
    """Digest of a sample frame, independent of how pandas stores it."""
    rows = (
        "\x1f".join("" if v is None else str(v) for v in (i, *row))
        for i, row in zip(samples.index, samples.to_numpy())
    )
    return digest(*rows)


class DataSource(ABC):
    """Where a data set comes from: one subclass a source, one file in `conf/data` a choice.

    A subclass implements `load`, `get` and `check`.

    Class attributes:
        name: As `conf/data` and tables call it.
        family: Name of its family.
        facts: Title, licence, citation, official counts.
        simulates: Name of what simulates its layout (see `leukobench.simulation`); None where
            nothing does.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    classes: tuple[str, ...]
    positive: ClassVar[str | None] = None
    facts: ClassVar[SourceFacts] = SourceFacts(title="", licence="", citation="")
    simulates: ClassVar[str | None] = None

    def __init__(self, root: str | Path | None = None, allow_faulty: bool = False) -> None:
        self.root = Path(root).expanduser() if root is not None else None
        self.allow_faulty = allow_faulty

    @property
    def title(self) -> str:
        return self.facts.title

    @property
    def licence(self) -> str:
        return self.facts.licence

    @abstractmethod
    def load(self) -> Dataset:
        """Read the data set.

        Raises:
            MissingDataError: Nothing at `root`; the message says how to get it.
            FaultyDataError: Counts or content differ from what they should be, and `allow_faulty`
                is not set.
        """

    @abstractmethod
    def get(self) -> Path | None:
        """Download where the source offers a direct download; else raise MissingDataError with
        instructions.
        """

    @abstractmethod
    def check(self, progress: Callable[[str, int, int], None] | None = None) -> Report:
        """Read everything and report what is wrong; see `leukobench.data.check`."""

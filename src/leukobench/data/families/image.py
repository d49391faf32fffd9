"""Images: one file a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leukobench.data.base import Dataset, digest, frame_digest, sample_frame
from leukobench.data.families.base import Family
from leukobench.data.preprocess import ImagePreprocess

FAMILY = Family(name="image", default_preprocess=ImagePreprocess, files=True)


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset):
    """Images on disk: `paths` holds one file a sample, in row order; decoding is the image store's
    work.
    """

    paths: tuple[Path, ...] = ()

    def _columns(self, rows: Sequence[int] | np.ndarray) -> dict[str, Any]:
        return {"paths": tuple(self.paths[i] for i in rows)}

    def files(self) -> dict[str, Path]:
        return dict(zip(self.ids, self.paths))


def image_dataset(
    name: str,
    paths: Sequence[Path],
    contents: Sequence[str],
    ids: Sequence[str],
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    positive: str | None = None,
    subjects: Sequence[str | None] | None = None,
    series: Sequence[str | None] | None = None,
    official: Sequence[str | None] | None = None,
    **facts: Any,
) -> ImageDataset:
    """Build an `ImageDataset` and its fingerprint from files whose byte digests are `contents`."""
    blank: list[str | None] = [None] * len(ids)
    samples = sample_frame(
        ids=ids,
        labels=labels,
        subjects=subjects or blank,
        contents=contents,
        series=series or blank,
        official=official or blank,
    )
    return ImageDataset(
        name=name,
        family=FAMILY.name,
        samples=samples,
        classes=tuple(classes),
        positive=positive,
        fingerprint=digest(name, frame_digest(samples)),
        paths=tuple(paths),
        **facts,
    )

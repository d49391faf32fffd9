"""C-NMC 2019: single cells of acute lymphoblastic leukemia and of healthy children, with subject
ids.

Source: A. Gupta, R. Gupta, "ALL Challenge dataset of ISBI 2019", The Cancer Imaging Archive, 2019,
doi 10.7937/tcia.2019.dc64i46r. Images are 450 x 450 RGB BMP, one segmented cell on black; the final
test images are 600 x 600 and without labels.
"""

from leukobench.data.sources.cnmc.official import (
    LABELS_CSV,
    NAME,
    official_files,
    official_names,
    sample_id,
    subject_of,
)
from leukobench.data.sources.cnmc.source import CNMC, official_dataset

__all__ = [
    "CNMC",
    "LABELS_CSV",
    "NAME",
    "official_dataset",
    "official_files",
    "official_names",
    "sample_id",
    "subject_of",
]

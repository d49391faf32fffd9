"""AML-Cytomorphology_LMU: 18,365 single leukocytes of 15 classes, from 100 patients with AML and
100 without.

Source: C. Matek, S. Schwarz, C. Marr, K. Spiekermann, "A single-cell morphological dataset of
leukocytes from AML
patients and non-malignant controls", The Cancer Imaging Archive, 2019, doi
10.7937/tcia.2019.36f5o9ld. Images are 400 x 400 RGBA TIFF, `CLS/CLS_NNNN.tiff`; `annotations.dat`
lists them with up to two re-annotations.
"""

from leukobench.data.sources.aml.annotations import (
    COUNTS,
    REANNOTATED,
    UNCLASSIFIABLE,
    agreement,
    read_annotations,
)
from leukobench.data.sources.aml.source import AML

__all__ = ["AML", "COUNTS", "REANNOTATED", "UNCLASSIFIABLE", "agreement", "read_annotations"]

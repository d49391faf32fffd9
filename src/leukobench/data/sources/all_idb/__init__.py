"""ALL-IDB1, 108 whole fields of blood smears, and ALL-IDB2, 260 single cells cut from them.

Source: R. Donida Labati, V. Piuri, F. Scotti, "ALL-IDB: the acute lymphoblastic leukemia image
database for image
processing", IEEE ICIP 2011, 2045-2048, doi 10.1109/ICIP.2011.6115881. Files are given out on
request only.
"""

from leukobench.data.sources.all_idb.source import AllIdb1, AllIdb2, read_centroids

__all__ = ["AllIdb1", "AllIdb2", "read_centroids"]

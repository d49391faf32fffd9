"""CuMiDa's leukemia series: one of them, or several merged by probe name or by column position.

Source: B. C. Feltes et al., Journal of Computational Biology 26 (2019) 376-386, doi
10.1089/cmb.2018.0238. A series is
one csv `Leukemia_<GSE>[_chip].csv` with columns `samples`, `type` and one a probe. The seven series
merged here are those of table 2 of paper `kandi`.
"""

from leukobench.data.sources.cumida.series import SAME_PATIENTS, SERIES, series_name
from leukobench.data.sources.cumida.source import Cumida

__all__ = ["SAME_PATIENTS", "SERIES", "Cumida", "series_name"]

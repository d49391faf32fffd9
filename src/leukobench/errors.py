"""Every error a user can meet: one family, shown by the command line without a traceback.

A message says what was found, what was expected, where, and what to do next.
"""


class LeukoBenchError(Exception):
    """Base of the family. The command line prints the message and exits with status 1."""


class ConfigError(LeukoBenchError):
    """A config that cannot be run: an unknown key, an impossible value, parts that do not fit together."""


class MissingDataError(LeukoBenchError):
    """A data set's files are not where they were looked for."""


class FaultyDataError(LeukoBenchError):
    """A data set's files are there and are not what they should be."""


class SplitError(LeukoBenchError):
    """A split that cannot be made from the data, or a split file that does not fit it."""


class StoreError(LeukoBenchError):
    """The MLflow store cannot be reached, read or written."""


class PaperError(LeukoBenchError):
    """A paper file that breaks its schema; the message names file, key and line."""


class TrainingError(LeukoBenchError):
    """A training that cannot go on, for instance because its loss is not a number."""

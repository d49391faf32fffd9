"""Names of tags and params in the store: what is written there under one name is read under the
same.
"""

from __future__ import annotations

PREFIX = "leukobench."


class Tag:
    """Names of the tags of runs, and of experiments and models."""

    KIND = PREFIX + "kind"
    """`sweep`, `trajectory` or `result`."""
    SWEEP = PREFIX + "sweep"
    TRAINING = PREFIX + "training"
    IDENTITY = PREFIX + "identity"
    OVERRIDES = PREFIX + "overrides"
    """JSON list of override strings."""
    PROTOCOL = PREFIX + "protocol"
    PAPER = PREFIX + "paper"
    SHARED = PREFIX + "shared"
    """What a training shares with others, in words."""
    DATASET = PREFIX + "dataset"
    FAMILY = PREFIX + "family"
    FINGERPRINT = PREFIX + "fingerprint"
    SPLIT_HASH = PREFIX + "split_hash"
    SIMULATED = PREFIX + "simulated"
    SUBSET = PREFIX + "subset"
    SAMPLES = PREFIX + "samples"
    SHARED_PARTS = PREFIX + "shared_parts"
    """JSON: how many subjects, contents and series stand in more than one part."""
    CONCERNS = PREFIX + "concerns"
    """JSON list of why the parts of the split say less than their sizes promise."""
    FITTED = PREFIX + "fitted"
    """JSON: by step that was fitted to data, how many rows of each part it saw."""
    LEAKS = PREFIX + "leaks"
    """JSON list of what the protocol lets leak."""
    POSITIVE = PREFIX + "positive"
    FAULTY = PREFIX + "faulty"
    COMMIT = PREFIX + "commit"
    DIRTY = PREFIX + "dirty"
    HARDWARE = PREFIX + "hardware"
    VERSION = PREFIX + "version."
    """Begins the tag of a package's version."""
    SECONDS = PREFIX + "seconds"
    EPOCHS = PREFIX + "epochs"
    """Epochs whose curves were logged."""
    ERROR = PREFIX + "error"
    IMPORTED = PREFIX + "imported"
    """Of an experiment: changes when runs were brought in from another store, whose ends may lie
    before the latest end seen; of such a run: the id it had there.
    """
    BEST = PREFIX + "best"
    CHOSEN = PREFIX + "chosen"
    PARENT = "mlflow.parentRunId"
    NOTE = "mlflow.note.content"
    RUN_NAME = "mlflow.runName"
    SOURCE = "mlflow.source.name"
    SOURCE_COMMIT = "mlflow.source.git.commit"


class Param:
    """Names of params that every result has."""

    MODEL = "model"
    OPTIMIZER = "optimizer"
    DATA = "data"
    PROTOCOL = "protocol"
    EPOCHS = "epochs"
    SEED = "seed"
    FOLD = "fold"


REPEATS = (Param.SEED, Param.FOLD)
"""Params in which the runs of one configuration differ."""

"""What a training leaves beside its predictions: the records in its run folder, and the plan of its
sweep.

Constants at the end (`RUN`, `JOB`, ...) say which file holds which record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from leukobench.schema.documents import Document

State = Literal["running", "finished", "failed", "interrupted"]
Curves = list[dict[str, float]]
"""One entry an epoch: `epoch`, and `<part>_<quantity>` for each quantity that was watched."""


@dataclass(frozen=True)
class Environment:
    """Where a run ran; None where a fact is unknown.

    Attributes:
        commit: Git commit of LeukoBench, or of the working folder.
        dirty: Whether tracked files were changed.
        packages: Versions by name; None for those not installed.
    """

    commit: str | None = None
    dirty: bool | None = None
    python: str = ""
    platform: str = ""
    processor: str = ""
    cores: int | None = None
    command: str = ""
    packages: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassComposition:
    """One class in one part.

    Attributes:
        samples: Number of samples.
        subjects: Number of subjects; of samples where subjects are not known.
        largest: Share of the samples that belong to the largest subject; 0 without samples.
        prevalence: Share of the part's samples that are of this class.
    """

    samples: int
    subjects: int
    largest: float
    prevalence: float


@dataclass(frozen=True)
class PartComposition:
    """One part.

    Attributes:
        samples: Number of samples.
        subjects: Number of subjects; of samples where subjects are not known.
        largest: Share of the samples that belong to the largest subject.
        classes: By class name, in class order.
    """

    samples: int
    subjects: int
    largest: float
    classes: Mapping[str, ClassComposition]


@dataclass(frozen=True)
class DataRecord:
    """Data and split of a run.

    Attributes:
        subset: Empty, or how much of the data set is there, in words.
        subjects: None where they are not known for every sample.
        positive: The class that sensitivity refers to.
        faults: Known faults of the files.
        split: Name of the splitter.
        shared: For each grouping that the data know: how many stand in more than one part.
        dropped: Samples that the split left out.
        parts: What each part is made of.
        concerns: Why results on these parts say less than their sizes promise, in words.
    """

    name: str
    family: str
    fingerprint: str
    simulated: bool
    samples: int
    classes: tuple[str, ...]
    split: str
    split_hash: str
    fold: int
    folds: int
    subset: str = ""
    subjects: int | None = None
    positive: str | None = None
    faults: tuple[str, ...] = ()
    shared: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    parts: Mapping[str, PartComposition] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """State of a training and facts about it; a new folder has none of them.

    Attributes:
        created, started, ended: ISO times; `created` is when the folder was first written to.
        epochs: Checkpoint epochs.
        leaks: What the protocol lets leak.
        seconds: Of training, over all attempts.
        error: Of a failure.
        speed: How fast it trained, by quantity.
        figures: Why none were drawn.
        fitted: By step that was fitted to data: how many rows of each part it saw; None of a run
            that did not record it.
        stores: Digest of each image and feature store that was read, by its folder in the output
            folder.
    """

    created: str | None = None
    state: State | None = None
    training: str | None = None
    started: str | None = None
    ended: str | None = None
    epochs: tuple[int, ...] = ()
    environment: Environment | None = None
    data: DataRecord | None = None
    leaks: tuple[str, ...] = ()
    seconds: float | None = None
    error: str | None = None
    speed: Mapping[str, float] = field(default_factory=dict)
    figures: str | None = None
    fitted: Mapping[str, Mapping[str, int]] | None = None
    stores: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobRecord:
    """What was trained.

    Attributes:
        config: The resolved config, as plain containers. What in it may be built is decided where
            it is built.
        choices: Config file chosen in each group.
        overrides: The override strings that make the job.
        shared: What the training shares with others, in words.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    shared: str = ""


@dataclass(frozen=True)
class ResultRecord:
    """One result: a checkpoint epoch of a training.

    Attributes:
        epoch: Checkpoint epoch.
        best_epoch: Whose weights early stopping kept; None without early stopping.
        params: As the store logs them.
        overrides: The override strings that make the result.
        finished: ISO time.
        metrics: Final metrics for browsing, `<part>_<metric>`.
        digests: Of the files beside the record and of itself without this one, by name; none where an earlier version wrote it.
    """

    identity: str
    epoch: int
    training: str = ""
    best_epoch: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    positive: str | None = None
    finished: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reconstruction:
    """Values of one sample before and after an autoencoder."""

    sample: str
    original: tuple[float, ...]
    reconstructed: tuple[float, ...]


def _same(body: Any) -> Any:
    """Files of version 0 differ from those of version 1 in having no version."""
    return body


RUN = Document("run.json", RunRecord, (_same,))
JOB = Document("job.json", JobRecord, (_same,))
RESULT = Document("result.json", ResultRecord, (_same,))
# epochs and times are whole numbers and stay so
CURVES: Document[Curves] = Document("curves.json", list[dict[str, int | float]])
SYSTEM_METRICS: Document[Curves] = Document("system_metrics.json", list[dict[str, int | float]])
"""One entry a sample: `time` in Unix milliseconds, and the values."""

AUTOENCODER_LOSSES = Document("autoencoder_losses.json", dict[str, list[float]])
"""By part, one value an epoch."""
RECONSTRUCTION_ERRORS = Document("reconstruction_errors.json", dict[str, float])
"""By sample."""
RECONSTRUCTION = Document("reconstruction.json", Reconstruction)
RESAMPLED = Document("resampled.json", dict[str, int])
"""Samples after resampling, by class."""

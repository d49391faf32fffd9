"""How a launch ended, as the exit status of its command; docs/sweeps.md has the list."""

from __future__ import annotations

from typing import ClassVar

from leukobench.errors import LeukoBenchError


class Outcome(LeukoBenchError):
    """A launch that did not end with everything trained and delivered; after its summary."""


class TrainingsFailed(Outcome):
    """Trainings failed, or nobody ran them; whatever else is finished."""

    status: ClassVar[int] = 4


class NotDelivered(Outcome):
    """Everything is computed and stands in run folders, but the store did not take all of it."""

    status: ClassVar[int] = 5


class Interrupted(Outcome):
    """Stopped by the user before all was done; the status that shells give to Ctrl-C."""

    status: ClassVar[int] = 130


class Terminated(Outcome):
    """Stopped by SIGTERM; the status that shells give to it. A cluster's script requeues on it."""

    status: ClassVar[int] = 143


END_OF_GRACE = (
    "asked to end (SIGTERM), and the grace time was over before the epoch; the same command goes "
    "on from the last checkpoint"
)


def ended(
    trainings: int,
    *,
    interrupted: bool,
    terminated: bool,
    failed: int,
    missing: int,
    undelivered: int,
    incomplete: str,
) -> Outcome | None:
    """How a launch ended, None where all is trained and delivered.

    An interruption counts before failures, failures before delivery: the next launch takes up all.

    Args:
        trainings: How many there were.
        terminated: Whether what interrupted it was SIGTERM.
        missing: How many of them were not begun, or not ended, without having failed.
        undelivered: How many of them the store does not have.
        incomplete: Why the sweep's own run could not be completed; empty where it was.
    """
    if interrupted and terminated:
        return Terminated(
            "asked to end (SIGTERM); the same command goes on where it stopped, and runs nothing "
            "twice"
        )
    if interrupted:
        return Interrupted(
            "interrupted; the same command goes on where it stopped, and runs nothing twice"
        )
    if failed:
        return TrainingsFailed(
            f"{failed} of {trainings} trainings failed; they run again at the next launch"
        )
    if missing:
        return TrainingsFailed(
            f"{missing} of {trainings} trainings were not run; the same command goes on with them"
        )
    if undelivered:
        return NotDelivered(
            f"{undelivered} of {trainings} trainings are computed and not in the store; "
            "`leukobench sync`, or the next launch, delivers them without training again"
        )
    if incomplete:
        return NotDelivered(
            "all results are in the store, and the sweep's own run is not complete "
            f"({incomplete}); `leukobench sync` completes it"
        )
    return None

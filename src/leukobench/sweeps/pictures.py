"""A training and, after it, the pictures of its results, where its config asks for them."""

from __future__ import annotations

from leukobench.training.interruption import Interruption
from leukobench.training.job import Training, prepare
from leukobench.training.run import OnEpoch, OnStage, State

WORTH_DRAWING = 20.0
"""Seconds of training a result from which `figures=auto` draws its pictures, which takes a second
or two.
"""


def train_and_draw(
    training: Training,
    *,
    on_epoch: OnEpoch | None = None,
    interruption: Interruption | None = None,
    on_stage: OnStage | None = None,
) -> State:
    """`leukobench.training.run.run_training`, then the pictures."""
    from leukobench.training.run import run_training

    state = run_training(training, on_epoch=on_epoch, interruption=interruption, on_stage=on_stage)
    if state == "finished":
        draw(training)
    return state


def draw(training: Training) -> None:
    """Draw the pictures of each result that has none; a failure to is written down, no more."""
    from leukobench.report.run_figures import FOLDER
    from leukobench.tracking.folder import RunFolder

    folder = RunFolder.of(training.job.settings.output, training.id)
    results = [folder.result(identity) for identity in training.identities.values()]
    bare = [result for result in results if not (result / FOLDER).is_dir()]
    if not bare or not _wanted(training, folder.run().seconds or 0.0):
        return
    try:
        from leukobench.report.run_figures import write_run_figures

        paths = prepare(training.job).dataset.files()
        for result in bare:
            write_run_figures(result, paths=paths)
    except Exception as e:
        folder.update(figures=f"not drawn: {type(e).__name__}: {e}"[:500])


def _wanted(training: Training, seconds: float) -> bool:
    asked = training.job.config.get("figures", False)
    if asked == "auto":
        return seconds >= WORTH_DRAWING * len(training.identities)
    return bool(asked)

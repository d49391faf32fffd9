"""Signals while Lightning's Trainer runs: they stay with whoever took them."""

from __future__ import annotations

import signal
import threading

import pytorch_lightning as pl


class OwnSignals(pl.Callback):
    """Gives signals back to whoever had them before the Trainer began.

    Lightning takes SIGTERM as an error in the middle of an epoch, and requeues Slurm's jobs by
    itself.
    """

    def __init__(self) -> None:
        taken = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
        self.handlers = {number: signal.getsignal(number) for number in taken}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._give_back()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._give_back()

    def _give_back(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self.handlers.items():
            if handler is not None:
                signal.signal(number, handler)

"""The log of a training run: one line for each epoch, also of those before a crash."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from acdc_medsam.formats.files import write_table

logger = logging.getLogger(__name__)

SECONDS = ("seconds", "loading_seconds")
"""Columns that say how long an epoch took: all of it, and waiting for its batches."""


class History(pl.Callback):
    """Writes the table of epochs, which Lightning's checkpoints hold, so that a resumed run goes on with it."""

    def __init__(self, path: Path) -> None:
        """Remember where to write."""
        self.path, self.rows = path, list[dict[str, Any]]()
        self.started = self.waiting_since = self.waited = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after these epochs."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self.started = self.waiting_since = time.perf_counter()
        self.waited = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """A batch has come."""
        self.waited += time.perf_counter() - self.waiting_since

    def on_train_batch_end(self, *_: Any) -> None:
        """The next batch is asked for."""
        self.waiting_since = time.perf_counter()

    def on_validation_start(self, *_: Any) -> None:
        """The first batch of validation is asked for."""
        self.waiting_since = time.perf_counter()

    def on_validation_batch_start(self, *_: Any) -> None:
        """A batch of validation has come."""
        self.waited += time.perf_counter() - self.waiting_since

    def on_validation_batch_end(self, *_: Any) -> None:
        """The next batch of validation is asked for."""
        self.waiting_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Add the epoch to the table, before a checkpoint is written."""
        took = dict(zip(SECONDS, (time.perf_counter() - self.started, self.waited), strict=True))
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch + 1, **metrics, **took})
        write_table(self.path, list(self.rows[0]), self.rows)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logger.info("epoch %d of %s: %s; %.0f s", trainer.current_epoch + 1, trainer.max_epochs, shown, took["seconds"])

"""The log of a training run: one row per epoch, including the epochs before an interruption."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from acdc_medsam.formats.files import write_table

logger = logging.getLogger(__name__)

SECONDS = ("seconds", "loading_seconds")
"""Columns with the duration of an epoch, and with the part of it that was spent waiting for batches."""


class History(pl.Callback):
    """Writes the log. Its rows are part of Lightning's checkpoints, so a resumed run continues the same table."""

    def __init__(self, path: Path) -> None:
        """Start with an empty log.

        Args:
            path: The table to write.
        """
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.started = 0.0
        self.waiting_since = 0.0
        self.waited = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the epochs of an interrupted run."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()
        self.waited = 0.0
        self._start_waiting()

    def on_train_batch_start(self, *_: Any) -> None:
        """Stop waiting: a batch has arrived."""
        self._stop_waiting()

    def on_train_batch_end(self, *_: Any) -> None:
        """Wait for the next batch."""
        self._start_waiting()

    def on_validation_start(self, *_: Any) -> None:
        """Wait for the first batch of validation."""
        self._start_waiting()

    def on_validation_batch_start(self, *_: Any) -> None:
        """Stop waiting: a batch of validation has arrived."""
        self._stop_waiting()

    def on_validation_batch_end(self, *_: Any) -> None:
        """Wait for the next batch of validation."""
        self._start_waiting()

    def _start_waiting(self) -> None:
        self.waiting_since = time.perf_counter()

    def _stop_waiting(self) -> None:
        self.waited += time.perf_counter() - self.waiting_since

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Add the epoch to the table, before the checkpoints are written."""
        seconds = time.perf_counter() - self.started
        durations = dict(zip(SECONDS, (seconds, self.waited), strict=True))
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        epoch = trainer.current_epoch + 1

        # The whole table is written, because a resumed run must not keep rows of epochs after its checkpoint.
        self.rows.append({"epoch": epoch, **metrics, **durations})
        write_table(self.path, list(self.rows[0]), self.rows)

        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logger.info("epoch %d of %s: %s; %.0f s", epoch, trainer.max_epochs, shown, seconds)

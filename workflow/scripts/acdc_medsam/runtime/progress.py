"""Show how far a long job has come."""

import logging
import os
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

LOG_SECONDS = 10
"""Least number of seconds between two lines in the log."""

BYTES = "B"
"""Unit that is shown with prefixes, such as ``39.4M``."""


class Progress:
    """Items done, items per second and time left: a bar on a terminal, and a line in the log now and then."""

    def __init__(self, total: int | None, unit: str, done: int = 0) -> None:
        """Show a bar, if the screen is a terminal.

        Args:
            total: Number of items to do; None if it is not known.
            unit: Name of an item, such as ``slice``, or BYTES.
            done: Number of items that are done already.
        """
        # One line below the bar of the whole run, if there is one.
        line = int("ACDC_MEDSAM_BAR_ABOVE" in os.environ)
        self.scale = unit == BYTES
        self.bar = tqdm(
            total=total,
            initial=done,
            unit=unit,
            unit_scale=self.scale,
            file=sys.stderr,
            leave=False,
            disable=None,
            position=line,
        )
        self.total = total
        self.unit = unit
        self.done = self.initial = done
        self.started = self.logged = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count more items as done."""
        self.done += count
        self.bar.update(count)
        now = time.monotonic()
        if now - self.logged >= LOG_SECONDS or self.done == self.total:
            self.logged = now
            meter = tqdm.format_meter(
                self.done,
                self.total,  # type: ignore[arg-type] # None is allowed
                now - self.started,
                ncols=80,
                unit=self.unit,
                unit_scale=self.scale,
                initial=self.initial,
            )
            logger.info("%s", meter)

    def close(self) -> None:
        """Remove the bar from the screen."""
        self.bar.close()

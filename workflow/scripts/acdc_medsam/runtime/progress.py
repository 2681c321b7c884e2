"""Show how far a long job has come."""

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

LOG_SECONDS = 10
"""Least number of seconds between two lines in the log."""


class Progress:
    """Items done, items per second and time left: a bar on a terminal, and a line in the log now and then."""

    def __init__(self, total: int, unit: str) -> None:
        """Show a bar, if the screen is a terminal.

        Args:
            total: Number of items to do.
            unit: Name of an item, such as ``slice``.
        """
        self.bar = tqdm(total=total, unit=unit, file=sys.stderr, leave=False, disable=None)
        self.total = total
        self.unit = unit
        self.done = 0
        self.started = self.logged = time.monotonic()

    def advance(self) -> None:
        """Count one more item as done."""
        self.done += 1
        self.bar.update()
        now = time.monotonic()
        if now - self.logged >= LOG_SECONDS or self.done == self.total:
            self.logged = now
            logger.info("%s", tqdm.format_meter(self.done, self.total, now - self.started, ncols=80, unit=self.unit))

    def close(self) -> None:
        """Remove the bar from the screen."""
        self.bar.close()

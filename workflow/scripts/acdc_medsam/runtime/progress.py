"""Show how far a long job has come."""

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

LOG_SECONDS = 10
"""At least so long between two lines in the log."""


class Progress:
    """Items done, items per second and time left: a bar on a terminal, and a line in the log now and then."""

    def __init__(self, total: int, unit: str) -> None:
        self.bar = tqdm(total=total, unit=unit, file=sys.stderr, leave=False, disable=None)
        self.total, self.unit, self.done = total, unit, 0
        self.started = self.logged = time.monotonic()

    def advance(self) -> None:
        """Count one item more as done."""
        self.done += 1
        self.bar.update()
        now = time.monotonic()
        if now - self.logged >= LOG_SECONDS or self.done == self.total:
            self.logged = now
            logger.info("%s", tqdm.format_meter(self.done, self.total, now - self.started, ncols=80, unit=self.unit))

    def close(self) -> None:
        """Take the bar off the screen."""
        self.bar.close()

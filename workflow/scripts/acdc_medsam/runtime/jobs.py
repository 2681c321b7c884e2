"""What every job's script does around its one function: a log, and errors without a traceback."""

import errno
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from acdc_medsam.errors import AcdcError

ON_SCREEN = {"on_screen": True}
"""``extra`` of a log record that is to be seen on the screen too, though it is no warning."""

_SPACE = "make space on its disk or in its quota, and run the same command again"
REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EROFS: "the output folder must be one that can be written to",
    errno.EACCES: "let this user read it, or write to it if it is output, and run the same command again",
    errno.ENOENT: "it went away during the run; put it back, or run the same command again to go on without it",
}
"""What a user can do about an error of the operating system."""


def describe(error: OSError) -> str:
    """Say which file an error of the operating system is about, what is wrong, and what can be done."""
    remedy = REMEDIES.get(error.errno or 0, "mend that, and run the same command again")
    return f"{error.filename or 'input or output'}: {error.strerror or error}; {remedy}"


@contextmanager
def job_log(path: str) -> Iterator[None]:
    """Send log records to ``path``; end the job with status 1 on an error.

    Warnings, and what is marked ON_SCREEN, are shown on the screen too.

    Errors that users can mend are shown as their message alone. Any other exception is a defect of the
    workflow: its traceback goes to the log and to the screen.
    """
    # Modules stay until the end: to look through all that they hold, there too, is a tenth of a small job's time.
    gc.freeze()
    # A log that cannot be written, on a full disk, is no reason to show a traceback.
    logging.raiseExceptions = False
    screen = logging.StreamHandler(sys.stderr)
    screen.addFilter(lambda record: record.levelno >= logging.WARNING or hasattr(record, "on_screen"))
    screen.setFormatter(logging.Formatter("%(message)s"))
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[screen, file], force=True)
    logging.captureWarnings(capture=True)
    warnings.simplefilter("default")
    try:
        yield
    except AcdcError as error:
        logging.error("%s", error)
        sys.exit(1)
    except OSError as error:
        logging.error("%s", describe(error))
        sys.exit(1)
    except Exception:
        logging.exception("This is a defect of the workflow, not of your data; please report it with this log:")
        sys.exit(1)

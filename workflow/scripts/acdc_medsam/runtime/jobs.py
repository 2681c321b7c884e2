"""What every job's script does around its one function: a log, and errors without a traceback."""

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from acdc_medsam.errors import AcdcError, describe_os_error

ON_SCREEN = {"on_screen": True}
"""``extra`` of a log record that is to be seen on the screen too, though it is no warning."""


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
        logging.error("%s", describe_os_error(error))
        sys.exit(1)
    except Exception:
        logging.exception("This is a defect of the workflow, not of your data; please report it with this log:")
        sys.exit(1)

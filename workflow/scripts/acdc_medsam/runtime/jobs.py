"""What the script of every job does around its one function: keep a log, and show errors without a traceback."""

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from acdc_medsam.errors import AcdcError, describe_os_error

ON_SCREEN = {"on_screen": True}
"""``extra`` of a log record that is shown on the screen too, though it is not a warning."""


@contextmanager
def job_log(path: str) -> Iterator[None]:
    """Keep the log of a job, and end the job with status 1 on an error.

    Warnings, and records marked ON_SCREEN, are shown on the screen too. Of an error that users can mend, only the
    message is shown. Any other exception is a defect of the workflow: its traceback goes to the log and to the screen.

    Args:
        path: Path of the log, which is overwritten.
    """
    # Modules stay until the end, so the garbage collector need not look through them: a tenth of a small job's time.
    gc.freeze()
    # A log that cannot be written, as on a full disk, is no reason to show a traceback.
    logging.raiseExceptions = False

    screen = logging.StreamHandler(sys.stderr)
    screen.addFilter(lambda record: record.levelno >= logging.WARNING or hasattr(record, "on_screen"))
    # The line of a terminal may hold a bar of the run, which is drawn again below the message.
    clear_line = "\r\033[K" if sys.stderr.isatty() else ""
    screen.setFormatter(logging.Formatter(f"{clear_line}%(message)s"))

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
    finally:
        # Otherwise Python looks through all modules once more when it ends: 0.3 s with PyTorch.
        gc.freeze()

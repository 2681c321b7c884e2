"""One run at a time on an output folder, wherever it was started, and what a killed run has left.

Snakemake locks only its working directory; two checkouts with the same ``output`` would not know of each other.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from acdc_medsam.errors import AcdcError
from acdc_medsam.formats.files import write_bytes

TEMPORARY = re.compile(r"\.[a-z0-9_]{8}\..+\.tmp")
"""Names that :func:`acdc_medsam.formats.files.atomic_path` gives to files that are not whole yet."""

POLL_SECONDS = 0.2
"""How often a run that waits tries to get the lock."""

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""How file systems without locks answer."""


class RunLock:
    """A lock of the output folder, held by the run that is at work there.

    The system releases the lock when the process that holds it ends, so none is ever left behind. A file beside the
    lock says who holds it; a run that succeeds removes that file. On a file system without locks, every run gets the
    lock.
    """

    def __init__(self, output: Path) -> None:
        """Name the files; nothing is made or locked yet."""
        self._output = output
        self._path = output / "work" / "run.lock"
        self._holder = self._path.with_name("run.holder")
        # The library's substitute for a lock would outlive a run that is killed.
        self._lock = FileLock(self._path, poll_interval=POLL_SECONDS, fallback_to_soft=False)
        self.after_failure = False
        """Whether the run that held the lock before was killed, stopped or failed."""

    def is_free(self) -> bool:
        """Return whether no run is at work. Nothing is made, and the lock is held for a moment at most."""
        if self._lock.is_locked:
            return False
        # The library would make the folder.
        if not self._path.exists():
            return True
        try:
            with self._lock.acquire(timeout=0):
                return True
        except Timeout:
            return False
        except OSError:  # no locks here, or a folder that cannot be written to, in which no run is at work
            return True

    def hold(self, patience: float = 10) -> None:
        """Take the lock until :meth:`end` or the end of the process.

        Args:
            patience: Seconds to wait for the lock; a dry run holds it for a moment too.

        Raises:
            AcdcError: Another run holds the lock; the message says which.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=patience)
        except Timeout as error:
            holder = self._holder.read_text(encoding="utf-8") if self._holder.exists() else "another run"
            raise AcdcError(
                f"{self._output}: {holder} is at work there; wait for its end or stop it, "
                "or set another 'output' in config.yaml"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise

        self.after_failure = self._holder.exists()
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_bytes(self._holder, f"process {os.getpid()} on {socket.gethostname()}, since {since},".encode())

    def end(self) -> None:
        """Release the lock and note that the run succeeded."""
        self._holder.unlink(missing_ok=True)
        self._lock.release()


def remove_temporary_files(folders: Sequence[Path]) -> int:
    """Remove the files that a killed run left half-written.

    Args:
        folders: Folders in which no run is at work.

    Returns:
        Number of files removed.
    """
    removed = 0
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in filter(TEMPORARY.fullmatch, names):
                Path(path, name).unlink(missing_ok=True)
                removed += 1
    return removed

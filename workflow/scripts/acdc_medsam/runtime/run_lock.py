"""One run at a time on an output folder, wherever it was started, and what a killed run has left.

Snakemake locks its working directory alone; two checkouts with the same ``output`` would not know of each other.
"""

import fcntl
import os
import re
import socket
import time
from pathlib import Path

from acdc_medsam.errors import AcdcError

TEMPORARY = re.compile(r"\.[a-z0-9_]{8}\..+\.tmp")
"""Names of :func:`acdc_medsam.formats.files.atomic_path` for files that are not whole yet."""

POLL_SECONDS = 0.2


class RunLock:
    """A file in the output folder, locked by the run that is at work there.

    The system drops the lock with the process that holds it, so none is ever left behind. The file says who holds
    it, and is empty after a run that succeeded.
    """

    def __init__(self, output: Path) -> None:
        """Name the folder; nothing is made or locked yet."""
        self._path = output / "work" / "run.lock"
        self._descriptor: int | None = None
        self.after_failure = False
        """Whether the run that held the lock before was killed, stopped or failed."""

    def try_acquire(self) -> bool:
        """Take the lock if nobody else has it; on a file system without locks, it is always to be had."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:  # the file system has no locks
            pass
        self._descriptor = descriptor
        self.after_failure = os.fstat(descriptor).st_size > 0
        return True

    def is_free(self) -> bool:
        """Whether no run is at work; nothing is made or locked to find out."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # the file system has no locks
            return True
        finally:
            os.close(descriptor)
        return True

    def hold(self, patience: float = 10) -> None:
        """Take the lock until :meth:`end` or the end of the process.

        Args:
            patience: seconds to wait for it: a dry run holds it for a moment too.

        Raises:
            AcdcError: who holds it.
        """
        deadline = time.monotonic() + patience
        while not self.try_acquire():
            if time.monotonic() > deadline:
                holder = self._path.read_text(encoding="utf-8").strip() or "another run"
                raise AcdcError(
                    f"{self._path.parent.parent}: {holder} is at work there; wait for its end or stop it, "
                    "or set another 'output' in config.yaml"
                )
            time.sleep(POLL_SECONDS)
        holder = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},"
        self._write(holder)

    def end(self) -> None:
        """Give the lock back and note that the run succeeded."""
        self._write("")
        self.release()

    def release(self) -> None:
        """Give the lock back, with what the file says as it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, text: str) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            try:
                os.pwrite(self._descriptor, text.encode(), 0)
            except OSError as error:
                raise OSError(error.errno, os.strerror(error.errno or 0), str(self._path)) from error


def remove_temporary_files(folders: list[Path]) -> int:
    """Remove files that a killed run left half-written, in folders where no run is at work; return how many."""
    removed = 0
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in filter(TEMPORARY.fullmatch, names):
                Path(path, name).unlink(missing_ok=True)
                removed += 1
    return removed

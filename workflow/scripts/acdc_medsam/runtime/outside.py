"""Files from outside, raw data and checkpoints, known by their content and not by their times.

``cp -p``, ``rsync -a`` and unpacking an archive may replace a file by one with an older time, and ``touch`` changes the
time of a file whose content stays the same. Therefore a file is read again when its size, times or inode have changed,
and its sha256 decides whether it is another file.
"""

import contextlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import sha256_file, write_bytes


def require_announced(path: Path, sha256: str, announced: str | None) -> None:
    """Refuse a file from outside that has changed since the run was planned.

    Args:
        path: Path of the file.
        sha256: Hex sha256 of the content that was read.
        announced: Hex sha256 of the file when the run was planned; None for any.

    Raises:
        DatasetError: The digests differ.
    """
    if announced not in (None, sha256):
        raise DatasetError(f"{path} changed while the run was at work; run the same command again")


THREADS = 8
"""Number of files that are read at the same time."""


class OutsideFiles:
    """The sha256 of files from outside, remembered from run to run."""

    def __init__(self, memory: Path) -> None:
        """Read the digests of the last run.

        Args:
            memory: JSON file that :meth:`save` wrote; a missing or damaged file is taken for an empty one.
        """
        self._memory = memory
        self._known: dict[str, list[object]] = {}
        self._changed = False
        try:
            known = json.loads(memory.read_bytes())
        except (OSError, ValueError):
            return

        if isinstance(known, dict) and all(isinstance(entry, list) and len(entry) == 2 for entry in known.values()):
            self._known = known

    def look(self, paths: Iterable[Path]) -> None:
        """Read the files that changed, several at the same time; files that cannot be read are passed over."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._try, paths))

    def sha256(self, path: Path) -> str:
        """Return the hex sha256 of a file's content.

        Raises:
            OSError: The file cannot be read.
        """
        status = path.stat()
        # Writing to a file changes its ctime, even where size and mtime are put back.
        signature = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(str(path))
        if known is not None and known[0] == signature:
            return str(known[1])

        sha256 = sha256_file(path)
        self._known[str(path)] = [signature, sha256]
        self._changed = True
        return sha256

    def save(self) -> None:
        """Write down the digests for the next run."""
        if self._changed:
            write_bytes(self._memory, json.dumps(self._known).encode())
            self._changed = False

    def _try(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self.sha256(path)

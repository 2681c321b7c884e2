"""Files of earlier runs that are no longer as they were made: which jobs to run again, and what to remove.

Snakemake looks only at the times of declared outputs. Nothing is changed while a run is planned, so that a dry run
shows what would be done; what is damaged is removed when the run starts.
"""

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.errors import describe_os_error
from acdc_medsam.formats.index import write_times
from acdc_medsam.formats.index_check import Findings, check_indexes, remove_damaged
from acdc_medsam.runtime.outside import OutsideFiles
from acdc_medsam.runtime.run_lock import RunLock

SHOWN_FILES = 5
"""Number of damaged files that are named on the screen; all of them are made again."""


class Repairs:
    """What a run finds to repair, and what it remembers of it for the next run."""

    def __init__(self, output: Path, outside: OutsideFiles, lock: RunLock, logger: logging.Logger) -> None:
        """Look at nothing yet.

        Args:
            output: Output folder, as in the paths of the rules; every file that an index names must lie in it.
            outside: Digests of the files from outside, saved together with what was found.
            lock: Lock of the output folder.
            logger: Logger that shows messages on the screen.
        """
        self._lock = lock
        self._output = output
        self._work = output / "work"
        self._outside = outside
        self._logger = logger
        self._findings: dict[bool, Findings] = {}
        """Whether every file was read -> what was found."""

    def is_due(self, read_all: bool) -> bool:
        """Return whether :meth:`plan` has not looked as closely yet, and no other run is changing the files."""
        return True not in self._findings and read_all not in self._findings and self._lock.is_free()

    def plan(self, indexes: Sequence[Path], *, read_all: bool, left_out: bool) -> list[Path]:
        """Compare the files of some indexes with their records.

        Args:
            indexes: Every index of this configuration that exists.
            read_all: Whether to read every file, or only those whose size or time has changed.
            left_out: Whether to run those jobs again that left a patient out of the dataset.

        Returns:
            The indexes and tables to make again.
        """
        found = check_indexes(indexes, tables=[self._work / "split.tsv"], root=self._output, read_all=read_all)
        self._findings[read_all] = found

        for file, reason in list(found.files.items())[:SHOWN_FILES]:
            self._logger.warning(f"{file} {reason}: it is made again when it is asked for")
        if len(found.files) > SHOWN_FILES:
            self._logger.warning(f"and {len(found.files) - SHOWN_FILES} more files")
        return [*found.damaged, *(found.left_out if left_out else [])]

    def remember(self) -> None:
        """Write down what was read while the run was planned, so that the next run need not read it again."""
        try:
            if self._work.is_dir() and not os.access(self._work, os.W_OK):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self._work))
            for found in self._findings.values():
                for index, times in found.times.items():
                    write_times(index, times)
            if self._work.is_dir():
                self._outside.save()
        except OSError as error:
            # No reason to stop: the run may have nothing else to write.
            self._logger.warning(describe_os_error(error))

    def remove(self) -> None:
        """Remove every damaged file, under all its names."""
        for found in self._findings.values():
            remove_damaged(found)
        self._outside.save()

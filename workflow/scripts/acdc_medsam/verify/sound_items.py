"""Remember the items that passed their checks, so that a later run checks only items whose files have changed."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from acdc_medsam.formats.files import write_bytes
from acdc_medsam.verify.checks import Finding


class SoundItems:
    """Findings of earlier runs. Each one is valid as long as the files that it is based on are unchanged.

    A file counts as unchanged if its inode, its size, its modification time and its status-change time are the same.
    Writing to a file always changes the last of these, even if the modification time is restored afterwards. Items that
    failed a check are never remembered.
    """

    def __init__(self, path: Path, context: str) -> None:
        """Read the findings that were remembered.

        Args:
            path: The JSON file that :meth:`save` writes. A missing or damaged file counts as empty.
            context: Text of everything else that the findings depend on: the configuration and the code of the checks.
        """
        self._path = path
        self._context = context
        self._after: dict[str, list[object]] = {}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            before = {}
        self._before: dict[str, list[object]] = before if isinstance(before, dict) else {}

    def look_up(
        self, item: str, files: Iterable[Path], facts: object, check: Callable[[], list[Finding]]
    ) -> list[Finding]:
        """Return the findings on an item, from memory if nothing that they depend on has changed.

        Args:
            item: Name of the item, which must be unique.
            files: All files that ``check`` reads.
            facts: All other arguments of ``check``. Their ``repr`` is compared.
            check: Function that checks the item.

        Returns:
            The findings on the item.
        """
        # The signature is taken before the files are read. If a file is written to in the meantime, the next run sees
        # another signature and checks the item again.
        signature = self._signature(files, facts)
        known = self._before.get(item)
        if known is not None and known[0] == signature:
            self._after[item] = known
            return [(name, item, None) for name, item in known[1]]  # type: ignore[attr-defined]

        findings = check()
        if not any(reason for _, _, reason in findings):
            self._after[item] = [signature, [[name, item] for name, item, _ in findings]]
        return findings

    def save(self) -> None:
        """Rewrite the file with the items that passed in this run and no others."""
        write_bytes(self._path, json.dumps(self._after).encode())

    def _signature(self, files: Iterable[Path], facts: object) -> str:
        return hashlib.sha256(repr((self._context, facts, [_identity(file) for file in files])).encode()).hexdigest()


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

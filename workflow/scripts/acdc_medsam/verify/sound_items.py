"""Remember which items were looked at and found sound, so that a later run looks only at those whose files changed."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from acdc_medsam.formats.files import write_bytes
from acdc_medsam.verify.checks import Finding


class SoundItems:
    """Findings of earlier runs, each valid as long as the files that were read are the same.

    A file is the same if its inode, size, and times of modification and of status change are: whoever writes to a file
    changes the last, even where the others are put back. Items with a failed check are never remembered.
    """

    def __init__(self, path: Path, context: str) -> None:
        """Read what was remembered.

        Args:
            path: JSON file, made by :meth:`save`; a missing or damaged one is an empty one.
            context: what the findings depend on besides the items: the configuration and the checks' code.
        """
        self._path, self._context = path, context
        self._after: dict[str, list[object]] = {}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            before = {}
        self._before: dict[str, list[object]] = before if isinstance(before, dict) else {}

    def look(
        self, item: str, files: Iterable[Path], facts: object, check: Callable[[], list[Finding]]
    ) -> list[Finding]:
        """Return the findings on an item, from memory if nothing that they depend on has changed.

        Args:
            item: a name that no other item has.
            files: every file that ``check`` reads.
            facts: what else ``check`` is given; its ``repr`` is compared.
            check: looks at the item.
        """
        # Before the files are read: what is written meanwhile changes the signature that the next run sees.
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
        """Write down the items that this run found sound, and no others."""
        write_bytes(self._path, json.dumps(self._after).encode())

    def _signature(self, files: Iterable[Path], facts: object) -> str:
        return hashlib.sha256(repr((self._context, facts, [_identity(file) for file in files])).encode()).hexdigest()


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

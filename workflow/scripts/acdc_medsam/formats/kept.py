"""Files named by content, kept from run to run, each beside the record of its making.

A file whose record is missing, or which is no longer what its record says, is not taken for whole: it is removed, and
whoever needs it makes it again.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acdc_medsam.formats.files import Written, atomic_path, is_untouched, sha256_file, write_bytes, write_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A file that is whole: its record, and what was written down of its making."""

    written: Written
    facts: Mapping[str, Any]


def record_path(path: Path) -> Path:
    """Where the record of a file lies: beside it."""
    return path.with_suffix(".json")


def keep(path: Path, data: bytes | memoryview, facts: Mapping[str, Any]) -> Kept:
    """Write a file, read-only, and its record.

    The record comes first: whatever a kill leaves is a whole file with its record, or is made again.

    Args:
        path: The file.
        data: Its content.
        facts: What made it; values that JSON can hold.
    """
    with atomic_path(path, read_only=True) as temporary:
        kept = Kept(write_for(path, temporary, data), facts)
        _write_record(kept)
    return kept


def find_kept(path: Path) -> Kept | None:
    """The file, if it is still what was made; None where it has to be made, and then nothing is left of it.

    A file with the size and time of its record is taken as whole. One with another time is read, and its record
    brought up to date or the file removed.
    """
    try:
        record = json.loads(record_path(path).read_bytes())
        written = Written(path, int(record["bytes"]), str(record["sha256"]), int(record["mtime_ns"]))
        kept = Kept(written, dict(record["made_by"]))
        status = path.stat()
    except (OSError, ValueError, LookupError, TypeError):
        _remove(path, "has no record of its making")
        return None

    if is_untouched(written):
        return kept
    if status.st_size != written.bytes or sha256_file(path) != written.sha256:
        _remove(path, "changed since it was made")
        return None
    kept = Kept(Written(path, written.bytes, written.sha256, status.st_mtime_ns), kept.facts)
    _write_record(kept)
    return kept


def _write_record(kept: Kept) -> None:
    written = kept.written
    record = {
        "bytes": written.bytes,
        "sha256": written.sha256,
        "mtime_ns": written.mtime_ns,
        "made_by": dict(kept.facts),
    }
    write_bytes(record_path(written.path), json.dumps(record).encode())


def _remove(path: Path, reason: str) -> None:
    if path.exists():
        logger.warning("%s %s; it is made again", path, reason)
        path.unlink()
    record_path(path).unlink(missing_ok=True)

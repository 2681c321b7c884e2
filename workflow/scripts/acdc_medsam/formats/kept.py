"""Files that are named by their content and kept from run to run, each beside its record.

A file without a record, or one that no longer matches it, is removed, so that the job that needs it makes it again.
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
    """File that was kept and is intact.

    Attributes:
        written: Size, sha256 and time of the file.
        facts: What made the file.
    """

    written: Written
    facts: Mapping[str, Any]


def record_path(path: Path) -> Path:
    """Return the path of a file's record, which is beside the file unless it is put elsewhere."""
    return path.with_suffix(".json")


def keep(path: Path, data: bytes | memoryview, facts: Mapping[str, Any], record: Path | None = None) -> Kept:
    """Write a read-only file and its record.

    Args:
        path: The file.
        data: Content of the file.
        facts: What made the file, in values that JSON can hold.
        record: File of the record, if it is not beside the file.
    """
    # The record is written before the file gets its name: if the process is killed in between, the file is made again.
    with atomic_path(path, read_only=True) as temporary:
        kept = Kept(write_for(path, temporary, data), facts)
        _write_record(kept, record or record_path(path))
    return kept


def find_kept(path: Path, record: Path | None = None) -> Kept | None:
    """Return a kept file if it is intact; otherwise remove it and its record, and return None.

    A file with the size and time of its record counts as intact. One with another time is read: if its content matches
    the record, the record gets the new time.

    Args:
        path: The file.
        record: File of the record, if it is not beside the file.
    """
    record = record or record_path(path)
    # A record may be damaged in any way, so that its values can be of any type.
    try:
        values = json.loads(record.read_bytes())
        written = Written(path, int(values["bytes"]), str(values["sha256"]), int(values["mtime_ns"]))
        kept = Kept(written, dict(values["made_by"]))
        status = path.stat()
    except (OSError, ValueError, LookupError, TypeError):
        _remove(path, record, "has no record of its making")
        return None

    if is_untouched(written):
        return kept

    if status.st_size != written.bytes or sha256_file(path) != written.sha256:
        _remove(path, record, "changed since it was made")
        return None

    kept = Kept(Written(path, written.bytes, written.sha256, status.st_mtime_ns), kept.facts)
    _write_record(kept, record)
    return kept


def _write_record(kept: Kept, record: Path) -> None:
    written = kept.written
    values = {
        "bytes": written.bytes,
        "sha256": written.sha256,
        "mtime_ns": written.mtime_ns,
        "made_by": dict(kept.facts),
    }
    write_bytes(record, json.dumps(values).encode())


def _remove(path: Path, record: Path, reason: str) -> None:
    """Remove a file, saying why, and its record."""
    if path.exists():
        logger.warning("%s %s; it is made again", path, reason)
        path.unlink()
    record.unlink(missing_ok=True)

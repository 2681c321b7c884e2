"""Atomic writes, records of what was written, and tables that can tell whether they are damaged."""

import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

from acdc_medsam.errors import DatasetError

Row = dict[str, str]
"""Line of a table: column -> text."""

SEAL = "# sha256: "
"""Start of the first line of a sealed table. The hex sha256 of everything below that line follows."""

MAX_READ_BYTES = 2**31
"""Largest file that is read into memory at once. The workflow's own files of this kind take some megabytes."""

REPAIR = "`snakemake repair` reads everything that was made and makes what is damaged again"
"""Remedy for a file that has changed. The next plain run notices a change only if the file's time or size differs."""


@dataclass(frozen=True)
class Written:
    """Record of a written file. It describes the bytes that were written, whatever happens to the file later.

    Attributes:
        path: The file.
        bytes: Size in bytes.
        sha256: Hex sha256 of the content.
        mtime_ns: Time of the last modification in nanoseconds.
    """

    path: Path
    bytes: int
    sha256: str
    mtime_ns: int


def sha256_file(path: Path) -> str:
    """Compute the hex sha256 of a file, reading it in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path, read_only: bool = False) -> Iterator[Path]:
    """Provide a temporary path beside ``path``; when the block ends, flush the file to disk and rename it to ``path``.

    Under the name ``path`` there is therefore never half a file, even if the process is killed, and a hard link to an
    older file of that name keeps the older content. If the block raises, the temporary file is removed.

    Args:
        path: The file to make or replace.
        read_only: Whether the file is write-protected.

    Yields:
        The temporary path, at which an empty file exists.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=f".{path.name}.tmp", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary

        # Changing the mode of a link would change that of the file it leads to, which belongs to someone else.
        if temporary.stat().st_nlink == 1 and not temporary.is_symlink():
            # mkstemp makes files that only their owner can read.
            temporary.chmod(0o444 if read_only else 0o644)

            # Without this, a power failure could leave the new name with missing content. That of a link was flushed
            # when it was written.
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        # An error such as a full disk has no file name, or that of the temporary file: name the file meant instead.
        elsewhere = error.filename is not None and Path(error.filename).absolute().parent != path.absolute().parent
        if error.errno is None or elsewhere:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | bytearray | memoryview, read_only: bool = False) -> Written:
    """Write a file atomically, and return its record."""
    with atomic_path(path, read_only) as temporary:
        return write_for(path, temporary, data)


def write_for(path: Path, temporary: Path, data: bytes | bytearray | memoryview) -> Written:
    """Write ``data`` to the temporary path from :func:`atomic_path`, and return the record for the name ``path``."""
    temporary.write_bytes(data)
    # Neither renaming the file nor changing its mode changes this time.
    return Written(path, len(data), hashlib.sha256(data).hexdigest(), temporary.stat().st_mtime_ns)


def take_record(path: Path) -> Written:
    """Return the record of a file that a library has just written for this job."""
    status = path.stat()
    return Written(path, status.st_size, sha256_file(path), status.st_mtime_ns)


class HashedFile(io.RawIOBase):
    """File that is hashed while it is written piece by piece."""

    def __init__(self, handle: IO[bytes]) -> None:
        """Wrap an open binary file, which stays open when this object is closed."""
        super().__init__()
        self._handle = handle
        self._digest = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        """Return True. Libraries ask for this before they write."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Write some bytes, and return their number."""
        self._digest.update(data)
        self._bytes += len(memoryview(data))
        return self._handle.write(data)

    def record(self, path: Path) -> Written:
        """Return the record of what was written so far, for a file that will be named ``path``."""
        self._handle.flush()
        return Written(path, self._bytes, self._digest.hexdigest(), os.fstat(self._handle.fileno()).st_mtime_ns)


def is_untouched(written: Written) -> bool:
    """Whether a file still has the size and time of its record."""
    try:
        status = written.path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (written.bytes, written.mtime_ns)


def read_recorded(path: Path, sha256: str) -> bytes:
    """Read a file that an earlier job wrote.

    Args:
        path: The file.
        sha256: Hex sha256 of what was written.

    Raises:
        DatasetError: The file is missing, or its content has another sha256.
    """
    try:
        # A file that is too large to be read cannot be what was written. Empty content has another sha256.
        data = path.read_bytes() if path.stat().st_size <= MAX_READ_BYTES else b""
    except FileNotFoundError as error:
        raise DatasetError(f"{path} has gone since it was made; {REPAIR}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetError(f"{path} has changed since it was made; {REPAIR}")
    return data


def seal(content: bytes) -> bytes:
    """Prepend a line with the sha256 of the content."""
    return f"{SEAL}{hashlib.sha256(content).hexdigest()}\n".encode() + content


def unseal(data: bytes) -> bytes | None:
    """Return the content below the line of :func:`seal`, or None if that line does not match it."""
    first, _, content = data.partition(b"\n")
    return content if first == f"{SEAL}{hashlib.sha256(content).hexdigest()}".encode() else None


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    comments: Iterable[str] = (),
    sealed: bool = False,
) -> Written:
    """Write a tab-separated table with a header line atomically, and return its record.

    Args:
        path: The table.
        columns: Names of its columns.
        rows: Column -> value for each line; keys that are no columns are ignored.
        comments: Lines that start with #, written first.
        sealed: Whether to seal the table for :func:`read_sealed`. A table for other programs is not sealed, because
            many of them cannot skip comments.
    """
    text = io.StringIO()
    text.writelines(f"{comment}\n" for comment in comments)
    writer = csv.DictWriter(text, columns, extrasaction="ignore", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)

    content = text.getvalue().encode()
    return write_bytes(path, seal(content) if sealed else content)


def read_table(path: Path) -> list[Row]:
    """Read a tab-separated table with a header line, skipping comment lines.

    Raises:
        DatasetError: The table is missing or damaged.
    """
    data = _read_bytes(path)
    try:
        return parse_table(data)
    except (ValueError, csv.Error) as error:
        raise DatasetError(f"{path} is a damaged table ({error}); `snakemake repair` makes it again") from error


def read_sealed(path: Path) -> list[Row]:
    """Read a sealed table, see :func:`write_table`.

    Raises:
        DatasetError: The table is missing, or has changed since it was written.
    """
    return parse_table(read_sealed_bytes(path))


def read_sealed_bytes(path: Path) -> bytes:
    """Read the content of a sealed table: comments, header line and rows.

    Raises:
        DatasetError: The table is missing, or has changed since it was written.
    """
    content = unseal(_read_bytes(path))
    if content is None:
        raise DatasetError(f"{path} is damaged: run the workflow again, which makes it anew")
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing: run the workflow again to make it") from error


def parse_table(data: bytes) -> list[Row]:
    """Parse the content of a tab-separated table with a header line, skipping comment lines.

    Raises:
        ValueError: The content is no text in UTF-8, or its lines have different numbers of columns.
        csv.Error: The content cannot be parsed.
    """
    lines = io.StringIO(data.decode("utf-8"), newline="")
    # DictReader puts surplus fields under the key None, and fills missing ones with the value None.
    rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    if any(None in row.values() or None in row for row in rows):
        raise ValueError("a line has more or fewer columns than the first")
    return rows


def remove_others(folders: Iterable[Path], keep: Iterable[Path]) -> None:
    """Remove the files in ``folders`` that are not in ``keep``, which an earlier run left there."""
    kept = set(keep)
    for folder in folders:
        for file in folder.glob("*"):
            if file not in kept:
                file.unlink()

"""Whole files or none: atomic writes, the record of what was written, and tables that know when they are damaged."""

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
"""One line of a table: column -> text."""

SEAL = "# sha256: "
"""Begins the first line of a sealed table; the rest of the line is the hex sha256 of everything after it."""

MAX_BYTES = 2**31
"""Largest file that is read into memory at once; the largest that the workflow makes there take some megabytes."""


@dataclass(frozen=True)
class Written:
    """The record of a file as it was written: taken from the bytes, never from what lies under the name later.

    Attributes:
        path: The file.
        bytes: Its size.
        sha256: Hex sha256 of its content.
        mtime_ns: Time of its last modification in nanoseconds.
    """

    path: Path
    bytes: int
    sha256: str
    mtime_ns: int


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's content, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path, read_only: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success flush it to disk and rename it to ``path``.

    The name ``path`` therefore never stands for half a file, whatever is killed, and a hard link to an older
    file of that name keeps the older content. The temporary file is removed when the block raises.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=f".{path.name}.tmp", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        # A link has the mode of the file that it leads to, which is not ours to change.
        if temporary.stat().st_nlink == 1 and not temporary.is_symlink():
            temporary.chmod(0o444 if read_only else 0o644)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        # A full disk is met by writing, which knows no name, and nobody looks for the temporary one.
        elsewhere = error.filename is not None and Path(error.filename).absolute().parent != path.absolute().parent
        if error.errno is None or elsewhere:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | bytearray | memoryview, read_only: bool = False) -> Written:
    """Write a whole file atomically and return its record."""
    with atomic_path(path, read_only) as temporary:
        return write_for(path, temporary, data)


def write_for(path: Path, temporary: Path, data: bytes | bytearray | memoryview) -> Written:
    """Write a file under the temporary name that :func:`atomic_path` gives; returns its record as ``path``."""
    temporary.write_bytes(data)
    # Renaming the file, and changing its mode, leave this time as it is.
    return Written(path, len(data), hashlib.sha256(data).hexdigest(), temporary.stat().st_mtime_ns)


def take_record(path: Path) -> Written:
    """The record of a file that this job has just had a library write under its name."""
    status = path.stat()
    return Written(path, status.st_size, sha256_file(path), status.st_mtime_ns)


class HashedFile(io.RawIOBase):
    """A file that is written piece by piece, and hashed on the way."""

    def __init__(self, handle: IO[bytes]) -> None:
        """Take an open binary file, which stays open when this is closed."""
        super().__init__()
        self._handle = handle
        self._digest = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        """Return True, as the library that writes to this asks for."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Write some bytes; returns their number."""
        self._digest.update(data)
        self._bytes += len(memoryview(data))
        return self._handle.write(data)

    def record(self, path: Path) -> Written:
        """The record of what was written so far, which will lie under the name ``path``."""
        self._handle.flush()
        return Written(path, self._bytes, self._digest.hexdigest(), os.fstat(self._handle.fileno()).st_mtime_ns)


def is_untouched(written: Written) -> bool:
    """Whether a file has the size and time that it was written with."""
    try:
        status = written.path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (written.bytes, written.mtime_ns)


def read_recorded(path: Path, sha256: str) -> bytes:
    """Read a file that an earlier job made, if it is still what was made.

    Raises:
        DatasetError: The file is missing, or its content is not what ``sha256`` says.
    """
    try:
        # What is too large to be read is not what was made either.
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except FileNotFoundError as error:
        raise DatasetError(f"{path} has gone since it was made; {REPAIR}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DatasetError(f"{path} has changed since it was made; {REPAIR}")
    return data


REPAIR = "`snakemake repair` reads everything that was made and makes what is damaged again"
"""The remedy for a file that is no longer what was made; the next plain run notices it too if its time has changed."""


def seal(content: bytes) -> bytes:
    """Put a first line before a table that tells whether the rest is as it was written."""
    return f"{SEAL}{hashlib.sha256(content).hexdigest()}\n".encode() + content


def unseal(data: bytes) -> bytes | None:
    """The table after the first line of :func:`seal`; None if it is not as it was written."""
    first, _, content = data.partition(b"\n")
    return content if first == f"{SEAL}{hashlib.sha256(content).hexdigest()}".encode() else None


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    comments: Iterable[str] = (),
    sealed: bool = False,
) -> Written:
    """Write a tab-separated table with a header line atomically.

    Args:
        path: The table.
        columns: Names of its columns.
        rows: Column -> value for each line; values of other keys are left out.
        comments: Lines that start with #, written first.
        sealed: Whether :func:`read_sealed` is to read it. A table for other programs is not, as few skip comments.
    """
    text = io.StringIO()
    text.writelines(f"{comment}\n" for comment in comments)
    writer = csv.DictWriter(text, columns, extrasaction="ignore", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)

    content = text.getvalue().encode()
    return write_bytes(path, seal(content) if sealed else content)


def read_table(path: Path) -> list[Row]:
    """Read a tab-separated table with a header line; comment lines are passed over.

    Raises:
        DatasetError: The table is not there, or is damaged.
    """
    data = _read_bytes(path)
    try:
        return parse_table(data)
    except (ValueError, csv.Error) as error:
        raise DatasetError(f"{path} is a damaged table ({error}); `snakemake repair` makes it again") from error


def read_sealed(path: Path) -> list[Row]:
    """Read a table that the workflow wrote for itself, see :func:`write_table`.

    Raises:
        DatasetError: The table is not there, or is not as it was written.
    """
    return parse_table(read_sealed_bytes(path))


def read_sealed_bytes(path: Path) -> bytes:
    """The content of a sealed table: comments, header line and rows.

    Raises:
        DatasetError: The table is not there, or is not as it was written.
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
    """Read a table from its content.

    Raises:
        ValueError, csv.Error: It is no such table.
    """
    lines = io.StringIO(data.decode("utf-8"), newline="")
    rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    if any(None in row.values() or None in row for row in rows):
        raise ValueError("a line has more or fewer columns than the first")
    return rows


def remove_others(folders: Iterable[Path], keep: Iterable[Path]) -> None:
    """Remove every file in ``folders`` that is not in ``keep``: what an earlier run made and this one does not."""
    kept = set(keep)
    for folder in folders:
        for file in folder.glob("*"):
            if file not in kept:
                file.unlink()

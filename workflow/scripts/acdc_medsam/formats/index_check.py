"""Check of the files that indexes name: whether they are all still there and intact.

Every run starts with this check, so it avoids reading: a file with its recorded size and time counts as intact.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import read_sealed_bytes, sha256_file
from acdc_medsam.formats.index import INDEX_COLUMNS, LEFT_OUT, Times, read_times

FileState = list[int]
"""Size in bytes and modification time in nanoseconds of a file on disk."""


@dataclass
class Findings:
    """Result of checking some indexes.

    Attributes:
        damaged: Index or table -> file -> what is wrong with it, for each file that is not intact.
        found: Damaged file -> its state when it was checked; None if it was missing.
        times: Index -> times to remember, for indexes with intact files whose times were not known.
        left_out: Indexes of patients that were left out of the dataset.
        read: Number of files whose content was read.
    """

    damaged: dict[Path, dict[Path, str]] = field(default_factory=dict)
    found: dict[Path, FileState | None] = field(default_factory=dict)
    times: dict[Path, Times] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    read: int = 0

    @property
    def files(self) -> dict[Path, str]:
        """Every damaged file -> what is wrong with it."""
        return {file: reason for files in self.damaged.values() for file, reason in files.items()}

    def add(self, index: Path, file: Path, found: FileState | None, reason: str) -> None:
        """Add a damaged file."""
        self.damaged.setdefault(index, {})[file] = reason
        self.found[file] = found


def remove_damaged(findings: Findings) -> None:
    """Remove every damaged file that is still in the state in which it was checked."""
    # Listed anew, because another process may have replaced a file since the check.
    folders = _Folders()
    for file, found in findings.found.items():
        if found is not None and folders.look_up(str(file)) == found:
            file.unlink(missing_ok=True)


class _Folders:
    """States of files. Each folder is listed once, however many indexes name files in it."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, FileState]] = {}

    def look_up(self, path: str) -> FileState | None:
        """Return the state of a file, or None if there is no such file."""
        folder, name = os.path.split(path)
        if folder not in self._known:
            self._known[folder] = _list_folder(folder)
        return self._known[folder].get(name)


def _list_folder(folder: str) -> dict[str, FileState]:
    """Return name -> state of the files in a folder; an empty dict if the folder is missing."""
    found = {}
    try:
        # scandir needs no system call of its own to tell files from folders.
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                # is_file() is False for a broken link, so stat() does not fail.
                if entry.is_file():
                    status = entry.stat()
                    found[entry.name] = [status.st_size, status.st_mtime_ns]
    except (FileNotFoundError, NotADirectoryError):
        pass
    return found


class Digests:
    """Sha256 of files. A content is read once, however many hard links lead to it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}

    def __call__(self, path: Path) -> str:
        """Return the hex sha256 of a file.

        Raises:
            OSError: The file cannot be read.
        """
        status = path.stat()
        inode = (status.st_dev, status.st_ino)
        if inode not in self._known:
            self._known[inode] = sha256_file(path)
        return self._known[inode]


def check_indexes(
    indexes: Iterable[Path],
    tables: Iterable[Path] = (),
    root: Path = Path(),
    read_all: bool = False,
    threads: int = 8,
    digest: Callable[[Path], str] = sha256_file,
) -> Findings:
    """Check whether the files that some indexes name are intact. Nothing on disk is changed.

    A file with the recorded size and time counts as intact; one with another time is read and compared with its record.

    Args:
        indexes: Indexes; missing ones are skipped.
        tables: Other sealed tables, of which only the seal is checked.
        root: Folder that must contain every file; an index that names a file elsewhere counts as damaged itself.
        read_all: Whether to read every file, including those with the recorded size and time.
        threads: Number of files read at a time.
        digest: Function that returns the sha256 of a file.
    """
    findings = Findings()
    folders = _Folders()
    to_read: list[_Candidate] = []
    for table in (*tables, *indexes):
        try:
            content = read_sealed_bytes(table)
        except DatasetError:
            # Snakemake makes a missing index again by itself; a damaged one has to be removed for that.
            found = folders.look_up(str(table))
            if found is not None:
                findings.add(table, table, found, "is not as it was written")
            continue
        if table not in tables:
            to_read += _compare_states(table, content, root, folders, findings, read_all)
            if f"\n{LEFT_OUT}".encode() in b"\n" + content:
                findings.left_out.append(table)

    _compare_contents(to_read, findings, threads, digest)
    return findings


@dataclass(frozen=True, slots=True)
class _Candidate:
    """File with the recorded size but an unknown time, whose content must be read.

    Attributes:
        index: Index that names the file.
        path: Path of the file.
        name: Name of the file in the index.
        found: State of the file on disk.
        sha256: Recorded hex sha256.
    """

    index: Path
    path: str
    name: str
    found: FileState
    sha256: str


def _compare_contents(
    candidates: Sequence[_Candidate], findings: Findings, threads: int, digest: Callable[[Path], str]
) -> None:
    """Read the candidates, and add the damaged ones, and the times of the others, to the findings."""
    # Several indexes may name the same file.
    paths = list(dict.fromkeys(candidate.path for candidate in candidates))
    with ThreadPoolExecutor(threads) as pool:
        digests = dict(zip(paths, pool.map(lambda path: _read_digest(path, digest), paths), strict=True))
    findings.read = len(paths)

    for candidate in candidates:
        index = candidate.index
        if digests[candidate.path] != candidate.sha256:
            findings.add(index, Path(candidate.path), candidate.found, "has other content than was made")
        else:
            findings.times.setdefault(index, read_times(index))[candidate.name] = candidate.found


def _compare_states(
    index: Path, content: bytes, root: Path, folders: _Folders, findings: Findings, read_all: bool
) -> Iterator[_Candidate]:
    """Compare the files of an index with their recorded sizes and times.

    Args:
        index: The index.
        content: Content of the index below its seal.
        root: Folder that must contain every file.
        folders: States of files on disk.
        findings: Findings to which missing and damaged files are added.
        read_all: Whether to yield every file of the recorded size, whatever its time.

    Yields:
        The files whose content must be read.
    """
    known = {} if read_all else read_times(index)
    folder = str(index.parent)
    # Strings and lists rather than paths and dicts, for speed: every run checks some 80 files of each patient.
    lines = (line for line in content.decode().splitlines() if not line.startswith("#"))
    columns, *rows = csv.reader(lines, delimiter="\t")
    file, size, sha256 = (columns.index(name) for name in INDEX_COLUMNS)

    for row in rows:
        name = row[file]
        path = os.path.normpath(f"{folder}/{name}")
        if not _is_below(path, root):
            # A forged index must not have files elsewhere read, or even removed.
            findings.add(index, index, folders.look_up(str(index)), f"names {path}, which is not below {root}")
            return

        found = folders.look_up(path)
        if found is None:
            findings.add(index, Path(path), None, "has gone")
        elif found[0] != int(row[size]):
            findings.add(index, Path(path), found, f"has {found[0]} bytes instead of {row[size]}")
        elif found != known.get(name):
            yield _Candidate(index, path, name, found, row[sha256])


def _is_below(path: str, root: Path) -> bool:
    """Whether a normalized path is below a folder, judged by their names alone."""
    above = os.path.normpath(root)
    if above == os.curdir:
        return not path.startswith((f"{os.pardir}{os.sep}", os.sep))
    return path.startswith(above.rstrip(os.sep) + os.sep)


def _read_digest(path: str, digest: Callable[[Path], str]) -> str | None:
    """Return the hex sha256 of a file, or None if it cannot be read."""
    try:
        return digest(Path(path))
    except OSError:
        return None

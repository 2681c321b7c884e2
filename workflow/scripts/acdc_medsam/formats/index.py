"""Indexes: what a job has made, with the record of each file, and whether it is all still there and whole.

A job writes the index of its files last. The index holds nothing but content (size, sha256, what the files were made
from), so that equal runs give equal indexes. The times of modification, by which a later run sees at a glance that
nothing was touched, lie in a hidden file beside it; without that file everything is read once.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import (
    Row,
    Written,
    read_sealed,
    read_sealed_bytes,
    sha256_file,
    write_bytes,
    write_table,
)

INDEX_COLUMNS = ("file", "bytes", "sha256")
_LEFT_OUT = "# left out: "
_NOTE = "# note: "
_SOURCE = "# source: "
_MAKER = "# maker: "

Times = dict[str, list[int]]
"""File of an index -> size in bytes and time of modification in nanoseconds at which it was whole."""


def index_row(written: Written, index: Path, **extra: object) -> dict[str, object]:
    """Describe a file as a row of ``index``; the path is relative to the index's folder."""
    return {
        "file": os.path.relpath(written.path, index.parent),
        "bytes": written.bytes,
        "sha256": written.sha256,
        "mtime_ns": written.mtime_ns,
        **extra,
    }


def write_index(
    path: Path,
    rows: Sequence[Mapping[str, object]],
    extra_columns: Sequence[str] = (),
    left_out: Iterable[str] = (),
    notes: Iterable[str] = (),
    sources: Mapping[str, str] | None = None,
    makers: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the index of what a job has made; it is the job's declared output and is written last.

    Args:
        path: The index.
        rows: Made by :func:`index_row`, one per file.
        extra_columns: Names of the further columns in ``rows``.
        left_out: For each patient that is left out of the dataset, why.
        notes: Remarks on the data that the user should see in the end.
        sources: Name -> sha256 of each file from outside that the listed files were made from.
        makers: Name that a column of the rows uses -> what made a file, in values that JSON can hold.
    """
    lines = [f"{sha256} {name}" for name, sha256 in (sources or {}).items()]
    made_by = [f"{name} {json.dumps(facts, sort_keys=True)}" for name, facts in sorted((makers or {}).items())]
    marked = ((_NOTE, notes), (_LEFT_OUT, left_out), (_SOURCE, lines), (_MAKER, made_by))
    comments = [mark + " ".join(text.split()) for mark, texts in marked for text in texts]

    times = {str(row["file"]): [int(str(row[key])) for key in ("bytes", "mtime_ns")] for row in rows}
    write_times(path, times)
    write_table(path, [*INDEX_COLUMNS, *extra_columns], rows, comments, sealed=True)


@dataclass(frozen=True)
class IndexComments:
    """What an index says besides its files; the attributes are arguments of :func:`write_index`."""

    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    sources: dict[str, str]
    makers: dict[str, dict[str, Any]]


def read_index_comments(path: Path) -> IndexComments:
    """Read what an index says besides its files.

    Raises:
        DatasetError: The index is missing or damaged.
    """
    lines = read_sealed_bytes(path).decode().splitlines()
    left_out, notes, sources, makers = (
        tuple(line.removeprefix(mark) for line in lines if line.startswith(mark))
        for mark in (_LEFT_OUT, _NOTE, _SOURCE, _MAKER)
    )
    split = (line.partition(" ") for line in makers)
    return IndexComments(
        left_out=left_out,
        notes=notes,
        sources={line[65:]: line[:64] for line in sources},
        makers={name: json.loads(facts) for name, _, facts in split},
    )


def read_records(path: Path) -> list[tuple[Written, Row]]:
    """The record of each file that an index names, and its row; nothing but the index and its times is read.

    Raises:
        DatasetError: The index is missing or damaged.
    """
    times = read_times(path)
    records = []
    for row in read_sealed(path):
        file = Path(os.path.normpath(path.parent / row["file"]))
        mtime_ns = times.get(row["file"], [0, 0])[1]
        records.append((Written(file, int(row["bytes"]), row["sha256"], mtime_ns), row))
    return records


def _times_path(index: Path) -> Path:
    return index.with_name(f".{index.name}.times")


def write_times(index: Path, times: Times) -> None:
    """Remember at which times the files of an index were whole."""
    write_bytes(_times_path(index), json.dumps(times).encode())


def read_times(index: Path) -> Times:
    """The times at which the files of an index were whole; none where they are not known."""
    try:
        times = json.loads(_times_path(index).read_bytes())
        sound = all(len(pair) == 2 and all(type(number) is int for number in pair) for pair in times.values())
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    return times if sound else {}


Found = list[int]
"""Size in bytes and time of modification in nanoseconds of a file as it lies there."""


@dataclass
class Findings:
    """What a look at some indexes found.

    Attributes:
        damaged: Index or table -> file -> what is wrong with it, for each one that is not whole.
        found: Damaged file -> how it was found; None for one that has gone.
        times: Index -> times to remember, where files were found whole at other times than were known.
        left_out: Indexes of patients that were left out of the dataset.
        read: Number of files whose content was read.
    """

    damaged: dict[Path, dict[Path, str]] = field(default_factory=dict)
    found: dict[Path, Found | None] = field(default_factory=dict)
    times: dict[Path, Times] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    read: int = 0

    @property
    def files(self) -> dict[Path, str]:
        """Every damaged file -> what is wrong with it."""
        return {file: reason for files in self.damaged.values() for file, reason in files.items()}

    def add(self, index: Path, file: Path, found: Found | None, reason: str) -> None:
        """Note a damaged file."""
        self.damaged.setdefault(index, {})[file] = reason
        self.found[file] = found


def remove_damaged(findings: Findings) -> None:
    """Remove every damaged file that still lies there as it was found."""
    folders = _Folders()
    for file, found in findings.found.items():
        if found is not None and folders.look(str(file)) == found:
            file.unlink(missing_ok=True)


class _Folders:
    """Size and time of every file in a folder, which is listed once, however many indexes name files in it."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Found]] = {}

    def look(self, path: str) -> Found | None:
        folder, name = os.path.split(path)
        if folder not in self._known:
            self._known[folder] = _list_folder(folder)
        return self._known[folder].get(name)


def _list_folder(folder: str) -> dict[str, Found]:
    found = {}
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                # A link to nowhere is no file, so entry.stat() finds what a link leads to.
                if entry.is_file():
                    status = entry.stat()
                    found[entry.name] = [status.st_size, status.st_mtime_ns]
    except (FileNotFoundError, NotADirectoryError):
        pass
    return found


class Digests:
    """Sha256 of files by path, each content read once, however many hard links lead to it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}

    def __call__(self, path: Path) -> str:
        """Hex sha256 of a file; OSError if it cannot be read."""
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
    """Look whether the files that some indexes name are those that were made. Nothing is changed.

    A file with the size and time that it was made with is taken as whole; one with another time is read and compared
    with its record.

    Args:
        indexes: Indexes; those that are not there are passed over.
        tables: Other sealed tables, of which only the seal is looked at.
        root: Folder that every named file must lie below; an index that names another one is itself taken for damaged.
        read_all: Whether to read every file, also those that look untouched.
        threads: Number of files read at a time.
        digest: Function that returns the sha256 of a file.
    """
    findings = Findings()
    folders = _Folders()
    to_read: list[_Unsure] = []
    for table in (*tables, *indexes):
        try:
            content = read_sealed_bytes(table)
        except DatasetError:
            found = folders.look(str(table))
            if found is not None:
                findings.add(table, table, found, "is not as it was written")
            continue
        if table not in tables:
            to_read += _compare_sizes(table, content, root, folders, findings, read_all)
            if f"\n{_LEFT_OUT}".encode() in b"\n" + content:
                findings.left_out.append(table)

    paths = list(dict.fromkeys(unsure.path for unsure in to_read))
    with ThreadPoolExecutor(threads) as pool:
        digests = dict(zip(paths, pool.map(lambda path: _read(path, digest), paths), strict=True))
    findings.read = len(paths)
    for unsure in to_read:
        if digests[unsure.path] != unsure.sha256:
            findings.add(unsure.index, Path(unsure.path), unsure.found, "has other content than was made")
        else:
            findings.times.setdefault(unsure.index, read_times(unsure.index))[unsure.name] = unsure.found
    return findings


@dataclass(frozen=True, slots=True)
class _Unsure:
    """A file that has the size it was made with, and another time; ``name`` is what its index calls it."""

    index: Path
    path: str
    name: str
    found: Found
    sha256: str


def _compare_sizes(
    index: Path, content: bytes, root: Path, folders: _Folders, findings: Findings, read_all: bool
) -> Iterator[_Unsure]:
    """Compare the sizes and times of an index's files; yields those that only their content can tell about."""
    known = {} if read_all else read_times(index)
    folder = str(index.parent)
    # Text and lists rather than paths and dictionaries: a cohort has some 80 files a patient, looked at in every run.
    lines = (line for line in content.decode().splitlines() if not line.startswith("#"))
    columns, *rows = csv.reader(lines, delimiter="\t")
    file, size, sha256 = (columns.index(name) for name in INDEX_COLUMNS)
    for row in rows:
        name = row[file]
        path = os.path.normpath(f"{folder}/{name}")
        if not _is_below(path, root):
            # Nothing out there is looked at, or even removed, because an index says so.
            findings.add(index, index, folders.look(str(index)), f"names {path}, which is not below {root}")
            return
        found = folders.look(path)
        if found is None:
            findings.add(index, Path(path), None, "has gone")
        elif found[0] != int(row[size]):
            findings.add(index, Path(path), found, f"has {found[0]} bytes instead of {row[size]}")
        elif found != known.get(name):
            yield _Unsure(index, path, name, found, row[sha256])


def _is_below(path: str, root: Path) -> bool:
    """Whether a path without detours lies below a folder, by their names."""
    above = os.path.normpath(root)
    if above == os.curdir:
        return not path.startswith((f"{os.pardir}{os.sep}", os.sep))
    return path.startswith(above.rstrip(os.sep) + os.sep)


def _read(path: str, digest: Callable[[Path], str]) -> str | None:
    try:
        return digest(Path(path))
    except OSError:
        return None

"""Whole files or none: atomic writes, checksums, tables, and indexes of what a job has made."""

import csv
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.errors import DatasetError

Row = dict[str, str]
"""One line of a table: column -> text."""

INDEX_COLUMNS = ("file", "bytes", "sha256")
_LEFT_OUT = "# left out: "
_NOTE = "# note: "
_SOURCE = "# source: "


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
        if error.errno is None or (error.filename is not None and Path(error.filename).parent != path.parent):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, read_only: bool = False) -> None:
    """Write a whole file atomically."""
    with atomic_path(path, read_only) as temporary:
        temporary.write_bytes(data)


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]], comments: Iterable[str] = ()
) -> None:
    """Write a tab-separated table with a header line atomically; ``comments`` are lines that start with #."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        handle.writelines(f"{comment}\n" for comment in comments)
        writer = csv.DictWriter(handle, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[Row]:
    """Read a tab-separated table with a header line; comment lines are passed over.

    Raises:
        DatasetError: the table is not there, or is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader((line for line in handle if not line.startswith("#")), delimiter="\t"))
        if any(None in row.values() or None in row for row in rows):
            raise ValueError("a line has more or fewer columns than the first")
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing: run the workflow again to make it") from error
    except (ValueError, csv.Error) as error:
        raise DatasetError(f"{path} is a damaged table ({error}); delete it and run the workflow again") from error
    return rows


def index_row(file: Path, index: Path, sha256: str | None = None, **extra: object) -> dict[str, object]:
    """Describe ``file`` as a row of ``index``: path relative to the index's folder, size in bytes, sha256."""
    return {
        "file": os.path.relpath(file, index.parent),
        "bytes": file.stat().st_size,
        "sha256": sha256 or sha256_file(file),
        **extra,
    }


def write_index(
    path: Path,
    rows: Sequence[Mapping[str, object]],
    extra_columns: Sequence[str] = (),
    left_out: Iterable[str] = (),
    notes: Iterable[str] = (),
    sources: Mapping[str, str] | None = None,
) -> None:
    """Write the index of what a job has made; it is the job's declared output and is written last.

    Args:
        path: the index.
        rows: made by :func:`index_row`, one per file.
        extra_columns: names of the further columns in ``rows``.
        left_out: for each patient that is left out of the dataset, why.
        notes: remarks on the data that the user should see in the end.
        sources: name -> sha256 of each file from outside that the listed files were made from.
    """
    lines = [f"{sha256} {name}" for name, sha256 in (sources or {}).items()]
    marked = ((_NOTE, notes), (_LEFT_OUT, left_out), (_SOURCE, lines))
    comments = [mark + " ".join(text.split()) for mark, texts in marked for text in texts]
    write_table(path, [*INDEX_COLUMNS, *extra_columns], rows, comments)


@dataclass(frozen=True)
class IndexComments:
    """What an index says besides its files: why patients were left out, remarks, and name -> sha256 of sources."""

    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    sources: dict[str, str]


def read_index_comments(path: Path) -> IndexComments:
    """Read what an index says besides its files."""
    lines = path.read_text(encoding="utf-8").splitlines()
    left_out, notes, sources = (
        tuple(line.removeprefix(mark) for line in lines if line.startswith(mark))
        for mark in (_LEFT_OUT, _NOTE, _SOURCE)
    )
    return IndexComments(left_out, notes, {line[65:]: line[:64] for line in sources})


def index_files(path: Path) -> list[Path]:
    """List the files that an index names, relative to the folder that the index's own path is relative to."""
    return [path.parent / row["file"] for row in read_table(path)]


def index_is_true(path: Path) -> bool:
    """Whether the index is whole and every file that it names is there with the size it was written with.

    One that names no file says why: the patient is left out, or there is a remark.
    """
    # Text rather than Path, and a folder is listed once: a cohort has some 80 files a patient, looked at in every run.
    folders: dict[str, dict[str, int]] = {}
    try:
        rows = read_table(path)
        if not rows and not ((comments := read_index_comments(path)).left_out or comments.notes):
            return False
        for row in rows:
            folder, name = os.path.split(row["file"])
            if folder not in folders:
                folders[folder] = _sizes(path.parent / folder)
            if folders[folder].get(name) != int(row["bytes"]):
                return False
    except (DatasetError, LookupError, ValueError):  # a damaged one is made again as a missing one is
        return False
    return True


def remove_others(folders: Iterable[Path], keep: Iterable[Path]) -> None:
    """Remove every file in ``folders`` that is not in ``keep``: what an earlier run made and this one does not."""
    kept = set(keep)
    for folder in folders:
        for file in folder.glob("*"):
            if file not in kept:
                file.unlink()


def _sizes(folder: Path) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return {}

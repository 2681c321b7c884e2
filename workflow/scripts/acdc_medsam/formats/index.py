"""Indexes: tables of the files that a job has made, with the record of each file.

A job writes the index of its files last. The index holds only what depends on content (size, sha256, sources of the
files), so that equal runs give equal indexes. The modification times, from which a later run sees quickly that nothing
was touched, are in a hidden file beside the index. Without that file, every file is read once.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acdc_medsam.formats.files import Row, Written, read_sealed, read_sealed_bytes, write_bytes, write_table

INDEX_COLUMNS = ("file", "bytes", "sha256")
LEFT_OUT = "# left out: "
"""Start of the comment that says why a patient is not in the dataset."""

_NOTE = "# note: "
_SOURCE = "# source: "
_MAKER = "# maker: "

Times = dict[str, list[int]]
"""File of an index -> size in bytes and modification time in nanoseconds with which the file was intact."""


def index_row(written: Written, index: Path, **extra: object) -> dict[str, object]:
    """Return the row of an index for a file; the path is relative to the folder of the index."""
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
    """Write the index of what a job has made. The index is the job's declared output and is written last.

    Args:
        path: The index.
        rows: One row per file, from :func:`index_row`.
        extra_columns: Names of additional columns in ``rows``.
        left_out: One line for each patient that is left out of the dataset, with the reason.
        notes: Remarks on the data that the user should see in the end.
        sources: Name -> sha256 of each file from outside that the listed files were made from.
        makers: Name in a column of ``rows`` -> what made the file, in values that JSON can hold.
    """
    source_lines = [f"{sha256} {name}" for name, sha256 in (sources or {}).items()]
    maker_lines = [f"{name} {json.dumps(facts, sort_keys=True)}" for name, facts in sorted((makers or {}).items())]
    marked = ((_NOTE, notes), (LEFT_OUT, left_out), (_SOURCE, source_lines), (_MAKER, maker_lines))
    comments = [mark + " ".join(text.split()) for mark, texts in marked for text in texts]

    # The times come first: an index without its times would be read in full, times without an index do no harm.
    times = {str(row["file"]): [int(str(row[key])) for key in ("bytes", "mtime_ns")] for row in rows}
    write_times(path, times)
    write_table(path, [*INDEX_COLUMNS, *extra_columns], rows, comments, sealed=True)


@dataclass(frozen=True)
class IndexComments:
    """Comments of an index. The attributes are arguments of :func:`write_index`."""

    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    sources: dict[str, str]
    makers: dict[str, dict[str, Any]]


def read_index_comments(path: Path) -> IndexComments:
    """Read the comments of an index.

    Raises:
        DatasetError: The index is missing or damaged.
    """
    lines = read_sealed_bytes(path).decode().splitlines()
    left_out, notes, sources, makers = (
        tuple(line.removeprefix(mark) for line in lines if line.startswith(mark))
        for mark in (LEFT_OUT, _NOTE, _SOURCE, _MAKER)
    )
    named_makers = (line.partition(" ") for line in makers)
    return IndexComments(
        left_out=left_out,
        notes=notes,
        # Names may contain spaces, and a sha256 has 64 hexadecimal digits.
        sources={line[65:]: line[:64] for line in sources},
        makers={name: json.loads(facts) for name, _, facts in named_makers},
    )


def read_records(path: Path) -> list[tuple[Written, Row]]:
    """Read the record and the row of each file in an index. The files themselves are not read.

    Raises:
        DatasetError: The index is missing or damaged.
    """
    times = read_times(path)
    folder = str(path.parent)
    records = []

    for row in read_sealed(path):
        # Not resolve(), which would follow links.
        file = Path(os.path.normpath(os.path.join(folder, row["file"])))  # noqa: PTH118 - takes half as long
        mtime_ns = times.get(row["file"], [0, 0])[1]
        records.append((Written(file, int(row["bytes"]), row["sha256"], mtime_ns), row))
    return records


def _times_path(index: Path) -> Path:
    """Return the path of the hidden file with the times of an index."""
    return index.with_name(f".{index.name}.times")


def write_times(index: Path, times: Times) -> None:
    """Remember the times with which the files of an index were intact."""
    write_bytes(_times_path(index), json.dumps(times).encode())


def read_times(index: Path) -> Times:
    """Read the times with which the files of an index were intact; an empty dict if they are unknown."""
    try:
        times = json.loads(_times_path(index).read_bytes())
        sound = all(len(pair) == 2 and all(type(number) is int for number in pair) for pair in times.values())
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    # Damaged times are as good as none: the files are read instead.
    return times if sound else {}

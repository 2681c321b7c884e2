"""Files of an index, and whether all of them are intact."""

from pathlib import Path

from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.index_check import check_indexes


def files_of(index: Path) -> list[Path]:
    """Return the files that an index names."""
    return [written.path for written, _ in read_records(index)]


def is_whole(index: Path) -> bool:
    """Whether an index and every file that it names are intact, judged by reading each file."""
    return not check_indexes([index], root=Path("/"), read_all=True).damaged

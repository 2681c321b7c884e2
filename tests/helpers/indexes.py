"""What an index names, and whether it is all there as it was made."""

from pathlib import Path

from acdc_medsam.formats.index import read_records
from acdc_medsam.formats.index_check import check_indexes


def files_of(index: Path) -> list[Path]:
    """The files that an index names."""
    return [written.path for written, _ in read_records(index)]


def is_whole(index: Path) -> bool:
    """Whether an index and every file that it names are what was made, each file read."""
    return not check_indexes([index], root=Path("/"), read_all=True).damaged

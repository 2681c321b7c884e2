"""Which files an index names, and whether they are all as they were made."""

from pathlib import Path

from acdc_medsam.formats.index import check_indexes, read_records


def files_of(index: Path) -> list[Path]:
    """Return the files that an index names."""
    return [written.path for written, _ in read_records(index)]


def is_whole(index: Path) -> bool:
    """Read every file that an index names, and say whether all of them, and the index, are as they were made."""
    return not check_indexes([index], root=Path("/"), read_all=True).damaged

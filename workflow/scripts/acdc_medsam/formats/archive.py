"""A file of torch.save, before torch reads it: a zip file whose entries are as long as they say. Needs no torch."""

import zipfile
from pathlib import Path


def may_be_zip_bomb(path: Path) -> bool:
    """Whether a zip file would unfold to more than it takes on the disk; torch.save never compresses.

    False for a file that is no zip file, or a damaged one: whoever reads it says so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    return not stored or sum(entry.file_size for entry in entries) > path.stat().st_size

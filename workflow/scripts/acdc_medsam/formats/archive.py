"""Compressed files that claim to hold more than they can. Needs no torch.

A file from outside is refused by its claims, before memory is allocated for what it claims to hold.
"""

import zipfile
from pathlib import Path

DEFLATE_RATIO = 1032
"""Highest compression ratio of zlib: a compressed file cannot expand to more than this multiple of its size."""


def may_be_zip_bomb(path: Path) -> bool:
    """Whether a zip file would expand to more bytes than it has on disk. ``torch.save`` never compresses.

    A file that is damaged or no zip file gives False: its reader reports that.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    return not stored or sum(entry.file_size for entry in entries) > path.stat().st_size

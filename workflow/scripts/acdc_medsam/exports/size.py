"""The size of an export: said before it is written, and compared with the free space of the disk."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from acdc_medsam.errors import AcdcError
from acdc_medsam.formats.files import Written
from acdc_medsam.runtime.jobs import ON_SCREEN

logger = logging.getLogger(__name__)

GIB = 2**30


def link_bytes(record: Written, link: str) -> int:
    """Return the number of bytes that a link to a published file takes: 0, or those of the file if it is copied.

    Args:
        record: Record of the published file.
        link: How to link; see :func:`acdc_medsam.stages.publish.link_file`.
    """
    # With "auto", the published file is a hard link itself wherever hard links can be made.
    copied = link == "copy" or (link == "auto" and record.path.exists() and record.path.stat().st_nlink == 1)
    return record.bytes if copied else 0


def announce_size(folder: Path, index: Path, sizes: Mapping[Path, int]) -> None:
    """Say how large an export will be, or refuse it if its disk has not that much free.

    Args:
        folder: Folder of the export, which may be missing.
        index: Index of the export, which has its name.
        sizes: File that will be written -> number of bytes that it takes, or takes at most; 0 for a link.

    Raises:
        AcdcError: There is too little space on the disk.
    """
    total = sum(sizes.values())
    logger.info("%s: %d files, %.2f GiB, in %s", index.stem, len(sizes), total / GIB, folder, extra=ON_SCREEN)

    # Files of an earlier export are replaced one by one, so what they take is free again for the new ones.
    needed = total - sum(map(_own_bytes, sizes))
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise AcdcError(
            f"{folder}: {index.stem} needs {needed / GIB:.2f} GiB, and the disk has {free / GIB:.2f} GiB free; make "
            "space there, or set another folder as output in config.yaml, and run the same command again"
        )


def _own_bytes(path: Path) -> int:
    """Return the number of bytes that become free when a file is replaced; 0 for links and for what does not exist."""
    if path.is_symlink() or not path.exists():
        return 0
    status = path.stat()
    return status.st_size if status.st_nlink == 1 else 0

"""Ways to damage a file that the workflow made. Each function takes the file, and another one that may replace it."""

import os
from collections.abc import Callable
from pathlib import Path


def overwrite(path: Path, _: Path) -> None:
    """Overwrite part of a file in place, as a faulty program or disk does; all hard links share the damage."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0damage\0"[: max(1, path.stat().st_size // 4)])


def truncate(path: Path, _: Path) -> None:
    """Cut off the second half of a file."""
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path, _: Path) -> None:
    """Remove the content of a file."""
    path.chmod(0o644)
    os.truncate(path, 0)


def delete(path: Path, _: Path) -> None:
    """Remove one name of a file."""
    path.unlink()


def replace(path: Path, other: Path) -> None:
    """Give a file the content and the time of another file, such as a neighbor."""
    content = other.read_bytes()
    status = other.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


HARMS: dict[str, Callable[[Path, Path], None]] = {
    "overwritten": overwrite,
    "truncated": truncate,
    "emptied": empty,
    "deleted": delete,
    "replaced": replace,
}

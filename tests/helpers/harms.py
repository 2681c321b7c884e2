"""What can happen to a file that a workflow made."""

import os
from collections.abc import Callable
from pathlib import Path


def overwrite(path: Path, _: Path) -> None:
    """In place and at equal size, as a program or a disk does that damages it; every name shares the damage."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0damage\0"[: max(1, path.stat().st_size // 4)])


def truncate(path: Path, _: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path, _: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 0)


def delete(path: Path, _: Path) -> None:
    path.unlink()


def replace(path: Path, other: Path) -> None:
    """By another file, such as a neighbour's, whose content and time it gets."""
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

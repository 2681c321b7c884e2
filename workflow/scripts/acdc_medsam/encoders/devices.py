"""Resources of a job that encodes: threads, memory, and a device that no other job on the machine uses meanwhile."""

import ctypes
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from acdc_medsam.errors import AcdcError, ConfigError

logger = logging.getLogger(__name__)

LOCK_FOLDERS = 100
"""Number of names that are tried for the folder of locks."""

POLL_SECONDS = 1.0
"""Seconds between two attempts to get a lock."""

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8
"""These three are names of settings in glibc's malloc.h."""


def set_threads(threads: int) -> int:
    """Set the number of threads of torch, at most the number of processors of this process, and return it."""
    # Threads without a processor of their own keep the others waiting: 16 on two processors take 50 % longer.
    threads = min(threads, len(os.sched_getaffinity(0)))
    torch.set_num_threads(threads)
    return threads


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next layer, in all threads.

    By default, it returns large blocks to the system, which then has to clear them page by page for the next layer.
    That takes 8 % of the time with ``lite_medsam``.
    """
    # Only glibc has these settings, see mallopt(3).
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # Never map blocks separately, never shrink the heap, and share one heap among all threads.
        for setting, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1)):
            mallopt(setting, value)


def describe_device(device: torch.device) -> str:
    """Describe a device for the log: ``cpu``, or ``cuda:0 (NVIDIA H100, PyTorch 2.11.0)``."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} ({torch.cuda.get_device_name(device)}, PyTorch {torch.__version__})"


@contextmanager
def claimed_device(name: str) -> Iterator[torch.device]:
    """Choose a device. No other job of this user on this machine gets the same GPU during the ``with`` block.

    Args:
        name: ``cpu``; ``cuda`` for any free GPU, waiting for one if necessary; ``auto`` for the same, or the CPU if
            there is no GPU; ``cuda:1`` for a certain GPU, counted among those in CUDA_VISIBLE_DEVICES.

    Yields:
        The device.

    Raises:
        ConfigError: There is no such device.
    """
    gpus = torch.cuda.device_count() if name != "cpu" else 0
    if name == "cpu" or (name == "auto" and not gpus):
        yield torch.device("cpu")
        return

    wanted = [int(name.removeprefix("cuda:"))] if ":" in name else list(range(gpus))
    if not wanted or max(wanted) >= gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        among = "" if visible is None else f" among CUDA_VISIBLE_DEVICES={visible}"
        raise ConfigError(f"encoder.device: {name}, but PyTorch {torch.__version__} sees {gpus} GPUs{among}")

    # Locks are named by serial number, because the first GPU of one job may be the second one of another.
    names = [f"gpu-{torch.cuda.get_device_properties(gpu).uuid}" for gpu in wanted]
    with claimed(names, lock_folder(Path(tempfile.gettempdir()))) as index:
        yield torch.device("cuda", wanted[index])


def lock_folder(parent: Path) -> Path:
    """Find or make the folder in which all jobs of this user on this machine keep their locks.

    In a folder that everybody can write to, another user may have taken any name for a folder or a link. The first name
    that belongs to a private folder of this user is therefore used, and a folder is made only if there is none.

    Args:
        parent: Folder for temporary files.

    Returns:
        The folder of locks.

    Raises:
        AcdcError: All names are taken.
        OSError: No folder can be made in ``parent``.
    """
    name = f"acdc-medsam-{os.getuid()}"
    folders = [parent / name, *(parent / f"{name}-{number}" for number in range(1, LOCK_FOLDERS))]
    for folder in folders:
        if _is_private(folder):
            return folder

    for folder in folders:
        # Another job of this user may make the folder at the same time.
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if _is_private(folder):
            return folder
    raise AcdcError(
        f"{parent}: all names from {name} to {name}-{LOCK_FOLDERS - 1} are taken, so no locks of GPUs can be kept "
        "there; remove those of your own, or set TMPDIR to another folder, the same for all jobs"
    )


def _is_private(folder: Path) -> bool:
    """Whether a path is a folder, not a link, that belongs to this user and that nobody else can enter."""
    try:
        facts = os.lstat(folder)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and facts.st_mode & 0o777 == 0o700


@contextmanager
def claimed(names: Sequence[str], folder: Path) -> Iterator[int]:
    """Hold one of several locks, waiting while other jobs hold all of them.

    The operating system releases the lock of a process that ends.

    Args:
        names: Names of the locks, in order of preference.
        folder: Folder of the lock files, the same for all jobs that compete.

    Yields:
        Index in ``names`` of the lock that is held.
    """
    locks = [FileLock(folder / f"{name}.lock") for name in names]
    waiting = False
    while True:
        for index, lock in enumerate(locks):
            # None of the locks is waited for, because any of the others may become free first.
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield index
            finally:
                lock.release()
            return
        if not waiting:
            logger.warning("waiting for %s, which other jobs hold", " or ".join(names))
        waiting = True
        time.sleep(POLL_SECONDS)

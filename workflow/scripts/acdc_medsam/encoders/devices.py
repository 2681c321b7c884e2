"""Where a job computes: its threads, its memory, and the device that no other job on the machine takes meanwhile."""

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
"""Names that are tried for the folder of locks."""

POLL_SECONDS = 1.0

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Settings of glibc's malloc.h."""


def set_threads(threads: int) -> int:
    """Have torch compute with so many threads, but no more than this process has processors; return how many.

    Threads without a processor of their own keep the other ones waiting: 16 on two processors take half as long again.
    """
    threads = min(threads, len(os.sched_getaffinity(0)))
    torch.set_num_threads(threads)
    return threads


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next layer, for all threads alike.

    By default it gives large blocks back to the system, which then has to clear them page by page when the next layer
    asks for them: 8 % of the time with ``lite_medsam``. Only glibc has these settings, see mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1)):
            mallopt(setting, value)


def describe_device(device: torch.device) -> str:
    """Name a device for the log: ``cpu``, or ``cuda:0 (NVIDIA H100, PyTorch 2.11.0)``."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} ({torch.cuda.get_device_name(device)}, PyTorch {torch.__version__})"


@contextmanager
def claimed_device(name: str) -> Iterator[torch.device]:
    """Choose a device; a GPU is this job's alone, among the jobs of this user on this machine, in the ``with`` block.

    Args:
        name: ``auto`` takes a GPU where there is one, else the CPU; ``cpu``; ``cuda`` takes any GPU that is free and
            waits for one where none is; ``cuda:1`` takes that one. Numbers count what CUDA_VISIBLE_DEVICES leaves.

    Raises:
        ConfigError: there is no such device.
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
    # Named by its serial number, because what a job counts as its first GPU is another one in another job.
    names = [f"gpu-{torch.cuda.get_device_properties(gpu).uuid}" for gpu in wanted]
    with claimed(names, lock_folder(Path(tempfile.gettempdir()))) as position:
        yield torch.device("cuda", wanted[position])


def lock_folder(parent: Path) -> Path:
    """Find or make the folder that all jobs of this user on this machine keep their locks in.

    In a folder that everybody may write to, another user may have taken any name, with a folder or with a link to
    somewhere. The first name that stands for a private folder of this user is therefore taken, and one is made only
    where there is none.

    Args:
        parent: Folder for temporary files.

    Raises:
        AcdcError: All names are taken.
        OSError: Nothing can be made in ``parent``.
    """
    name = f"acdc-medsam-{os.getuid()}"
    folders = [parent / name, *(parent / f"{name}-{number}" for number in range(1, LOCK_FOLDERS))]
    for folder in folders:
        if _is_private(folder):
            return folder

    for folder in folders:
        # Another job of this user may make it at the same time.
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if _is_private(folder):
            return folder
    raise AcdcError(
        f"{parent}: all names from {name} to {name}-{LOCK_FOLDERS - 1} are taken, so no locks of GPUs can be kept "
        "there; remove those of your own, or set TMPDIR to another folder, the same for all jobs"
    )


def _is_private(folder: Path) -> bool:
    """Whether this is a folder, and no link to one, of this user's own, which nobody else may enter."""
    try:
        facts = os.lstat(folder)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and facts.st_mode & 0o777 == 0o700


@contextmanager
def claimed(names: Sequence[str], folder: Path) -> Iterator[int]:
    """Hold one of several things that each can have one holder; wait while others hold them all.

    Args:
        names: what the things are called, in order of preference.
        folder: the folder of the locks, the same for all who compete; one file per thing, locked by the job that
            holds it. The system drops a lock with the process that holds it.

    Yields:
        Position in ``names`` of the one that is held.
    """
    locks = [FileLock(folder / f"{name}.lock") for name in names]
    waiting = False
    while True:
        for position, lock in enumerate(locks):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield position
            finally:
                lock.release()
            return
        if not waiting:
            logger.warning("waiting for %s, which other jobs hold", " or ".join(names))
        waiting = True
        time.sleep(POLL_SECONDS)

"""What a run says and tidies up before its first job, and what it says after the last one."""

import atexit
import gc
import logging
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.errors import AcdcError, describe_os_error
from acdc_medsam.runtime.jobs import ON_SCREEN
from acdc_medsam.runtime.repairs import Repairs
from acdc_medsam.runtime.run_lock import RunLock, remove_temporary_files

STOPPING = {"stopping": True}
"""``extra`` of the log record that says that the user has stopped the run."""

EMBEDDING_MIB = 4
"""Size of an embedding on disk."""

OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Number of new objects after which Python looks for garbage; its default is 700."""


def collect_garbage_rarely() -> None:
    """Let this process look for garbage rarely, and no more when it ends.

    Snakemake's modules and its graph of jobs are some hundred thousand objects that stay until the end. Looking through
    them takes a quarter of the CPU time of a run that has nothing to do, most of that when the process ends.
    """
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def describe_run(kind: str, patients: int, slices: int, batches: int, encoder: str) -> str:
    """Say in one line what is about to be made.

    Args:
        kind: What the raw folder holds, such as ``NIfTI files``.
        patients: Number of patients.
        slices: Number of slices of all patients.
        batches: Number of batches that patients are embedded in.
        encoder: Name of the encoder, or ``none``.
    """
    jobs = 2 * patients + batches + 9
    disk = f"up to {slices * EMBEDDING_MIB / 1024:.1f} GiB of embeddings by {encoder}"
    return (
        f"ACDC to MedSAM, from {kind}: {patients} patients, {2 * patients} volumes, {slices} slices; "
        f"at most {jobs} jobs; {'no embeddings' if encoder == 'none' else disk}"
    )


def describe_result(manifest: Path, report: Path) -> str | None:
    """Say where the dataset is, or return None as long as it is not complete."""
    if not (manifest.exists() and report.exists()):
        return None
    slices = len(manifest.read_text().splitlines()) - 1
    return f"{slices} slices in {manifest.parent}; report: {report}"


def claim_output(lock: RunLock, repairs: Repairs, folders: Sequence[Path], logger: logging.Logger) -> None:
    """Take the output folder for this run, remove what is damaged, and tidy up after a run that was killed.

    Args:
        lock: Lock of the output folder; it is held when this function returns.
        repairs: What was found damaged when the run was planned.
        folders: Folders in which the workflow writes files.
        logger: Logger that shows messages on the screen.

    Raises:
        AcdcError: Another run holds the lock, or the output folder cannot be written to.
    """
    try:
        lock.hold()
        repairs.remove()
        removed = remove_temporary_files(folders) if lock.after_failure else 0
    except OSError as error:
        raise AcdcError(describe_os_error(error)) from error
    if removed:
        logger.info(f"removed {removed} files that an earlier run left half-written", extra=ON_SCREEN)


def release_output(lock: RunLock, manifest: Path, report: Path, logger: logging.Logger) -> None:
    """Say where the dataset is, if it is complete, and release the output folder after a run that succeeded.

    Args:
        lock: Lock of the output folder.
        manifest: Manifest of the dataset.
        report: Report of the dataset.
        logger: Logger that shows messages on the screen.
    """
    result = describe_result(manifest, report)
    if result:
        logger.info(result, extra=ON_SCREEN)
    lock.end()

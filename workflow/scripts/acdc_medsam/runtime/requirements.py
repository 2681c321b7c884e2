"""What must be so before a run starts; each function raises an error that says what to do where it is not."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from acdc_medsam.errors import CheckpointError, CohortError, ConfigError

CLOCK_SECONDS = 60
"""How far the clocks of two machines may differ."""


def require_patients(raw: Path, usable: Collection[str], problems: Sequence[str], on_invalid: str) -> None:
    """Refuse a cohort without usable patients, or one with invalid patients unless these are to be left out.

    Args:
        raw: Folder of the raw data.
        usable: Names of the patients that can be used.
        problems: What is wrong with the other ones, one line for each defect.
        on_invalid: ``stop`` or ``exclude``, as configured.

    Raises:
        CohortError: The cohort cannot be used as it is.
    """
    if problems and on_invalid == "stop":
        raise CohortError(
            "Mend these patients, list them under 'exclude', or set 'on_invalid: exclude' in config.yaml:\n"
            + "\n".join(problems)
        )
    if not usable:
        raise CohortError(f"no patient in {raw} can be used:\n" + "\n".join(problems))


def require_patient(name: str, usable: Collection[str], raw: Path) -> None:
    """Refuse a file of a patient that is not part of the dataset, when it is asked for on the command line.

    Args:
        name: Name of the patient.
        usable: Names of the patients that can be used.
        raw: Folder of the raw data.

    Raises:
        CohortError: The patient is not among those that can be used.
    """
    if name not in usable:
        raise CohortError(f"{name} is not in {raw}, or is left out")


def require_past_times(sources: Iterable[Path]) -> None:
    """Refuse raw files from the future.

    Snakemake would take what is made from them for older than they are, and fail after each job.

    Args:
        sources: Raw files; those that do not exist are passed over.

    Raises:
        CohortError: A file was changed in the future, by this machine's clock.
    """
    limit = time.time() + CLOCK_SECONDS
    late = [path for path in sources if path.exists() and path.stat().st_mtime > limit]
    if late:
        raise CohortError(
            f"{late[0]} and {len(late) - 1} other raw files were changed in the future, by this machine's clock.\n"
            "Set the clock right, or `touch` these files, and run the same command again."
        )


def require_libraries(work: str, *libraries: str) -> None:
    """Refuse work that needs optional libraries where one of these is not installed.

    Args:
        work: The work, with which the message begins.
        libraries: Names under which they are imported.

    Raises:
        ConfigError: A library is missing; the message says how to install it.
    """
    # Importing them would take seconds.
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        packages = " ".join(missing).replace("_", "-")
        raise ConfigError(f"{work} needs {' and '.join(missing)}: pip install {packages}")


def require_usable_weights(encoder: str, checkpoint: Path, sha256: str) -> None:
    """Refuse a checkpoint that cannot be used.

    It is loaded in a process of its own, because importing torch here would take memory for the whole run. Where only
    the jobs' environment has torch, the first job that reads the checkpoint says what is wrong with it.

    Args:
        encoder: Name of the encoder.
        checkpoint: File of the weights; nothing is checked if it does not exist, as before a download.
        sha256: Hex sha256 that the file must have; empty for any.

    Raises:
        CheckpointError: The checkpoint does not fit the encoder or is not the file that is configured.
    """
    if not checkpoint.exists() or importlib.util.find_spec("torch") is None:
        return
    command = [sys.executable, "-m", "acdc_medsam", "weights", encoder, str(checkpoint)]
    command += ["--sha256", sha256] if sha256 else []
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
    if process.returncode and process.stdout:
        raise CheckpointError(process.stdout.strip())


def require_checkpoint(encoder: str, checkpoint: Path, url: str, published_at: str) -> None:
    """Refuse a run that needs weights where there are none and none can be downloaded.

    Args:
        encoder: Name of the encoder, or ``none``.
        checkpoint: File of the weights.
        url: Address that they are downloaded from; empty for no download.
        published_at: Where a user can get the weights.

    Raises:
        ConfigError: The dataset is configured to have no embeddings.
        CheckpointError: The file is missing.
    """
    if encoder == "none":
        raise ConfigError("training needs embeddings: set encoder.name in config.yaml to something else than none")
    if not checkpoint.is_file() and not url:
        raise CheckpointError(
            f"no checkpoint for {encoder}: looked for {checkpoint}. Get it from {published_at},\n"
            f"by `acdc-medsam weights {encoder}` or by hand, or set encoder.checkpoint or encoder.url in config.yaml.\n"
            "The targets 'images' and 'slices' need no checkpoint, and 'encoder: {name: none}' makes the whole "
            "dataset without embeddings."
        )

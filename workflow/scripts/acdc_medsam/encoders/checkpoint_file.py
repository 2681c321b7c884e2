"""Check that the file of a checkpoint exists, can be read, and is the configured one. Needs no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from acdc_medsam.encoders.registry import EncoderSpec
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import sha256_file
from acdc_medsam.runtime.outside import require_announced

T = TypeVar("T")


def require_file(checkpoint: Path, spec: EncoderSpec) -> None:
    """Check that a checkpoint exists.

    Raises:
        CheckpointError: There is no such file; the message says where to get the weights.
    """
    if not checkpoint.is_file():
        what = "is not a file" if checkpoint.exists() else "is missing"
        raise CheckpointError(
            f"{checkpoint} {what}: the weights of {spec.name} are published at {spec.published_at}; "
            "put them there, or set encoder.checkpoint to where they are"
        )


def checked_sha256(checkpoint: Path, spec: EncoderSpec, expected: str | None, announced: str | None = None) -> str:
    """Compute the hex sha256 of a checkpoint, and check that it is the expected one.

    Args:
        checkpoint: File of weights.
        spec: The encoder that the weights are for.
        expected: Configured hex sha256 of the file; None accepts any.
        announced: Hex sha256 of the file when the run was planned; None accepts any.

    Raises:
        CheckpointError: The file is missing or unreadable, or its sha256 differs from ``expected``.
        DatasetError: Its sha256 differs from ``announced``.
    """
    require_file(checkpoint, spec)
    actual = call_reader(checkpoint, sha256_file)
    if expected is not None and actual != expected.lower():
        raise CheckpointError(
            f"{checkpoint} is not the file that is configured: its sha256 is {actual}, encoder.sha256 says {expected}; "
            f"get the file again ({spec.published_at}), or correct encoder.sha256"
        )
    require_announced(checkpoint, actual, announced)
    return actual


def call_reader(checkpoint: Path, read: Callable[[Path], T]) -> T:
    """Return ``read(checkpoint)``; an OSError becomes a CheckpointError that names the file."""
    try:
        return read(checkpoint)
    except OSError as error:
        raise CheckpointError(f"{checkpoint} cannot be read: {error.strerror or error}; correct that first") from error

"""Which checkpoint the embeddings of a dataset were made with: their fingerprint says."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

from acdc_medsam.encoders.model import PRECISIONS
from acdc_medsam.encoders.registry import DEVICES, ENCODERS, fingerprint
from acdc_medsam.errors import CheckpointError, DatasetError
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.layout import MANIFEST


def fingerprints(data: Path) -> set[str]:
    """Fingerprints of the encoders that made a dataset's embeddings.

    Raises:
        DatasetError: there are no embeddings.
    """
    used = {row["encoder"] for row in read_table(data / MANIFEST)} - {""}
    if not used:
        raise DatasetError(f"{data / MANIFEST} names no embeddings; set encoder.name and run the workflow again")
    return used


def encoder_of(data: Path, checkpoint: Path) -> tuple[str, str]:
    """Find out which encoder made the dataset's embeddings with the weights in ``checkpoint``.

    Returns:
        The encoder's name, and the precision that it computed in, one of PRECISIONS.

    Raises:
        CheckpointError: The embeddings were made by other weights.
        DatasetError: There are no embeddings.
    """
    used = fingerprints(data)
    if not checkpoint.is_file():
        raise CheckpointError(
            f"{checkpoint} is missing: give the checkpoint that the embeddings of {data} were made with"
        )
    weights = sha256_file(checkpoint)
    for name, precision in product(ENCODERS, PRECISIONS):
        # A dataset that was made on several machines may hold embeddings of both kinds of device.
        if used <= {fingerprint(name, weights, precision, device) for device in DEVICES}:
            return name, precision
    raise CheckpointError(
        f"{checkpoint} did not make the embeddings of {data}: embeddings and decoder must be of one model; "
        "give the checkpoint that the dataset was made with, or run the workflow again with this one"
    )


def find_checkpoint(data: Path, candidates: Iterable[Path]) -> Path:
    """The one of some checkpoints that made the dataset's embeddings.

    Raises:
        CheckpointError: none did.
        DatasetError: there are no embeddings.
    """
    fingerprints(data)
    tried = list(candidates)
    for checkpoint in tried:
        try:
            encoder_of(data, checkpoint)
        except CheckpointError:
            continue
        return checkpoint
    names = ", ".join(map(str, tried)) or "no file in checkpoints/"
    raise CheckpointError(f"looked at {names}: none made the embeddings of {data}; name it with --checkpoint")

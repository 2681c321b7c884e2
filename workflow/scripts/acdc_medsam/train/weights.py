"""Identify the checkpoint that a dataset's embeddings were made with, by the fingerprint in its manifest."""

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from acdc_medsam.encoders.registry import DEVICES, ENCODERS, PRECISIONS, fingerprint
from acdc_medsam.errors import CheckpointError, DatasetError
from acdc_medsam.formats.files import read_table, sha256_file
from acdc_medsam.formats.png import read_gray
from acdc_medsam.layout import MANIFEST, PROVENANCE


def read_fingerprints(data: Path) -> set[str]:
    """Read the fingerprints of the encoders that made a dataset's embeddings.

    Args:
        data: The folder of the dataset.

    Raises:
        DatasetError: The dataset has no embeddings.
    """
    fingerprints = {row["encoder"] for row in read_table(data / MANIFEST)} - {""}
    if not fingerprints:
        raise DatasetError(f"{data / MANIFEST} names no embeddings; set encoder.name and run the workflow again")
    return fingerprints


def identify_encoder(data: Path, checkpoint: Path) -> tuple[str, str]:
    """Identify the encoder that made a dataset's embeddings with the weights in ``checkpoint``.

    Args:
        data: The folder of the dataset.
        checkpoint: The released weights.

    Returns:
        The encoder's name, and the precision that it computed in, one of PRECISIONS.

    Raises:
        CheckpointError: The file is missing, or other weights made the embeddings.
        DatasetError: The dataset has no embeddings.
    """
    fingerprints = read_fingerprints(data)
    if not checkpoint.is_file():
        raise CheckpointError(
            f"{checkpoint} is missing: give the checkpoint that the embeddings of {data} were made with"
        )

    weights = sha256_file(checkpoint)
    for name, precision in product(ENCODERS, PRECISIONS):
        # A dataset that was made on several machines may hold embeddings of both kinds of device.
        if fingerprints <= {fingerprint(name, weights, precision, device) for device in DEVICES}:
            return name, precision
    raise CheckpointError(
        f"{checkpoint} did not make the embeddings of {data}: embeddings and decoder must come from the same model; "
        "give the checkpoint that the dataset was made with, or run the workflow again with this one"
    )


def find_checkpoint(data: Path, candidates: Iterable[Path]) -> Path:
    """Find the checkpoint that made a dataset's embeddings.

    Args:
        data: The folder of the dataset.
        candidates: The checkpoints to try.

    Raises:
        CheckpointError: None of the candidates made the embeddings.
        DatasetError: The dataset has no embeddings.
    """
    # Without embeddings, no candidate can be the right one, and the message must say so.
    read_fingerprints(data)
    tried = list(candidates)
    for checkpoint in tried:
        try:
            identify_encoder(data, checkpoint)
        except CheckpointError:
            continue
        return checkpoint

    names = ", ".join(map(str, tried)) or "no file in checkpoints/"
    raise CheckpointError(
        f"no checkpoint that made the embeddings of {data} was found (looked at {names}); name it with --checkpoint"
    )


def describe_images(data: Path, encoder: str, precision: str, percentile: float | None) -> dict[str, Any]:
    """Describe how a dataset's images were made and encoded, as another scan must be for a model trained on them.

    Args:
        data: The folder of the dataset.
        encoder: Name of the encoder.
        precision: Arithmetic of the encoder.
        percentile: Percentile at which intensities were clipped; None to take it from ``provenance.json``.

    Returns:
        The ``encoder``, its ``precision``, the ``image_size`` in pixels, and the ``percentile``; None if it is unknown.
    """
    row = read_table(data / MANIFEST)[0]
    image = read_gray(data / row["split"] / "images" / f"{row['slice']}.png")
    return {
        "encoder": encoder,
        "precision": precision,
        "image_size": len(image),
        "percentile": _read_percentile(data) if percentile is None else percentile,
    }


def _read_percentile(data: Path) -> float | None:
    try:
        percentile: float = json.loads((data / PROVENANCE).read_bytes())["configuration"]["normalize"]["percentile"]
    # A copy may be without this file, or have that of another version.
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return percentile

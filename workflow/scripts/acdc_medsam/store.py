"""The store of embeddings: files named by the content of the image and by the encoder, so that none is made twice."""

import hashlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acdc_medsam.files import read_table, write_bytes

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

EMBEDDING_SHAPE = (256, 64, 64)
EMBEDDING_COLUMNS = ("slice", "digest", "encoder")
"""Further columns of the index of a batch of embeddings."""

WEIGHTS_NOTE = "sha256 of the weights: "
"""Begins the remark of such an index that says which weights the embeddings were made with."""


def embedding_digest(encoder: str, pixels_sha256: str) -> str:
    """Name of an embedding: hex sha256 over the encoder's fingerprint and the sha256 of the image's pixels."""
    return hashlib.sha256(f"{encoder} {pixels_sha256}".encode()).hexdigest()


def store_path(store: Path, digest: str) -> Path:
    """Where the store keeps an embedding; two hexadecimal digits of folders keep folders small."""
    return store / digest[:2] / f"{digest}.pt"


def save_tensor(tensor: "torch.Tensor", path: Path) -> str:
    """Save one tensor as a contiguous CPU tensor of its own storage, whole or not at all; return its sha256.

    A view of a batch would take the whole batch's storage into the file, and saving by path would write the
    temporary file's name into it.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(tensor.detach().to("cpu", torch.float32).contiguous().clone(), buffer)
    write_bytes(path, buffer.getvalue(), read_only=True)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def prune_store(tables: Sequence[Path]) -> int:
    """Remove embeddings that no table names, and tables of the same encoder that are no longer in use.

    Args:
        tables: the tables in use, all of one encoder; ``store/`` lies beside their folder.

    Returns:
        Number of embeddings removed.
    """
    tables_of_encoder = {table.parent for table in tables}
    for stale in {path for folder in tables_of_encoder for path in folder.glob("*.tsv")} - set(tables):
        stale.unlink()
    removed = 0
    for folder in {folder.parent for folder in tables_of_encoder}:
        named = {Path(row["file"]).name for table in folder.glob("*/*.tsv") for row in read_table(table)}
        for file in folder.glob("store/*/*"):
            if file.name not in named:
                file.unlink()
                removed += 1
    logger.warning("removed %d embeddings that no table names", removed)
    return removed

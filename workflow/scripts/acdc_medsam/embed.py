"""Stage embed: PNG images -> image embeddings, in a store of files named by content.

In: the tables of slices of one batch of patients. Out: a table that says which slice has which embedding. Only
what the store lacks is encoded, so no picture is encoded twice, whatever is renamed, split or batched anew.
"""

import hashlib
import io
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.registry import ENCODERS, fingerprint
from acdc_medsam.errors import DatasetError
from acdc_medsam.files import index_row, read_table, write_bytes, write_index

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

EMBEDDING_SHAPE = (256, 64, 64)
EMBEDDING_COLUMNS = ("slice", "digest", "encoder")


@dataclass(frozen=True)
class EncoderOptions:
    """How to encode: the keys of ``encoder`` in config.yaml that the numbers and their speed depend on."""

    name: str
    checkpoint: Path
    sha256: str | None
    precision: str
    batch_size: int | str
    device: str
    threads: int


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


def read_gray(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit grayscale PNG as (H, W) uint8.

    Raises:
        DatasetError: it cannot be read, or is not 8-bit gray.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != "L":
                raise DatasetError(f"{path}: mode {image.mode} instead of 8-bit grayscale")
            return np.asarray(image)
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable PNG ({error}); delete it and run the workflow again") from error


def embed_batch(tables: Sequence[Path], table: Path, store: Path, options: EncoderOptions) -> None:
    """Encode the slices of a batch of patients that the store lacks and write the batch's table.

    Args:
        tables: the patients' tables of slices, each beside its ``images/``.
        table: declared output, an index of embeddings with the further columns EMBEDDING_COLUMNS.
        store: folder of all embeddings.
        options: the encoder.

    Raises:
        CheckpointError, DatasetError: what is wrong, with the file's name.
    """
    weights = checked_sha256(options.checkpoint, ENCODERS[options.name], options.sha256)
    encoder = fingerprint(options.name, weights, options.precision)
    images, digests = dict[str, Path](), dict[str, str]()
    for path in tables:
        for row in read_table(path):
            digests[row["slice"]] = embedding_digest(encoder, row["pixels_sha256"])
            images[digests[row["slice"]]] = path.parent / "images" / f"{row['slice']}.png"
    missing = {key: image for key, image in images.items() if not store_path(store, key).is_file()}
    started = time.monotonic()
    known = encode_missing(missing, store, options) if missing else {}
    seconds = time.monotonic() - started
    rows = [
        index_row(store_path(store, key), table, known.get(key), slice=name, digest=key, encoder=encoder)
        for name, key in digests.items()
    ]
    write_index(table, rows, EMBEDDING_COLUMNS)
    logger.info("encoded %d, kept %d, in %.1f s", len(missing), len(images) - len(missing), seconds)


def encode_missing(images: Mapping[str, Path], store: Path, options: EncoderOptions) -> dict[str, str]:
    """Encode images into the store.

    Args:
        images: digest -> PNG file.
        store: folder of all embeddings.
        options: the encoder.

    Returns:
        digest -> sha256 of the embedding's file.
    """
    # Imported here because a batch whose embeddings are all there needs no torch, which takes 2 s to import.
    import torch

    from acdc_medsam.encoders import encode_images, load_model

    torch.set_num_threads(options.threads)
    device = select_device(options.device)
    model = load_model(options.name, options.checkpoint).to(device)
    size = choose_batch_size(options.batch_size, device)
    sums = {}
    for digests in _chunks(list(images), size):
        pixels = torch.from_numpy(np.stack([read_gray(images[digest]) for digest in digests])).to(device)
        embeddings = encode_images(model, pixels, ENCODERS[options.name], options.precision)
        for digest, embedding in zip(digests, embeddings.cpu(), strict=True):
            sums[digest] = save_tensor(embedding, store_path(store, digest))
        logger.info("%d of %d slices encoded", len(sums), len(images))
    return sums


def select_device(name: str) -> "torch.device":
    """``auto`` takes the first CUDA device where there is one, else the CPU."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_batch_size(batch_size: int | str, device: "torch.device") -> int:
    """``auto`` is 1 on a CPU, where it is as fast as any and its result does not depend on its neighbours."""
    if isinstance(batch_size, int):
        return batch_size
    return 1 if device.type == "cpu" else 8


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


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

"""Stage embed: PNG images -> image embeddings, in a store of files named by content.

Input: the tables of slices of one batch of patients. Output: a table that assigns an embedding to each slice. Only
images that the store lacks are encoded, so that no image is encoded twice, even if slices are renamed, or split and
batched in another way.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.registry import DEVICES, ENCODERS
from acdc_medsam.encoders.store import EMBEDDING_COLUMNS, Maker, Store, embedding_digest, maker_name, store_path
from acdc_medsam.formats.files import read_sealed
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.kept import Kept, find_kept
from acdc_medsam.formats.png import GrayFile
from acdc_medsam.layout import PNG_IMAGE_SHA256
from acdc_medsam.runtime.jobs import ON_SCREEN

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderOptions:
    """Options of encoding: keys of ``encoder`` in config.yaml, and facts about the run.

    Attributes:
        name: Name of the encoder.
        checkpoint: File with the encoder's weights.
        sha256: Configured hex sha256 of the weights; None accepts any.
        announced: Hex sha256 of the weights when the run was planned; None accepts any.
        precision: Arithmetic of the encoder.
        batch_size: Number of images encoded at a time, or ``auto``.
        device: Device to encode on, see :func:`acdc_medsam.encoders.devices.claimed_device`.
        threads: Number of threads.
        code: Hash of the modules that encode.
    """

    name: str
    checkpoint: Path
    sha256: str | None
    announced: str | None
    precision: str
    batch_size: int | str
    device: str
    threads: int
    code: str


def embed_batch(tables: Sequence[Path], table: Path, store: Path, options: EncoderOptions) -> None:
    """Encode the slices of a batch of patients that the store lacks, and write the batch's table.

    Args:
        tables: The patients' tables of slices, each beside its ``images/``.
        table: Declared output, an index of embeddings with the additional columns EMBEDDING_COLUMNS.
        store: Folder of all embeddings.
        options: Options of encoding.

    Raises:
        CheckpointError: The weights are missing, not the configured ones, or of another architecture.
        DatasetError: An image or the checkpoint has changed since the run was planned.
    """
    pixels_by_slice = dict[str, str]()
    images = dict[str, GrayFile]()
    for path in tables:
        for row in read_sealed(path):
            pixels_by_slice[row["slice"]] = row["pixels_sha256"]
            # Slices with equal pixels share one embedding.
            images[row["pixels_sha256"]] = GrayFile(path.parent / f"images/{row['slice']}.png", row[PNG_IMAGE_SHA256])

    started = time.monotonic()
    maker, embeddings, encoded = find_or_encode(images, store, options)
    seconds = time.monotonic() - started

    rows = []
    for name, pixels in pixels_by_slice.items():
        kept = embeddings[pixels]
        facts = {"slice": name, "digest": kept.written.path.stem, "maker": maker_name(kept.facts)}
        rows.append(index_row(kept.written, table, encoder=maker.fingerprint, **facts))

    # Embeddings found in the store may have been made with other versions of the software.
    makers = {maker_name(kept.facts): kept.facts for kept in embeddings.values()}
    sources = {options.checkpoint.name: maker.weights}
    write_index(table, rows, EMBEDDING_COLUMNS, sources=sources, makers=makers)
    logger.info(
        "%s: encoded %d slices in %.1f s, kept %d",
        table.stem,
        encoded,
        seconds,
        len(images) - encoded,
        extra=ON_SCREEN,
    )


def find_or_encode(
    images: Mapping[str, GrayFile], store: Path, options: EncoderOptions
) -> tuple[Maker, dict[str, Kept], int]:
    """Find the embeddings of some images in the store, and encode the images that it lacks.

    All embeddings of a batch come from one kind of device: a complete batch in the store is used as it is, and an
    incomplete one is completed on the device of this machine.

    Args:
        images: Sha256 of the pixels -> image.
        store: Folder of all embeddings.
        options: Options of encoding.

    Returns:
        The maker of the embeddings; sha256 of the pixels -> embedding; the number of images that were encoded.
    """
    spec = ENCODERS[options.name]
    weights = checked_sha256(options.checkpoint, spec, options.sha256, options.announced)
    for kind in kinds_of_device(options.device):
        maker = Maker(options.name, weights, options.precision, kind, options.code)
        found = find_embeddings(images, store, maker)
        if len(found) == len(images):
            return maker, found, 0

    # A batch whose embeddings are all in the store needs no torch, which takes 2 s to import.
    from acdc_medsam.encoders import load_model, make_encoder
    from acdc_medsam.encoders.batches import encode_files
    from acdc_medsam.encoders.devices import claimed_device, set_threads

    threads = set_threads(options.threads)
    with claimed_device(options.device) as device:
        maker = Maker(options.name, weights, options.precision, device.type, options.code)
        # Only now is the kind of device known, of "auto" too, and with it the name of each embedding.
        found = find_embeddings(images, store, maker)
        digests = {embedding_digest(maker.fingerprint, pixels): pixels for pixels in images if pixels not in found}
        missing = {digest: images[pixels] for digest, pixels in digests.items()}

        model = load_model(options.name, options.checkpoint)
        encoder = make_encoder(model, spec, options.precision, device)
        encoded = encode_files(missing, Store(store, maker.facts()), encoder, options.batch_size, threads)
    return maker, found | {digests[digest]: kept for digest, kept in encoded.items()}, len(encoded)


def kinds_of_device(device: str) -> tuple[str, ...]:
    """Return the kinds of device whose embeddings may be used for ``encoder.device``, the preferred one first."""
    return tuple(reversed(DEVICES)) if device == "auto" else (device.partition(":")[0],)


def find_embeddings(images: Iterable[str], store: Path, maker: Maker) -> dict[str, Kept]:
    """Find the embeddings of images in the store.

    Args:
        images: Sha256 of the pixels of each image.
        store: Folder of all embeddings.
        maker: The maker that the embeddings must have.

    Returns:
        Sha256 of the pixels -> embedding, for the images whose embedding is intact.
    """
    encoder = maker.fingerprint
    found = {pixels: find_kept(store_path(store, embedding_digest(encoder, pixels))) for pixels in images}
    return {pixels: kept for pixels, kept in found.items() if kept is not None}

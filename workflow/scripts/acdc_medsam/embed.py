"""Stage embed: PNG images -> image embeddings, in a store of files named by content.

In: the tables of slices of one batch of patients. Out: a table that says which slice has which embedding. Only
what the store lacks is encoded, so no picture is encoded twice, whatever is renamed, split or batched anew.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.registry import ENCODERS, fingerprint
from acdc_medsam.files import index_row, read_table, sha256_file, write_index
from acdc_medsam.jobs import ON_SCREEN
from acdc_medsam.store import EMBEDDING_COLUMNS, embedding_digest, store_path

logger = logging.getLogger(__name__)


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
    paths = {digest: store_path(store, digest) for digest in images}
    missing = {digest: image for digest, image in images.items() if not paths[digest].is_file()}
    with ThreadPoolExecutor(options.threads) as pool:
        # Read while torch is imported, which takes 2 s and one thread.
        kept = {digest: pool.submit(sha256_file, path) for digest, path in paths.items() if digest not in missing}
        started = time.monotonic()
        sums = encode_missing(missing, store, options) if missing else {}
        seconds = time.monotonic() - started
    sums |= {digest: read.result() for digest, read in kept.items()}
    rows = [
        index_row(paths[digest], table, sums[digest], slice=name, digest=digest, encoder=encoder)
        for name, digest in digests.items()
    ]
    write_index(table, rows, EMBEDDING_COLUMNS, sources={options.checkpoint.name: weights})
    logger.info(
        "%s: encoded %d slices in %.1f s, kept %d", table.stem, len(missing), seconds, len(kept), extra=ON_SCREEN
    )


def encode_missing(images: Mapping[str, Path], store: Path, options: EncoderOptions) -> dict[str, str]:
    """Encode images, digest -> PNG file, into the store; return digest -> sha256 of the embedding's file."""
    # Imported here because a batch whose embeddings are all there needs no torch, which takes 2 s to import.
    from acdc_medsam.devices import claimed_device, set_threads
    from acdc_medsam.encode_files import encode_files
    from acdc_medsam.encoders import load_model, make_encoder

    threads = set_threads(options.threads)
    with claimed_device(options.device) as device:
        model = load_model(options.name, options.checkpoint)
        encoder = make_encoder(model, ENCODERS[options.name], options.precision, device)
        return encode_files(images, store, encoder, options.batch_size, threads)

"""Encode PNG files into the store, so that the device never waits for the disk.

On a CPU as many images as there are threads are encoded at the same time, each by one thread that reads, encodes and
writes it: threads that share one image wait for each other after each layer. A GPU takes batches, which other
threads read ahead of it and whose embeddings they write behind it. Either way the number of images held is bounded.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import psutil
import torch
from torch import Tensor

from acdc_medsam.encoders import Encoder
from acdc_medsam.encoders.devices import describe_device, keep_freed_memory
from acdc_medsam.encoders.model import is_out_of_memory
from acdc_medsam.encoders.store import Store
from acdc_medsam.errors import AcdcError
from acdc_medsam.formats.kept import Kept
from acdc_medsam.formats.png import GrayFile
from acdc_medsam.runtime.progress import Progress

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MEMORY_SHARE = 0.8
"""Share of the free memory that a batch may take."""

CPU_BYTES = 400 * 2**20
"""Memory that encoding one image on a CPU may take besides the weights: 190 MB (lite_medsam) to 350 MB (sam_vit_h)
were measured."""

LARGEST_BATCH = 16
"""Images in a batch on a GPU, at most: more are no faster."""


def encode_files(
    images: Mapping[str, GrayFile], store: Store, encoder: Encoder, batch_size: int | str, threads: int
) -> dict[str, Kept]:
    """Encode images into the store.

    Args:
        images: Digest of the embedding -> image; all images of the same size.
        store: The store that gets the embeddings.
        encoder: what encodes.
        batch_size: images encoded at a time, or ``auto`` for as many as are fast and fit into memory. When memory
            runs out the number is halved.
        threads: threads to use, and no more.

    Returns:
        Digest -> the embedding in the store.

    Raises:
        DatasetError: an image cannot be read.
        AcdcError: there is not enough memory for one image.
    """
    logger.info(
        "encoding with %s on %s, in %s, by %d threads",
        encoder.spec.name,
        describe_device(encoder.device),
        encoder.precision,
        threads,
    )
    encoded = dict[str, Kept]()
    size = fitting_size(encoder, threads) if batch_size == "auto" else int(batch_size)
    size = min(size, len(images), threads if encoder.device.type == "cpu" else len(images))
    progress = Progress(len(images), unit="slice")
    try:
        while len(encoded) < len(images):
            left = {digest: path for digest, path in images.items() if digest not in encoded}
            try:
                for digest, kept in _encoded(left, store, encoder, size, threads):
                    encoded[digest] = kept
                    progress.advance()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise AcdcError(
                        f"there is not enough memory on {encoder.device} to encode one image with {encoder.spec.name}: "
                        "stop other programs, or choose a smaller encoder or another encoder.device"
                    ) from error
                size //= 2
                logger.warning("out of memory: going on with %d images at a time", size)
    finally:
        progress.close()
    return encoded


def _encoded(
    images: Mapping[str, GrayFile], store: Store, encoder: Encoder, size: int, threads: int
) -> Iterator[tuple[str, Kept]]:
    """Encode ``size`` images at a time; yield digest and embedding of each when it is written."""
    if encoder.device.type == "cpu":
        yield from _encoded_on_cpu(images, store, encoder, size, threads)
    else:
        torch.cuda.empty_cache()
        yield from _encoded_in_batches(images, store, encoder, size, threads)


def _encoded_on_cpu(
    images: Mapping[str, GrayFile], store: Store, encoder: Encoder, size: int, threads: int
) -> Iterator[tuple[str, Kept]]:
    def read_encode_write(digest: str) -> tuple[str, Kept]:
        embedding = encoder.encode(torch.from_numpy(images[digest].read().copy()).unsqueeze(0))
        return digest, store.save(digest, embedding[0])

    keep_freed_memory()
    torch.set_num_threads(max(1, threads // size))
    with ThreadPoolExecutor(size) as pool:
        yield from map_ahead(pool, read_encode_write, images, 2 * size)


def _encoded_in_batches(
    images: Mapping[str, GrayFile], store: Store, encoder: Encoder, size: int, threads: int
) -> Iterator[tuple[str, Kept]]:
    def read(digests: Sequence[str]) -> tuple[Sequence[str], Tensor]:
        return digests, torch.from_numpy(np.stack([images[digest].read() for digest in digests])).pin_memory()

    def write(encoded: tuple[str, Tensor, torch.cuda.Event]) -> tuple[str, Kept]:
        digest, embedding, copied = encoded
        copied.synchronize()
        return digest, store.save(digest, embedding)

    def encode(batches: Iterable[tuple[Sequence[str], Tensor]]) -> Iterator[tuple[str, Tensor, torch.cuda.Event]]:
        for digests, pixels in batches:
            # Nothing here waits for the GPU: the copy back follows the batch, and its event says when it is done.
            embeddings = encoder.encode(pixels.to(encoder.device, non_blocking=True)).to("cpu", non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
            yield from ((digest, embeddings[place], copied) for place, digest in enumerate(digests))

    names = list(images)
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    with torch.cuda.device(encoder.device), ThreadPoolExecutor(threads) as pool:
        yield from map_ahead(pool, write, encode(map_ahead(pool, read, batches, 3)), 2 * size)


def map_ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Yield ``function`` of each item in order, computed by a pool; at most ``ahead`` are begun and not yet taken."""
    begun = deque[Future[R]]()
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) >= ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()


def fitting_size(encoder: Encoder, threads: int) -> int:
    """How many images to encode at a time: one per thread on a CPU, up to LARGEST_BATCH on a GPU, if they fit.

    On a GPU one image is encoded to see what it takes; where even that does not fit, the answer is 1.
    """
    if encoder.device.type == "cpu":
        free, each, most = psutil.virtual_memory().available, CPU_BYTES, threads
    else:
        most = LARGEST_BATCH
        try:
            each, free = _gpu_memory(encoder)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # One image is tried once more, with what the trial has freed.
            return 1
    return max(1, min(most, int(MEMORY_SHARE * free / each)))


def _gpu_memory(encoder: Encoder) -> tuple[int, int]:
    """Bytes that encoding one image takes, measured, and bytes that are free."""
    device = encoder.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    encoder.encode(torch.zeros(1, 1024, 1024, dtype=torch.uint8))
    each = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return each, free

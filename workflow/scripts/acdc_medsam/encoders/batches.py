"""Encode PNG files into the store without keeping the device waiting for the disk.

On a CPU, each thread reads, encodes and writes one image at a time, because threads that share an image wait for each
other after each layer. Threads share images only at the end, where fewer images than threads are left. A GPU takes
batches, while other threads read the next images and write earlier embeddings. In both cases the number of images in
memory is bounded.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

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
from acdc_medsam.formats.png import Gray, GrayFile
from acdc_medsam.runtime.progress import Progress

logger = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K")
R = TypeVar("R")

MEMORY_SHARE = 0.8
"""Fraction of the free memory that a batch may use."""

CPU_BYTES = 400 * 2**20
"""Memory for encoding one image on a CPU, besides the weights. Measured: 190 MB (lite_medsam) to 350 MB (sam_vit_h)."""

LARGEST_BATCH = 16
"""Largest number of images in a batch on a GPU; larger batches are no faster."""


class Image(Protocol):
    """An image that is read when it is its turn."""

    def read(self) -> Gray:
        """Return the gray values (S, S)."""
        ...


@dataclass(frozen=True)
class Work(Generic[K, R]):
    """What is done with each image.

    Attributes:
        encoder: The encoder.
        compute: Function from gray images (B, S, S) uint8 to results (B, ...) on the encoder's device.
        finish: Function that a thread calls with the name of an image and its result, on the CPU.
    """

    encoder: Encoder
    compute: Callable[[Tensor], Tensor]
    finish: Callable[[K, Tensor], R]


def encode_files(
    images: Mapping[str, GrayFile], store: Store, encoder: Encoder, batch_size: int | str, threads: int
) -> dict[str, Kept]:
    """Encode images into the store.

    Args:
        images: Digest of the embedding -> image. All images have the same size.
        store: Store to which the embeddings are added.
        encoder: The encoder.
        batch_size: Number of images encoded at a time, or ``auto``, see :class:`ImageWorker`.
        threads: Largest number of threads to use.

    Returns:
        Digest -> embedding in the store.

    Raises:
        DatasetError: An image cannot be read or has changed.
        AcdcError: There is not enough memory for one image.
    """
    worker = ImageWorker(Work(encoder, encoder.encode, store.save), batch_size, threads)
    with closing(Progress(len(images), unit="slice")) as progress:
        return worker.run(images, progress.advance)


class ImageWorker(Generic[K, R]):
    """Does some work with images, as many at a time as are fast and fit into memory."""

    def __init__(self, work: Work[K, R], batch_size: int | str, threads: int) -> None:
        """Find out how many images fit into memory.

        Args:
            work: What is done with each image.
            batch_size: Number of images encoded at a time, or ``auto`` for as many as are fast and fit into memory.
                When memory runs out, the number is halved.
            threads: Largest number of threads to use.
        """
        encoder = work.encoder
        logger.info(
            "encoding with %s on %s, in %s, by %d threads",
            encoder.spec.name,
            describe_device(encoder.device),
            encoder.precision,
            threads,
        )
        self.work = work
        self.threads = threads
        self.size = fitting_size(encoder, threads) if batch_size == "auto" else int(batch_size)
        if encoder.device.type == "cpu":
            self.size = min(self.size, threads)

    def run(self, images: Mapping[K, Image], advance: Callable[[], object]) -> dict[K, R]:
        """Do the work with some images.

        Args:
            images: Name -> image. All images have the same size.
            advance: Function that is called after each image, for a bar.

        Returns:
            Name -> what the work makes of the image.

        Raises:
            AcdcError: There is not enough memory for one image.
        """
        done = dict[K, R]()
        while len(done) < len(images):
            missing = {name: image for name, image in images.items() if name not in done}
            size = min(self.size, len(images))
            try:
                for name, result in _encode(missing, self.work, size, self.threads):
                    done[name] = result
                    advance()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                encoder = self.work.encoder
                if size == 1:
                    raise AcdcError(
                        f"there is not enough memory on {encoder.device} to encode one image with {encoder.spec.name}: "
                        "stop other programs, or choose a smaller encoder or another encoder.device"
                    ) from error
                self.size = size // 2
                logger.warning("out of memory: continuing with %d images at a time", self.size)
        return done


def _encode(images: Mapping[K, Image], work: Work[K, R], size: int, threads: int) -> Iterator[tuple[K, R]]:
    """Encode ``size`` images at a time; yield the name and the outcome of each image once it is finished."""
    if work.encoder.device.type == "cpu":
        yield from _encode_on_cpu(images, work, size, threads)
    else:
        # What a larger batch has left allocated after running out of memory is needed for the smaller one.
        torch.cuda.empty_cache()
        yield from _encode_in_batches(images, work, size, threads)


def _encode_on_cpu(images: Mapping[K, Image], work: Work[K, R], size: int, threads: int) -> Iterator[tuple[K, R]]:
    """Encode ``size`` images at a time, each in a thread that reads, encodes and finishes it.

    Where the last images are fewer than that, several threads share each of them.
    """

    def read_encode_finish(name: K) -> tuple[K, R]:
        result = work.compute(torch.from_numpy(images[name].read()).unsqueeze(0))
        return name, work.finish(name, result[0])

    keep_freed_memory()
    names = list(images)
    last = len(names) % size
    for group, at_a_time in ((names[: len(names) - last], size), (names[len(names) - last :], last)):
        if group:
            # Only threads that start after this call follow it, so each group has a pool of its own.
            torch.set_num_threads(max(1, threads // at_a_time))
            with ThreadPoolExecutor(at_a_time) as pool:
                yield from map_ahead(pool, read_encode_finish, group, 2 * at_a_time)


def _encode_in_batches(images: Mapping[K, Image], work: Work[K, R], size: int, threads: int) -> Iterator[tuple[K, R]]:
    """Encode batches of ``size`` images on a GPU, while threads read the next batches and finish earlier images."""

    def read(batch: Sequence[K]) -> tuple[Sequence[K], Tensor]:
        return batch, torch.from_numpy(np.stack([images[name].read() for name in batch])).pin_memory()

    def finish(encoded: tuple[K, Tensor, torch.cuda.Event]) -> tuple[K, R]:
        name, result, copied = encoded
        copied.synchronize()
        return name, work.finish(name, result)

    def encode(batches: Iterable[tuple[Sequence[K], Tensor]]) -> Iterator[tuple[K, Tensor, torch.cuda.Event]]:
        for batch, pixels in batches:
            # Nothing here waits for the GPU: the copy to the CPU is queued behind the batch, and the event tells the
            # finishing thread when it is done.
            results = work.compute(pixels.to(work.encoder.device, non_blocking=True)).to("cpu", non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
            yield from ((name, result, copied) for name, result in zip(batch, results, strict=True))

    names = list(images)
    batches = [names[start : start + size] for start in range(0, len(names), size)]
    with torch.cuda.device(work.encoder.device), ThreadPoolExecutor(threads) as pool:
        yield from map_ahead(pool, finish, encode(map_ahead(pool, read, batches, 3)), 2 * size)


def map_ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Apply a function to items in the threads of a pool, and yield the results in order.

    Args:
        pool: Threads that call the function.
        function: The function.
        items: Its arguments.
        ahead: Largest number of results that are computed before they are needed.
    """
    pending = deque[Future[R]]()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def fitting_size(encoder: Encoder, threads: int) -> int:
    """Return how many images fit into memory at a time: at most one per thread on a CPU, LARGEST_BATCH on a GPU.

    On a GPU, one image is encoded to measure the memory that it needs. If even that does not fit, the result is 1.
    """
    if encoder.device.type == "cpu":
        most = threads
        each = CPU_BYTES
        free = psutil.virtual_memory().available
    else:
        most = LARGEST_BATCH
        try:
            each, free = _measure_gpu_memory(encoder)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # The failed trial has freed memory, so that a second attempt with one image may succeed.
            return 1
    return max(1, min(most, int(MEMORY_SHARE * free / each)))


def _measure_gpu_memory(encoder: Encoder) -> tuple[int, int]:
    """Return the number of bytes for encoding one image, which is measured, and the number of free bytes."""
    device = encoder.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    encoder.encode(torch.zeros(1, 1024, 1024, dtype=torch.uint8))
    each = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return each, free

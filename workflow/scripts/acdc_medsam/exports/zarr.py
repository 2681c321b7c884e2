"""Export zarr: the embeddings of a split as one array in Zarr's format, version 3.

A chunk is one embedding, so that a random slice is one read. Chunks are gathered in shards, so that the array has few
file system entries. They are not compressed: embeddings hardly shrink, and the bytes do not depend on a compressor.
"""

import itertools
import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acdc_medsam.errors import DatasetError
from acdc_medsam.exports.folder import Published, close_export
from acdc_medsam.exports.size import announce_size
from acdc_medsam.formats.files import Row, Written, read_recorded, read_table, write_bytes
from acdc_medsam.formats.tensor_values import read_values
from acdc_medsam.layout import EMBEDDING_SHAPE, published_splits
from acdc_medsam.runtime.progress import Progress
from acdc_medsam.runtime.requirements import require_libraries

logger = logging.getLogger(__name__)

SHARD_SLICES = 64
"""Embeddings in a shard: 128 MiB as float16. Two shards are in memory at a time."""

INDEX_BYTES = 16
"""Size of an entry in the index at the end of a shard: offset and length of a chunk."""

CHECKSUM_BYTES = 4
"""Size of the checksum of that index."""


def require_zarr() -> None:
    """Check that the library zarr is installed.

    Raises:
        ConfigError: It is missing; the message says how to install it.
    """
    require_libraries("the export zarr", "zarr")


def export_zarr(published: Published, folder: Path, index: Path, dtype: str, shard_slices: int = SHARD_SLICES) -> None:
    """Write ``<split>.zarr``, (n, 256, 64, 64), with the slices in the manifest's order. Equal input gives equal bytes.

    The array's attributes are ``slices``, the names of the slices, and ``encoder``, the encoder's fingerprint.

    Args:
        published: The published dataset, with embeddings.
        folder: Folder of the export.
        index: Index of the export, the declared output of the job.
        dtype: Type of the values, ``float16`` or ``float32``.
        shard_slices: Number of embeddings in a shard, 1 or more.

    Raises:
        ConfigError: The library zarr is not installed.
        DatasetError: An embedding is missing or has changed, or is too large for float16.
        AcdcError: There is too little space on the disk.
    """
    require_zarr()
    rows = read_table(published.manifest)
    plan: dict[Path, list[Row]] = {}
    for split in published_splits(rows):
        of_split = [row for row in rows if row["split"] == split]
        for number, first in enumerate(range(0, len(of_split), shard_slices)):
            plan[folder / f"{split}.zarr" / f"c.{number}.0.0.0"] = of_split[first : first + shard_slices]

    embedding_bytes = int(np.prod(EMBEDDING_SHAPE)) * np.dtype(dtype).itemsize
    index_bytes = INDEX_BYTES * shard_slices + CHECKSUM_BYTES
    announce_size(folder, index, {shard: len(of) * embedding_bytes + index_bytes for shard, of in plan.items()})

    files: list[Written] = []
    with closing(Progress(len(rows), unit="slice")) as progress:
        for array, shards in itertools.groupby(plan, key=lambda shard: shard.parent):
            files += _write_array(array, [plan[shard] for shard in shards], published.manifest.parent, dtype, progress)

    close_export(folder, index, files)
    logger.info("%d embeddings in %d shards", len(rows), len(plan))


def _write_array(
    path: Path, shards: Sequence[Sequence[Row]], data: Path, dtype: str, progress: Progress
) -> list[Written]:
    """Write an array, given the slices of each of its shards, and return the records of its files."""
    store: dict[str, Any] = {}
    array = _create_array(store, [row for rows in shards for row in rows], len(shards[0]), dtype)
    files: list[Written] = []

    # Without this file there is no array, so it goes first and is written last.
    (path / "zarr.json").unlink(missing_ok=True)
    for number, rows in enumerate(shards):
        first = number * len(shards[0])
        array[first : first + len(rows)] = np.stack([_read_embedding(data, row, dtype, progress) for row in rows])
        # The library writes into memory, and the file is written as all others are: atomically, and hashed meanwhile.
        key = f"c.{number}.0.0.0"
        files.append(write_bytes(path / key, memoryview(store.pop(key).as_numpy_array()), read_only=True))

    files.append(write_bytes(path / "zarr.json", store["zarr.json"].to_bytes(), read_only=True))
    return files


def _create_array(store: dict[str, Any], rows: Sequence[Row], shard_slices: int, dtype: str) -> Any:
    """Create an array for the embeddings of some slices in a dict: key of a file -> its content."""
    # Takes 0.6 s, and is an optional dependency.
    import zarr

    return zarr.create_array(
        zarr.storage.MemoryStore(store),
        shape=(len(rows), *EMBEDDING_SHAPE),
        dtype=dtype,
        chunks=(1, *EMBEDDING_SHAPE),
        shards=(shard_slices, *EMBEDDING_SHAPE),
        compressors=None,
        fill_value=0,
        # With the default separator, each shard would lie in folders of its own.
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"slices": [row["slice"] for row in rows], "encoder": rows[0]["encoder"]},
        dimension_names=("slice", "channel", "row", "column"),
    )


def _read_embedding(data: Path, row: Row, dtype: str, progress: Progress) -> npt.NDArray[np.generic]:
    """Read the embedding of a slice as (256, 64, 64) of a type."""
    path = data / row["embedding"]
    values = read_values(read_recorded(path, row["embedding_sha256"]), path, EMBEDDING_SHAPE)
    if np.abs(values).max() > np.finfo(dtype).max:
        raise DatasetError(f"{path} has values that {dtype} cannot hold; set 'exports: {{zarr: {{dtype: float32}}}}'")
    progress.advance()
    return values.astype(dtype)

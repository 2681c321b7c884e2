"""Write the H5 files of the workflow, and read them on the assumption that they may be damaged or replaced."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.archive import DEFLATE_RATIO
from acdc_medsam.formats.files import Written, read_recorded, write_bytes

DTYPES = {"image": np.dtype(np.float32), "label": np.dtype(np.uint8)}
"""Dataset in an H5 file -> type of its values."""

MAX_VOXELS = 2**28
"""Number of voxels of the largest volume that is read: 1 GiB as float32."""


@dataclass(frozen=True)
class H5Content:
    """Content of an H5 file.

    Attributes:
        image: (Z, H, W) or (H, W) float32 in [0, 1].
        label: Label values uint8 of the same shape.
        attributes: Attributes of the file.
    """

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    attributes: dict[str, Any]


def write_h5(
    path: Path,
    image: npt.NDArray[np.float32],
    label: npt.NDArray[np.uint8],
    attributes: dict[str, object],
    chunks: tuple[int, ...],
) -> Written:
    """Write a volume or a slice, gzip-compressed. The same input gives the same bytes.

    Args:
        path: The file.
        image: (Z, H, W) or (H, W) float32.
        label: Label values uint8 of the same shape.
        attributes: Attributes of the file.
        chunks: Shape of the blocks that are compressed together.

    Returns:
        The record of the file.
    """
    # In memory, because the HDF5 library crashes with a segmentation fault when it writes to a full disk.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        _write_dataset(file, "image", image, chunks)
        _write_dataset(file, "label", label, chunks)
        file.attrs.update(attributes)
        file.flush()
        return write_bytes(path, file.id.get_file_image(), read_only=True)


def _write_dataset(file: h5py.File, name: str, array: npt.NDArray[np.generic], chunks: tuple[int, ...]) -> None:
    """Write a dataset whose chunks ISA-L compresses, which takes an eighth of the time of the HDF5 library's zlib.

    The format is the same: any HDF5 library reads the chunks by its own filter gzip.

    Args:
        file: The file, open for writing.
        name: Name of the dataset.
        array: Integers or floating-point numbers of any shape without a side of 0.
        chunks: Shape of the blocks that are compressed together, no side longer than that of the array.
    """
    dataset = file.create_dataset(name, array.shape, array.dtype, chunks=chunks, compression="gzip")
    starts = (range(0, side, step) for side, step in zip(array.shape, chunks, strict=True))
    for start in itertools.product(*starts):
        part = array[tuple(slice(first, first + step) for first, step in zip(start, chunks, strict=True))]
        # In HDF5, chunks that reach beyond the array are whole too. Readers ignore what lies beyond.
        chunk = np.zeros(chunks, array.dtype)
        chunk[tuple(map(slice, part.shape))] = part
        # Level 3 is slower and makes larger files, and its bytes depend on the processor.
        dataset.id.write_direct_chunk(start, isal_zlib.compress(chunk, 2))


def read_h5(path: Path, dimensions: int, sha256: str | None = None) -> H5Content:
    """Read an H5 volume or slice.

    Args:
        path: The file.
        dimensions: 3 for a volume, 2 for a slice.
        sha256: Hex sha256 from the record of the file; None accepts any content of this form.

    Raises:
        DatasetError: The file is missing, damaged, not of this form, or not the recorded one, or it claims more voxels
            than a file of its size can hold.
    """
    if sha256 is not None:
        return _read_h5(h5py.h5f.open_file_image(read_recorded(path, sha256)), path, dimensions)
    return _read_h5(path, path, dimensions)


def _read_h5(source: Any, path: Path, dimensions: int) -> H5Content:
    """Read an H5 file from its path or from an opened file image; ``path`` names it in messages."""
    try:
        with h5py.File(source) as file:
            image, label = (_get_dataset(file, name, path) for name in DTYPES)
            if image.shape != label.shape or image.ndim != dimensions:
                raise DatasetError(
                    f"{path}: image is {image.shape} and label {label.shape}; `snakemake repair` makes it again"
                )
            return H5Content(image[:], label[:], dict(file.attrs))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{path}: not a readable H5 file ({error}); `snakemake repair` makes it again") from error


def _get_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset whose values are stored in the file itself, after checking its type and size."""
    # A link or external storage could refer to any file on this machine.
    found = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external or found.dtype != DTYPES[name]:
        raise DatasetError(
            f"{path}: holds no '{name}' of type {DTYPES[name]} of its own; `snakemake repair` makes it again"
        )
    if found.size > MAX_VOXELS or found.nbytes > DEFLATE_RATIO * path.stat().st_size:
        raise DatasetError(
            f"{path}: '{name}' claims to be {found.shape}, more than such a file holds; "
            "`snakemake repair` makes it again"
        )
    return found

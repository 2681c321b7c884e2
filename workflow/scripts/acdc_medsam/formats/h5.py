"""Write the H5 files of the workflow, and read them, which may have been replaced or damaged since."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_recorded, write_bytes

DTYPES = {"image": np.dtype(np.float32), "label": np.dtype(np.uint8)}
"""Dataset in an H5 file -> its type."""

MAX_VOXELS = 2**28
"""Largest volume that is read: 1 GiB as float32."""

DEFLATE_RATIO = 1032
"""zlib never compresses further, so that a file which claims more is refused before memory is taken for it."""


@dataclass(frozen=True)
class H5Content:
    """Image float32 and label uint8 of one shape, (Z, H, W) or (H, W), and the attributes."""

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
    """Write ``image`` float32 and ``label`` uint8 of one shape, gzip-compressed; same input, same bytes."""
    # Made in memory: where the HDF5 library itself meets a full disk, it ends the process with a segmentation fault.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        file.create_dataset("image", data=image, chunks=chunks, compression="gzip")
        file.create_dataset("label", data=label, chunks=chunks, compression="gzip")
        file.attrs.update(attributes)
        file.flush()
        return write_bytes(path, file.id.get_file_image(), read_only=True)


def read_h5(path: Path, dimensions: int, sha256: str | None = None) -> H5Content:
    """Read an H5 volume, of 3 ``dimensions``, or slice, of 2.

    Args:
        path: The file.
        dimensions: 3 for a volume, 2 for a slice.
        sha256: Hex sha256 that the file was recorded with; None takes any content of this form.

    Raises:
        DatasetError: It is missing, damaged, not of this form, not what was recorded, or claims more than a file of
            its size holds.
    """
    if sha256 is not None:
        return _read_h5(h5py.h5f.open_file_image(read_recorded(path, sha256)), path, dimensions)
    return _read_h5(path, path, dimensions)


def _read_h5(source: Any, path: Path, dimensions: int) -> H5Content:
    """Read what h5py opens ``source`` as; ``path`` is what messages call it."""
    try:
        with h5py.File(source) as file:
            image, label = (_dataset(file, name, path) for name in DTYPES)
            if image.shape != label.shape or image.ndim != dimensions:
                raise DatasetError(
                    f"{path}: image is {image.shape} and label {label.shape}; `snakemake repair` makes it again"
                )
            return H5Content(image[:], label[:], dict(file.attrs))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{path}: not a readable H5 file ({error}); `snakemake repair` makes it again") from error


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    # A link or an external storage could name any file of this machine.
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

"""Write the H5 files of the workflow, and read these and others on the assumption that they may be damaged."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from acdc_medsam.errors import DatasetError, VolumeError
from acdc_medsam.formats.archive import DEFLATE_RATIO
from acdc_medsam.formats.files import Written, read_recorded, write_bytes

DTYPES = {"image": np.dtype(np.float32), "label": np.dtype(np.uint8)}
"""Dataset in an H5 file -> type of its values."""

MAX_VOXELS = 2**28
"""Number of voxels of the largest volume that is read: 1 GiB as float32."""

MAX_FILE_BYTES = 2**31
"""Size of the largest file from outside that is read."""

MAX_OTHERS = 16
"""Number of further datasets that are read from a file from outside."""

Array = npt.NDArray[np.generic]


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
    attributes: Mapping[str, object],
    chunks: tuple[int, ...],
    others: Mapping[str, Array] | None = None,
) -> Written:
    """Write a volume or a slice, gzip-compressed. The same input gives the same bytes.

    Args:
        path: The file.
        image: (Z, H, W) or (H, W) float32.
        label: Label values uint8 of the same shape.
        attributes: Attributes of the file.
        chunks: Shape of the blocks that are compressed together.
        others: Name -> further dataset of the same shape.

    Returns:
        The record of the file.
    """
    datasets: dict[str, Array] = {"image": image, "label": label, **(others or {})}
    # In memory, because the HDF5 library crashes with a segmentation fault when it writes to a full disk.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        for name, array in datasets.items():
            _write_dataset(file, name, array, chunks)
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


def _find_own(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Return a dataset whose values are stored in the file itself, or None if there is none of that name."""
    # A link or external storage could refer to any file on this machine.
    found = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    return found if isinstance(found, h5py.Dataset) and not found.is_virtual and not found.external else None


def _claims_too_much(dataset: h5py.Dataset, file_bytes: int) -> bool:
    """Whether a dataset claims to be larger than a file of this size can hold."""
    return bool(dataset.size > MAX_VOXELS or dataset.nbytes > DEFLATE_RATIO * file_bytes)


def _get_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a dataset of a file of the workflow after checking its type and size."""
    found = _find_own(file, name)
    if found is None or found.dtype != DTYPES[name]:
        raise DatasetError(
            f"{path}: holds no '{name}' of type {DTYPES[name]} of its own; `snakemake repair` makes it again"
        )
    if _claims_too_much(found, path.stat().st_size):
        raise DatasetError(
            f"{path}: '{name}' claims to be {found.shape}, more than such a file holds; "
            "`snakemake repair` makes it again"
        )
    return found


def read_geometry(content: H5Content) -> tuple[tuple[float, float, float] | None, npt.NDArray[np.float64] | None]:
    """Read the voxel spacing (z, y, x) in mm and the affine (4, 4) of a volume; None for what is unknown.

    Raises:
        TypeError, ValueError: An attribute has another form.
    """
    spacing = None
    affine = None
    if "spacing" in content.attributes:
        z, y, x = (float(size) for size in content.attributes["spacing"])
        spacing = (z, y, x)
    if "affine" in content.attributes:
        affine = np.asarray(content.attributes["affine"], np.float64).reshape(4, 4)
    return spacing, affine


@dataclass(frozen=True)
class OutsideH5:
    """Content of an H5 file from outside.

    Attributes:
        image: Floating-point values of any shape, not checked.
        label: Integer or floating-point values of any shape, not checked.
        others: Name -> further dataset of the shape of the image.
        left: Names of what the file holds besides and what was not read, as Python's ``repr`` shows them.
        attributes: Those attributes of the file that were asked for and are there.
        sha256: Hex sha256 of the file from which the other attributes were read.
    """

    image: Array
    label: Array
    others: dict[str, Array]
    left: tuple[str, ...]
    attributes: dict[str, Any]
    sha256: str = field(repr=False)


def read_outside_h5(path: Path, attributes: Sequence[str] = ()) -> OutsideH5:
    """Read an H5 file that another program wrote: an image, a label, and further datasets of the image's shape.

    Args:
        path: The file.
        attributes: Names of the attributes to read.

    Raises:
        VolumeError: The file is missing or damaged, holds no image or label of its own, or claims more voxels than a
            file of its size can hold.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise VolumeError(f"{path.name}: larger than any volume of this dataset; replace it by the original file")
        # Read once, so that the sha256 is that of the voxels even if another process writes to the file.
        data = path.read_bytes()
        with h5py.File(h5py.h5f.open_file_image(data)) as file:
            image = _read_outside(file, "image", "f", path.name, len(data))
            label = _read_outside(file, "label", "iufb", path.name, len(data))
            others: dict[str, Array] = {}
            left = []
            for name in sorted(set(map(str, file)) - set(DTYPES)):
                dataset = _find_own(file, name) if name.isidentifier() and len(others) < MAX_OTHERS else None
                if dataset is None or dataset.dtype.kind not in "iufb" or dataset.shape != image.shape:
                    left.append(repr(name))
                else:
                    others[name] = _read_outside(file, name, "iufb", path.name, len(data))
            found = {name: file.attrs[name] for name in attributes if name in file.attrs}
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        # The operating system's errors have a number, those of the HDF5 library have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise VolumeError(
                f"{path.name}: cannot be read ({error.strerror}); correct its permissions, or copy the file again"
            ) from error
        raise VolumeError(f"{path.name}: not a readable H5 file ({error}); replace it by the original file") from error
    return OutsideH5(image, label, others, tuple(left), found, hashlib.sha256(data).hexdigest())


def _read_outside(file: h5py.File, name: str, kinds: str, file_name: str, file_bytes: int) -> Array:
    """Read a dataset of a file from outside, whose type is of one of the ``kinds`` of NumPy."""
    dataset = _find_own(file, name)
    if dataset is None:
        raise VolumeError(
            f"{file_name}: holds no dataset '{name}' of its own; replace it by a file with image and label"
        )
    if dataset.dtype.kind not in kinds:
        wanted = "floating-point" if kinds == "f" else "integer or floating-point"
        raise VolumeError(
            f"{file_name}: {name} is of type {dataset.dtype}, not {wanted}; an H5 file holds the normalized image in "
            "[0, 1] and labels from 0 to 3: start from NIfTI files, or replace the file"
        )
    if _claims_too_much(dataset, file_bytes):
        raise VolumeError(
            f"{file_name}: '{name}' claims to be {dataset.shape}, more than such a file holds; replace it by the "
            "original file"
        )
    values: Array = dataset[()]
    return values


def read_h5_depth(path: Path) -> int:
    """Read the number of slices of a volume from outside, without its voxels; 0 if the file cannot be used."""
    try:
        with h5py.File(path) as file:
            dataset = _find_own(file, "image")
            return int(dataset.shape[0]) if dataset is not None and dataset.ndim == 3 else 0
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):
        return 0

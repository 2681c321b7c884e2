"""Read NIfTI files that are not trusted, and write others.

nibabel parses headers, affines and voxels. Added here are limits on memory, checks that the whole file is there and
undamaged, and messages that name the file.
"""

import gzip
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.files import Written, write_bytes
from acdc_medsam.formats.nifti_header import (
    MAX_VOLUME_BYTES,
    Header,
    Spacing,
    check_affine,
    check_claims,
    check_frame,
    check_scan,
    check_spacing,
    read_header,
)

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Nifti:
    """Content of a NIfTI file.

    Attributes:
        voxels: (X, Y, Z), or (X, Y, Z, T) for a cine, in the file's own dtype and byte order, or floating point if the
            header scales them.
        spacing: (x, y, z) in mm, from pixdim.
        affine: (4, 4), voxel to mm: the sform, or the qform if there is none.
        sha256: Hex sha256 of the file from which the other attributes were read.
        header: The header, from which :func:`bytes_like` makes that of another image in the same place.
    """

    voxels: Array
    spacing: Spacing
    affine: npt.NDArray[np.float64]
    sha256: str
    header: Header


def read_nifti(path: Path) -> Nifti:
    """Read a three-dimensional volume, ``.nii`` or ``.nii.gz``, to the end of the file and thus to its gzip checksum.

    Memory is allocated for what the file can hold, never for what its header alone claims.

    Raises:
        VolumeError: The file is missing, damaged, no NIfTI file, not three-dimensional, or larger than
            MAX_VOLUME_BYTES.
    """
    return _read(path, check_frame)


def read_scan(path: Path) -> Nifti:
    """Read a volume or a cine, as :func:`read_nifti` does.

    Raises:
        VolumeError: The file is missing, damaged, no NIfTI file, has neither three nor four dimensions, or is larger
            than MAX_VOLUME_BYTES.
    """
    return _read(path, check_scan)


def _read(path: Path, check_shape: Callable[[Header, Path], None]) -> Nifti:
    try:
        # Read once, so that the sha256 is that of the voxels even if another process writes to the file.
        content = _read_content(path)
        with _open_stream(path, io.BytesIO(content)) as stream:
            header, pixdim = read_header(stream, path)
            check_shape(header, path)
            check_claims(header, path, len(content))
            data = _read_voxels(stream, header, path)
    except (EOFError, isal_zlib.IsalError, gzip.BadGzipFile) as error:
        raise VolumeError(f"{path.name}: damaged gzip data ({error}); restore it from the original dataset") from error
    except OSError as error:
        raise VolumeError(
            f"{path.name}: cannot be read ({error.strerror or error}); correct its permissions, or restore it from the "
            "original dataset"
        ) from error

    with np.errstate(all="ignore"):  # values that overflow become infinite, which is refused later
        voxels: Array = header.data_from_fileobj(io.BytesIO(data))
    sha256 = hashlib.sha256(content).hexdigest()
    return Nifti(voxels, check_spacing(pixdim, path), check_affine(header, path), sha256, header)


def read_shape(path: Path) -> tuple[int, int, int]:
    """Read the shape (X, Y, Z) of a volume from its header alone, and check that the file can hold such a volume.

    Raises:
        VolumeError: The header cannot be read or used, as for :func:`read_nifti`.
    """
    x, y, z = _read_shape(path, check_frame)
    return x, y, z


def count_slices(path: Path) -> int:
    """Count the slices of a volume, or those of all frames of a cine, from the header alone.

    Raises:
        VolumeError: The header cannot be read or used, as for :func:`read_scan`.
    """
    return math.prod(_read_shape(path, check_scan)[2:])


def _read_shape(path: Path, check_shape: Callable[[Header, Path], None]) -> tuple[int, ...]:
    try:
        with path.open("rb") as file, _open_stream(path, file) as stream:
            header, _ = read_header(stream, path)
    except (OSError, EOFError, isal_zlib.IsalError) as error:
        raise VolumeError(
            f"{path.name}: its header cannot be read ({error}); restore it from the original dataset"
        ) from error

    check_shape(header, path)
    check_claims(header, path, path.stat().st_size)
    shape: tuple[int, ...] = header.get_data_shape()
    return shape


def _read_content(path: Path) -> bytes:
    """Read a file unless it is too large."""
    size = path.stat().st_size
    if size > MAX_VOLUME_BYTES:
        raise VolumeError(
            f"{path.name}: the file has {size} bytes, more than any frame takes; restore it from the original dataset"
        )
    return path.read_bytes()


def _open_stream(path: Path, file: BinaryIO) -> BinaryIO:
    """Return a stream of the uncompressed content of a file that is not empty."""
    if not file.read(1):
        raise VolumeError(f"{path.name}: the file is empty (0 bytes); restore it from the original dataset")
    file.seek(0)
    # Opened from the stream, because igzip.open would read the file a second time by its name.
    return cast(BinaryIO, igzip.IGzipFile(fileobj=file)) if path.suffix == ".gz" else file


def _read_voxels(stream: BinaryIO, header: Header, path: Path) -> bytes:
    """Return the file's uncompressed content, after checking that it ends with the voxels that the header claims."""
    shape = header.get_data_shape()
    offset = header.get_data_offset()
    claimed = math.prod(shape) * header.get_data_dtype().itemsize
    bytes_per_slice = claimed // math.prod(shape[2:])

    # If fewer bytes come than are asked for, the file was read to its end, where gzip verifies the checksum. Padding
    # of less than a slice may follow the voxels.
    stream.seek(0)
    data = stream.read(offset + claimed + bytes_per_slice)
    held = len(data) - offset
    if held < claimed:
        raise VolumeError(
            f"{path.name}: cut short: {max(held, 0)} of {claimed} bytes of voxels are there; "
            "restore it from the original dataset"
        )
    if held >= claimed + bytes_per_slice:
        raise VolumeError(
            f"{path.name}: holds more slices than the {math.prod(shape[2:])} that its header says; "
            "restore it from the original dataset"
        )
    return data


def write_volume(path: Path, voxels: Array, spacing: Spacing | None, affine: npt.NDArray[np.float64] | None) -> Written:
    """Write a volume as ``.nii.gz``. The same input gives the same bytes.

    Args:
        path: The file.
        voxels: (Z, H, W), in SimpleITK's axis order.
        spacing: Voxel spacing (z, y, x) in mm; None if it is unknown, which the header then says.
        affine: (4, 4), from voxels (x, y, z) to mm. Without it, the axes are those that SimpleITK gives an array:
            x to the left, y to the back, and z upwards.

    Returns:
        The record of the file.
    """
    z, y, x = spacing or (1.0, 1.0, 1.0)
    # NIfTI's axes are (x, y, z), and its world points to the right and to the front.
    image = nib.Nifti1Image(
        np.ascontiguousarray(voxels.transpose(2, 1, 0)), np.diag([-x, -y, z, 1]) if affine is None else affine
    )
    # Where ACDC's headers contradict themselves, the dataset took its spacing from pixdim, but viewers use the affine.
    image.header.set_zooms((x, y, z))
    image.header.set_xyzt_units("unknown" if spacing is None else "mm")
    # Without a time in the header, equal voxels give equal bytes.
    return write_bytes(path, igzip.compress(image.to_bytes(), 2, mtime=0))


def bytes_like(voxels: npt.NDArray[np.uint8], header: Header) -> bytes:
    """Return the content of a ``.nii.gz`` file with an image in the place of another one.

    Position, orientation, spacing and time axis are those of the header, with both its affines and their codes. Its
    texts are left out, because they may name a person.

    Args:
        voxels: (T, Z, H, W), in SimpleITK's axis order; T is 1 for a single volume.
        header: Header of the other image, see :class:`Nifti`.
    """
    own = header.as_byteswapped("<")
    # NIfTI-2 lacks some of these fields.
    for field in {"descrip", "aux_file", "data_type", "db_name", "intent_name"} & {*own.keys()}:
        own[field] = b""
    for field in ("cal_max", "cal_min", "intent_code", "intent_p1", "intent_p2", "intent_p3"):
        own[field] = 0
    own.set_data_dtype(voxels.dtype)
    own.set_data_offset(0)  # nibabel then puts the voxels right behind the header

    kind = nib.Nifti2Image if own.sizeof_hdr == nib.Nifti2Header.sizeof_hdr else nib.Nifti1Image
    # Without an affine of the image's own, nibabel leaves both affines of the header as they are.
    image = kind(voxels.T.reshape(header.get_data_shape(), order="F"), None, own)
    # Without a time in the header, equal voxels give equal bytes.
    compressed: bytes = igzip.compress(image.to_bytes(), 2, mtime=0)
    return compressed

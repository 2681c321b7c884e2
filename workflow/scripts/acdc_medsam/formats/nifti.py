"""Read NIfTI files whose headers are not trusted: their claims are compared with what the file can hold; write others.

nibabel parses headers, affines and voxels. Added here are limits on memory, checks that the whole file is there and
undamaged, and messages that name the file.
"""

import gzip
import hashlib
import io
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.archive import DEFLATE_RATIO
from acdc_medsam.formats.files import Written, write_bytes

Array = npt.NDArray[np.generic]
Header = Any
"""Header of NIfTI-1 or NIfTI-2. nibabel's own types for it are incomplete."""

Spacing = tuple[float, float, float]

HEADERS: tuple[tuple[bytes, int, Any], ...] = (
    (b"n+1\0", 344, nib.Nifti1Header),
    (b"n+2\0\r\n\x1a\n", 4, nib.Nifti2Header),
)
"""Signature of a file with header and voxels, its offset in the file, and the class that parses the header."""

LONGEST_HEADER = 540

MAX_VOLUME_BYTES = 2**30
"""Size of the largest volume that is read, uncompressed; ACDC's largest frame has 6 MB as float32."""

quiet = logging.getLogger(f"{__name__}.header")
quiet.propagate = False
quiet.addHandler(logging.NullHandler())
"""Logger for nibabel's remarks on a header, which name no file. What matters in them is checked here."""


@dataclass(frozen=True)
class Nifti:
    """Content of a NIfTI file.

    Attributes:
        voxels: (X, Y, Z) in the file's own dtype and byte order, or floating point if the header scales them.
        spacing: (x, y, z) in mm, from pixdim.
        affine: (4, 4), voxel to mm: the sform, or the qform if there is none.
        sha256: Hex sha256 of the file from which the other attributes were read.
    """

    voxels: Array
    spacing: Spacing
    affine: npt.NDArray[np.float64]
    sha256: str


def read_nifti(path: Path) -> Nifti:
    """Read a three-dimensional volume, ``.nii`` or ``.nii.gz``, to the end of the file and thus to its gzip checksum.

    Memory is allocated for what the file can hold, never for what its header alone claims.

    Raises:
        VolumeError: The file is missing, damaged, no NIfTI file, not three-dimensional, or larger than
            MAX_VOLUME_BYTES.
    """
    try:
        # Read once, so that the sha256 is that of the voxels even if another process writes to the file.
        content = _read_content(path)
        with _open_stream(path, io.BytesIO(content)) as stream:
            header, pixdim = _read_header(stream, path)
            _check_claims(header, path, len(content))
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
    return Nifti(voxels, _check_spacing(pixdim, path), _check_affine(header, path), sha256)


def read_shape(path: Path) -> tuple[int, int, int]:
    """Read the shape (X, Y, Z) of a volume from its header alone, and check that the file can hold such a volume.

    Raises:
        VolumeError: The header cannot be read or used, as for :func:`read_nifti`.
    """
    try:
        with path.open("rb") as file, _open_stream(path, file) as stream:
            header, _ = _read_header(stream, path)
    except (OSError, EOFError, isal_zlib.IsalError) as error:
        raise VolumeError(
            f"{path.name}: its header cannot be read ({error}); restore it from the original dataset"
        ) from error

    _check_claims(header, path, path.stat().st_size)
    x, y, z = header.get_data_shape()
    return x, y, z


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


def _read_header(stream: BinaryIO, path: Path) -> tuple[Header, npt.NDArray[np.floating[Any]]]:
    """Return the header, and its pixdim as it stands in the file: nibabel replaces a spacing of 0 by 1 mm."""
    start = stream.read(LONGEST_HEADER)
    for magic, offset, kind in HEADERS:
        # The first field is the size of the header, in the byte order of the file.
        sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}
        if start[offset : offset + len(magic)] == magic and kind.sizeof_hdr in sizes and len(start) >= kind.sizeof_hdr:
            try:
                header = kind(start[: kind.sizeof_hdr], check=False)
                pixdim = header["pixdim"][1:4].copy()
                header.check_fix(quiet)
                # Parsed now, so that nothing fails later: each of these may raise an error for a nonsensical header.
                header.get_data_shape(), header.get_data_dtype(), header.get_data_offset(), header.get_slope_inter()
            except Exception as error:  # of any type: nibabel fails in many ways on a header that is nonsense
                raise VolumeError(
                    f"{path.name}: its NIfTI header makes no sense ({error}); restore it from the original dataset"
                ) from error
            return header, pixdim
    raise VolumeError(f"{path.name}: not a readable NIfTI file; restore it from the original dataset")


def _check_claims(header: Header, path: Path, size_on_disk: int) -> None:
    """Refuse a header that does not describe a frame, or claims more voxels than the file can hold."""
    shape = header.get_data_shape()
    if len(shape) != 3:
        raise VolumeError(
            f"{path.name}: {len(shape)}-dimensional; a frame must have 3 dimensions (x, y, z): restore it from the "
            "original dataset"
        )

    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise VolumeError(
            f"{path.name}: voxels are of type {dtype}; integers or floating point of up to 64 bits are needed, "
            "as in the original dataset"
        )

    offset = header.get_data_offset()
    claimed = math.prod(shape) * dtype.itemsize
    capacity = size_on_disk * DEFLATE_RATIO if path.suffix == ".gz" else size_on_disk
    if min(shape) < 1 or offset < header.sizeof_hdr or offset + claimed > min(capacity, MAX_VOLUME_BYTES):
        raise VolumeError(
            f"{path.name}: its header claims {' x '.join(map(str, shape))} voxels, {claimed} bytes from byte {offset} "
            f"on, which a file of {size_on_disk} bytes cannot hold or no frame takes; restore it from the original "
            "dataset"
        )


def _read_voxels(stream: BinaryIO, header: Header, path: Path) -> bytes:
    """Return the file's uncompressed content, after checking that it ends with the voxels that the header claims."""
    shape = header.get_data_shape()
    offset = header.get_data_offset()
    claimed = math.prod(shape) * header.get_data_dtype().itemsize
    bytes_per_slice = claimed // shape[2]

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
            f"{path.name}: holds more slices than the {shape[2]} that its header says; "
            "restore it from the original dataset"
        )
    return data


def _check_spacing(pixdim: npt.NDArray[np.floating[Any]], path: Path) -> Spacing:
    """Return the spacing (x, y, z) in mm if it is positive and finite; the sign of pixdim has no meaning here."""
    x, y, z = (abs(float(size)) for size in pixdim)
    if not all(0 < size < math.inf for size in (x, y, z)):
        raise VolumeError(
            f"{path.name}: spacing (pixdim) is {x:g} x {y:g} x {z:g} mm, which is impossible; "
            "restore it from the original dataset"
        )
    return x, y, z


def _check_affine(header: Header, path: Path) -> npt.NDArray[np.float64]:
    """Return the affine if all its values are finite."""
    try:
        affine: npt.NDArray[np.float64] = header.get_best_affine().astype(np.float64)
        if not np.isfinite(affine).all():
            raise ValueError("NaN or infinite values")
    except ValueError as error:
        raise VolumeError(
            f"{path.name}: position and orientation (affine) make no sense ({error}); "
            "restore it from the original dataset"
        ) from error
    return affine


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

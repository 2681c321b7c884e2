"""Headers of NIfTI files, which are not trusted: their claims are compared with what the file can hold."""

import logging
import math
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import numpy.typing as npt

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.archive import DEFLATE_RATIO

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
"""Size of the largest file that is read, also uncompressed. ACDC's largest frame has 6 MB as float32; a cine of 60
frames of 20 slices of 512 x 512 pixels has 630 MB as int16."""

TIME_UNITS = {8: 1.0, 16: 1e-3, 24: 1e-6}
"""Code of a unit of time in ``xyzt_units`` -> the unit in seconds. Source: nifti1.h, NIFTI_UNITS_SEC to _USEC."""

TIME_MASK = 0x38
"""Bits of ``xyzt_units`` that hold the unit of time."""

quiet = logging.getLogger(f"{__name__}.header")
quiet.propagate = False
quiet.addHandler(logging.NullHandler())
"""Logger for nibabel's remarks on a header, which name no file. What matters in them is checked here."""


def read_header(stream: BinaryIO, path: Path) -> tuple[Header, npt.NDArray[np.floating[Any]]]:
    """Return the header, and its pixdim as it stands in the file: nibabel replaces a spacing of 0 by 1 mm.

    Args:
        stream: The uncompressed content of the file.
        path: The file, for messages.

    Raises:
        VolumeError: There is no header, or nibabel cannot parse it.
    """
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


def check_frame(header: Header, path: Path) -> None:
    """Refuse a file that is not a single frame.

    Raises:
        VolumeError: The image does not have three dimensions.
    """
    shape = header.get_data_shape()
    if len(shape) != 3:
        raise VolumeError(
            f"{path.name}: {len(shape)}-dimensional; a frame must have 3 dimensions (x, y, z): restore it from the "
            "original dataset"
        )


def check_scan(header: Header, path: Path) -> None:
    """Refuse a file that is neither a single frame nor a cine.

    Raises:
        VolumeError: The image has neither three nor four dimensions.
    """
    shape = header.get_data_shape()
    if len(shape) not in (3, 4):
        raise VolumeError(
            f"{path.name}: has {len(shape)} dimensions; a scan must have 3 (x, y, z) or 4 (x, y, z and time): convert "
            "it first"
        )


def check_claims(header: Header, path: Path, size_on_disk: int) -> None:
    """Refuse a header that claims more voxels than the file can hold, or voxels of an unusable type.

    Raises:
        VolumeError: The header cannot describe the file.
    """
    shape = header.get_data_shape()
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


def check_spacing(pixdim: npt.NDArray[np.floating[Any]], path: Path) -> Spacing:
    """Return the spacing (x, y, z) in mm; the sign of pixdim has no meaning here.

    Raises:
        VolumeError: The spacing is zero, NaN or infinite.
    """
    x, y, z = (abs(float(size)) for size in pixdim)
    if not all(0 < size < math.inf for size in (x, y, z)):
        raise VolumeError(
            f"{path.name}: spacing (pixdim) is {x:g} x {y:g} x {z:g} mm, which is impossible; "
            "restore it from the original dataset"
        )
    return x, y, z


def check_affine(header: Header, path: Path) -> npt.NDArray[np.float64]:
    """Return the affine (4, 4) from voxels to mm.

    Raises:
        VolumeError: A value is not finite, or there is none that can be computed.
    """
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


def read_frame_time(header: Header) -> float | None:
    """Return the time between two frames in seconds as the header says it; None if it does not say it.

    Args:
        header: Header of an image with four dimensions.
    """
    unit = TIME_UNITS.get(int(header["xyzt_units"]) & TIME_MASK)
    time = float(header["pixdim"][4])
    return time * unit if unit and 0 < time < math.inf else None

"""Read a NIfTI file whose header is not believed: what it claims is compared with what the file can hold first."""

import gzip
import hashlib
import io
import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.volumeutils import apply_read_scaling

from acdc_medsam.errors import VolumeError

Array = npt.NDArray[np.generic]
Header = Any
"""A header of NIfTI-1 or NIfTI-2; nibabel's types of it are partial."""

HEADERS: tuple[tuple[bytes, int, Any], ...] = (
    (b"n+1\0", 344, nib.Nifti1Header),
    (b"n+2\0\r\n\x1a\n", 4, nib.Nifti2Header),
)
"""Signature of a file that holds header and voxels, its place, and what reads the header."""

LONGEST_HEADER = 540

MAX_BYTES = 2**30
"""Largest volume that is read, uncompressed; ACDC's largest frame takes 6 MB as float32."""

DEFLATE_RATIO = 1032
"""zlib never compresses further: what a file cannot hold is known before it is decompressed."""

BLOCK = 2**20

quiet = logging.getLogger(f"{__name__}.header")
quiet.propagate = False
quiet.addHandler(logging.NullHandler())
"""nibabel's remarks on a header, which name no file; what matters of them is checked here."""


@dataclass(frozen=True)
class Nifti:
    """A NIfTI file as read.

    Attributes:
        voxels: (X, Y, Z) in the file's own dtype and byte order, or floating point where the header scales.
        spacing: (x, y, z) in mm, from pixdim.
        affine: (4, 4), voxel to mm: the sform, or the qform where there is none.
        sha256: Hex sha256 of the bytes that all this was read from.
    """

    voxels: Array
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    sha256: str


def read_nifti(path: Path) -> Nifti:
    """Read a volume of three dimensions, ``.nii`` or ``.nii.gz``, to its end, so that the gzip checksum is checked.

    Memory is taken for what the file holds, never for what its header alone claims.

    Raises:
        VolumeError: the file is missing, damaged, no NIfTI, not of three dimensions, or larger than MAX_BYTES.
    """
    try:
        # Read once, so that the sha256 is that of the voxels, whoever writes to the file meanwhile.
        content = _content(path)
        with _open(path, io.BytesIO(content)) as stream:
            header, start = _read_header(stream, path)
            shape, dtype, offset = _claims(header, path, len(content))
            data = _read_voxels(stream, start, offset, shape, dtype, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f"{path.name}: damaged gzip data ({error}); restore it from the original dataset") from error
    except OSError as error:
        raise VolumeError(
            f"{path.name}: cannot be read ({error.strerror or error}); correct its permissions, or restore it from the "
            "original dataset"
        ) from error
    voxels = np.frombuffer(data, dtype).reshape(shape, order="F")
    slope, inter = header.get_slope_inter()
    with np.errstate(all="ignore"):  # what overflows is infinite, which is refused later
        scaled: Array = apply_read_scaling(voxels, *(None if f is None else np.float64(f) for f in (slope, inter)))
    sha256 = hashlib.sha256(content).hexdigest()
    return Nifti(scaled, _spacing(type(header), start, path), _affine(header, path), sha256)


def read_shape(path: Path) -> tuple[int, int, int]:
    """Shape (X, Y, Z) of a volume, from its header alone, if the file can hold as much.

    Raises:
        VolumeError: as for :func:`read_nifti`.
    """
    try:
        with path.open("rb") as file, _open(path, file) as stream:
            header, _ = _read_header(stream, path)
    except (OSError, EOFError, zlib.error) as error:
        raise VolumeError(
            f"{path.name}: its header cannot be read ({error}); restore it from the original dataset"
        ) from error
    return _claims(header, path, path.stat().st_size)[0]


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise VolumeError(
            f"{path.name}: the file has {size} bytes, more than any frame takes; restore it from the original dataset"
        )
    return path.read_bytes()


def _open(path: Path, file: BinaryIO) -> BinaryIO:
    if not file.read(1):
        raise VolumeError(f"{path.name}: the file is empty (0 bytes); restore it from the original dataset")
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file


def _read_header(stream: BinaryIO, path: Path) -> tuple[Header, bytes]:
    start = stream.read(LONGEST_HEADER)
    for magic, place, kind in HEADERS:
        sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}
        if start[place : place + len(magic)] == magic and kind.sizeof_hdr in sizes and len(start) >= kind.sizeof_hdr:
            try:
                header = kind(start[: kind.sizeof_hdr], check=False)
                header.check_fix(quiet)
                header.get_data_shape(), header.get_data_dtype(), header.get_data_offset(), header.get_slope_inter()
            except Exception as error:  # of any kind: nonsense in a header makes its reader stumble anywhere
                raise VolumeError(
                    f"{path.name}: its NIfTI header makes no sense ({error}); restore it from the original dataset"
                ) from error
            return header, start
    raise VolumeError(f"{path.name}: not a readable NIfTI file; restore it from the original dataset")


def _claims(header: Header, path: Path, on_disk: int) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Shape, dtype and place of the voxels as the header has them, if the file can hold as much."""
    shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), header.get_data_offset()
    if len(shape) != 3:
        raise VolumeError(
            f"{path.name}: {len(shape)}-dimensional; a frame must have 3 dimensions (x, y, z): restore it from the "
            "original dataset"
        )
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise VolumeError(
            f"{path.name}: voxels are of type {dtype}; integers or floating point of up to 64 bits are needed, "
            "as in the original dataset"
        )
    claimed = math.prod(shape) * dtype.itemsize
    room = on_disk * DEFLATE_RATIO if path.suffix == ".gz" else on_disk
    if min(shape) < 1 or offset < header.sizeof_hdr or offset + claimed > min(room, MAX_BYTES):
        raise VolumeError(
            f"{path.name}: its header claims {' x '.join(map(str, shape))} voxels, {claimed} bytes from byte {offset} "
            f"on, which a file of {on_disk} bytes does not hold or no frame takes; restore it from the original dataset"
        )
    return shape, dtype, offset


def _read_voxels(
    stream: BinaryIO, start: bytes, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], path: Path
) -> bytearray:
    """Read what the header claims, block by block, and then to the end, where gzip has its checksum."""
    claimed, data = math.prod(shape) * dtype.itemsize, bytearray(start[offset:])
    position = len(start)
    while position < offset and (skipped := stream.read(min(offset - position, BLOCK))):
        position += len(skipped)
    while len(data) < claimed and (block := stream.read(min(claimed - len(data), BLOCK))):
        data += block
    if len(data) < claimed:
        raise VolumeError(
            f"{path.name}: cut short: {len(data)} of {claimed} bytes of voxels are there; "
            "restore it from the original dataset"
        )
    left = len(data) - claimed
    del data[claimed:]
    of_slice = claimed // shape[2]
    while left < of_slice and (block := stream.read(BLOCK)):
        left += len(block)
    if left >= of_slice:
        raise VolumeError(
            f"{path.name}: holds more slices than the {shape[2]} that its header says; "
            "restore it from the original dataset"
        )
    return data


def _spacing(kind: Any, start: bytes, path: Path) -> tuple[float, float, float]:
    # From the header as it stands in the file: nibabel's checks put 1 mm where there is none.
    spacing = tuple(abs(float(size)) for size in kind(start[: kind.sizeof_hdr], check=False)["pixdim"][1:4])
    if not all(0 < size < math.inf for size in spacing):
        raise VolumeError(
            f"{path.name}: spacing (pixdim) is {' x '.join(f'{size:g}' for size in spacing)} mm, which cannot be; "
            "restore it from the original dataset"
        )
    return spacing  # type: ignore[return-value]


def _affine(header: Header, path: Path) -> npt.NDArray[np.float64]:
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

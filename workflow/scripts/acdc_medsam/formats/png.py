"""Write the PNG files of the workflow, and read them on the assumption that they may be damaged or replaced."""

import io
import itertools
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from PIL import Image, UnidentifiedImageError

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.archive import DEFLATE_RATIO
from acdc_medsam.formats.files import Written, read_recorded, write_bytes

Gray = npt.NDArray[np.uint8]
"""Gray values 0 to 255, or label values, (H, W)."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"

IHDR_DATA = 16
"""Offset of width and height: behind the signature, and the length and type of the first chunk."""

IDAT_DATA = 41
"""Offset of the compressed rows: behind the first chunk of 25 bytes, and the length and type of the second."""

IDAT_END = 16
"""Number of bytes behind the compressed rows: the CRC of their chunk, and the last chunk."""

MAX_PIXELS = 4096 * 4096
"""Size of the largest image that ``images.size`` allows. A PNG that claims more is refused before decompression."""


class RowFilter(IntEnum):
    """Number of a PNG's filter for rows.

    Attributes:
        NONE: The pixels themselves, which compress best where large areas are equal, as in masks.
        UP: Differences from the row above, which are small in interpolated images.
    """

    NONE = 0
    UP = 2


def write_png(path: Path, pixels: Gray, row_filter: RowFilter = RowFilter.NONE) -> Written:
    """Write an 8-bit grayscale PNG. The same input gives the same bytes.

    Args:
        path: The file.
        pixels: (H, W) uint8, H and W at least 1.
        row_filter: Filter of the rows, which changes the size of the file and never its pixels.

    Returns:
        The record of the file.
    """
    return write_bytes(path, encode_png(pixels, row_filter), read_only=True)


def encode_png(pixels: Gray, row_filter: RowFilter = RowFilter.NONE) -> bytes:
    """Encode (H, W) uint8 as an 8-bit grayscale PNG, as :func:`write_png` does.

    Source: Portable Network Graphics Specification (Third Edition), W3C, sections 5 (chunks) and 9 (filters).
    """
    height, width = pixels.shape
    # ISA-L is about 10 times as fast as zlib at its fastest. Its levels 0 and 3 make larger files of these images, and
    # the bytes of level 3 depend on the processor.
    data = isal_zlib.compress(filter_rows(pixels, row_filter), 1)
    return _assemble(width, height, data)


def filter_rows(pixels: Gray, row_filter: RowFilter) -> Gray:
    """Return what a PNG compresses: (H, W + 1) uint8, whose first column is the number of each row's filter."""
    height, width = pixels.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = row_filter
    rows[:, 1:] = pixels
    if row_filter is RowFilter.UP:
        # Modulo 256, as the specification says. The row above the first one counts as zeros.
        rows[1:, 1:] -= pixels[:-1]
    return rows


def _assemble(width: int, height: int, data: bytes) -> bytes:
    """Return a grayscale PNG whose compressed rows are ``data``."""
    # Bit depth 8, color type 0 (grayscale), not interlaced, and the only methods of compression and filters that exist.
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk: the length of its data, its type, the data, and the CRC of type and data."""
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


@dataclass(frozen=True)
class GrayFile:
    """Grayscale PNG that an earlier job wrote.

    Attributes:
        path: The file.
        sha256: Hex sha256 of the file as it was written.
    """

    path: Path
    sha256: str

    def read(self) -> Gray:
        """Read the image as (H, W) uint8.

        Raises:
            DatasetError: The file is missing, or has changed since it was written.
        """
        return read_gray(self.path, read_recorded(self.path, self.sha256))


def read_gray(path: Path, data: bytes | None = None) -> Gray:
    """Read an 8-bit grayscale PNG.

    Args:
        path: The file.
        data: The content of the file, if it was read before.

    Returns:
        (H, W) uint8, in memory of its own that may be written to.

    Raises:
        DatasetError: The file cannot be read, is not 8-bit grayscale, or has more than MAX_PIXELS.
    """
    try:
        if data is None and path.stat().st_size <= MAX_PIXELS:
            data = path.read_bytes()
        own = None if data is None else decode_own_png(data)
        return _read_by_pillow(path, data) if own is None else own
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable PNG ({error}); `snakemake repair` makes it again") from error


def decode_own_png(data: bytes) -> Gray | None:
    """Decode a PNG if it has the form of :func:`encode_png`, in a third of Pillow's time.

    Args:
        data: Content of any file, which may be damaged or made to do harm.

    Returns:
        (H, W) uint8, at most MAX_PIXELS; or None for a file of any other form, which Pillow reads or refuses.
    """
    if len(data) < IDAT_DATA + IDAT_END:
        return None
    width, height = struct.unpack_from(">II", data, IHDR_DATA)
    size = height * (width + 1)
    # Checked before memory is allocated for what the header claims.
    if not 0 < width * height <= MAX_PIXELS or size > DEFLATE_RATIO * len(data):
        return None

    # Put together again, it must be the same file. This also compares each length and each CRC.
    compressed = data[IDAT_DATA:-IDAT_END]
    if _assemble(width, height, compressed) != data:
        return None

    stream = isal_zlib.decompressobj()
    try:
        rows = stream.decompress(compressed, size + 1)
    except isal_zlib.IsalError:
        return None
    # At its end, the checksum of the stream has been verified.
    if len(rows) != size or not stream.eof or stream.unused_data:
        return None
    return unfilter_rows(np.frombuffer(rows, np.uint8).reshape(height, width + 1))


def unfilter_rows(rows: Gray) -> Gray | None:
    """Return the pixels (H, W) of rows (H, W + 1) from :func:`filter_rows`, or None if they have other filters."""
    pixels = rows[:, 1:].copy()
    filters = set(rows[:, 0].tolist())
    if filters == {RowFilter.UP}:
        for above, row in itertools.pairwise(pixels):
            row += above
        return pixels
    return pixels if filters == {RowFilter.NONE} else None


def _read_by_pillow(path: Path, data: bytes | None) -> Gray:
    """Read a PNG of any form, from ``data`` if it was read before; raises what Pillow raises, or a DatasetError."""
    with Image.open(path if data is None else io.BytesIO(data), formats=("PNG",)) as image:
        if image.mode != "L":
            raise DatasetError(
                f"{path}: mode {image.mode} instead of 8-bit grayscale; `snakemake repair` makes it again"
            )
        if image.width * image.height > MAX_PIXELS:
            raise DatasetError(
                f"{path}: claims {image.width} x {image.height} pixels, more than any image here; "
                "`snakemake repair` makes it again"
            )
        # Pillow decodes the pixels only here, after the checks.
        return np.array(image)

"""Write the PNG files of the workflow, and read them on the assumption that they may be damaged or replaced."""

import io
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from PIL import Image, UnidentifiedImageError

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_recorded, write_bytes

Gray = npt.NDArray[np.uint8]
"""Gray values 0 to 255, or label values, (H, W)."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"

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
    # Bit depth 8; color type 0 (grayscale), and the only methods of compression, filters and interlacing that are used.
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    # ISA-L is about 10 times as fast as zlib at its fastest. Its levels 0 and 3 make larger files of these images, and
    # the bytes of level 3 depend on the processor.
    data = isal_zlib.compress(filter_rows(pixels, row_filter), 1)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


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
    """Read an 8-bit grayscale PNG as (H, W) uint8.

    Args:
        path: The file.
        data: The content of the file, if it was read before.

    Raises:
        DatasetError: The file cannot be read, is not 8-bit grayscale, or has more than MAX_PIXELS.
    """
    try:
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
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable PNG ({error}); `snakemake repair` makes it again") from error

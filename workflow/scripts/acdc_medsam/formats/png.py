"""Write the PNG files of the workflow, and read them on the assumption that they may be damaged or replaced."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_recorded, write_bytes

Gray = npt.NDArray[np.uint8]
"""Gray values 0 to 255, or label values, (H, W)."""

MAX_PIXELS = 4096 * 4096
"""Size of the largest image that ``images.size`` allows. A PNG that claims more is refused before decompression."""


def write_png(path: Path, pixels: Gray) -> Written:
    """Write (H, W) uint8 as an 8-bit grayscale PNG, and return its record."""
    buffer = io.BytesIO()
    # On these interpolated images, zlib level 1 with the run-length strategy (3) is 4.7 times as fast as Pillow's
    # default, for files that are 10 % larger.
    Image.fromarray(pixels).save(buffer, format="png", compress_level=1, compress_type=3)
    return write_bytes(path, buffer.getbuffer(), read_only=True)


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

"""Read the PNG files that the workflow makes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from acdc_medsam.errors import DatasetError

MAX_PIXELS = 4096 * 4096
"""Largest image that ``images.size`` allows; a PNG that claims more is refused before it is decompressed."""


def read_gray(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit grayscale PNG as (H, W) uint8.

    Raises:
        DatasetError: it cannot be read, is not 8-bit gray, or has more than MAX_PIXELS.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != "L":
                raise DatasetError(
                    f"{path}: mode {image.mode} instead of 8-bit grayscale; delete it and run the workflow again"
                )
            if image.width * image.height > MAX_PIXELS:
                raise DatasetError(
                    f"{path}: claims {image.width} x {image.height} pixels, more than any image here; "
                    "delete it and run the workflow again"
                )
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable PNG ({error}); delete it and run the workflow again") from error

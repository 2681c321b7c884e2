"""Read the PNG files that the workflow makes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from acdc_medsam.errors import DatasetError


def read_gray(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit grayscale PNG as (H, W) uint8.

    Raises:
        DatasetError: it cannot be read, or is not 8-bit gray.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != "L":
                raise DatasetError(f"{path}: mode {image.mode} instead of 8-bit grayscale")
            return np.asarray(image)
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable PNG ({error}); delete it and run the workflow again") from error

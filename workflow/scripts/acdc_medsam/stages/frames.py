"""The frames of a cine, normalized as the volumes of the dataset are."""

from pathlib import Path

import numpy as np

from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.nifti import Array
from acdc_medsam.formats.png import Gray
from acdc_medsam.stages.normalize import normalize_intensities
from acdc_medsam.stages.render import round_image


def normalize_frames(frames: Array, path: Path, percentile: float) -> Gray:
    """Normalize each frame of a cine by itself, as the single frames of the dataset are.

    Args:
        frames: Finite intensities (T, Z, H, W), integer or floating point.
        path: File of the cine, for messages.
        percentile: Percentile for :func:`normalize_intensities`.

    Returns:
        Gray values (T, Z, H, W), 0..255.

    Raises:
        VolumeError: A frame has no range of intensities.
    """
    images: Gray = np.empty(frames.shape, np.uint8)
    for index, frame in enumerate(frames):
        try:
            images[index] = round_image(normalize_intensities(frame, percentile).image)
        except VolumeError as error:
            raise VolumeError(f"{path.name}, frame {index + 1}: {error}") from error
    return images

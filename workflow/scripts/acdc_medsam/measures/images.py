"""Figures of one slice or volume: histograms, brightness, blur and what 8 bits cost. Arrays in, figures out."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.measure import blur_effect

from acdc_medsam.measures.records import BINS, Counts

Values = npt.NDArray[np.floating]


def histogram(values: Values, units: int) -> Counts:
    """Count values, of any shape, in ``units * BINS`` bins from 0 to ``units``; what lies above goes into the last."""
    bins = units * BINS
    return np.bincount(np.minimum((values * BINS).astype(np.intp), bins - 1).ravel(), minlength=bins)


def gray_histogram(pixels: npt.NDArray[np.uint8]) -> Counts:
    """Count the pixels of an image (H, W) by gray value, 0 to 255."""
    return np.asarray(Image.fromarray(pixels).histogram(), np.int64)


def mean_and_deviation(counts: Counts) -> tuple[float, float]:
    """Mean and standard deviation, in [0, 1], of an image with this histogram of its 256 gray values."""
    levels = np.arange(counts.size) / (counts.size - 1)
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def quantization_error(image: Values) -> tuple[float, float]:
    """Largest and mean absolute difference between an image in [0, 1] and the same rounded to 256 gray values."""
    error = np.abs(np.rint(image * np.float32(255)) / np.float32(255) - image)
    return float(error.max()), float(error.mean())


def blur(image: Values) -> float:
    """Blur of an image (H, W), 0 (sharp) to 1, as people perceive it and whatever its contrast.

    How little of the differences between neighbours a further blurring takes away: F. Crete et al., "The blur effect:
    perception and estimation with a new no-reference perceptual blur metric", SPIE 6492, 2007.
    """
    return float(blur_effect(image))

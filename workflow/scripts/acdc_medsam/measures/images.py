"""Measures of one slice or volume: histograms, brightness, blur, and the error of rounding to 8 bits."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from acdc_medsam.measures.records import BINS, Counts

Values = npt.NDArray[np.floating]


def histogram(values: Values, units: int) -> Counts:
    """Count values of any shape, 0 or more, in ``units * BINS`` bins from 0 to ``units``, the last bin open-ended."""
    bins = units * BINS
    return np.bincount(np.minimum((values * BINS).astype(np.intp), bins - 1).ravel(), minlength=bins)


def gray_histogram(pixels: npt.NDArray[np.uint8]) -> Counts:
    """Count the pixels of an image (H, W) uint8 by gray value: (256,) counts."""
    return np.asarray(Image.fromarray(pixels).histogram(), np.int64)


def mean_and_deviation(counts: Counts) -> tuple[float, float]:
    """Compute mean and standard deviation, in units of [0, 1], of an image from its (256,) histogram of gray values."""
    levels = np.arange(counts.size) / (counts.size - 1)
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def quantization_error(image: Values) -> tuple[float, float]:
    """Compute the largest and the mean absolute error of rounding an image in [0, 1] to 256 gray values."""
    # Computed in float32, like the image that the PNG is made from.
    error = np.abs(np.rint(image * np.float32(255)) / np.float32(255) - image)
    return float(error.max()), float(error.mean())


def blur(image: Values) -> float:
    """Compute the perceived blur of an image (H, W), from 0 (sharp) to 1, independent of its contrast.

    An image is blurred if blurring it once more changes the differences between neighboring pixels little: F. Crete et
    al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric", SPIE 6492, 2007.
    """
    # Imports SciPy, which takes as long as all else in a job that finds every measure of an earlier run.
    from skimage.measure import blur_effect

    return float(blur_effect(image))

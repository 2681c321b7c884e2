"""What stage measure finds out about a patient's slices, volumes and embeddings, and the file that keeps it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acdc_medsam.formats.files import Written, read_recorded
from acdc_medsam.formats.kept import Kept, keep

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]

BINS = 64
"""Histogram bins from 0 to 1, where 1 is the clip level of the volume."""

RAW_UNITS = 4
"""Histograms before clipping go from 0 to this many clip levels; the last bin holds everything above."""


REGIONS = 4
"""Regions along each side of an embedding over which it is pooled."""


@dataclass(frozen=True)
class Measures:
    """Figures of n kept slices, v volumes and, where there are embeddings, of these.

    Attributes:
        slices: (n,) names.
        brightness: (n,) mean of the PNG image, in [0, 1].
        contrast: (n,) standard deviation of the PNG image, in [0, 1].
        blur: (n,) perceptual blur of the H5 slice, 0 (sharp) to 1.
        quantization_max: (n,) largest absolute error of 8-bit rounding of the H5 slice, in units of its [0, 1].
        quantization_mean: (n,) mean absolute error, in the same unit.
        volumes: (v,) names.
        depths: (v,) number of slices, those without structures too.
        clip_levels: (v,) raw intensity that became 1.
        raw_minima: (v,) raw intensity that became 0.
        raw_maxima: (v,) largest raw intensity.
        raw_histograms: (v, RAW_UNITS * BINS) voxels before clipping; the unit is the clip level less the minimum.
        clipped_histograms: (v, BINS) voxels of the H5 volume.
        png_histograms: (v, BINS) pixels of the kept slices' PNG images.
        embedding_means: (n,) or (0,) mean of all values of an embedding.
        embedding_stds: (n,) or (0,) their standard deviation.
        embedding_norms: (n,) or (0,) their Euclidean norm.
        pooled: (n, 256, REGIONS, REGIONS), or none, mean of each channel in each region of the picture.
        tokens: () number of places summed over, 64 x 64 per embedding.
        token_products: (256, 256) sum over all places of the outer product of their vectors.
    """

    slices: Names
    brightness: Floats
    contrast: Floats
    blur: Floats
    quantization_max: Floats
    quantization_mean: Floats
    volumes: Names
    depths: Counts
    clip_levels: Floats
    raw_minima: Floats
    raw_maxima: Floats
    raw_histograms: Counts
    clipped_histograms: Counts
    png_histograms: Counts
    embedding_means: Floats
    embedding_stds: Floats
    embedding_norms: Floats
    pooled: npt.NDArray[np.float32]
    tokens: Counts
    token_products: Floats


SUMMED = ("tokens", "token_products")
"""Attributes that are added up over patients; the others are put one after the other."""


def write_measures(path: Path, measures: Measures) -> Kept:
    """Write one patient's measures as a NumPy archive, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **vars(measures))
    return keep(path, buffer.getvalue(), {})


def merge_measures(parts: Sequence[Measures]) -> Measures:
    """Put the measures of some volumes or patients, one at least, together."""
    merged = {}
    for field in fields(Measures):
        arrays = [getattr(part, field.name) for part in parts]
        merged[field.name] = sum(arrays[1:], arrays[0]) if field.name in SUMMED else np.concatenate(arrays)
    return Measures(**merged)


def read_measures(written: Written) -> Measures:
    """Read a patient's measures.

    Raises:
        DatasetError: The file is missing or is no longer what was made.
    """
    with np.load(io.BytesIO(read_recorded(written.path, written.sha256)), allow_pickle=False) as archive:
        return Measures(**{field.name: archive[field.name] for field in fields(Measures)})

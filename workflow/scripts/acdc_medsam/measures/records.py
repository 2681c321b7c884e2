"""The measures of a patient's slices, volumes and embeddings, and the file that they are kept in."""

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
"""Number of histogram bins from 0 to 1, where 1 is the clip level of the volume."""

RAW_UNITS = 4
"""Histograms before clipping go from 0 to this many clip levels. The last bin also counts everything above."""

REGIONS = 4
"""Number of regions along each side of an embedding that it is pooled over."""


@dataclass(frozen=True)
class Measures:
    """Measures of n kept slices, of v volumes and, if there are any, of n embeddings.

    Attributes:
        slices: (n,) names of the slices.
        brightness: (n,) mean of the PNG image, in [0, 1].
        contrast: (n,) standard deviation of the PNG image, in [0, 1].
        blur: (n,) perceptual blur of the H5 slice, from 0 (sharp) to 1.
        quantization_max: (n,) largest absolute error of rounding the H5 slice, in [0, 1], to 8 bits.
        quantization_mean: (n,) mean absolute error of the same rounding.
        volumes: (v,) names of the volumes.
        depths: (v,) number of slices, including those without structures.
        clip_levels: (v,) raw intensity that was mapped to 1; NaN, like the next two, without raw images.
        raw_minima: (v,) raw intensity that was mapped to 0.
        raw_maxima: (v,) largest raw intensity.
        raw_histograms: (v, RAW_UNITS * BINS) voxels before clipping, in units of the clip level minus the minimum.
        clipped_histograms: (v, BINS) voxels of the H5 volume.
        png_histograms: (v, BINS) pixels of the PNG images of the kept slices.
        embedding_means: (n,), or (0,) without embeddings, mean of all values of the embedding.
        embedding_stds: (n,) or (0,) standard deviation of all values.
        embedding_norms: (n,) or (0,) Euclidean norm of all values.
        pooled: (n, 256, REGIONS, REGIONS), or none, mean of each channel in each region of the picture.
        tokens: () number of vectors in all embeddings, 64 x 64 in each.
        token_products: (256, 256) sum of the outer products of these vectors with themselves.
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
"""Attributes that are added up over patients. All others are concatenated."""


def write_measures(path: Path, measures: Measures) -> Kept:
    """Write the measures of one patient as a NumPy archive, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, **vars(measures))
    return keep(path, buffer.getvalue(), {})


def merge_measures(parts: Sequence[Measures]) -> Measures:
    """Merge the measures of volumes or patients, at least one."""
    merged = {}
    for field in fields(Measures):
        arrays = [getattr(part, field.name) for part in parts]
        merged[field.name] = sum(arrays[1:], arrays[0]) if field.name in SUMMED else np.concatenate(arrays)
    return Measures(**merged)


def read_measures(written: Written) -> Measures:
    """Read the measures of one patient.

    Raises:
        DatasetError: The file is missing or has changed since it was made.
    """
    with np.load(io.BytesIO(read_recorded(written.path, written.sha256)), allow_pickle=False) as archive:
        return Measures(**{field.name: archive[field.name] for field in fields(Measures)})

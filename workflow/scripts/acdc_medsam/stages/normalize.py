"""Stage normalize: a patient's NIfTI frames -> normalized H5 volumes and slices.

Input: the raw folder of one patient. Output: ``volumes/`` and ``slices/``, and an index of both.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from skimage.exposure import cumulative_distribution

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.raw_nifti import Frame, Patient, read_patient
from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.nifti import Array, Nifti, read_nifti
from acdc_medsam.layout import RAW_IMAGE_SHA256
from acdc_medsam.stages.h5_files import NormalizedFrame, write_patient

FloatImage = npt.NDArray[np.float32]
LabelImage = npt.NDArray[np.uint8]

MAX_INTEGER_RANGE = 2**24
"""Widest intensity range of an integer volume, whose histogram has one bin for each integer."""

SPACING_TOLERANCE = 0.01
"""Largest relative difference between two spacings that are taken for the same."""


@dataclass(frozen=True)
class Normalized:
    """Normalized volume.

    Attributes:
        image: Intensities float32 in [0, 1], of any shape.
        clip_level: Raw intensity that became 1.
        raw_min: Smallest raw intensity, which became 0.
        raw_max: Largest raw intensity before clipping.
    """

    image: FloatImage
    clip_level: float
    raw_min: float
    raw_max: float


@dataclass(frozen=True)
class Volume:
    """Frame as read from its files.

    Attributes:
        image: (Z, H, W) in the file's own dtype.
        label: (Z, H, W) uint8 in {0, 1, 2, 3}.
        spacing: (z, y, x) in mm.
        affine: (4, 4), voxel to mm.
        notes: Remarks on the header.
        sources: File name -> hex sha256 of what was read, for the image and then the label.
    """

    image: Array
    label: LabelImage
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    notes: tuple[str, ...]
    sources: dict[str, str]


def normalize_intensities(volume: Array, percentile: float = 99.0) -> Normalized:
    """Clip a volume at a percentile of its histogram and scale it to [0, 1].

    The threshold is the first bin center at which ``skimage.exposure.cumulative_distribution`` reaches the
    percentile, as in the published dataset (HiLab-git/WSL4MIS, ``acdc_data_processing.py``): one bin per integer for
    integer volumes, 256 bins for floating point. The result therefore depends on the dtype.

    Args:
        volume: Finite intensities of any shape, integer or floating point.
        percentile: Percentile in (0, 100].

    Raises:
        VolumeError: The range of intensities is empty, because one value makes up at least the percentile, or wider
            than that of any MR image.
    """
    raw_min = float(volume.min())
    raw_max = float(volume.max())
    values = volume
    shift = 0
    if volume.dtype.kind in "iu":
        values = _shift_to_zero(volume)
        shift = int(volume.min())

    try:
        # Flattened, because a volume of fewer than four columns would be taken for a color image, with a warning.
        cdf, centers = cumulative_distribution(values.ravel())
    # The range is narrower than 256 steps of the dtype, or wider than the dtype can hold (in NumPy 1 an IndexError).
    except (IndexError, ValueError) as error:
        raise VolumeError(
            f"intensities cannot be put into a histogram ({error}); restore the image from the original dataset"
        ) from error

    low = float(values.min())
    threshold = float(centers[np.argmax(cdf >= percentile / 100)])
    if not math.isfinite(threshold - low):
        raise VolumeError(
            f"intensities up to {raw_max:g} are too large to be scaled; restore the image from the original dataset"
        )

    # A value that alone makes up the percentile is the threshold, whatever the contrast of the image is.
    in_one_bin = float(np.diff(cdf, prepend=0).max())
    if in_one_bin >= percentile / 100 or not threshold > low:
        raise VolumeError(
            f"intensities have no range to scale: {in_one_bin:.1%} of the voxels are one value (minimum {raw_min:g}, "
            f"maximum {raw_max:g}), so the image is constant or nearly empty; restore it from the original dataset"
        )
    # In float64, because float32 would round before the division.
    scaled = (np.clip(values.astype(np.float64), low, threshold) - low) / (threshold - low)
    return Normalized(scaled.astype(np.float32), shift + threshold, raw_min, raw_max)


def _shift_to_zero(volume: Array) -> npt.NDArray[np.int64]:
    """Subtract the minimum from integers, because the histogram has a bin for every integer from 0 to the largest."""
    low = int(volume.min())
    high = int(volume.max())
    if high - low > MAX_INTEGER_RANGE:
        raise VolumeError(
            f"intensities span more than {MAX_INTEGER_RANGE}, as no MR image does; restore it from the original dataset"
        )
    # Unsigned integers may be too large for int64 before the subtraction, which may overflow the type of signed ones.
    shifted = volume - volume.min() if volume.dtype.kind == "u" else volume.astype(np.int64) - low
    return shifted.astype(np.int64)


def read_frame(frame: Frame) -> Volume:
    """Read a frame's image and label in SimpleITK's axis order (Z, H, W), and check that they belong together.

    Raises:
        VolumeError: A file cannot be used, or the label does not fit the image; the message names the file.
    """
    image = read_nifti(frame.image)
    label = read_nifti(frame.label)
    voxels = to_array(image, frame.image)

    if image.voxels.shape != label.voxels.shape:
        raise VolumeError(
            f"{frame.label.name}: shape {label.voxels.shape} differs from its image's {image.voxels.shape}; "
            "restore both files from the original dataset"
        )
    # A label that was resampled to another spacing would otherwise pass if its shape happens to be the same.
    same_affine = np.allclose(image.affine, label.affine, rtol=1e-3, atol=1e-2)
    if not same_affine or not np.allclose(image.spacing, label.spacing, rtol=SPACING_TOLERANCE):
        raise VolumeError(
            f"{frame.label.name}: position or spacing (affine, pixdim) differs from its image's; "
            "restore both files from the original dataset"
        )

    x, y, z = image.spacing
    return Volume(
        image=voxels,
        label=_to_labels(label, frame.label),
        spacing=(z, y, x),
        affine=image.affine,
        notes=compare_spacings(frame.image.name, (z, y, x), image.affine),
        sources={frame.image.name: image.sha256, frame.label.name: label.sha256},
    )


def to_array(image: Nifti, path: Path) -> Array:
    """Return voxels as (Z, H, W), or (T, Z, H, W) for a cine, in their own dtype and native byte order.

    Raises:
        VolumeError: A voxel is not finite.
    """
    voxels = image.voxels
    if not np.isfinite(voxels).all():
        raise VolumeError(f"{path.name}: contains NaN or infinite voxels; restore it from the original dataset")
    # nibabel's axes are (X, Y, Z, T). After the transposition, x is the column and y the row, as in SimpleITK.
    return np.ascontiguousarray(voxels.T.astype(voxels.dtype.newbyteorder("="), copy=False))


def _to_labels(label: Nifti, path: Path) -> LabelImage:
    """Return the label as (Z, H, W) uint8, after checking that it has only known values."""
    voxels = to_array(label, path)
    # np.unique would sort all voxels, and imports modules for as long as a small volume takes.
    known = np.logical_or.reduce([voxels == value for value in (0, *LABELS.values())])
    strange = sorted(set(voxels[~known].astype(float).tolist()))
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5])
        names = ", ".join(f"{value} {structure}" for structure, value in LABELS.items())
        raise VolumeError(f"{path.name}: label value {shown}; only 0 to 3 are known ({names}): correct the label")
    return voxels.astype(np.uint8)


def compare_spacings(name: str, spacing: tuple[float, ...], affine: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """Return a note if the spacings (z, y, x) in mm by pixdim and by the affine differ, else no note."""
    affine_spacing = voxel_sizes(affine)[::-1]
    if np.allclose(spacing, affine_spacing, rtol=SPACING_TOLERANCE):
        return ()

    # ACDC's patient100 is such a case.
    shown = [" x ".join(f"{size:g}" for size in sizes) for sizes in (spacing, affine_spacing)]
    return (f"{name}: spacing (z, y, x) is {shown[0]} mm by pixdim, which is used, and {shown[1]} mm by the affine",)


def normalize_patient(
    source: Path, index: Path, percentile: float, on_invalid: str, announced: Mapping[str, str] | None = None
) -> None:
    """Write a patient's H5 files to ``volumes/`` and ``slices/`` beside their index.

    Files from an earlier run in these two folders are removed.

    Args:
        source: The patient's raw folder.
        index: Declared output, the index of the H5 files, written last.
        percentile: Percentile for :func:`normalize_intensities`.
        on_invalid: ``stop`` raises an error for an unusable volume; ``exclude`` writes an empty index with the reason.
        announced: File name -> hex sha256 of each raw file when the run was planned; None accepts any.

    Raises:
        CohortError: Info.cfg or the set of files has defects.
        VolumeError: A volume is unusable, and ``on_invalid`` is ``stop``.
        DatasetError: A raw file has changed since the run was planned.
    """
    patient = read_patient(source)
    # Paths are relative to the raw folder, so that the index does not depend on where that folder is.
    write_patient(patient.name, _normalize_frames(patient, percentile), index, source.parents[1], on_invalid, announced)


def _normalize_frames(patient: Patient, percentile: float) -> Iterator[NormalizedFrame]:
    """Read and normalize one frame after the other."""
    info = patient.sources[0]
    for frame in patient.frames:
        volume = read_frame(frame)
        try:
            normalized = normalize_intensities(volume.image, percentile)
        except VolumeError as error:
            raise VolumeError(f"{frame.image.name}: {error}") from error

        attributes = {
            "subset": patient.subset,
            "group": patient.group,
            "height": patient.height,
            "weight": patient.weight,
            "phase": frame.phase,
            "spacing": volume.spacing,
            "affine": volume.affine,
            "clip_level": normalized.clip_level,
            "raw_min": normalized.raw_min,
            "raw_max": normalized.raw_max,
            RAW_IMAGE_SHA256: volume.sources[frame.image.name],
            "label_sha256": volume.sources[frame.label.name],
        }
        sources = {path: volume.sources[path.name] for path in (frame.image, frame.label)}
        yield NormalizedFrame(
            number=frame.number,
            image=normalized.image,
            label=volume.label,
            attributes=attributes,
            sources={info: patient.info_sha256, **sources},
            notes=volume.notes,
        )

"""Stage normalize: a patient's NIfTI frames -> normalized H5 volumes and slices.

In: ACDC's raw folder of one patient. Out: ``volumes/`` and ``slices/`` with an index of both.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from skimage.exposure import cumulative_distribution

from acdc_medsam import __version__
from acdc_medsam.acdc.cohort import Frame, Patient, read_patient
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.acdc.naming import slice_name, volume_name
from acdc_medsam.errors import VolumeError
from acdc_medsam.formats.files import Written, remove_others
from acdc_medsam.formats.h5 import write_h5
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.nifti import Nifti, read_nifti
from acdc_medsam.runtime.outside import require_announced

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.generic]
FloatImage = npt.NDArray[np.float32]
LabelImage = npt.NDArray[np.uint8]

MAX_INTEGER_RANGE = 2**24
"""Widest intensity range of an integer volume; one histogram bin per integer needs memory for each."""

SPACING_TOLERANCE = 0.01
"""Relative difference between pixdim and affine from which the header is said to contradict itself."""


@dataclass(frozen=True)
class Normalized:
    """A normalized image (any shape, [0, 1]) and the raw intensities that it was scaled with."""

    image: FloatImage
    clip_level: float
    raw_min: float
    raw_max: float


@dataclass(frozen=True)
class Volume:
    """A frame as read.

    Attributes:
        image: (Z, H, W) in the file's own dtype.
        label: (Z, H, W) in {0, 1, 2, 3}.
        spacing: (z, y, x) in mm.
        affine: (4, 4), voxel to mm.
        notes: Remarks on the header.
        sources: Name -> hex sha256 of the image's and the label's file, in this order, of the bytes that were read.
    """

    image: Array
    label: LabelImage
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    notes: tuple[str, ...]
    sources: dict[str, str]


def normalize_intensities(volume: Array, percentile: float = 99.0) -> Normalized:
    """Clip a volume at a percentile of its histogram and scale it to [0, 1].

    The threshold is the first bin centre at which ``skimage.exposure.cumulative_distribution`` reaches the
    percentile, as the published dataset has it (HiLab-git/WSL4MIS, ``acdc_data_processing.py``): one bin per
    integer for integer volumes, 256 bins for floating point. The dtype therefore decides the numbers.

    Args:
        volume: any shape, integer or floating point, finite.
        percentile: in (0, 100].

    Raises:
        VolumeError: the volume has no range to scale: as much as the percentile is one value, or all of it; or its
            range is wider than any MR image's.
    """
    raw_min, raw_max = float(volume.min()), float(volume.max())
    values, zero = (_counted_from_zero(volume), int(volume.min())) if volume.dtype.kind in "iu" else (volume, 0)
    try:
        # Flattened, or a volume of fewer than four columns is taken for a colour image, with a warning.
        cdf, centers = cumulative_distribution(values.ravel())
    # The range is narrower than 256 steps of the dtype, or wider than it can hold (in NumPy 1 an IndexError).
    except (IndexError, ValueError) as error:
        raise VolumeError(
            f"intensities cannot be put into a histogram ({error}); restore the image from the original dataset"
        ) from error
    low, threshold = float(values.min()), float(centers[np.argmax(cdf >= percentile / 100)])
    if not math.isfinite(threshold - low):
        raise VolumeError(
            f"intensities up to {raw_max:g} are too large to be scaled; restore the image from the original dataset"
        )
    in_one_bin = float(np.diff(cdf, prepend=0).max())
    if in_one_bin >= percentile / 100 or not threshold > low:
        raise VolumeError(
            f"intensities have no range to scale: {in_one_bin:.1%} of the voxels are one value (minimum {raw_min:g}, "
            f"maximum {raw_max:g}), so the image is constant or nearly empty; restore it from the original dataset"
        )
    # float64, so that float32 does not round before the division.
    scaled = (np.clip(values.astype(np.float64), low, threshold) - low) / (threshold - low)
    return Normalized(scaled.astype(np.float32), zero + threshold, raw_min, raw_max)


def _counted_from_zero(volume: Array) -> npt.NDArray[np.int64]:
    """Integers less their minimum: a histogram takes memory for every integer from 0 to the largest."""
    low, high = int(volume.min()), int(volume.max())
    if high - low > MAX_INTEGER_RANGE:
        raise VolumeError(
            f"intensities span more than {MAX_INTEGER_RANGE}, as no MR image does; restore it from the original dataset"
        )
    # Unsigned ones may be too large for int64 before the difference, signed ones overflow in their own type by it.
    counted = volume - volume.min() if volume.dtype.kind == "u" else volume.astype(np.int64) - low
    return counted.astype(np.int64)


def read_frame(frame: Frame) -> Volume:
    """Read a frame's image and label in SimpleITK's axis order (Z, H, W), and check one against the other.

    Raises:
        VolumeError: what is wrong, with the file's name.
    """
    image, label = read_nifti(frame.image), read_nifti(frame.label)
    voxels = _voxels(image, frame.image)
    if image.voxels.shape != label.voxels.shape:
        raise VolumeError(
            f"{frame.label.name}: shape {label.voxels.shape} differs from its image's {image.voxels.shape}; "
            "restore both files from the original dataset"
        )
    same_affine = np.allclose(image.affine, label.affine, rtol=1e-3, atol=1e-2)
    if not same_affine or not np.allclose(image.spacing, label.spacing, rtol=SPACING_TOLERANCE):
        raise VolumeError(
            f"{frame.label.name}: position or spacing (affine, pixdim) differs from its image's; "
            "restore both files from the original dataset"
        )
    z, y, x = image.spacing[::-1]
    notes = _spacing_notes(frame.image.name, (z, y, x), image.affine)
    sources = {frame.image.name: image.sha256, frame.label.name: label.sha256}
    return Volume(voxels, _labels(label, frame.label), (z, y, x), image.affine, notes, sources)


def _voxels(image: Nifti, path: Path) -> Array:
    """Voxels (Z, H, W) in the file's own dtype (floating point where the header scales), native byte order."""
    voxels = image.voxels
    if not np.isfinite(voxels).all():
        raise VolumeError(f"{path.name}: contains NaN or infinite voxels; restore it from the original dataset")
    # nibabel's (X, Y, Z) transposed: x is the image column and y its row, as SimpleITK and the users have it.
    return np.ascontiguousarray(voxels.transpose(2, 1, 0).astype(voxels.dtype.newbyteorder("="), copy=False))


def _labels(label: Nifti, path: Path) -> LabelImage:
    voxels = _voxels(label, path)
    # Not np.unique, which sorts all voxels, and imports what takes as long as a small volume does.
    known = np.logical_or.reduce([voxels == value for value in (0, *LABELS.values())])
    strange = sorted(set(voxels[~known].astype(float).tolist()))
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5])
        names = ", ".join(f"{value} {structure}" for structure, value in LABELS.items())
        raise VolumeError(f"{path.name}: label value {shown}; only 0 to 3 are known ({names}): correct the label")
    return voxels.astype(np.uint8)


def _spacing_notes(name: str, spacing: tuple[float, ...], affine: npt.NDArray[np.float64]) -> tuple[str, ...]:
    of_affine = voxel_sizes(affine)[::-1]
    if np.allclose(spacing, of_affine, rtol=SPACING_TOLERANCE):
        return ()
    shown = [" x ".join(f"{size:g}" for size in sizes) for sizes in (spacing, of_affine)]
    return (f"{name}: spacing (z, y, x) is {shown[0]} mm by pixdim, which is used, and {shown[1]} mm by the affine",)


def normalize_patient(
    source: Path, index: Path, percentile: float, on_invalid: str, announced: Mapping[str, str] | None = None
) -> None:
    """Write a patient's H5 files to ``volumes/`` and ``slices/`` beside the index that lists them.

    What an earlier run left in the two folders is removed.

    Args:
        source: The patient's raw folder.
        index: The declared output, written last.
        percentile: See :func:`normalize_intensities`.
        on_invalid: ``stop`` raises at a defect; ``exclude`` writes an empty index that says why.
        announced: Name -> hex sha256 of each raw file as it was when the run was planned; None takes any.

    Raises:
        CohortError, DatasetError, VolumeError: What is wrong, with patient and file.
    """
    patient = read_patient(source)
    kinds = (index.parent / "volumes", index.parent / "slices")
    for folder in kinds:
        folder.mkdir(parents=True, exist_ok=True)
    sources = {patient.sources[0].name: patient.info_sha256}
    files = list[Written]()
    notes = list[str]()
    try:
        for frame in patient.frames:
            volume = read_frame(frame)
            sources |= volume.sources
            notes.extend(f"{patient.name}: {note}" for note in volume.notes)
            files.extend(_write_frame(patient, frame, volume, index.parent, percentile))
    except VolumeError as error:
        message = f"{patient.name}: {error}"
        if on_invalid != "exclude":
            raise VolumeError(f"{message}. Or leave the patient out: 'on_invalid: exclude' in config.yaml") from error
        logger.warning("left out: %s", message)
        remove_others(kinds, keep=[])
        write_index(index, [], left_out=[message], notes=notes)
        return
    for note in notes:
        logger.warning("%s", note)
    expected = sources if announced is None else announced
    for name, sha256 in sources.items():
        require_announced(source / name, sha256, expected.get(name, ""))
    remove_others(kinds, keep=[file.path for file in files])
    # Named as below the raw folder, so that the index is the same wherever that folder lies.
    below_raw = {str(file.relative_to(source.parents[1])): sources[file.name] for file in patient.sources}
    write_index(index, [index_row(file, index) for file in files], notes=notes, sources=below_raw)
    logger.info("%s: %d files", patient.name, len(files))


def _write_frame(patient: Patient, frame: Frame, volume: Volume, folder: Path, percentile: float) -> list[Written]:
    try:
        normalized = normalize_intensities(volume.image, percentile)
    except VolumeError as error:
        raise VolumeError(f"{frame.image.name}: {error}") from error
    attributes: dict[str, object] = {
        "patient": patient.name,
        "subset": patient.subset,
        "group": patient.group,
        "height": patient.height,
        "weight": patient.weight,
        "phase": frame.phase,
        "frame": frame.number,
        "spacing": volume.spacing,
        "affine": volume.affine,
        "clip_level": normalized.clip_level,
        "raw_min": normalized.raw_min,
        "raw_max": normalized.raw_max,
        "image_sha256": volume.sources[frame.image.name],
        "label_sha256": volume.sources[frame.label.name],
        "software": f"acdc-medsam {__version__}",
    }
    path = folder / "volumes" / f"{volume_name(patient.name, frame.number)}.h5"
    # One chunk per slice: readers take whole slices.
    files = [write_h5(path, normalized.image, volume.label, attributes, chunks=(1, *volume.label.shape[1:]))]
    for number, (image, label) in enumerate(zip(normalized.image, volume.label, strict=True)):
        path = folder / "slices" / f"{slice_name(patient.name, frame.number, number)}.h5"
        files.append(write_h5(path, image, label, attributes | {"slice_index": number}, chunks=label.shape))
    return files

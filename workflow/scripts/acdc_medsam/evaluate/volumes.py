"""Between slices of 1024 pixels and volumes as the scanner gave them: labels, spacing, NIfTI."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, sha256_file, write_bytes
from acdc_medsam.formats.h5 import read_h5

Label = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Truth:
    """A labelled volume.

    Attributes:
        name: ``patient001_frame01``.
        patient: ``patient001``.
        phase: ED or ES.
        image: (Z, H, W) float32 in [0, 1].
        label: (Z, H, W) in {0, 1, 2, 3}.
        spacing: (z, y, x) in mm.
        affine: (4, 4) from voxel (x, y, z) to mm, as in the NIfTI.
        sha256: The hex sha256 of the file that it was read from.
    """

    name: str
    patient: str
    phase: str
    image: npt.NDArray[np.float32]
    label: Label
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    sha256: str


def read_truth(path: Path) -> Truth:
    """Read an H5 volume's image, label and geometry.

    Raises:
        DatasetError: it is missing or is not one of the workflow's volumes.
    """
    content = read_h5(path, dimensions=3)
    try:
        patient, phase = (str(content.attributes[key]) for key in ("patient", "phase"))
        z, y, x = (float(size) for size in content.attributes["spacing"])
        affine = np.asarray(content.attributes["affine"], np.float64).reshape(4, 4)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: its attributes are not those of a volume of this workflow ({error!r}); "
            "`snakemake repair` makes it again"
        ) from error
    return Truth(
        name=path.stem,
        patient=patient,
        phase=phase,
        image=content.image,
        label=content.label,
        spacing=(z, y, x),
        affine=affine,
        sha256=sha256_file(path),
    )


def to_plane(mask: Label, shape: tuple[int, int]) -> Label:
    """Resize (S, S) to a plane (H, W) by nearest neighbour.

    It undoes :func:`acdc_medsam.stages.render.resize_label` exactly where the plane has no side longer than S.
    """
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def to_volume(masks: Mapping[int, Label], shape: tuple[int, int, int]) -> Label:
    """Put masks (S, S), by place along z, into a volume (Z, H, W); slices that are not given are background.

    Raises:
        DatasetError: a place is outside of the volume.
    """
    volume = np.zeros(shape, np.uint8)
    for place, mask in masks.items():
        if not 0 <= place < shape[0]:
            raise DatasetError(f"slice {place} of a volume of {shape[0]}: manifest and H5 volumes are of two datasets")
        volume[place] = to_plane(mask, (shape[1], shape[2]))
    return volume


def largest_part(label: Label) -> Label:
    """Keep of each structure in (Z, H, W) the largest part that hangs together, by faces, edges or corners.

    A heart has one of each. A decoder that nobody tells where the heart is finds a little of them elsewhere.
    """
    kept = np.zeros_like(label)
    for value in LABELS.values():
        parts, count = ndimage.label(label == value, np.ones((3, 3, 3)))
        if count:
            kept[parts == np.bincount(parts.ravel())[1:].argmax() + 1] = value
    return kept


def write_nifti(label: Label, truth: Truth, path: Path) -> Written:
    """Write a label (Z, H, W) as ``.nii.gz`` in the place of the volume that it is of, so that it opens above it.

    Returns:
        The record of the file.
    """
    image = nib.Nifti1Image(np.ascontiguousarray(label.transpose(2, 1, 0)), truth.affine)
    # Where a header contradicts itself, pixdim is what the dataset took as spacing, and the affine what viewers take.
    image.header.set_zooms(truth.spacing[::-1])
    image.header.set_xyzt_units("mm")
    return write_bytes(path, gzip.compress(image.to_bytes(), 6, mtime=0))

"""Volumes at the original resolution: read the reference, stack predicted slices, write NIfTI files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, sha256_file
from acdc_medsam.formats.h5 import read_geometry, read_h5
from acdc_medsam.formats.nifti import write_volume
from acdc_medsam.formats.nifti_header import Spacing

Mask = npt.NDArray[np.bool_]
"""A binary mask of a slice (H, W) or of a volume (Z, H, W)."""

Label = npt.NDArray[np.uint8]
"""Labels or a mask of a slice (H, W)."""

LabelVolume = npt.NDArray[np.uint8]
"""Labels or a mask of a volume (Z, H, W)."""


@dataclass(frozen=True)
class Truth:
    """The reference segmentation of a volume, with its image and geometry.

    Attributes:
        name: The volume's name, such as ``patient001_frame01``.
        patient: The patient's name, such as ``patient001``.
        phase: ED or ES.
        image: The image (Z, H, W) float32 in [0, 1].
        label: The labels (Z, H, W) in {0, 1, 2, 3}.
        spacing: The voxel spacing (z, y, x) in mm; None if it is unknown.
        affine: The affine (4, 4) from voxels (x, y, z) to mm, as in the raw NIfTI file; None if it is unknown.
        sha256: The hex sha256 of the H5 file.
    """

    name: str
    patient: str
    phase: str
    image: npt.NDArray[np.float32]
    label: LabelVolume
    spacing: Spacing | None
    affine: npt.NDArray[np.float64] | None
    sha256: str


def read_truth(path: Path) -> Truth:
    """Read the image, labels and geometry of an H5 volume.

    Raises:
        DatasetError: The file is missing or is not one of the workflow's volumes.
    """
    content = read_h5(path, dimensions=3)
    try:
        patient = str(content.attributes["patient"])
        phase = str(content.attributes["phase"])
        spacing, affine = read_geometry(content)
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
        spacing=spacing,
        affine=affine,
        sha256=sha256_file(path),
    )


def to_original_size(mask: Label, shape: tuple[int, int]) -> Label:
    """Resize a mask (S, S) to the original ``shape`` (H, W) by nearest neighbor.

    This is the exact inverse of :func:`acdc_medsam.stages.render.resize_label` if neither H nor W is larger than S.
    """
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def stack_slices(masks: Mapping[int, Label], shape: tuple[int, int, int]) -> LabelVolume:
    """Stack masks into a volume at the original resolution.

    Args:
        masks: The masks (S, S) by slice index. Slices without a mask are background.
        shape: The shape (Z, H, W) of the volume.

    Raises:
        DatasetError: A slice lies outside the volume.
    """
    volume = np.zeros(shape, np.uint8)
    for index, mask in masks.items():
        if not 0 <= index < shape[0]:
            raise DatasetError(
                f"slice {index} of a volume with {shape[0]} slices: the manifest and the H5 volumes belong to "
                "different datasets"
            )
        volume[index] = to_original_size(mask, (shape[1], shape[2]))
    return volume


def largest_component(mask: Mask) -> Mask:
    """Find the largest connected component of a mask (Z, H, W); voxels are connected by faces, edges or corners."""
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    sizes = np.bincount(components.ravel())[1:]
    # Of equally large components argmax takes the first one, on every machine. MONAI sorts them, in no defined order.
    return np.asarray(components == sizes.argmax() + 1)


def keep_largest_components(label: LabelVolume) -> LabelVolume:
    """Keep only the largest connected component of each structure, as in clinical post-processing.

    A heart has one of each structure, but a decoder without prompts may also detect small parts of them elsewhere in
    the body.
    """
    kept = np.zeros_like(label)
    for value in LABELS.values():
        kept[largest_component(label == value)] = value
    return kept


def write_nifti(label: LabelVolume, truth: Truth, path: Path) -> Written:
    """Write labels (Z, H, W) as ``.nii.gz`` with the geometry of the scan, so that viewers overlay them on it.

    Returns:
        The record of the file.
    """
    return write_volume(path, label, truth.spacing, truth.affine)

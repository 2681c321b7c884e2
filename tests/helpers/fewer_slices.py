"""Patients with fewer slices, because a second is needed to encode a slice, or to evaluate one without structures."""

from pathlib import Path

import nibabel as nib


def keep_slices(patient: Path, kept: slice) -> None:
    """Remove all but some slices from the images and the labels of a patient.

    Args:
        patient: Folder of the patient.
        kept: Slices that are kept, in the order of the file.
    """
    for path in patient.glob("*_frame*.nii.gz"):
        image = nib.load(path).slicer[:, :, kept]
        path.unlink()
        nib.save(image, path)


def keep_structures(folder: Path, *patients: str) -> None:
    """Keep the only slice of tiny phantoms that shows structures.

    Args:
        folder: Folder of patients of three slices each.
        patients: Names of the patients to change.
    """
    for patient in patients:
        keep_slices(folder / patient, slice(1, 2))

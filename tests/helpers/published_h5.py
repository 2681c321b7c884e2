"""H5 folders as repositories for semi-supervised learning publish them: image and label without attributes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from acdc_medsam.acdc.cohort import find_cohort
from acdc_medsam.acdc.naming import slice_name, volume_name
from acdc_medsam.acdc.raw_nifti import Patient
from acdc_medsam.stages.normalize import normalize_intensities, read_frame


def write_published(raw: Path, folder: Path, kinds: tuple[str, ...] = ("volumes", "slices")) -> Path:
    """Write the H5 folders of the given kinds for all patients of a raw NIfTI folder, and return their folder."""
    for patient in find_cohort(raw).patients:
        assert isinstance(patient, Patient)
        for frame in patient.frames:
            volume = read_frame(frame)
            image = normalize_intensities(volume.image).image
            path = folder / f"ACDC_{patient.subset}_volumes" / f"{volume_name(patient.name, frame.number)}.h5"
            if "volumes" in kinds:
                write_plain(path, image=image, label=volume.label)
            for index in range(len(image)) if "slices" in kinds else ():
                path = folder / f"ACDC_{patient.subset}_slices" / f"{slice_name(patient.name, frame.number, index)}.h5"
                write_plain(path, image=image[index], label=volume.label[index])
    return folder


def write_plain(path: Path, **datasets: Any) -> None:
    """Write an H5 file with the given datasets and without attributes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file.create_dataset(name, data=array, compression="gzip" if np.ndim(array) else None)


def read_plain(path: Path) -> dict[str, Any]:
    """Read all datasets of an H5 file."""
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def change(path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write the datasets of an H5 file again, as a function changes them."""
    write_plain(path, **edit(read_plain(path)))

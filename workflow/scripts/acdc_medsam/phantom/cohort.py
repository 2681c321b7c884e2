"""Synthetic short-axis cine patients in ACDC's raw layout, for the demo, the tests and the benchmarks."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from acdc_medsam.acdc.labels import GROUPS, PHASES
from acdc_medsam.acdc.naming import INFO_NAME, LABEL_ENDING, SUBSETS, volume_name
from acdc_medsam.formats.files import write_bytes
from acdc_medsam.phantom.anatomy import draw_grid, draw_heart, label_volume
from acdc_medsam.phantom.picture import acquire, draw_body, draw_heart_into

SMALLEST = (32, 32, 3)
"""Smallest number of voxels along x, y and z that still shows all three structures."""


def write_cohort(
    folder: Path,
    patients: int = 10,
    seed: int = 2026,
    first: int = 1,
    testing: int = 0,
    in_plane: tuple[int, int] | None = None,
    depth: int | None = None,
) -> list[Path]:
    """Write synthetic patients below ``folder/training`` and ``folder/testing``.

    The files of a patient depend only on ``seed`` and the patient's number, and are the same bytes every time.

    Args:
        folder: The output folder, which gets ACDC's raw layout.
        patients: The number of training patients.
        seed: The seed of everything that is drawn.
        first: The number of the first training patient. The other training patients and then the testing patients
            follow it.
        testing: The number of testing patients.
        in_plane: The number of voxels along x and y; drawn by default.
        depth: The number of slices; drawn by default.

    Returns:
        The patients' folders.

    Raises:
        ValueError: The size cannot hold a heart.
    """
    size = (*(in_plane or SMALLEST[:2]), SMALLEST[2] if depth is None else depth)
    if any(given < least for given, least in zip(size, SMALLEST, strict=True)):
        raise ValueError(f"{size} voxels (x, y, z) are too few: {SMALLEST} are needed to hold a heart")

    folders = []
    for number in range(first, first + patients + testing):
        subset = SUBSETS[number >= first + patients]
        folders.append(write_patient(folder / subset, number, seed, in_plane, depth))
    return folders


def write_patient(
    folder: Path, number: int, seed: int = 2026, in_plane: tuple[int, int] | None = None, depth: int | None = None
) -> Path:
    """Write one patient.

    Args:
        folder: The folder of all patients.
        number: The patient's number, which also determines the pathology group.
        seed: The seed, see :func:`write_cohort`.
        in_plane: The number of voxels along x and y; drawn by default.
        depth: The number of slices; drawn by default.

    Returns:
        The patient's folder, ``folder/patientNNN``.
    """
    patient = folder / f"patient{number:03d}"
    rng = np.random.default_rng([seed, number])
    group = GROUPS[(number - 1) % len(GROUPS)]

    # As in ACDC, most cines start at end-diastole but not all, and volumes are of integers or floating-point numbers.
    ed = 4 if number % 10 == 0 else 1
    dtype = np.dtype(np.int16 if number % 2 else np.float32)
    frames = dict(zip(PHASES, (ed, ed + int(rng.integers(7, 13))), strict=True))
    info = {
        **frames,
        "Group": group,
        "Height": round(rng.normal(170, 9), 1),
        "NbFrame": int(rng.integers(25, 31)),
        "Weight": round(rng.normal(75, 12), 1),
    }
    write_bytes(patient / INFO_NAME, "".join(f"{key}: {value}\n" for key, value in info.items()).encode())

    # MRI has no units: the scale of the intensities differs between patients.
    white = rng.uniform(220, 340)
    grid = draw_grid(rng, in_plane, depth)
    heart = draw_heart(rng, group, grid)
    body = draw_body(grid, rng)
    for phase, frame in frames.items():
        image = white * acquire(draw_heart_into(body, grid, heart, phase, rng), grid, rng)
        stem = volume_name(patient.name, frame)
        _write_nifti(patient / f"{stem}.nii.gz", np.rint(image).astype(dtype), grid.spacing)
        _write_nifti(patient / f"{stem}{LABEL_ENDING}.nii.gz", label_volume(heart, grid, phase), grid.spacing)
    return patient


def _write_nifti(path: Path, volume: npt.NDArray[np.generic], spacing: Sequence[float]) -> None:
    """Write a volume (Z, H, W) with a header like ACDC's: axes left, posterior, superior; a qform and no sform."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    image = nib.Nifti1Image(volume.transpose(2, 1, 0), affine)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    image.header.set_xyzt_units("mm")
    # A time in the gzip header would make other bytes every time.
    write_bytes(path, igzip.compress(image.to_bytes(), 2, mtime=0))

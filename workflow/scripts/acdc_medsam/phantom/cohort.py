"""Synthetic short-axis cine patients in ACDC's raw layout, for the demo, the tests and the benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from acdc_medsam.acdc.labels import GROUPS, PHASES
from acdc_medsam.acdc.naming import CINE_ENDING, INFO_NAME, LABEL_ENDING, SUBSETS, volume_name
from acdc_medsam.formats.files import write_bytes, write_table
from acdc_medsam.phantom.anatomy import Float, Grid, Heart, draw_grid, draw_heart, label_volume
from acdc_medsam.phantom.cine import TRUTH_COLUMNS, TRUTH_ENDING, CardiacCycle, tabulate_truth
from acdc_medsam.phantom.picture import acquire, draw_body, draw_heart_into

SMALLEST = (32, 32, 3)
"""Smallest number of voxels along x, y and z that still shows all three structures."""

CONTRACTIONS = dict(zip(PHASES, (0.0, 1.0), strict=True))
"""How far the heart has contracted in each phase."""

_Volumes = tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]
"""Image and labels of a moment, (Z, H, W), or of a whole beat, (T, Z, H, W)."""


def write_cohort(
    folder: Path,
    patients: int = 10,
    seed: int = 2026,
    first: int = 1,
    testing: int = 0,
    in_plane: tuple[int, int] | None = None,
    depth: int | None = None,
    cine: bool = False,
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
        cine: Whether to write the whole heart beat of each patient too, see :func:`write_patient`.

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
        folders.append(write_patient(folder / subset, number, seed, in_plane, depth, cine))
    return folders


def write_patient(
    folder: Path,
    number: int,
    seed: int = 2026,
    in_plane: tuple[int, int] | None = None,
    depth: int | None = None,
    cine: bool = False,
) -> Path:
    """Write one patient.

    Args:
        folder: The folder of all patients.
        number: The patient's number, which also determines the pathology group.
        seed: The seed, see :func:`write_cohort`.
        in_plane: The number of voxels along x and y; drawn by default.
        depth: The number of slices; drawn by default.
        cine: Whether to write the whole heart beat too: the images as ``patientNNN_4d.nii.gz``, of which ED and ES are
            the single frames, the labels as ``patientNNN_4d_gt.nii.gz``, and the volumes that the heart was made with
            as ``patientNNN_4d_truth.tsv``.

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
    info: dict[str, Any] = {
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
    scanned = _Scanned(heart, grid, draw_body(grid, rng), white, dtype)
    drawn = {frame: scanned.draw(CONTRACTIONS[phase], rng) for phase, frame in frames.items()}
    for frame, volumes in drawn.items():
        _write_volumes(patient / volume_name(patient.name, frame), volumes, grid)

    if cine:
        beat = CardiacCycle(**{phase.lower(): frame for phase, frame in frames.items()}, frames=info["NbFrame"])
        _write_cine(patient / f"{patient.name}{CINE_ENDING}", scanned, beat, drawn, [seed, number])
    return patient


@dataclass(frozen=True)
class _Scanned:
    """A patient in the scanner: heart, grid, body (Z, H, W), signal of the brightest blood, and type of the voxels."""

    heart: Heart
    grid: Grid
    body: Float
    white: float
    dtype: np.dtype[Any]

    def draw(self, contraction: float, rng: np.random.Generator) -> _Volumes:
        """Draw the image and the labels of a moment."""
        picture = draw_heart_into(self.body, self.grid, self.heart, contraction, rng)
        image = np.rint(self.white * acquire(picture, self.grid, rng)).astype(self.dtype)
        return image, label_volume(self.heart, self.grid, contraction)


def _write_cine(
    stem: Path, scanned: _Scanned, beat: CardiacCycle, drawn: Mapping[int, _Volumes], seeds: Sequence[int]
) -> None:
    """Write a whole beat, of which some frames are drawn already, and its true volumes."""
    # Each frame has noise of its own seed, so the single frames are the same with and without a cine.
    moments = [
        drawn.get(frame) or scanned.draw(contraction, np.random.default_rng([*seeds, frame]))
        for frame, contraction in enumerate(beat.contractions(), start=1)
    ]
    images, labels = zip(*moments, strict=True)
    _write_volumes(stem, (np.stack(images), np.stack(labels)), scanned.grid, beat.frame_seconds)

    truth = tabulate_truth(scanned.heart, scanned.grid, beat)
    write_table(stem.with_name(f"{stem.name}{TRUTH_ENDING}"), TRUTH_COLUMNS, truth)


def _write_volumes(stem: Path, volumes: _Volumes, grid: Grid, frame_seconds: float | None = None) -> None:
    """Write image and labels, (Z, H, W) or for a cine (T, Z, H, W)."""
    for ending, volume in zip(("", LABEL_ENDING), volumes, strict=True):
        _write_nifti(stem.with_name(f"{stem.name}{ending}.nii.gz"), volume, grid.spacing, frame_seconds)


def _write_nifti(
    path: Path, volume: npt.NDArray[np.generic], spacing: Sequence[float], frame_seconds: float | None = None
) -> None:
    """Write a volume with a header like ACDC's: axes left, posterior, superior; a qform and no sform."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    image = nib.Nifti1Image(volume.T, affine)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    image.header.set_xyzt_units("mm")
    if frame_seconds is not None:
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((*spacing, frame_seconds))
    # A time in the gzip header would make other bytes every time.
    write_bytes(path, igzip.compress(image.to_bytes(), 2, mtime=0))

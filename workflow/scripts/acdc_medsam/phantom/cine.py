"""A whole heart beat of a synthetic patient: how far the heart has contracted in each frame, and its true volumes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from acdc_medsam.phantom.anatomy import Float, Grid, Heart, outline_heart

CYCLE_SECONDS = 0.92
"""Duration of a beat in seconds: 65 beats a minute, as at rest."""

TRUTH_ENDING = "_truth.tsv"
"""What the name of the table of true volumes has after the stem of its cine."""

TRUTH_COLUMNS = (
    *("frame", "seconds", "phase"),
    *(f"{structure}{part}_ml" for part in ("", "_slices") for structure in ("lv", "myo", "rv")),
)
"""Columns of the table of true volumes. Those with ``_slices`` count only what the slices show."""

PLANES = 100
"""Number of planes between base and apex over which a volume is integrated."""


@dataclass(frozen=True)
class CardiacCycle:
    """The frames of a heart beat.

    Attributes:
        ed: The frame of end-diastole, counted from 1.
        es: The frame of end-systole, later than ``ed``.
        frames: The number of frames. The first one follows the last one.
    """

    ed: int
    es: int
    frames: int

    @property
    def frame_seconds(self) -> float:
        """Time between two frames in seconds."""
        return CYCLE_SECONDS / self.frames

    def contractions(self) -> list[float]:
        """Return how far the heart has contracted in each frame, from 0 at end-diastole to 1 at end-systole.

        The heart contracts and relaxes smoothly. In the first third of diastole it fills fast, in the second hardly,
        and in the last one the atria add a fifth: J. Hall, Guyton and Hall Textbook of Medical Physiology, 13th ed.,
        2016, chapter 9.
        """
        systole = self.es - self.ed
        after = (np.arange(1, self.frames + 1) - self.ed) % self.frames
        thirds = 3 * (after - systole) / (self.frames - systole)

        contracting = _ease(after / systole)
        relaxing = 1 - 0.75 * _ease(thirds) - 0.05 * np.clip(thirds - 1, 0, 1) - 0.2 * _ease(thirds - 2)
        return [float(share) for share in np.where(after <= systole, contracting, relaxing)]


def _ease(share: Float) -> Float:
    """Rise from 0 to 1 along half a cosine, while ``share`` rises from 0 to 1."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0, 1)))


def tabulate_truth(heart: Heart, grid: Grid, beat: CardiacCycle) -> Iterator[dict[str, object]]:
    """Yield the row of each frame with the columns TRUTH_COLUMNS, in ml and seconds."""
    phases = {beat.ed: "ED", beat.es: "ES"}
    for frame, contraction in enumerate(beat.contractions(), start=1):
        volumes = true_volumes(heart, grid, contraction)
        row = {"frame": frame, "seconds": (frame - 1) * beat.frame_seconds, "phase": phases.get(frame, "")}
        yield row | {f"{name.lower()}_ml": volume for name, volume in volumes.items()}


def true_volumes(heart: Heart, grid: Grid, contraction: float) -> dict[str, float]:
    """Compute the volumes in ml from the areas within the outlines, without any voxel.

    The grid bends the heart by a few mm, which changes an area by 3 % at most.

    Args:
        heart: The heart.
        grid: The grid, whose slices show the heart.
        contraction: How far the heart has contracted, from 0 to 1.

    Returns:
        The volume of each structure between base and apex, and as ``<structure>_slices`` the part that the slices
        show: the sum of its areas in them, times their distance.
    """
    base = heart.apex - heart.length * (1 - heart.shortening * contraction)
    planes = np.linspace(base, heart.apex, 2 * PLANES + 1)[1::2]
    parts = {
        "": (planes, (heart.apex - base) / PLANES),
        "_slices": (grid.z[grid.z > base], grid.spacing[2]),
    }
    return {
        f"{structure}{part}": float(areas.sum()) * thickness / 1000
        for part, (z, thickness) in parts.items()
        for structure, areas in _measure_areas(heart, z.astype(np.float32), contraction).items()
    }


def _measure_areas(heart: Heart, z: Float, contraction: float) -> dict[str, Float]:
    """Measure the area (Z,) of each structure in mm² at some z (Z,)."""
    outlines = outline_heart(heart, z, contraction)
    # The area within a closed curve r(angle) is half the integral of r².
    endo, epi, rv = (
        np.pi * (np.clip(outline, 0, None) ** 2).mean(axis=1) for outline in (outlines.endo, outlines.epi, outlines.rv)
    )
    return {"RV": rv - epi, "MYO": epi - endo, "LV": endo}

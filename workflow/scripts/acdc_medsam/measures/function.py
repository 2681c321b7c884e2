"""Figures of the heart's function: volumes, mass, stroke volume and ejection fraction.

Definitions: J. Schulz-Menger et al., "Standardized image interpretation and post-processing in cardiovascular magnetic
resonance - 2020 update", Journal of Cardiovascular Magnetic Resonance 22:19, 2020.
"""

from collections.abc import Sequence

import numpy as np

MUSCLE_DENSITY = 1.05
"""Density of myocardium in g/ml; Schulz-Menger et al. 2020."""


def voxel_ml(spacing: Sequence[float]) -> float:
    """Compute the volume of a voxel in ml from its spacing (z, y, x) in mm: slices are disks without gaps."""
    return float(np.prod(spacing)) / 1000


def muscle_grams(myocardium_ml: float) -> float:
    """Compute the mass of myocardium in g from its volume in ml."""
    return MUSCLE_DENSITY * myocardium_ml


def ejection_fraction(end_diastolic: float, end_systolic: float) -> float | None:
    """Compute the percentage of the end-diastolic volume that a beat ejects; None if that volume is 0."""
    return 100 * (end_diastolic - end_systolic) / end_diastolic if end_diastolic else None

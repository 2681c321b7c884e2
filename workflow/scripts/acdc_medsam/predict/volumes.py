"""Volumes of the structures over a heart beat, and the frames of end-diastole and end-systole."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acdc_medsam.acdc.labels import LABELS, PHASES
from acdc_medsam.measures.function import voxel_ml
from acdc_medsam.predict.scan import Labels

Curve = npt.NDArray[np.float64]
"""A value for each frame (T,)."""

SMOOTHING = np.array([-3, 12, 17, 12, -3]) / 35
"""Weights of five neighboring frames, about a sixth of a beat, which give the value of the parabola that fits them best
at the one in the middle: A. Savitzky and M. Golay, Analytical Chemistry 36(8), 1964."""

JUMP_SHARE = 0.15
"""Share of its largest volume by which a structure must leave the mean of the two neighboring frames to jump there.

A normal left ventricle fills and empties by 2.5 to 5 of its volumes a second at most, 0.15 in a frame of 30 ms, which
changes the distance to that mean little.
"""

JUMP_SLICES = 0.75
"""The same in units of the structure's largest slice. The base of the heart moves through the slices, so that from one
frame to the next a slice more or less is no error; it is half a slice from the mean of both neighbors."""


def measure_volumes(labels: Labels, spacing: Sequence[float]) -> dict[str, Curve]:
    """Measure the volume of each structure in each slice of each frame.

    Args:
        labels: (T, Z, H, W).
        spacing: Voxel spacing (z, y, x) in mm.

    Returns:
        Structure -> volumes (T, Z) in ml. Their sum over slices is the volume of the structure.
    """
    counts = np.array([[np.bincount(plane.ravel(), minlength=4) for plane in frame] for frame in labels], np.float64)
    return {structure: counts[..., value] * voxel_ml(spacing) for structure, value in LABELS.items()}


def find_jumps(volumes: Curve) -> list[int]:
    """Find the frames in which a structure is much larger or smaller than in the frames before and after.

    The last frame is a neighbor of the first one, see :func:`smooth_volumes`.

    Args:
        volumes: Volumes (T, Z) of the structure in the slices of a cine.

    Returns:
        Indices of the frames; none for a cine that is too short to have a course.
    """
    curve = volumes.sum(1)
    if len(curve) < len(SMOOTHING):
        return []
    jump = np.abs(curve - neighbors_mean(curve))
    tall = (jump > JUMP_SHARE * curve.max()) & (jump > JUMP_SLICES * volumes.max())
    # The neighbors of a frame that jumps leave their own means too, but by less.
    peak = jump >= np.maximum(np.roll(jump, 1), np.roll(jump, -1))
    return np.flatnonzero(tall & peak).tolist()


def neighbors_mean(curve: Curve) -> Curve:
    """Compute the mean of the frames before and after each frame of a beat (T,)."""
    return (np.roll(curve, 1) + np.roll(curve, -1)) / 2


def smooth_volumes(volumes: Curve) -> Curve:
    """Smooth the volumes of a structure over a beat by a parabola through each frame and its neighbors.

    This keeps peaks in place. A frame in which the structure jumps has the mean of its neighbors before that. The last
    frame is a neighbor of the first one, because a cine covers a beat, or all of it but the last 5 to 10 %:
    Bernard et al. 2018 on ACDC. Source of the filter: A. Savitzky and M. Golay, Analytical Chemistry 36(8), 1964.

    Args:
        volumes: Volumes (T, Z) of the structure in the slices.

    Returns:
        Volumes (T,) of the structure. Those of fewer frames than the parabola needs are not smoothed.
    """
    curve: Curve = volumes.sum(1)
    jumps = find_jumps(volumes)
    curve[jumps] = neighbors_mean(curve)[jumps]
    if len(curve) < len(SMOOTHING):
        return curve
    return np.convolve(np.pad(curve, len(SMOOTHING) // 2, mode="wrap"), SMOOTHING, mode="valid")


def find_phases(left_ventricle: Curve, named: Sequence[str | None]) -> dict[str, int]:
    """Find the frames of end-diastole and end-systole.

    Args:
        left_ventricle: Volumes (T, Z) of the left ventricle in the slices.
        named: Phase of each frame, as it was named, or None.

    Returns:
        Phase -> index of its frame. In a cine, whatever is named, these are the frames of the largest and the smallest
        left ventricle after smoothing, but none in which it jumps; there are none if it does not change. The phase of
        a single volume is the named one, if any.
    """
    if len(named) == 1:
        return {named[0]: 0} if named[0] in PHASES else {}

    curve = smooth_volumes(left_ventricle)
    steady = np.setdiff1d(np.arange(len(curve)), find_jumps(left_ventricle))
    if not len(steady) or curve[steady].max() == curve[steady].min():
        return {}
    return {"ED": int(steady[curve[steady].argmax()]), "ES": int(steady[curve[steady].argmin()])}

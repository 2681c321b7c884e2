"""What a person who looks at the masks of a scan would object to, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from acdc_medsam.acdc.labels import LABELS, STRUCTURE_NAMES
from acdc_medsam.predict.scan import Labels, Segmented
from acdc_medsam.predict.volumes import Curve, find_jumps, neighbors_mean

Places = npt.NDArray[np.bool_]
"""Where something is: (T, Z)."""

SMALLEST_PART = 20.0
"""Area in mm² of the smallest second part of a structure that a person would notice."""

OPEN_SHARE = 0.25
"""Share of the left ventricle's border in a slice that may lack myocardium. In labels of ACDC it is 0."""

SPACING_TOLERANCE = 0.01
"""Relative difference by which a spacing may leave the range of the training set, as of rounding in headers."""

GRAY_TOLERANCE = 0.1
"""The same for the mean gray value, because the range of few patients is narrow."""

SHOWN = 6
"""Number of slices or ranges of frames that a sentence lists."""


def find_warnings(
    segmented: Segmented, volumes: Mapping[str, Curve], gray: Curve, ranges: Mapping[str, Any] | None
) -> list[str]:
    """List the warnings of a scan.

    Args:
        segmented: The scan and its masks.
        volumes: Structure -> volumes (T, Z) in ml.
        gray: Mean gray value (T,) of the slices that show a structure, in [0, 1].
        ranges: Ranges of the training set, see :func:`acdc_medsam.train.ranges.measure_ranges`; None if unknown.
    """
    sentences = list[str]()
    for structure, of_slices in volumes.items():
        sentences += _check_extent(structure, of_slices > 0)
    sentences += _check_planes(segmented)
    for structure, of_slices in volumes.items():
        sentences += _check_jumps(structure, of_slices)
    if ranges is not None:
        sentences += _check_ranges(segmented.scan.spacing, gray, ranges)
    return sentences


def _check_extent(structure: str, shown: Places) -> Iterator[str]:
    """Check in how many slices a structure is."""
    slices = shown.sum(1)
    name = STRUCTURE_NAMES[structure]
    if (slices == 0).all():
        yield f"No {name} was found."
    elif (slices == 0).any():
        yield f"No {name} was found in {_list_frames(slices == 0)}."
    single = shown & (slices == 1)[:, None]
    if single.any():
        yield f"The {name} is in one slice only: {list_places(single)}."


def _check_planes(segmented: Segmented) -> Iterator[str]:
    """Check the shapes of the structures in each slice."""
    labels = segmented.labels
    area = segmented.scan.spacing[1] * segmented.scan.spacing[2]
    parted = {structure: np.zeros(labels.shape[:2], bool) for structure in LABELS}
    is_open = np.zeros(labels.shape[:2], bool)

    for frame, index in np.argwhere(labels.any((2, 3))):
        plane = _crop(labels[frame, index])
        is_open[frame, index] = open_share(plane) > OPEN_SHARE
        for structure, value in LABELS.items():
            parted[structure][frame, index] = second_part(plane == value) * area >= SMALLEST_PART

    if is_open.any():
        yield (
            f"The {STRUCTURE_NAMES['LV']} has no {STRUCTURE_NAMES['MYO']} around a part of it: {list_places(is_open)}."
        )
    for structure, places in parted.items():
        if places.any():
            yield f"The {STRUCTURE_NAMES[structure]} is in two or more parts: {list_places(places)}."


def _crop(plane: Labels) -> Labels:
    """Cut out the structures and the pixels around them; the rest takes most of the time and shows nothing."""
    padded = np.pad(plane, 1)
    rows, columns = (np.flatnonzero(padded.any(axis)) for axis in (1, 0))
    return padded[rows[0] - 1 : rows[-1] + 2, columns[0] - 1 : columns[-1] + 2]


def open_share(plane: Labels) -> float:
    """Compute the share of the pixels around the left ventricle in a slice (H, W) that have no myocardium beside."""
    cavity = plane == LABELS["LV"]
    around = ndimage.binary_dilation(cavity) & ~cavity
    # A decoder often leaves a gap of one pixel between two structures, which nobody would call an opening.
    near = ndimage.binary_dilation(plane == LABELS["MYO"])
    return float((~near[around]).mean()) if around.any() else 0.0


def second_part(mask: npt.NDArray[np.bool_]) -> int:
    """Count the pixels of the second largest part of a mask (H, W); pixels are connected by edges or corners."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    return int(np.sort(np.bincount(parts.ravel())[1:])[-2]) if count > 1 else 0


def _check_jumps(structure: str, volumes: Curve) -> Iterator[str]:
    """Check the course of a structure over a cine; ``volumes`` is (T, Z)."""
    curve = volumes.sum(1)
    around = neighbors_mean(curve)
    jumps = find_jumps(volumes)
    if jumps:
        described = [f"frame {frame + 1} ({curve[frame]:.0f} ml, {around[frame]:.0f} ml around it)" for frame in jumps]
        yield f"The volume of the {STRUCTURE_NAMES[structure]} jumps: {_list_first(described)}."


def _check_ranges(spacing: Sequence[float], gray: Curve, ranges: Mapping[str, Any]) -> Iterator[str]:
    """Check whether a scan is like those that the model was trained on."""
    low, high = (np.array(ranges["spacing"][end]) for end in ("low", "high"))
    if (spacing < low * (1 - SPACING_TOLERANCE)).any() or (spacing > high * (1 + SPACING_TOLERANCE)).any():
        shown, *trained = (" x ".join(f"{size:.3g}" for size in sizes) for sizes in (spacing, low, high))
        yield (
            f"The spacing (z, y, x), {shown} mm, is outside the range of the training set, {trained[0]} to "
            f"{trained[1]} mm."
        )

    low, high = (ranges["gray"][end] for end in ("low", "high"))
    outside = (gray < low * (1 - GRAY_TOLERANCE)) | (gray > high * (1 + GRAY_TOLERANCE))
    if outside.any():
        worst = gray[outside][np.abs(gray[outside] - (low + high) / 2).argmax()]
        frames = f" in {_list_frames(outside)}" if len(gray) > 1 else ""
        yield (
            f"The mean gray value{frames}, {100 * worst:.0f} % of white, is outside the range of the training set, "
            f"{100 * low:.0f} to {100 * high:.0f} %."
        )


def list_places(places: Places) -> str:
    """List slices, counted from 0 along z, and in a cine the frames, counted from 1."""
    found = np.flatnonzero(places.any(0)).tolist()
    if len(places) == 1:
        return f"slice{'s' * (len(found) > 1)} {_list_numbers(found)}"
    return _list_first([f"slice {index} in {_list_frames(places[:, index])}" for index in found], "; ")


def _list_frames(frames: npt.NDArray[np.bool_]) -> str:
    """List the frames (T,) that are true: ``frames 1 to 5, 9``."""
    numbers = (np.flatnonzero(frames) + 1).tolist()
    return f"frame{'s' * (len(numbers) > 1)} {_list_numbers(numbers)}"


def _list_numbers(numbers: Sequence[int]) -> str:
    """List numbers in increasing order: ``1 to 5, 9``."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return _list_first([f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs])


def _list_first(words: Sequence[str], separator: str = ", ") -> str:
    rest = len(words) - SHOWN
    return separator.join(words[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")

"""Which part of a scan its pictures show: the heart in all frames at one scale, and its slices from base to apex."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.formats.png import Gray
from acdc_medsam.predict.scan import Labels, Segmented
from acdc_medsam.report.pictures import is_base_first, trace_outlines

MARGIN = 12.0
"""Width in mm of what is shown around the heart."""

SMALLEST_SIDE = 100.0
"""Smallest side in mm of the square that is shown."""

MOST_SLICES = 20
"""Number of slices of a frame that are shown at most."""

Window = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels, which may lie outside the image."""


def frame_heart(segmented: Segmented, phases: Mapping[str, int]) -> dict[str, Any]:
    """Choose what the pictures of a scan show.

    Args:
        segmented: The scan and its masks.
        phases: Phase -> index of its frame.

    Returns:
        The ``window`` around the heart; the ``middle`` slice; and for each phase, or for the first frame under an
        empty name if there are no phases, the index of the ``frame`` and its ``slices`` from base to apex, each with
        its ``index`` and its ``outlines`` as SVG paths in a square of side 256.
    """
    window = find_window(segmented.labels, segmented.scan.spacing)
    shown = list_slices(segmented.labels, phases.get("ED", 0))
    with_cavity = [index for index in shown if (segmented.labels[phases.get("ED", 0), index] == LABELS["LV"]).any()]
    middle = with_cavity or shown
    return {
        "window": window,
        "middle": middle[len(middle) // 2],
        "frames": {
            phase: {
                "frame": frame,
                "slices": [
                    {"index": index, "outlines": trace_outlines(cut(segmented.labels[frame, index], window))}
                    for index in shown
                ],
            }
            for phase, frame in (phases or {"": 0}).items()
        },
    }


def find_window(labels: Labels, spacing: Sequence[float]) -> Window:
    """Find the square, in mm, around the heart in all frames; around the center of the image if there is none.

    Args:
        labels: (T, Z, H, W).
        spacing: Voxel spacing (z, y, x) in mm.
    """
    projected = np.asarray(labels.any((0, 1)))
    projected |= not projected.any()
    ends = []
    for axis in (1, 0):
        hit = np.flatnonzero(projected.any(1 - axis))
        ends.append((int(hit[0]), int(hit[-1]) + 1, spacing[1 + axis]))

    side = max(SMALLEST_SIDE, *((end - start) * pixel + 2 * MARGIN for start, end, pixel in ends))
    (left, right), (top, bottom) = (
        (round((start + end - side / pixel) / 2), round((start + end + side / pixel) / 2)) for start, end, pixel in ends
    )
    return left, top, right, bottom


def cut(plane: npt.NDArray[np.uint8], window: Window) -> Gray:
    """Cut a window out of a slice (H, W); what lies outside the slice is 0."""
    return np.asarray(Image.fromarray(plane).crop(window))


def list_slices(labels: Labels, frame: int) -> list[int]:
    """List the slices that show a structure in any frame, and one beyond at each end, from base to apex.

    Args:
        labels: (T, Z, H, W).
        frame: Index of the frame that tells where the base is.
    """
    depth = labels.shape[1]
    shown = np.flatnonzero(labels.any((0, 2, 3)))
    first, last = (int(shown[0]), int(shown[-1])) if len(shown) else (0, depth - 1)
    slices = list(range(max(first - 1, 0), min(last + 1, depth - 1) + 1))

    indices = np.linspace(0, len(slices) - 1, min(len(slices), MOST_SLICES)).round().astype(int)
    slices = [slices[index] for index in indices]
    areas = [int(np.count_nonzero(labels[frame, index])) for index in slices]
    return slices if is_base_first(areas) else slices[::-1]

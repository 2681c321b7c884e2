"""Where the structures are in a mask: their outlines, and the part of the image that shows them all."""

import numpy as np
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.formats.png import Gray
from acdc_medsam.measures.records import Floats

OUTLINE_SIZE = 256
"""Side in pixels that a mask is resized to before its outlines are found."""

CLOSE_UP = 0.5
"""Side of a close-up, as share of the image's; the same for all, so that what looks larger is larger."""


def find_outlines(mask: Gray) -> dict[str, list[Floats]]:
    """Outlines of each structure that a mask (H, W) shows: points (x, y) in shares of width and height."""
    small = np.asarray(Image.fromarray(mask).resize((OUTLINE_SIZE, OUTLINE_SIZE), Image.Resampling.NEAREST))
    outlines = {}
    for structure, value in LABELS.items():
        left, top, right, bottom = Image.fromarray(small == value).getbbox() or (0, 0, 0, 0)
        if right > left:
            inside = np.pad(small[top:bottom, left:right] == value, 1).astype(np.float32)
            # Off the padding, and from the centres of pixels to the picture's own corner.
            corner = np.array([left, top]) - 0.5
            contours = [approximate_polygon(one, 0.6)[:, ::-1] for one in find_contours(inside, 0.5)]
            outlines[structure] = [(points + corner) / OUTLINE_SIZE for points in contours]
    return outlines


def close_up(mask: Gray) -> tuple[float, float, float]:
    """Where to look at the heart: left, top and side of a square around the structures, as shares of the image.

    The whole image where there are none.
    """
    box = Image.fromarray(mask).getbbox()
    if box is None:
        return 0.0, 0.0, 1.0
    left, top = (
        min(max((first + end) / 2 / side - CLOSE_UP / 2, 0.0), 1.0 - CLOSE_UP)
        for first, end, side in ((box[0], box[2], mask.shape[1]), (box[1], box[3], mask.shape[0]))
    )
    return left, top, CLOSE_UP

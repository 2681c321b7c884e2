"""The outlines of the structures in a mask, and the part of an image that shows all of them."""

import numpy as np
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from acdc_medsam.acdc.labels import COLORS, LABELS
from acdc_medsam.formats.png import Gray
from acdc_medsam.measures.records import Floats

OUTLINE_SIZE = 256
"""Side in pixels of the square that a mask is resized to before its outlines are traced."""

CLOSE_UP = 0.5
"""Side of a close-up as a share of the image side. All close-ups have the same scale, so sizes can be compared."""


def find_outlines(mask: Gray) -> dict[str, list[Floats]]:
    """Find the outlines of each structure in a mask.

    Args:
        mask: Label map (H, W).

    Returns:
        Structure -> outlines, each (points, 2): x and y as shares of the width and the height of the mask. Structures
        that the mask does not show are left out.
    """
    # Charts and pictures do not show more detail, and small masks are traced faster.
    small = np.asarray(Image.fromarray(mask).resize((OUTLINE_SIZE, OUTLINE_SIZE), Image.Resampling.NEAREST))
    outlines = {}
    for structure, value in LABELS.items():
        left, top, right, bottom = Image.fromarray(small == value).getbbox() or (0, 0, 0, 0)
        if right > left:
            # The padding closes outlines that run along the edge of the box.
            inside = np.pad(small[top:bottom, left:right] == value, 1).astype(np.float32)
            contours = [simplify_line(contour, 0.6)[:, ::-1] for contour in find_contours(inside, 0.5)]

            # Contours count from the center of the first pixel of the padding, outlines from the corner of the image.
            corner = np.array([left, top]) - 0.5
            outlines[structure] = [(points + corner) / OUTLINE_SIZE for points in contours]
    return outlines


def simplify_line(points: Floats, tolerance: float) -> Floats:
    """Leave out those points of a line that the remaining line passes by closely.

    ``skimage.measure.approximate_polygon`` does the same, but to import it takes a third of the time of a report,
    because it imports SciPy. Source: D. Douglas and T. Peucker, Cartographica 10(2), 1973.

    Args:
        points: (points, 2), in order along the line.
        tolerance: Largest distance of a point that is left out from the remaining line.

    Returns:
        (points, 2), with the first and the last point.
    """
    start = points[0]
    span = points[-1] - start
    # A closed line ends where it starts: every share is then 0, and not 0 / 0.
    share = np.clip((points - start) @ span / max(span @ span, np.finfo(float).tiny), 0, 1)
    distances = np.linalg.norm(points - start - np.outer(share, span), axis=1)

    farthest = int(distances.argmax())
    if distances[farthest] <= tolerance:
        return points[[0, -1]]
    before = simplify_line(points[: farthest + 1], tolerance)
    return np.concatenate([before[:-1], simplify_line(points[farthest:], tolerance)])


def draw_outlines(picture: Image.Image, mask: Gray, window: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> None:
    """Draw the outlines of a mask onto a picture in place.

    Args:
        picture: Square picture in colors of a part of the image.
        mask: Label map (H, W) of the whole image.
        window: The part that the picture shows, see :func:`close_up`.
    """
    left, top, share = window
    pen = ImageDraw.Draw(picture)
    for structure, outlines in find_outlines(mask).items():
        for points in outlines:
            line = (points - np.array([left, top])) / share * picture.width
            pen.line([(float(x), float(y)) for x, y in line], fill=COLORS[structure], width=2)


def close_up(mask: Gray) -> tuple[float, float, float]:
    """Find the square that shows the heart.

    Args:
        mask: Label map (H, W).

    Returns:
        Left edge, top edge and side of a square around all structures, as shares of the image: the whole image if the
        mask shows no structure.
    """
    box = Image.fromarray(mask).getbbox()
    if box is None:
        return 0.0, 0.0, 1.0

    height, width = mask.shape
    left, top, right, bottom = box
    return _center_close_up(left, right, width), _center_close_up(top, bottom, height), CLOSE_UP


def _center_close_up(first: int, end: int, side: int) -> float:
    """Return where a close-up begins that has ``first`` to ``end`` in its center and does not leave the image."""
    return min(max((first + end) / 2 / side - CLOSE_UP / 2, 0.0), 1.0 - CLOSE_UP)

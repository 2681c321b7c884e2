"""Section "extremes": the slices with the most extreme values of each measure, so that bad cases are easy to find."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from acdc_medsam.acdc.labels import LABELS, STRUCTURE_NAMES
from acdc_medsam.formats.files import Row
from acdc_medsam.measures.records import Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.elements import format_count, format_number, format_percent

SHOWN = 4
"""Number of slices of each extreme."""


@dataclass(frozen=True)
class Extreme:
    """The slices at one end of a measure.

    Attributes:
        title: Title of the extreme.
        measured: How the measure is defined, in words, or an empty text.
        near: Whether to show only the heart instead of the whole image.
        slices: The slices, most extreme first, each with its value in words.
    """

    title: str
    measured: str
    near: bool
    slices: Sequence[tuple[Row, str]]


def find_extremes(contents: Contents) -> list[Extreme]:
    """Find the extreme slices of each measure, at most one of each patient."""
    extremes = []
    for structure in LABELS:
        for end, sign in (("Smallest", 1), ("Largest", -1)):
            title = f"{end} {STRUCTURE_NAMES[structure]}"
            areas = contents.areas[structure]
            extremes.append(
                _find_extreme(contents, title, "", sign * areas, _format_area(areas, contents.area_unit), near=True)
            )

    brightness = contents.of_slices(contents.measures.brightness)
    blur = contents.of_slices(contents.measures.blur)
    stretch = resize_stretch(contents.rows)

    mean = "Mean gray value of the PNG image; white is 100 %."
    effect = "Blur effect of the slice before resizing: 0 is sharp, 1 has no detail at all."
    ratio = "How many times more the image was enlarged along one side than along the other, and its original size."
    return [
        *extremes,
        _find_extreme(contents, "Darkest", mean, brightness, lambda i: format_percent(brightness[i])),
        _find_extreme(contents, "Brightest", mean, -brightness, lambda i: format_percent(brightness[i])),
        _find_extreme(contents, "Blurriest", effect, -blur, lambda i: format_number(blur[i])),
        _find_extreme(contents, "Most unequal resize", ratio, -stretch, lambda i: _format_stretch(contents.rows[i])),
    ]


def resize_stretch(rows: Sequence[Row]) -> Floats:
    """Compute how many times more each image is enlarged along one axis than along the other to become square: (n,)."""
    sides = np.array([[int(row["height"]), int(row["width"])] for row in rows])
    stretch: Floats = sides.max(1) / sides.min(1)
    return stretch


def _format_stretch(row: Row) -> str:
    height = int(row["height"])
    width = int(row["width"])
    return f"{format_number(max(height, width) / min(height, width))} times: {width} x {height}"


def _format_area(areas: Floats, unit: str) -> Callable[[int], str]:
    return lambda index: f"{format_count(areas[index])} {unit}"


def _find_extreme(
    contents: Contents,
    title: str,
    measured: str,
    values: Floats,
    format_value: Callable[[int], str],
    near: bool = False,
) -> Extreme:
    """Find the slices with the lowest values, one of each patient.

    Args:
        contents: The dataset.
        title: See :class:`Extreme`, as for ``measured`` and ``near``.
        measured: How the measure is defined.
        values: (n,) value of each slice. Slices with the value 0, such as a structure's area where it is absent, are
            left out.
        format_value: Function that returns the value of the slice with an index in words.
        near: Whether to show only the heart.

    Returns:
        The extreme.
    """
    chosen = dict[str, int]()
    # The sort is stable, so that equal values give the same slices in every run.
    for index in np.argsort(values, kind="stable").tolist():
        if values[index] != 0 and len(chosen) < SHOWN:
            chosen.setdefault(contents.rows[index]["patient"], index)
    return Extreme(title, measured, near, [(contents.rows[index], format_value(index)) for index in chosen.values()])

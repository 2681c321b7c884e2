"""Section "extremes": the slices that stand at either end of a measure, so that bad cases are found by eye."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from acdc_medsam.acdc.labels import LABELS, STRUCTURE_NAMES
from acdc_medsam.formats.files import Row
from acdc_medsam.measures.records import Floats
from acdc_medsam.report.contents import Contents
from acdc_medsam.report.elements import format_count, format_number, format_percent

SHOWN = 4
"""Slices of each extreme."""


@dataclass(frozen=True)
class Extreme:
    """One end of a measure: what it is, how it is measured, and its slices with their value in words.

    ``near`` says whether the heart alone is to be looked at.
    """

    title: str
    measured: str
    near: bool
    slices: Sequence[tuple[Row, str]]


def find_extremes(contents: Contents) -> list[Extreme]:
    """Find the extreme slices, at most one of each patient for each extreme."""
    extremes = []
    for key in LABELS:
        for end, sign in (("Smallest", 1), ("Largest", -1)):
            title = f"{end} {STRUCTURE_NAMES[key]}"
            values = sign * contents.areas[key]
            extremes.append(_extreme(contents, title, "", values, _square_millimetres(contents, key), near=True))
    brightness, blur = contents.of_slices(contents.measures.brightness), contents.of_slices(contents.measures.blur)
    stretch = resize_stretch(contents.rows)
    mean = "Mean gray value of the PNG image; white is 100 %."
    effect = "Blur effect of the slice before resizing: 0 is sharp, 1 has no detail at all."
    ratio = "How many times more the image was enlarged along one side than along the other, from which size."
    return [
        *extremes,
        _extreme(contents, "Darkest", mean, brightness, lambda place: format_percent(brightness[place])),
        _extreme(contents, "Brightest", mean, -brightness, lambda place: format_percent(brightness[place])),
        _extreme(contents, "Blurriest", effect, -blur, lambda place: format_number(blur[place])),
        _extreme(contents, "Most unequal resize", ratio, -stretch, lambda place: _stretch(contents.rows[place])),
    ]


def resize_stretch(rows: Sequence[Row]) -> Floats:
    """(n,) how many times more each image is enlarged along one axis than along the other to become square."""
    return np.array([max(_sides(row)) / min(_sides(row)) for row in rows])


def _sides(row: Row) -> tuple[int, int]:
    return int(row["height"]), int(row["width"])


def _stretch(row: Row) -> str:
    height, width = _sides(row)
    return f"{format_number(max(height, width) / min(height, width))} times: {width} x {height}"


def _square_millimetres(contents: Contents, structure: str) -> Callable[[int], str]:
    def describe(place: int) -> str:
        return f"{format_count(contents.areas[structure][place])} mm²"

    return describe


def _extreme(
    contents: Contents, title: str, measured: str, values: Floats, describe: Callable[[int], str], near: bool = False
) -> Extreme:
    """The slices of lowest value above or at either side of 0; a structure that is not there has no smallest area."""
    chosen = dict[str, int]()
    for place in np.argsort(values, kind="stable").tolist():
        if values[place] != 0 and len(chosen) < SHOWN:
            chosen.setdefault(contents.rows[place]["patient"], place)
    return Extreme(title, measured, near, [(contents.rows[place], describe(place)) for place in chosen.values()])

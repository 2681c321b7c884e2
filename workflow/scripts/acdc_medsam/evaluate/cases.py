"""Pictures of the best, the median and the worst volume: truth and prediction side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from acdc_medsam.evaluate.summary import Record, mean
from acdc_medsam.evaluate.volumes import Label
from acdc_medsam.files import atomic_path
from acdc_medsam.png import read_gray
from acdc_medsam.render import Gray
from acdc_medsam.report.elements import COLOURS
from acdc_medsam.report.pictures import close_up, find_outlines

T = TypeVar("T")

SIDE = 320
"""Pixels of a panel."""


def choose_cases(records: Sequence[Record]) -> dict[str, tuple[str, float]]:
    """``best``, ``median`` and ``worst`` -> volume and its mean Dice over structures."""
    volumes = sorted({str(record["volume"]) for record in records})
    scores = {
        volume: mean(record["dice"] for record in records if record["volume"] == volume) or 0.0 for volume in volumes
    }
    ordered = sorted(scores, key=lambda volume: scores[volume])
    chosen = {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}
    return {case: (volume, scores[volume]) for case, volume in chosen.items()}


def draw_case(images: Mapping[str, Path], masks: Mapping[str, tuple[Label, Label]], path: Path) -> None:
    """Draw some slices of a volume, one beside the other: above with the true outlines, below with the predicted ones.

    Args:
        images: slice -> PNG image.
        masks: slice -> true and predicted label (S, S).
        path: output, PNG.
    """
    canvas = Image.new("RGB", (SIDE * len(images), 2 * SIDE))
    for column, (name, image) in enumerate(images.items()):
        pixels, (truth, predicted) = read_gray(image), masks[name]
        for line, label in enumerate((truth, predicted)):
            canvas.paste(_panel(pixels, label, close_up(truth)), (column * SIDE, line * SIDE))
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="png")


def _panel(pixels: Gray, label: Label, window: tuple[float, float, float]) -> Image.Image:
    left, top, share = window
    height, width = pixels.shape
    box = (left * width, top * height, (left + share) * width, (top + share) * height)
    panel = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS, box).convert("RGB")
    pen = ImageDraw.Draw(panel)
    for structure, outlines in find_outlines(label).items():
        for points in outlines:
            shown = (points - np.array([left, top])) / share * SIDE
            pen.line([(float(x), float(y)) for x, y in shown], fill=COLOURS[structure], width=2)
    return panel


def spread(items: Sequence[T], count: int) -> list[T]:
    """So many of some slices, from one end to the other."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in dict.fromkeys(places.tolist())]

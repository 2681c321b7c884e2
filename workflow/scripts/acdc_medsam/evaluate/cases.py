"""Pictures of the best, the median and the worst volume: truth and prediction side by side."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from acdc_medsam.acdc.labels import COLORS
from acdc_medsam.data.slices import SIZE
from acdc_medsam.evaluate.summary import Record, mean
from acdc_medsam.evaluate.volumes import Label, read_truth
from acdc_medsam.formats.files import Written, write_bytes
from acdc_medsam.formats.png import Gray
from acdc_medsam.measures.outlines import close_up, find_outlines
from acdc_medsam.stages.render import resize_image, resize_label

T = TypeVar("T")

SIDE = 320
"""Pixels of a panel."""

SHOWN = 5
"""Slices of a volume in a picture."""


def choose_cases(records: Sequence[Record]) -> dict[str, tuple[str, float]]:
    """``best``, ``median`` and ``worst`` -> volume and its mean Dice over structures."""
    volumes = sorted({str(record["volume"]) for record in records})
    scores = {
        volume: mean(record["dice"] for record in records if record["volume"] == volume) or 0.0 for volume in volumes
    }
    ordered = sorted(scores, key=lambda volume: scores[volume])
    chosen = {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}
    return {case: (volume, scores[volume]) for case, volume in chosen.items()}


def draw_cases(
    volumes: Mapping[str, Path], predicted: Mapping[str, Label], records: Sequence[Record], out: Path
) -> tuple[dict[str, Any], list[Written]]:
    """Draw the best, the median and the worst volume.

    Args:
        volumes: The volume's name -> its H5 file.
        predicted: The volume's name -> its labels (Z, H, W) as they were found.
        records: The agreement of each volume and structure.
        out: The output folder.

    Returns:
        The case -> its volume and mean Dice; and the record of each picture.
    """
    chosen = choose_cases(records)
    pictures = list[Written]()
    for case, (volume, _) in chosen.items():
        truth = read_truth(volumes[volume])
        shown = spread([number for number, plane in enumerate(truth.label) if plane.any()], SHOWN)
        panels = [
            (
                resize_image(truth.image[number], SIZE),
                resize_label(truth.label[number], SIZE),
                resize_label(predicted[volume][number], SIZE),
            )
            for number in shown
        ]
        pictures.append(draw_case(panels, out / f"{case}.png"))
    return {case: {"volume": volume, "dice": dice} for case, (volume, dice) in chosen.items()}, pictures


def draw_case(panels: Sequence[tuple[Gray, Label, Label]], path: Path) -> Written:
    """Draw some slices of a volume, one beside the other: above with the true outlines, below with the predicted ones.

    Args:
        panels: The image, the true label and the predicted label of each slice, (S, S) each.
        path: The output, a PNG file.

    Returns:
        The record of the file.
    """
    canvas = Image.new("RGB", (SIDE * len(panels), 2 * SIDE))
    for column, (pixels, truth, predicted) in enumerate(panels):
        for line, label in enumerate((truth, predicted)):
            canvas.paste(_panel(pixels, label, close_up(truth)), (column * SIDE, line * SIDE))
    buffer = io.BytesIO()
    canvas.save(buffer, format="png")
    return write_bytes(path, buffer.getbuffer())


def _panel(pixels: Gray, label: Label, window: tuple[float, float, float]) -> Image.Image:
    left, top, share = window
    height, width = pixels.shape
    box = (left * width, top * height, (left + share) * width, (top + share) * height)
    panel = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS, box).convert("RGB")
    pen = ImageDraw.Draw(panel)
    for structure, outlines in find_outlines(label).items():
        for points in outlines:
            shown = (points - np.array([left, top])) / share * SIDE
            pen.line([(float(x), float(y)) for x, y in shown], fill=COLORS[structure], width=2)
    return panel


def spread(items: Sequence[T], count: int) -> list[T]:
    """So many of some slices, from one end to the other."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in dict.fromkeys(places.tolist())]

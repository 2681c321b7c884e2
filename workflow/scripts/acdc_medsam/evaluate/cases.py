"""Pictures of the best, the median and the worst volume, with the reference above the prediction."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.evaluate.summary import Score, mean
from acdc_medsam.evaluate.volumes import Label, LabelVolume, read_truth
from acdc_medsam.formats.files import Written, write_bytes
from acdc_medsam.formats.png import Gray
from acdc_medsam.measures.outlines import close_up, draw_outlines
from acdc_medsam.stages.render import resize_image, resize_label

T = TypeVar("T")

PANEL_SIZE = 320
"""Side of a panel in pixels."""

SLICES_PER_CASE = 5
"""Number of slices of a volume in a picture."""


def choose_cases(scores: Sequence[Score]) -> dict[str, tuple[str, float]]:
    """Choose the volumes to draw by their mean Dice over structures.

    Returns:
        The volume and its mean Dice for each of ``best``, ``median`` and ``worst``.
    """
    volumes = sorted({str(score["volume"]) for score in scores})
    dice = {volume: mean(score["dice"] for score in scores if score["volume"] == volume) or 0.0 for volume in volumes}
    # Volumes of equal Dice stay in the order of their names.
    ordered = sorted(dice, key=lambda volume: dice[volume])
    chosen = {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}
    return {case: (volume, dice[volume]) for case, volume in chosen.items()}


def draw_cases(
    volumes: Mapping[str, Path], predicted: Mapping[str, LabelVolume], scores: Sequence[Score], out: Path
) -> tuple[dict[str, Any], list[Written]]:
    """Draw the best, the median and the worst volume.

    Args:
        volumes: The H5 file of each volume, by the volume's name.
        predicted: The predicted labels (Z, H, W) of each volume, by the volume's name.
        scores: The scores of all volumes and structures.
        out: The output folder.

    Returns:
        The volume and mean Dice of each case, and the record of each picture.
    """
    chosen = choose_cases(scores)
    records: list[Written] = []
    for case, (volume, _) in chosen.items():
        truth = read_truth(volumes[volume])
        labeled = [index for index, label in enumerate(truth.label) if label.any()]
        panels = [
            (
                resize_image(truth.image[index], PROMPT_SIZE),
                resize_label(truth.label[index], PROMPT_SIZE),
                resize_label(predicted[volume][index], PROMPT_SIZE),
            )
            for index in pick_evenly(labeled, SLICES_PER_CASE)
        ]
        records.append(draw_case(panels, out / f"{case}.png"))

    cases = {case: {"volume": volume, "dice": dice} for case, (volume, dice) in chosen.items()}
    return cases, records


def draw_case(panels: Sequence[tuple[Gray, Label, Label]], path: Path) -> Written:
    """Draw slices of a volume side by side: above with the true outlines, below with the predicted ones.

    Args:
        panels: The image, the true labels and the predicted labels of each slice, (S, S) each.
        path: The output, a PNG file.

    Returns:
        The record of the file.
    """
    canvas = Image.new("RGB", (PANEL_SIZE * len(panels), 2 * PANEL_SIZE))
    for column, (pixels, truth, predicted) in enumerate(panels):
        # Both panels show the same section, so that they can be compared.
        window = close_up(truth)
        for row, label in enumerate((truth, predicted)):
            canvas.paste(_draw_panel(pixels, label, window), (column * PANEL_SIZE, row * PANEL_SIZE))

    buffer = io.BytesIO()
    canvas.save(buffer, format="png")
    return write_bytes(path, buffer.getbuffer())


def _draw_panel(pixels: Gray, label: Label, window: tuple[float, float, float]) -> Image.Image:
    left, top, share = window
    height, width = pixels.shape
    box = (left * width, top * height, (left + share) * width, (top + share) * height)
    panel = Image.fromarray(pixels).resize((PANEL_SIZE, PANEL_SIZE), Image.Resampling.LANCZOS, box).convert("RGB")
    draw_outlines(panel, label, window)
    return panel


def pick_evenly(items: Sequence[T], count: int) -> list[T]:
    """Pick ``count`` items evenly from the first to the last, or all if there are fewer."""
    indices = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    # Rounding may give the same index twice.
    return [items[index] for index in dict.fromkeys(indices.tolist())]

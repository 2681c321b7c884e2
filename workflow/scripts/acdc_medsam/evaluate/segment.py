"""Segment whole volumes slice by slice, and score them against the reference segmentation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.encoders.decoder import to_labels
from acdc_medsam.evaluate.metrics import PHYSICAL, Units, compute_metrics, dice_coefficient
from acdc_medsam.evaluate.predict import Predict
from acdc_medsam.evaluate.summary import Score, mean
from acdc_medsam.evaluate.volumes import (
    Label,
    LabelVolume,
    Truth,
    keep_largest_components,
    largest_component,
    stack_slices,
)


@dataclass(frozen=True)
class Segmentation:
    """A segmented volume and its scores.

    Attributes:
        label: The predicted labels (Z, H, W), of each structure only the largest connected component.
        scores: One score per structure that the volume shows, see :func:`score_structure`.
        false_positives: One count per structure: the number of ``slices`` without the structure, and the number of
            these in which it was ``found`` nevertheless.
    """

    label: LabelVolume
    scores: list[Score]
    false_positives: list[Score]


def segment_volume(
    slices: Iterable[SliceItem], predict: Predict, truth: Truth, units: Units = PHYSICAL
) -> Segmentation:
    """Predict all slices of one volume and score them against the reference segmentation.

    Args:
        slices: All slices of the volume, in any order.
        predict: Function that predicts the logits (3, S, S) of RV, MYO and LV in a slice.
        truth: Reference segmentation of the volume.
        units: Units of distances and volumes.

    Raises:
        DatasetError: A slice lies outside the volume.
    """
    label_maps: dict[int, Label] = {}
    masks: dict[str, dict[int, Label]] = {structure: {} for structure in LABELS}
    slice_dice: dict[str, list[float]] = {structure: [] for structure in LABELS}
    found_without: dict[str, list[bool]] = {structure: [] for structure in LABELS}

    for item in slices:
        logits = predict(item)
        index = int(item["slice_index"])
        label_maps[index] = to_labels(logits).numpy()

        # With boxes, structures may overlap, so each one is scored as it was predicted.
        for structure, mask in zip(LABELS, (logits > 0).numpy(), strict=True):
            masks[structure][index] = mask.astype(np.uint8)
            # Dice is undefined where the reference is empty, so such slices are only checked for false positives.
            true_mask = item["mask"].numpy() == LABELS[structure]
            if true_mask.any():
                slice_dice[structure].append(dice_coefficient(mask, true_mask))
            else:
                found_without[structure].append(bool(mask.any()))

    shown = [structure for structure, value in LABELS.items() if (truth.label == value).any()]
    return Segmentation(
        label=keep_largest_components(stack_slices(label_maps, truth.label.shape)),
        scores=[
            score_structure(structure, masks[structure], slice_dice[structure], truth, units) for structure in shown
        ],
        false_positives=[
            {**describe_structure(structure, truth), "slices": len(found), "found": sum(found)}
            for structure, found in found_without.items()
        ],
    )


def score_structure(
    structure: str, masks: Mapping[int, Label], slice_dice: Sequence[float], truth: Truth, units: Units
) -> dict[str, object]:
    """Score the largest connected component of one structure in three dimensions.

    Args:
        structure: RV, MYO or LV, which the volume shows.
        masks: The predicted masks (S, S), 0 and 1, by slice index.
        slice_dice: The Dice coefficient of each slice that shows the structure.
        truth: Reference segmentation of the volume.
        units: Units of distances and volumes.

    Returns:
        The row of ``metrics.json``, and ``dice_per_slice``.

    Raises:
        DatasetError: A slice lies outside the volume.
    """
    predicted = largest_component(stack_slices(masks, truth.label.shape) > 0)
    metrics = compute_metrics(predicted, truth.label == LABELS[structure], truth.spacing, units)
    return {
        **describe_structure(structure, truth),
        "dice": metrics.dice,
        f"hd95_{units.distance}": metrics.hd95,
        f"assd_{units.distance}": metrics.assd,
        f"volume_{units.volume}": metrics.volume,
        f"true_volume_{units.volume}": metrics.true_volume,
        f"volume_error_{units.volume}": metrics.volume - metrics.true_volume,
        "slice_dice": mean(slice_dice),
        "dice_per_slice": slice_dice,
    }


def describe_structure(structure: str, truth: Truth) -> dict[str, str]:
    """Name the structure and the volume that a row of ``metrics.json`` is about."""
    return {"volume": truth.name, "patient": truth.patient, "phase": truth.phase, "structure": structure}

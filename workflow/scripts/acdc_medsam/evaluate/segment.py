"""Segment whole volumes slice by slice, and compare them with the truth."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import SliceItem
from acdc_medsam.evaluate.metrics import compare, overlap
from acdc_medsam.evaluate.predict import Predict, to_labels
from acdc_medsam.evaluate.summary import Record, mean
from acdc_medsam.evaluate.volumes import Label, Truth, largest_part, to_volume


@dataclass(frozen=True)
class Segmentation:
    """A volume as it was segmented, and how it agrees with the truth.

    Attributes:
        label: (Z, H, W) uint8, the largest part of each structure, see :func:`largest_part`.
        records: One record for each structure that the volume shows, its ``slices`` the Dice of each slice that shows
            the structure, as predicted.
        without: One record for each structure: the number of ``slices`` without it, and the number of those in which
            it was ``found`` all the same, as predicted.
    """

    label: Label
    records: list[Record]
    without: list[Record]


def segment(slices: Iterable[SliceItem], predict: Predict, truth: Truth) -> Segmentation:
    """Predict all slices of one volume and compare them with the truth.

    Args:
        slices: All slices of the volume, in any order.
        predict: The function that finds the structures in a slice.
        truth: The volume.

    Raises:
        DatasetError: A slice is outside of the volume.
    """
    masks: dict[str, dict[int, Label]] = {structure: {} for structure in LABELS}
    planes = dict[int, Label]()
    slice_dice = defaultdict[str, list[float]](list)
    found_without = defaultdict[str, list[bool]](list)

    for item in slices:
        logits = predict(item)
        number = int(item["slice_index"])
        planes[number] = to_labels(logits).numpy()
        for structure, inside in zip(LABELS, (logits > 0).numpy(), strict=True):
            masks[structure][number] = inside.astype(np.uint8)
            true = item["mask"].numpy() == LABELS[structure]
            if true.any():
                slice_dice[structure].append(overlap(inside, true))
            else:
                found_without[structure].append(bool(inside.any()))

    records, without = list[Record](), list[Record]()
    for structure, value in LABELS.items():
        named = {"volume": truth.name, "patient": truth.patient, "phase": truth.phase, "structure": structure}
        found = found_without[structure]
        without.append({**named, "slices": len(found), "found": sum(found)})

        # With boxes structures may overlap, and each is measured as it was found.
        predicted = largest_part(to_volume(masks[structure], truth.label.shape))
        true = truth.label == value
        if true.any():
            agreement = compare(predicted > 0, true, truth.spacing)
            records.append(
                {
                    **named,
                    **asdict(agreement),
                    "volume_error_ml": agreement.volume_ml - agreement.true_volume_ml,
                    "slice_dice": mean(slice_dice[structure]),
                    "slices": slice_dice[structure],
                }
            )
    return Segmentation(largest_part(to_volume(planes, truth.label.shape)), records, without)

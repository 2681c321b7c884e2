"""Stage evaluate: a dataset and a fine-tuned model -> masks of whole patients, and how good they are."""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from acdc_medsam import __version__
from acdc_medsam.data.slices import SIZE, ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.dataset import LABELS, SUBSETS, volume_name
from acdc_medsam.devices import set_threads
from acdc_medsam.encoders import load_model
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.cases import choose_cases, draw_case, spread
from acdc_medsam.evaluate.measures import compare, overlap
from acdc_medsam.evaluate.predict import Predict, to_labels, with_boxes, without_prompts
from acdc_medsam.evaluate.summary import Record, ejection_fractions, mean, summarize
from acdc_medsam.evaluate.volumes import Label, Truth, largest_part, read_truth, to_volume, write_nifti
from acdc_medsam.files import sha256_file, take_record, write_bytes
from acdc_medsam.index import index_row, write_index
from acdc_medsam.publish import h5_folder
from acdc_medsam.render import resize_label
from acdc_medsam.report.results import WAYS
from acdc_medsam.train import quiet_libraries
from acdc_medsam.train.weights import encoder_of

logger = logging.getLogger(__name__)

SHOWN = 5
"""Slices of a volume in a picture."""


def find_volume(folder: Path, name: str) -> Path:
    """Where a published H5 volume lies below ``folder``.

    Raises:
        DatasetError: nowhere.
    """
    places = [folder / h5_folder(subset, "volumes") / f"{name}.h5" for subset in SUBSETS]
    for place in places:
        if place.is_file():
            return place
    raise DatasetError(f"{name}.h5 is in none of {', '.join(str(place.parent) for place in places)}; see --volumes")


def evaluate_model(
    data: Path,
    volumes: Path,
    checkpoint: Path,
    model: Path,
    split: str,
    out: Path,
    index: Path | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Segment a split in each of WAYS, and write ``metrics.json``, ``predictions/`` and ``cases/`` to ``out``.

    Args:
        data: folder of the dataset.
        volumes: folder that holds ``ACDC_training_volumes``.
        checkpoint: the released weights, which made the embeddings.
        model: the fine-tuned weights.
        split: what to segment.
        out: output folder.
        index: declared output of the rule, lists every file; written last.
        threads: of the computation; None for torch's choice.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        CheckpointError, DatasetError: what is wrong, with the file's name.
    """
    quiet_libraries()
    if threads is not None:
        set_threads(threads)
    name, encoding = encoder_of(data, checkpoint), positional_encoding(data)
    tuned = load_model(name, model)
    ways: dict[str, Predict] = {
        "zero_shot_boxes": with_boxes(load_model(name, checkpoint), encoding, fine_tuned=False),
        "fine_tuned_boxes": with_boxes(tuned, encoding, fine_tuned=True),
        "fine_tuned": without_prompts(tuned, encoding),
    }
    dataset = SliceDataset(data, split, ItemOptions())
    records, files = defaultdict[str, list[Record]](list), list[Path]()
    places, tidied = defaultdict[str, list[int]](list), dict[str, Label]()
    for place, row in enumerate(dataset.rows):
        places[volume_name(row["patient"], int(row["frame"]))].append(place)
    for volume, of_volume in places.items():
        truth = read_truth(find_volume(volumes, volume))
        for way, predict in ways.items():
            found, labels = segment(dataset, of_volume, predict, truth)
            records[way] += found
            files.append(out / "predictions" / way / f"{volume}.nii.gz")
            write_nifti(labels, truth, files[-1])
            if way == "fine_tuned":
                tidied[volume] = labels
        logger.info("%s: %d slices", volume, len(of_volume))
    metrics = {
        "software": f"acdc-medsam {__version__}",
        "encoder": name,
        "split": split,
        "patients": sorted({row["patient"] for row in dataset.rows}),
        "slices": len(dataset),
        "model_sha256": sha256_file(model),
        "checkpoint_sha256": sha256_file(checkpoint),
        "manifest_sha256": sha256_file(data / "manifest.tsv"),
        "ways": {way: describe(found) for way, found in records.items()},
        "cases": draw_cases(dataset, places, tidied, records["fine_tuned"], out / "cases"),
    }
    write_bytes(out / "metrics.json", (json.dumps(metrics, indent=1) + "\n").encode())
    if index is not None:
        files += [out / "metrics.json", *sorted((out / "cases").glob("*.png"))]
        write_index(index, [index_row(take_record(file), index) for file in files])
    return metrics


def segment(dataset: SliceDataset, places: Sequence[int], predict: Predict, truth: Truth) -> tuple[list[Record], Label]:
    """Segment a volume's slices, and keep the largest part of each structure, see :func:`largest_part`.

    Args:
        dataset: of which the slices are.
        places: of the slices in it.
        predict: the way.
        truth: the volume.

    Returns:
        A record for each structure, its ``slices`` the Dice of each slice as predicted; and the labels (Z, H, W).
    """
    masks: dict[str, dict[int, Label]] = {structure: {} for structure in LABELS}
    planes, slice_dice = dict[int, Label](), defaultdict[str, list[float]](list)
    for item in map(dataset.__getitem__, places):
        logits, number = predict(item), int(item["slice_index"])
        planes[number] = to_labels(logits).numpy()
        for structure, inside in zip(LABELS, (logits > 0).numpy(), strict=True):
            masks[structure][number] = inside.astype(np.uint8)
            true = item["mask"].numpy() == LABELS[structure]
            if true.any():
                slice_dice[structure].append(overlap(inside, true))
    records = list[Record]()
    for structure, value in LABELS.items():
        # With boxes structures may overlap, and each is measured as it was found.
        predicted = largest_part(to_volume(masks[structure], truth.label.shape))
        true = truth.label == value
        if true.any():
            agreement = compare(predicted > 0, true, truth.spacing)
            records.append(
                {
                    **{"volume": truth.name, "patient": truth.patient, "phase": truth.phase, "structure": structure},
                    **asdict(agreement),
                    "volume_error_ml": agreement.volume_ml - agreement.true_volume_ml,
                    "slice_dice": mean(slice_dice[structure]),
                    "slices": slice_dice[structure],
                }
            )
    return records, largest_part(to_volume(planes, truth.label.shape))


def describe(records: Sequence[Record]) -> dict[str, Any]:
    """What ``metrics.json`` says of one way."""
    flat = {key: [dice for one in records if one["structure"] == key for dice in one["slices"]] for key in LABELS}
    rows = [{key: value for key, value in record.items() if key != "slices"} for record in records]
    return {
        "mean_slice_dice": {structure: mean(values) for structure, values in flat.items()},
        "structures": summarize(records),
        "ejection_fraction": ejection_fractions(records),
        "volumes": rows,
    }


def draw_cases(
    dataset: SliceDataset,
    places: Mapping[str, Sequence[int]],
    predicted: Mapping[str, Label],
    records: Sequence[Record],
    out: Path,
) -> dict[str, Any]:
    """Draw the best, the median and the worst volume, of ``predicted`` labels (Z, H, W); returns what they are."""
    chosen = choose_cases(records)
    for case, (volume, _) in chosen.items():
        images, masks = dict[str, Path](), dict[str, tuple[Label, Label]]()
        for item in (dataset[place] for place in spread(places[volume], SHOWN)):
            name, plane = item["slice"], predicted[volume][int(item["slice_index"])]
            images[name] = dataset.root / dataset.split / "images" / f"{name}.png"
            masks[name] = item["mask"].numpy(), resize_label(plane, SIZE)
        draw_case(images, masks, out / f"{case}.png")
    return {case: {"volume": volume, "dice": dice} for case, (volume, dice) in chosen.items()}


def as_table(metrics: Mapping[str, Any]) -> str:
    """The means of each way and structure as lines of text."""
    lines = [f"{'':30}{'structure':>10}{'Dice 3D':>9}{'HD95 mm':>9}{'ASSD mm':>9}{'Dice 2D':>9}{'missed':>8}"]
    for way, words in WAYS.items():
        for structure, phases in metrics["ways"][way]["structures"].items():
            one, flat = phases["all"], metrics["ways"][way]["mean_slice_dice"][structure]
            cells = [one["dice"], one["hd95_mm"], one["assd_mm"], flat]
            numbers = [
                f"{cell:9.{digits}f}" if cell is not None else f"{'-':>9}"
                for cell, digits in zip(cells, (4, 2, 2, 4), strict=True)
            ]
            lines.append(f"{words:30}{structure:>10}{''.join(numbers)}{one['missed']:8}")
    return "\n".join(lines)

"""Stage evaluate: a dataset and a fine-tuned model -> masks of whole patients, and how good they are."""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from acdc_medsam import __version__
from acdc_medsam.acdc.labels import LABELS
from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.encoders import load_model, make_encoder
from acdc_medsam.encoders.devices import set_threads
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.cases import draw_cases
from acdc_medsam.evaluate.predict import Predict, with_boxes, without_prompts
from acdc_medsam.evaluate.segment import segment
from acdc_medsam.evaluate.slices import VolumeSlices, find_volumes, require_whole_patients
from acdc_medsam.evaluate.summary import Record, count_found_without, ejection_fractions, mean, summarize
from acdc_medsam.evaluate.volumes import Label, read_truth, write_nifti
from acdc_medsam.formats.files import Written, read_table, sha256_file, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.layout import MANIFEST, WAYS
from acdc_medsam.train import quiet_libraries
from acdc_medsam.train.folder import METRICS, remove_evaluation
from acdc_medsam.train.weights import encoder_of

logger = logging.getLogger(__name__)


def splits_to_measure(data: Path) -> list[str]:
    """``val``, and ``test`` where the dataset has testing patients."""
    rows = read_table(data / MANIFEST)
    return ["val", *(["test"] if any(row["split"] == "test" for row in rows) else [])]


def evaluate_model(
    data: Path,
    volumes: Path,
    checkpoint: Path,
    model: Path,
    splits: Sequence[str],
    out: Path,
    index: Path | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Segment splits in each of WAYS, and write ``metrics.json``, ``predictions/`` and ``cases/`` to ``out``.

    What an earlier evaluation left in ``out`` is removed first, so that all there is of one dataset and one model.

    Args:
        data: The folder of the dataset.
        volumes: The folder that holds ``ACDC_training_volumes``.
        checkpoint: The released weights, which made the embeddings.
        model: The fine-tuned weights.
        splits: The splits to segment.
        out: The output folder.
        index: The declared output of the rule, which lists every file and is written last.
        threads: The number of threads that compute; None for torch's choice.

    Returns:
        The content of ``metrics.json``.

    Raises:
        CheckpointError, DatasetError: What is wrong, with the file's name.
    """
    quiet_libraries()
    if threads is not None:
        set_threads(threads)

    name, precision = encoder_of(data, checkpoint)
    rows = read_table(data / MANIFEST)
    for split in splits:
        require_whole_patients(data / MANIFEST, rows, split)
    datasets = [SliceDataset(data, split, ItemOptions()) for split in splits]
    found = {dataset.split: find_volumes(volumes, dataset.rows) for dataset in datasets}

    encoding = positional_encoding(data)
    tuned, released = load_model(name, model), load_model(name, checkpoint)
    ways: dict[str, Predict] = {
        "zero_shot_boxes": with_boxes(released, encoding, fine_tuned=False),
        "fine_tuned_boxes": with_boxes(tuned, encoding, fine_tuned=True),
        "fine_tuned": without_prompts(tuned, encoding),
    }
    encoder = make_encoder(released, ENCODERS[name], precision, torch.device("cpu"))

    remove_evaluation(out)
    files = list[Written]()
    measured = dict[str, Any]()
    for dataset in datasets:
        slices = VolumeSlices(dataset, encoder.encode)
        measured[dataset.split] = evaluate_split(slices, found[dataset.split], ways, out, files)

    metrics = {
        "software": f"acdc-medsam {__version__}",
        "encoder": name,
        "precision": precision,
        "model_sha256": sha256_file(model),
        "checkpoint_sha256": sha256_file(checkpoint),
        "manifest_sha256": sha256_file(data / MANIFEST),
        "splits": measured,
    }
    content = (json.dumps(metrics, indent=1) + "\n").encode()
    files.append(write_bytes(out / METRICS, content))
    if index is not None:
        write_index(index, [index_row(file, index) for file in files])
    return metrics


def evaluate_split(
    slices: VolumeSlices, volumes: Mapping[str, Path], ways: Mapping[str, Predict], out: Path, files: list[Written]
) -> dict[str, Any]:
    """Segment all volumes of a split in each way, and draw the best, the median and the worst one.

    Args:
        slices: The slices of the volumes.
        volumes: The volume's name -> its H5 file.
        ways: The way's name -> the function that finds the structures in a slice.
        out: The output folder.
        files: The record of each file that was written, to which those of this split are added.

    Returns:
        What ``metrics.json`` says of the split.

    Raises:
        DatasetError: A volume is missing or damaged, or none shows a structure.
    """
    split = slices.dataset.split
    records, without = defaultdict[str, list[Record]](list), defaultdict[str, list[Record]](list)
    predicted, truths = dict[str, Label](), dict[str, str]()
    lacking = 0
    for volume, path in volumes.items():
        truth = read_truth(path)
        truths[volume] = truth.sha256
        lacking += slices.lacking(truth)
        items = list(slices.of(truth))
        for way, predict in ways.items():
            found = segment(items, predict, truth)
            records[way] += found.records
            without[way] += found.without
            file = out / "predictions" / split / way / f"{volume}.nii.gz"
            files.append(write_nifti(found.label, truth, file))
            if way == "fine_tuned":
                predicted[volume] = found.label
        logger.info("%s: %d slices, %d of them not in the dataset", volume, len(items), slices.lacking(truth))

    if not records["fine_tuned"]:
        raise DatasetError(
            f"{slices.dataset.root / MANIFEST}: no volume of '{split}' shows a structure, so there is nothing to "
            "measure; choose another split"
        )
    cases, pictures = draw_cases(volumes, predicted, records["fine_tuned"], out / "cases" / split)
    files += pictures
    return {
        "patients": sorted({row["patient"] for row in slices.dataset.rows}),
        "slices": len(slices.dataset),
        "slices_not_in_the_dataset": lacking,
        "truth_sha256": truths,
        "ways": {way: describe(records[way], without[way]) for way in ways},
        "cases": cases,
    }


def describe(records: Sequence[Record], without: Sequence[Record]) -> dict[str, Any]:
    """Say what ``metrics.json`` has of one way, from the records of a :class:`Segmentation` of each volume."""
    flat = {key: [dice for one in records if one["structure"] == key for dice in one["slices"]] for key in LABELS}
    rows = [{key: value for key, value in record.items() if key != "slices"} for record in records]
    return {
        "mean_slice_dice": {structure: mean(values) for structure, values in flat.items()},
        "structures": summarize(records),
        "slices_without": count_found_without(without),
        "ejection_fraction": ejection_fractions(records),
        "volumes": rows,
    }


def as_table(metrics: Mapping[str, Any]) -> str:
    """Lay out the means of each split, way and structure as lines of text."""
    lines = list[str]()
    for split, measured in metrics["splits"].items():
        heads = f"{'structure':>10}{'Dice 3D':>9}{'HD95 mm':>9}{'ASSD mm':>9}{'Dice 2D':>9}{'missed':>8}"
        lines.append(f"{split:30}{heads}{'found where none':>18}")
        for way, words in WAYS.items():
            found = measured["ways"][way]
            for structure, phases in found["structures"].items():
                one, flat = phases["all"], found["mean_slice_dice"][structure]
                cells = [one["dice"], one["hd95_mm"], one["assd_mm"], flat]
                numbers = [
                    f"{cell:9.{digits}f}" if cell is not None else f"{'-':>9}"
                    for cell, digits in zip(cells, (4, 2, 2, 4), strict=True)
                ]
                none = found["slices_without"][structure]["all"]
                share = f"{none['found']} of {none['slices']}"
                lines.append(f"{words:30}{structure:>10}{''.join(numbers)}{one['missed']:8}{share:>18}")
    return "\n".join(lines)

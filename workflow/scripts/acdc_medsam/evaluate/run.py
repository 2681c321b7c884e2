"""Stage evaluate: a dataset and a fine-tuned model -> masks of whole patients and their metrics."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acdc_medsam import __version__
from acdc_medsam.data.assignment import AS_PUBLISHED, Assignment
from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.encoders import load_model, make_encoder
from acdc_medsam.encoders.devices import set_threads
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import DatasetError
from acdc_medsam.evaluate.cases import draw_cases
from acdc_medsam.evaluate.metrics import PHYSICAL, UNSCALED
from acdc_medsam.evaluate.predict import Predict, with_boxes, without_prompts
from acdc_medsam.evaluate.seen import describe_seen, find_seen
from acdc_medsam.evaluate.segment import segment_volume
from acdc_medsam.evaluate.slices import VolumeSlices, find_volumes, require_whole_patients
from acdc_medsam.evaluate.summary import Score, summarize_way
from acdc_medsam.evaluate.volumes import LabelVolume, read_truth, write_nifti
from acdc_medsam.formats.files import Written, read_table, sha256_file, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.layout import MANIFEST
from acdc_medsam.runtime.jobs import ON_SCREEN
from acdc_medsam.train import silence_libraries
from acdc_medsam.train.facts import read_facts
from acdc_medsam.train.folder import METRICS, remove_evaluation
from acdc_medsam.train.weights import identify_encoder

logger = logging.getLogger(__name__)


def splits_to_measure(data: Path) -> list[str]:
    """List the splits to measure: ``val``, and ``test`` if any patient is in it."""
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
    assignment: Assignment = AS_PUBLISHED,
) -> dict[str, Any]:
    """Segment splits in each of WAYS, and write ``metrics.json``, ``predictions/`` and ``cases/`` to ``out``.

    The output of an earlier evaluation is removed first, so that all files in ``out`` belong to one dataset and model.

    Args:
        data: The folder of the dataset.
        volumes: The folder that holds ``ACDC_training_volumes``.
        checkpoint: The released weights, which made the embeddings.
        model: The fine-tuned weights.
        splits: The splits to segment.
        out: The output folder.
        index: The declared output of the rule, which lists every file and is written last.
        threads: The number of threads that compute; None for torch's choice.
        assignment: Which slices belong to which split.

    Returns:
        The content of ``metrics.json``.

    Raises:
        CheckpointError, DatasetError: The input cannot be used; the message names the file.
    """
    silence_libraries()
    if threads is not None:
        set_threads(threads)

    # The input is checked before anything of an earlier evaluation is removed.
    name, precision = identify_encoder(data, checkpoint)
    opened = open_splits(data, volumes, splits, assignment)
    encoding = positional_encoding(data)
    tuned = load_model(name, model)
    released = load_model(name, checkpoint)
    ways = make_ways(released, tuned, encoding)
    encoder = make_encoder(released, ENCODERS[name], precision, torch.device("cpu"))
    training = read_facts(model)

    remove_evaluation(out)
    files: list[Written] = []
    measured: dict[str, Any] = {}
    for dataset, volume_files in opened:
        slices = VolumeSlices(dataset, encoder.encode)
        of_split, written = evaluate_split(slices, volume_files, ways, out)
        measured[dataset.split] = of_split | judge_split(dataset.split, of_split["patients"], training)
        files += written

    metrics = {
        "software": f"acdc-medsam {__version__}",
        "encoder": name,
        "precision": precision,
        "model_sha256": sha256_file(model),
        "checkpoint_sha256": sha256_file(checkpoint),
        "manifest_sha256": sha256_file(data / MANIFEST),
        "training": training,
        "splits": measured,
    }
    content = (json.dumps(metrics, indent=1) + "\n").encode()
    files.append(write_bytes(out / METRICS, content))
    if index is not None:
        write_index(index, [index_row(file, index) for file in files])
    return metrics


def judge_split(split: str, patients: Sequence[str], training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Find out, and say, whether the measured patients had a part in the training.

    Args:
        split: The name of the split.
        patients: The names of its patients.
        training: What the model was trained on; None if it is not known.

    Returns:
        The values ``seen_in_training`` and ``remark`` of the split's part of ``metrics.json``.
    """
    seen = find_seen(patients, training)
    remark = describe_seen(split, patients, seen)
    logger.info("%s", remark, extra=ON_SCREEN)
    return {"seen_in_training": seen, "remark": remark}


def open_splits(
    data: Path, volumes: Path, splits: Sequence[str], assignment: Assignment = AS_PUBLISHED
) -> list[tuple[SliceDataset, dict[str, Path]]]:
    """Open the splits to measure.

    Args:
        data: The folder of the dataset.
        volumes: The folder that holds ``ACDC_training_volumes``.
        splits: The names of the splits.
        assignment: Which slices belong to which split.

    Returns:
        For each split its slices, and the H5 file of each volume by the volume's name.

    Raises:
        DatasetError: A split is empty or shares patients with another one, or a volume is missing.
    """
    rows = read_table(data / MANIFEST)
    for split in splits:
        require_whole_patients(data / MANIFEST, rows, split, assignment)
    datasets = [SliceDataset(data, split, ItemOptions(), assignment) for split in splits]
    return [(dataset, find_volumes(volumes, dataset.rows)) for dataset in datasets]


def make_ways(released: nn.Module, tuned: nn.Module, encoding: Tensor) -> dict[str, Predict]:
    """Make the functions that are compared, by the names in WAYS.

    Args:
        released: The released model.
        tuned: The fine-tuned model.
        encoding: The positional encoding (1, 256, 64, 64).
    """
    return {
        "zero_shot_boxes": with_boxes(released, encoding, fine_tuned=False),
        "fine_tuned_boxes": with_boxes(tuned, encoding, fine_tuned=True),
        "fine_tuned": without_prompts(tuned, encoding),
    }


def evaluate_split(
    slices: VolumeSlices, volumes: Mapping[str, Path], ways: Mapping[str, Predict], out: Path
) -> tuple[dict[str, Any], list[Written]]:
    """Segment all volumes of a split in each way, and draw the best, the median and the worst one.

    Args:
        slices: The slices of the volumes.
        volumes: The H5 file of each volume, by the volume's name.
        ways: The function that predicts the structures in a slice, by the way's name.
        out: The output folder.

    Returns:
        The split's part of ``metrics.json``, and the record of each file that was written.

    Raises:
        DatasetError: A volume is missing or damaged, or none shows a structure.
    """
    split = slices.dataset.split
    predictions = out / "predictions" / split
    scores: dict[str, list[Score]] = {way: [] for way in ways}
    false_positives: dict[str, list[Score]] = {way: [] for way in ways}
    predicted: dict[str, LabelVolume] = {}
    digests: dict[str, str] = {}
    files: list[Written] = []
    missing = 0
    units = PHYSICAL if all(row["spacing"] for row in slices.dataset.rows) else UNSCALED
    for volume, path in volumes.items():
        truth = read_truth(path)
        digests[volume] = truth.sha256
        missing += slices.count_missing(truth)
        # Missing slices are encoded here, once for all ways.
        items = list(slices.items(truth))

        for way, predict in ways.items():
            segmentation = segment_volume(items, predict, truth, units)
            scores[way] += segmentation.scores
            false_positives[way] += segmentation.false_positives
            files.append(write_nifti(segmentation.label, truth, predictions / way / f"{volume}.nii.gz"))
            if way == "fine_tuned":
                predicted[volume] = segmentation.label
        logger.info("%s: %d slices, %d of them not in the dataset", volume, len(items), slices.count_missing(truth))

    if not scores["fine_tuned"]:
        raise DatasetError(
            f"{slices.dataset.root / MANIFEST}: no volume of '{split}' shows a structure, so there is nothing to "
            "measure; choose another split"
        )
    cases, pictures = draw_cases(volumes, predicted, scores["fine_tuned"], out / "cases" / split)
    return {
        "patients": sorted({row["patient"] for row in slices.dataset.rows}),
        "slices": len(slices.dataset),
        "slices_not_in_the_dataset": missing,
        "truth_sha256": digests,
        "units": asdict(units),
        "ways": {way: summarize_way(scores[way], false_positives[way], units) for way in ways},
        "cases": cases,
    }, [*files, *pictures]

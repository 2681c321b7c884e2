"""Stage train: the published dataset and the encoder's model -> the same model with a fine-tuned mask decoder."""

import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from acdc_medsam.data.assignment import AS_PUBLISHED, Assignment
from acdc_medsam.data.module import DataModule
from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.encoders.devices import claimed_device, keep_freed_memory, set_threads
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_table, sha256_file, take_record, write_bytes
from acdc_medsam.formats.tensors import load_saved, saved_bytes
from acdc_medsam.layout import MANIFEST
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.train import silence_libraries
from acdc_medsam.train.budget import limit_training
from acdc_medsam.train.facts import (
    describe_training,
    is_finished,
    list_training,
    write_facts,
    write_training_index,
)
from acdc_medsam.train.folder import BEST, LAST, LOG, remove_training
from acdc_medsam.train.history import History
from acdc_medsam.train.options import TrainOptions
from acdc_medsam.train.ranges import measure_ranges
from acdc_medsam.train.task import FineTuning, load_trainable
from acdc_medsam.train.weights import describe_images, identify_encoder

logger = logging.getLogger(__name__)

MASK_SIZE = 256
"""Side of the decoder's own masks in pixels, at which the loss is computed."""


def fine_tune(
    data: Path,
    checkpoint: Path,
    model: Path,
    options: TrainOptions,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
    assignment: Assignment = AS_PUBLISHED,
    percentile: float | None = None,
) -> None:
    """Fine-tune the mask decoder, or resume an interrupted run of the same identity.

    A finished training is not repeated while its files are there. The files that a training of another
    identity left beside the model are removed before the first epoch, see :func:`training_identity`.

    Args:
        data: The folder of the dataset.
        checkpoint: The weights that the dataset's embeddings were made with.
        model: The output, with the weights of the epoch that has the highest validation Dice. ``best.ckpt``, the
            table of epochs ``log.tsv``, the patients in ``training.json``, and the index ``trained.tsv`` are written
            beside it, and ``last.ckpt`` until the training has finished.
        options: The options of the training.
        device: The device's name, see :func:`acdc_medsam.encoders.devices.claimed_device`.
        workers: The number of processes that load data.
        threads: The number of threads that compute; None for torch's choice. Another number of threads changes the
            result by rounding error.
        assignment: Which slices to train on, and which ones choose the epoch.
        percentile: The configured ``normalize.percentile``; None to take it from the dataset's ``provenance.json``.

    Raises:
        CheckpointError, DatasetError: The input cannot be used; the message names the file.
    """
    if threads is not None:
        set_threads(threads)

    name, precision = identify_encoder(data, checkpoint)
    rows = read_table(data / MANIFEST)
    assignment = limit_training(rows, assignment, options.patients, options.seed)
    identity = training_identity(data, checkpoint, options, assignment)
    if is_finished(model, identity):
        # A run that was killed just before its end has left this file.
        (model.parent / LAST).unlink(missing_ok=True)
        list_training(model, identity)
        logger.info("%s is already trained on this dataset, with these options and this code", model)
        return

    items = ItemOptions(box_jitter=options.box_jitter, mask_size=MASK_SIZE, seed=options.seed)
    module = DataModule(data, items, options.batch_size, workers, assignment)
    SliceDataset(data, "train", items, assignment)  # Raises for an empty split.
    require_structures(SliceDataset(data, "val", items, assignment))

    sam = load_trainable(name, checkpoint)
    task = FineTuning(sam, positional_encoding(data), options.learning_rate, identity)
    checkpoint_io = AtomicCheckpointIO()
    with claimed_device(device) as where:
        if where.type == "cpu":
            keep_freed_memory()
        trainer = make_trainer(model.parent, options, where, checkpoint_io)

        last = find_resumable(model.parent / LAST, identity)
        if last is None:
            remove_training(model)
        # The checkpoint may come from anywhere, so nothing in it is executed.
        trainer.fit(task, module, ckpt_path=last, weights_only=True)

    facts = describe_training(rows, assignment, options) | describe_images(data, name, precision, percentile)
    facts["ranges"] = measure_ranges(data, rows, assignment)
    save_training(task, sam, model, checkpoint_io.written, facts)


def training_identity(
    data: Path, checkpoint: Path, options: TrainOptions, assignment: Assignment = AS_PUBLISHED
) -> str:
    """Hash everything that the result of a training depends on.

    That is the content of the masks and embeddings of ``train`` and ``val``, their order, the options, the released
    weights, and the code that trains. Where the dataset has these files makes no difference.

    Returns:
        The hex sha256.

    Raises:
        DatasetError: The manifest does not have the digests.
    """
    manifest = data / MANIFEST
    columns = ("slice", "mask_sha256", "embedding_sha256")
    # Other slices are not read by the training, so they make no difference.
    try:
        assigned = [(row, assignment.split_of(row)) for row in read_table(manifest)]
        slices = [[split, *(row[key] for key in columns)] for row, split in assigned if split in ("train", "val")]
    except KeyError as error:
        raise DatasetError(
            f"{manifest} has no column {error}: another version of the workflow made it; run the workflow again"
        ) from error

    # The hash covers this module and everything that it imports.
    code = code_hash(Path(__file__))
    facts = [slices, asdict(options), sha256_file(checkpoint), code]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def require_structures(dataset: SliceDataset) -> None:
    """Require that validation has something to measure.

    Args:
        dataset: The slices of ``val``.

    Raises:
        DatasetError: No slice shows a structure.
    """
    if not any(dataset[index]["mask"].any() for index in range(len(dataset))):
        raise DatasetError(
            f"{dataset.root / MANIFEST}: no slice of the split '{dataset.split}' shows a structure, so no epoch "
            "is better than another; raise split.validation in config.yaml, or set another split.seed, "
            "and run the workflow again"
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints atomically. Lightning's own way is atomic only within one file system.

    Attributes:
        written: The record of each file as it was last written, by the file's name.
    """

    def __init__(self) -> None:
        """Start with nothing written."""
        super().__init__()
        self.written: dict[str, Written] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Replace the file as a whole."""
        self.written[Path(path).name] = write_bytes(Path(path), saved_bytes(checkpoint))


def make_trainer(
    folder: Path, options: TrainOptions, device: torch.device, checkpoint_io: AtomicCheckpointIO
) -> pl.Trainer:
    """Make the trainer that runs the epochs and writes ``log.tsv``, ``best.ckpt`` and ``last.ckpt``.

    Args:
        folder: The folder of these files.
        options: The options of the training.
        device: The device to compute on.
        checkpoint_io: The writer of the checkpoints.
    """
    silence_libraries()
    gpu = device.type == "cuda"
    # The files keep their names: without this, Lightning would number them rather than replace them.
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}

    return pl.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[device.index] if gpu else 1,
        precision="32-true" if not gpu else "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed",
        max_epochs=options.epochs,
        # Not every operation has a deterministic form on a GPU.
        deterministic="warn" if gpu else True,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        # Lightning's loggers do not continue the files of a run that is resumed, so the History below writes the log.
        logger=False,
        # Lightning would otherwise start as many processes as a cluster grants the job.
        plugins=[LightningEnvironment(), checkpoint_io],
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        gradient_clip_val=1.0,
        # The History comes first, so that each checkpoint contains the row of its own epoch.
        callbacks=[
            History(folder / LOG),
            ModelCheckpoint(filename="best", monitor="val_dice", mode="max", save_weights_only=True, **common),
            ModelCheckpoint(filename="last", **common),
        ],
    )


def find_resumable(last: Path, identity: str) -> Path | None:
    """Find the checkpoint of an interrupted run, and remove one that cannot be resumed.

    Args:
        last: The checkpoint, which need not exist.
        identity: The identity of the training.

    Returns:
        The checkpoint if it belongs to a run of the same identity, else None.
    """
    if not last.is_file():
        return None
    try:
        known = load_saved(last)["identity"]
    except Exception as error:  # Damaged files raise errors of many kinds, see load_saved.
        logger.warning("%s cannot be read (%s); training starts anew", last, type(error).__name__)
    else:
        # Without the best epoch so far, it is unknown whether a later one is better.
        if known == identity and last.with_name(BEST).is_file():
            logger.info("resuming from %s", last)
            return last
        logger.info("%s belongs to other data, options or code; training starts anew", last)
    last.unlink()
    return None


def save_training(
    task: FineTuning, sam: nn.Module, model: Path, written: Mapping[str, Written], facts: Mapping[str, Any]
) -> None:
    """Save the model of the best epoch and the index, and mark the training as finished.

    Args:
        task: The trained task, whose decoder is that of ``sam``.
        sam: The whole model.
        model: The output.
        written: The record of each checkpoint that this run wrote, by the file's name.
        facts: What the model was trained on.
    """
    folder = model.parent
    best = load_saved(folder / BEST)
    task.load_state_dict(best["state_dict"])

    # A run that was resumed after its best epoch has not written that checkpoint itself.
    others = [written.get(BEST) or take_record(folder / BEST), take_record(folder / LOG)]
    saved = save_model(sam, model)
    described = write_facts(saved, others, task.identity, {"best_epoch": best["epoch"] + 1, **facts})
    write_training_index(model, task.identity, [saved, *others, described])

    # This file marks an interrupted run. Without it, a training that is requested again starts from the beginning.
    (folder / LAST).unlink()
    logger.info("%s: decoder of epoch %d", model, best["epoch"] + 1)


def save_model(model: nn.Module, path: Path) -> Written:
    """Write a model's weights under its own names, as ``load_model`` and segment_anything's ``Sam`` read them.

    Returns:
        The record of the file.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return write_bytes(path, saved_bytes(weights))

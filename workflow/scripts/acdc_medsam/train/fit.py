"""Stage train: the published dataset and the encoder's model -> the same model with a fine-tuned mask decoder."""

import hashlib
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from acdc_medsam.data.module import DataModule
from acdc_medsam.data.slices import ItemOptions, SliceDataset, positional_encoding
from acdc_medsam.encoders import load_model
from acdc_medsam.encoders.devices import claimed_device, keep_freed_memory, set_threads
from acdc_medsam.errors import DatasetError
from acdc_medsam.formats.files import Written, read_table, sha256_file, take_record, write_bytes
from acdc_medsam.formats.index import index_row, write_index
from acdc_medsam.formats.tensors import load_saved, saved_bytes
from acdc_medsam.layout import MANIFEST
from acdc_medsam.runtime.code_hash import code_hash
from acdc_medsam.train import quiet_libraries
from acdc_medsam.train.folder import BEST, INDEX, LAST, LOG, is_finished, remove_training
from acdc_medsam.train.history import History
from acdc_medsam.train.options import TrainOptions
from acdc_medsam.train.task import FineTuning, start_as_single_mask
from acdc_medsam.train.weights import encoder_of

logger = logging.getLogger(__name__)

MASK_SIZE = 256
"""Side of the decoder's own masks, at which the loss is computed."""


def save_model(model: nn.Module, path: Path) -> Written:
    """Write a model's weights under its own names, as ``load_model`` and segment_anything's ``Sam`` read them.

    Returns:
        The record of the file.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    return write_bytes(path, saved_bytes(weights))


def training_identity(data: Path, checkpoint: Path, options: TrainOptions) -> str:
    """Hex sha256 over everything that the result of a training depends on.

    That is the content of the masks and embeddings of ``train`` and ``val``, their order, the options, the released
    weights, and the code that trains.

    Raises:
        DatasetError: The manifest does not have the digests.
    """
    manifest = data / MANIFEST
    columns = ("slice", "split", "mask_sha256", "embedding_sha256")
    try:
        slices = [[row[column] for column in columns] for row in read_table(manifest) if row["split"] != "test"]
    except KeyError as error:
        raise DatasetError(
            f"{manifest} has no column {error}: it is of another version of the workflow; run the workflow again"
        ) from error

    code = code_hash(Path(__file__).with_name("__main__.py"))
    facts = [slices, asdict(options), sha256_file(checkpoint), code]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def require_structures(dataset: SliceDataset) -> None:
    """Stop where validation would have nothing to measure.

    Raises:
        DatasetError: No slice shows a structure.
    """
    if not any(dataset[place]["mask"].any() for place in range(len(dataset))):
        raise DatasetError(
            f"{dataset.root / MANIFEST}: no slice of the split '{dataset.split}' shows a structure, so no epoch "
            "is better than another; raise split.validation in config.yaml, or set another split.seed, "
            "and run the workflow again"
        )


def fine_tune(
    data: Path,
    checkpoint: Path,
    model: Path,
    options: TrainOptions,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
) -> None:
    """Fine-tune the mask decoder, or go on where a run of the same identity was stopped.

    A training that has finished is not repeated while its model and index are there. What a training of another
    identity left beside the model is removed before the first epoch, see :func:`training_identity`.

    Args:
        data: The folder of the dataset.
        checkpoint: The weights that the dataset's embeddings were made with.
        model: The output, with the weights of the epoch that has the highest validation Dice. ``best.ckpt``, the
            table of epochs ``log.tsv``, and the index ``trained.tsv`` are written beside it, and ``last.ckpt`` until
            the training has finished.
        options: The options of the training.
        device: The device's name, see :func:`acdc_medsam.encoders.devices.claimed_device`.
        workers: The number of processes that load data.
        threads: The number of threads that compute; None for torch's choice. Another number of threads changes the
            result by rounding error.

    Raises:
        CheckpointError, DatasetError: What is wrong, with the file's name.
    """
    if threads is not None:
        set_threads(threads)

    name, _ = encoder_of(data, checkpoint)
    identity = training_identity(data, checkpoint, options)
    if is_finished(model, identity):
        (model.parent / LAST).unlink(missing_ok=True)  # left by a run that was killed just before it removed it
        logger.info("%s is trained already on this dataset, with these options and this code", model)
        return

    items = ItemOptions(box_jitter=options.box_jitter, mask_size=MASK_SIZE, seed=options.seed)
    module = DataModule(data, items, options.batch_size, workers)
    SliceDataset(data, "train", items)  # refuses an empty split
    require_structures(SliceDataset(data, "val", items))

    whole = load_trainable(name, checkpoint)
    task = FineTuning(whole, positional_encoding(data), options.learning_rate, identity)
    work = model.parent
    files = WholeFiles()
    with claimed_device(device) as where:
        if where.type == "cpu":
            keep_freed_memory()
        trainer = make_trainer(work, options, where, files)
        last = resumable(work / LAST, identity)
        if last is None:
            remove_training(model)
        else:
            logger.info("going on with %s", last)
        trainer.fit(task, module, ckpt_path=last, weights_only=True)

    best = load_saved(work / BEST)
    task.load_state_dict(best["state_dict"])
    # A run that goes on after its best epoch has not written that checkpoint itself.
    made = [save_model(whole, model), files.written.get(BEST) or take_record(work / BEST), take_record(work / LOG)]
    index = work / INDEX
    write_index(index, [index_row(file, index, identity=identity) for file in made], ("identity",))

    # As long as it is there, a run was stopped; without it, one that is asked for again trains again.
    (work / LAST).unlink()
    logger.info("%s: decoder of epoch %d", model, best["epoch"] + 1)


def load_trainable(name: str, checkpoint: Path) -> nn.Module:
    """Load a model whose mask decoder can be trained in place, and whose masks start as the answer to a box."""
    whole = load_model(name, checkpoint)
    decoder = cast(nn.Module, whole.mask_decoder)
    # Weights are mapped from the checkpoint; what is trained gets memory of its own.
    decoder.load_state_dict({key: value.clone() for key, value in decoder.state_dict().items()}, assign=True)
    start_as_single_mask(decoder)
    return whole


class WholeFiles(TorchCheckpointIO):
    """Writes Lightning's checkpoints under another name first: its own way is atomic within one file system alone."""

    def __init__(self) -> None:
        """Start with nothing written; ``written`` has the record of each file's last content, by the file's name."""
        super().__init__()
        self.written = dict[str, Written]()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Replace the file as a whole."""
        self.written[Path(path).name] = write_bytes(Path(path), saved_bytes(checkpoint))


def make_trainer(work: Path, options: TrainOptions, device: torch.device, files: WholeFiles) -> pl.Trainer:
    """Make what runs the epochs; its checkpoints are ``best.ckpt`` and ``last.ckpt``, each replaced as a whole."""
    quiet_libraries()
    common: dict[str, Any] = {"dirpath": work, "enable_version_counter": False, "save_on_train_epoch_end": True}
    gpu = device.type == "cuda"
    return pl.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[device.index] if gpu else 1,
        precision="bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "16-mixed" if gpu else "32-true",
        max_epochs=options.epochs,
        deterministic="warn" if gpu else True,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        # One process, whatever a cluster says of its job.
        plugins=[LightningEnvironment(), files],
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        gradient_clip_val=1.0,
        callbacks=[
            History(work / LOG),
            ModelCheckpoint(filename="best", monitor="val_dice", mode="max", save_weights_only=True, **common),
            ModelCheckpoint(filename="last", **common),
        ],
    )


def resumable(last: Path, identity: str) -> Path | None:
    """The checkpoint of a run that was stopped, if it was of the same identity."""
    if not last.is_file():
        return None
    try:
        known = load_saved(last)["identity"]
    except Exception as error:  # of any kind, see load_saved
        logger.warning("%s cannot be read (%s); training starts anew", last, type(error).__name__)
    else:
        # Where the best epoch has gone, it cannot be known whether a later one is better.
        if known == identity and last.with_name(BEST).is_file():
            return last
        logger.info("%s is of other data, options or code; training starts anew", last)
    last.unlink()
    return None

"""Stage train: the published dataset and the encoder's model -> the same model with a fine-tuned mask decoder."""

import hashlib
import io
import json
import logging
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import nn

from acdc_medsam.data.module import DataModule
from acdc_medsam.data.slices import ItemOptions, positional_encoding
from acdc_medsam.devices import claimed_device
from acdc_medsam.encode_files import keep_freed_memory
from acdc_medsam.encoders import load_model
from acdc_medsam.encoders.model import PRECISIONS
from acdc_medsam.encoders.registry import ENCODERS, fingerprint
from acdc_medsam.errors import CheckpointError, ConfigError, DatasetError
from acdc_medsam.files import read_table, sha256_file, write_bytes
from acdc_medsam.train.history import History
from acdc_medsam.train.task import FineTuning, start_as_single_mask

logger = logging.getLogger(__name__)

MASK_SIZE = 256
"""Side of the decoder's own masks, at which the loss is computed."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        epochs: passes over the training slices.
        learning_rate: the highest one of AdamW.
        seed: of the order of slices and of what is drawn.
        batch_size: slices in a batch.
        box_jitter: each side of a box is moved by up to so many pixels of 1024.
    """

    epochs: int = 50
    learning_rate: float = 3e-4
    seed: int = 2026
    batch_size: int = 4
    box_jitter: float = 20

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.box_jitter < 0 or not 0 < self.learning_rate < 1:
            raise ConfigError(
                "train: epochs and batch_size must be 1 or more, box_jitter 0 or more, learning_rate between 0 and 1"
            )


def encoder_of(data: Path, checkpoint: Path) -> str:
    """Name of the encoder whose weights in ``checkpoint`` made the dataset's embeddings.

    Raises:
        CheckpointError: they were made by other weights.
        DatasetError: there are no embeddings.
    """
    used = {row["encoder"] for row in read_table(data / "manifest.tsv")} - {""}
    if not used:
        raise DatasetError(f"{data / 'manifest.tsv'} names no embeddings; set encoder.name and run the workflow again")
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint} is missing: give the checkpoint that the embeddings of {data} were made with")
    weights = sha256_file(checkpoint)
    for name, precision in product(ENCODERS, PRECISIONS):
        if used == {fingerprint(name, weights, precision)}:
            return name
    raise CheckpointError(
        f"{checkpoint} did not make the embeddings of {data}: embeddings and decoder must be of one model; "
        "give the checkpoint that the dataset was made with, or run the workflow again with this one"
    )


def find_checkpoint(data: Path, candidates: Iterable[Path]) -> Path:
    """The one of some checkpoints that made the dataset's embeddings.

    Raises:
        CheckpointError: none did.
    """
    tried = list(candidates)
    for checkpoint in tried:
        try:
            encoder_of(data, checkpoint)
        except CheckpointError:
            continue
        return checkpoint
    names = ", ".join(map(str, tried)) or "no file in checkpoints/"
    raise CheckpointError(f"looked at {names}: none made the embeddings of {data}; name it with --checkpoint")


def save_model(model: nn.Module, path: Path) -> None:
    """Write a model's weights under its own names, as ``load_model`` and segment_anything's ``Sam`` read them."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, buffer)
    write_bytes(path, buffer.getvalue())


def fine_tune(
    data: Path, checkpoint: Path, model: Path, work: Path, options: TrainOptions, device: str = "auto", workers: int = 0
) -> None:
    """Fine-tune the mask decoder, or go on where a run of the same data and options was stopped.

    Args:
        data: folder of the dataset.
        checkpoint: what its embeddings were made with.
        model: output, weights of the epoch with the highest validation Dice.
        work: folder of ``last.ckpt`` and ``best.ckpt``, and of the table of epochs, ``log.tsv``.
        options: how to train.
        device: see :func:`acdc_medsam.devices.claimed_device`.
        workers: processes that load data.

    Raises:
        CheckpointError, DatasetError: what is wrong, with the file's name.
    """
    name = encoder_of(data, checkpoint)
    facts = [asdict(options), sha256_file(data / "manifest.tsv"), sha256_file(checkpoint)]
    identity = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    whole = load_model(name, checkpoint)
    # Weights are mapped from the checkpoint; what is trained gets memory of its own.
    whole.mask_decoder.load_state_dict(  # type: ignore[union-attr, operator]
        {key: value.clone() for key, value in whole.mask_decoder.state_dict().items()}, assign=True  # type: ignore[union-attr, operator]
    )
    start_as_single_mask(whole.mask_decoder)  # type: ignore[arg-type]
    task = FineTuning(whole, positional_encoding(data), options.learning_rate, identity)
    items = ItemOptions(box_jitter=options.box_jitter, mask_size=MASK_SIZE, seed=options.seed)
    module = DataModule(data, items, options.batch_size, workers)
    with claimed_device(device) as where:
        if where.type == "cpu":
            keep_freed_memory()
        trainer = make_trainer(work, options, where)
        last = resumable(work / "last.ckpt", identity)
        if last is not None:
            logger.info("going on with %s", last)
        trainer.fit(task, module, ckpt_path=last, weights_only=True)
    best = torch.load(work / "best.ckpt", weights_only=True, map_location="cpu")
    task.load_state_dict(best["state_dict"])
    save_model(whole, model)
    logger.info("%s: decoder of epoch %d", model, best["epoch"] + 1)


def make_trainer(work: Path, options: TrainOptions, device: torch.device) -> pl.Trainer:
    """Make what runs the epochs; its checkpoints are ``best.ckpt`` and ``last.ckpt``, each replaced as a whole."""
    quiet_lightning()
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
        plugins=[LightningEnvironment()],  # one process, whatever a cluster says of its job
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        gradient_clip_val=1.0,
        callbacks=[
            History(work / "log.tsv"),
            ModelCheckpoint(filename="best", monitor="val_dice", mode="max", save_weights_only=True, **common),
            ModelCheckpoint(filename="last", **common),
        ],
    )


def resumable(last: Path, identity: str) -> Path | None:
    """The checkpoint of a run that was stopped, if it was of the same data and options."""
    if not last.is_file():
        return None
    if torch.load(last, weights_only=True, map_location="cpu").get("identity") == identity:
        return last
    logger.info("%s is of other data or options; training starts anew", last)
    last.unlink()
    return None


def quiet_lightning() -> None:
    """Leave out what Lightning says about itself and about loaders with few workers."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")

"""Stage train: the published dataset and the encoder's model -> the same model with a fine-tuned mask decoder."""

import hashlib
import io
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

from acdc_medsam.archive import claims_more
from acdc_medsam.data.module import DataModule
from acdc_medsam.data.slices import ItemOptions, positional_encoding
from acdc_medsam.devices import claimed_device, set_threads
from acdc_medsam.encode_files import keep_freed_memory
from acdc_medsam.encoders import load_model
from acdc_medsam.files import sha256_file, write_bytes
from acdc_medsam.train import quiet_libraries
from acdc_medsam.train.history import History
from acdc_medsam.train.options import TrainOptions
from acdc_medsam.train.task import FineTuning, start_as_single_mask
from acdc_medsam.train.weights import encoder_of

logger = logging.getLogger(__name__)

MASK_SIZE = 256
"""Side of the decoder's own masks, at which the loss is computed."""


def save_model(model: nn.Module, path: Path) -> None:
    """Write a model's weights under its own names, as ``load_model`` and segment_anything's ``Sam`` read them."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, buffer)
    write_bytes(path, buffer.getvalue())


def fine_tune(
    data: Path,
    checkpoint: Path,
    model: Path,
    options: TrainOptions,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
) -> None:
    """Fine-tune the mask decoder, or go on where a run of the same data and options was stopped.

    Args:
        data: folder of the dataset.
        checkpoint: what its embeddings were made with.
        model: output, weights of the epoch with the highest validation Dice. Beside it lie ``last.ckpt`` and
            ``best.ckpt``, and the table of epochs, ``log.tsv``.
        options: how to train.
        device: see :func:`acdc_medsam.devices.claimed_device`.
        workers: processes that load data.
        threads: of the computation; None for torch's choice. Another number gives other last digits.

    Raises:
        CheckpointError, DatasetError: what is wrong, with the file's name.
    """
    if threads is not None:
        set_threads(threads)
    name, work = encoder_of(data, checkpoint), model.parent
    facts = [asdict(options), sha256_file(data / "manifest.tsv"), sha256_file(checkpoint)]
    identity = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    whole = load_model(name, checkpoint)
    decoder = cast(nn.Module, whole.mask_decoder)
    # Weights are mapped from the checkpoint; what is trained gets memory of its own.
    decoder.load_state_dict({key: value.clone() for key, value in decoder.state_dict().items()}, assign=True)
    start_as_single_mask(decoder)
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


class WholeFiles(TorchCheckpointIO):
    """Writes Lightning's checkpoints under another name first: its own way is atomic within one file system alone."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Replace the file as a whole."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getvalue())


def make_trainer(work: Path, options: TrainOptions, device: torch.device) -> pl.Trainer:
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
        plugins=[LightningEnvironment(), WholeFiles()],
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
    try:
        if claims_more(last):
            raise ValueError
        known = torch.load(last, weights_only=True, map_location="cpu")["identity"]
    except Exception as error:  # torch.load raises many kinds at a damaged or foreign file
        logger.warning("%s cannot be read (%s); training starts anew", last, type(error).__name__)
    else:
        if known == identity:
            return last
        logger.info("%s is of other data or options; training starts anew", last)
    last.unlink()
    return None

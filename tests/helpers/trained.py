"""A model that was trained for two epochs on four slices of the tiny phantoms.

    python tests/helpers/trained.py MOMENT data/ACDC --out training

trains like ``acdc-medsam train``, but is killed at MOMENT: ``step:3`` is before the third training step of
this process, ``write:model.pth`` is before a file of that name is put in its place, and ``never`` is not at all.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from acdc_medsam.cli import main
from acdc_medsam.encoders.registry import fingerprint
from acdc_medsam.formats.files import read_table, sha256_file, write_table
from acdc_medsam.layout import MANIFEST_COLUMNS
from acdc_medsam.train.fit import AtomicCheckpointIO
from acdc_medsam.train.task import FineTuning
from small_dataset import SmallDataset


def set_encoder(dataset: SmallDataset, checkpoint: Path) -> None:
    """Name the checkpoint as the encoder of the dataset's embeddings, which are random but serve as well."""
    encoder = fingerprint("lite_medsam", sha256_file(checkpoint), "float32", "cpu")
    manifest = dataset.data / "manifest.tsv"
    write_table(manifest, MANIFEST_COLUMNS, [row | {"encoder": encoder} for row in read_table(manifest)])


def publish_few_slices(dataset: SmallDataset, checkpoint: Path) -> None:
    """Publish two training slices, and one slice of each phase of one validation and one testing patient."""
    dataset.publish()
    set_encoder(dataset, checkpoint)

    manifest = dataset.data / "manifest.tsv"
    rows = read_table(manifest)
    complete = [row for row in rows if all(int(row[f"{key}_pixels"]) for key in ("rv", "myo", "lv"))]
    train = [row for row in complete if row["split"] == "train"][:2]
    val, test = ({row["phase"]: row for row in complete if row["split"] == split} for split in ("val", "test"))
    write_table(manifest, MANIFEST_COLUMNS, [*train, *val.values(), *test.values()])


def train(dataset: SmallDataset, checkpoint: Path) -> None:
    """Train by the command line, without interruption."""
    publish_few_slices(dataset, checkpoint)
    folders = [str(dataset.data), "--out", str(dataset.output / "training")]
    options = ["--checkpoint", str(checkpoint), "--epochs", "2", "--batch-size", "1", "--threads", "2"]
    with keeping_last():
        assert main(["train", *folders, *options]) == 0


@contextmanager
def keeping_last() -> Iterator[None]:
    """Keep a copy of ``last.ckpt``, which training finally removes, as ``kept.ckpt``."""
    save = AtomicCheckpointIO.save_checkpoint

    def save_and_keep(
        checkpoint_io: AtomicCheckpointIO, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        save(checkpoint_io, checkpoint, path, storage_options)
        if Path(path).name == "last.ckpt":
            shutil.copyfile(path, Path(path).with_name("kept.ckpt"))

    with patch.object(AtomicCheckpointIO, "save_checkpoint", save_and_keep):
        yield


@contextmanager
def killed_at(moment: str) -> Iterator[None]:
    """Have this process killed at a moment, see above."""
    kind, _, detail = moment.partition(":")
    batches: list[int] = []
    training_step = FineTuning.training_step
    replace = Path.replace

    def counted_step(task: FineTuning, batch: Any, batch_index: int) -> Any:
        batches.append(batch_index)
        if kind == "step" and len(batches) == int(detail):
            os.kill(os.getpid(), signal.SIGKILL)
        return training_step(task, batch, batch_index)

    def watched_replace(path: Path, target: Path) -> Path:
        if kind == "write" and Path(target).name == detail:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    with patch.object(FineTuning, "training_step", counted_step), patch.object(Path, "replace", watched_replace):
        yield


if __name__ == "__main__":
    with keeping_last(), killed_at(sys.argv[1]):
        sys.exit(main(["train", *sys.argv[2:]]))

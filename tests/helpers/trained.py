"""A model that was trained for two epochs on four slices of the tiny phantoms.

    python tests/helpers/trained.py PLACE --data_dir data/ACDC --out training

trains as ``python -m acdc_medsam.train`` does, and is killed at PLACE: ``step:3`` before the third training step of
this process, ``write:model.pth`` before a file of that name is put in its place, ``nowhere`` not at all.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from acdc_medsam.encoders.registry import fingerprint
from acdc_medsam.formats.files import read_table, sha256_file, write_table
from acdc_medsam.layout import MANIFEST_COLUMNS
from acdc_medsam.train.__main__ import main
from acdc_medsam.train.fit import WholeFiles
from acdc_medsam.train.task import FineTuning
from small_dataset import SmallDataset


def say_encoder(dataset: SmallDataset, checkpoint: Path) -> None:
    """Say of the dataset's embeddings that they are by the checkpoint. Random as they are, all works as with others."""
    encoder = fingerprint("lite_medsam", sha256_file(checkpoint), "float32", "cpu")
    manifest = dataset.data / "manifest.tsv"
    write_table(manifest, MANIFEST_COLUMNS, [row | {"encoder": encoder} for row in read_table(manifest)])


def few_slices(dataset: SmallDataset, checkpoint: Path) -> None:
    """Publish two slices to train on, and the two phases of one validation and one testing patient, a slice each."""
    dataset.publish()
    say_encoder(dataset, checkpoint)
    manifest = dataset.data / "manifest.tsv"
    rows = read_table(manifest)
    whole = [row for row in rows if all(int(row[f"{key}_pixels"]) for key in ("rv", "myo", "lv"))]
    train = [row for row in whole if row["split"] == "train"][:2]
    val, test = ({row["phase"]: row for row in whole if row["split"] == split} for split in ("val", "test"))
    write_table(manifest, MANIFEST_COLUMNS, [*train, *val.values(), *test.values()])


def train(dataset: SmallDataset, checkpoint: Path) -> None:
    """Train without a disturbance, by the command line."""
    few_slices(dataset, checkpoint)
    folders = ["--data_dir", str(dataset.data), "--out", str(dataset.output / "training")]
    options = ["--checkpoint", str(checkpoint), "--epochs", "2", "--batch_size", "1", "--threads", "2"]
    with keeping_last():
        assert main([*folders, *options]) == 0


@contextmanager
def keeping_last() -> Iterator[None]:
    """Keep a copy of ``last.ckpt``, which training removes in the end, as ``kept.ckpt``."""
    save = WholeFiles.save_checkpoint

    def save_and_keep(
        files: WholeFiles, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        save(files, checkpoint, path, storage_options)
        if Path(path).name == "last.ckpt":
            shutil.copyfile(path, Path(path).with_name("kept.ckpt"))

    with patch.object(WholeFiles, "save_checkpoint", save_and_keep):
        yield


@contextmanager
def killed_at(place: str) -> Iterator[None]:
    """Have this process killed at a place, see above."""
    what, _, where = place.partition(":")
    steps, replace = list[int](), Path.replace

    def step(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(task: FineTuning, batch: Any, number: int) -> Any:
            steps.append(number)
            if what == "step" and len(steps) == int(where):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(task, batch, number)

        return counted

    def put(path: Path, target: Path) -> Path:
        if what == "write" and Path(target).name == where:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    with patch.object(FineTuning, "training_step", step(FineTuning.training_step)), patch.object(Path, "replace", put):
        yield


if __name__ == "__main__":
    with keeping_last(), killed_at(sys.argv[1]):
        sys.exit(main(sys.argv[2:]))

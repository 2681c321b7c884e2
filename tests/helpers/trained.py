"""A model that was trained for two epochs on four slices of the tiny phantoms.

    python tests/helpers/trained.py MOMENT --data_dir data/ACDC --out training

trains as ``python -m acdc_medsam.train`` does, and kills itself at a moment: ``step:3`` is before the third training
step of this process, ``write:model.pth`` is before a file of that name gets its name, ``nowhere`` is never.
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


def claim_encoder(dataset: SmallDataset, checkpoint: Path) -> None:
    """Have the manifest claim that the random embeddings were made with the checkpoint."""
    encoder = fingerprint("lite_medsam", sha256_file(checkpoint), "float32", "cpu")
    manifest = dataset.data / "manifest.tsv"
    write_table(manifest, MANIFEST_COLUMNS, [row | {"encoder": encoder} for row in read_table(manifest)])


def publish_few_slices(dataset: SmallDataset, checkpoint: Path) -> None:
    """Publish two training slices, and one slice of each phase of a validation patient and of a testing patient."""
    dataset.publish()
    claim_encoder(dataset, checkpoint)
    manifest = dataset.data / "manifest.tsv"
    rows = read_table(manifest)

    whole = [row for row in rows if all(int(row[f"{key}_pixels"]) for key in ("rv", "myo", "lv"))]
    train = [row for row in whole if row["split"] == "train"][:2]
    val, test = ({row["phase"]: row for row in whole if row["split"] == split} for split in ("val", "test"))
    write_table(manifest, MANIFEST_COLUMNS, [*train, *val.values(), *test.values()])


def train(dataset: SmallDataset, checkpoint: Path) -> None:
    """Train through the command line, undisturbed."""
    publish_few_slices(dataset, checkpoint)
    folders = ["--data_dir", str(dataset.data), "--out", str(dataset.output / "training")]
    options = ["--checkpoint", str(checkpoint), "--epochs", "2", "--batch_size", "1", "--threads", "2"]
    with keeping_last():
        assert main([*folders, *options]) == 0


@contextmanager
def keeping_last() -> Iterator[None]:
    """Copy ``last.ckpt`` to ``kept.ckpt``, because training removes it in the end."""
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
def killed_at(moment: str) -> Iterator[None]:
    """Kill this process at a moment, see above."""
    event, _, name = moment.partition(":")
    steps: list[int] = []
    replace = Path.replace

    def step(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(task: FineTuning, batch: Any, index: int) -> Any:
            steps.append(index)
            if event == "step" and len(steps) == int(name):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(task, batch, index)

        return counted

    def put(path: Path, target: Path) -> Path:
        if event == "write" and Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    with patch.object(FineTuning, "training_step", step(FineTuning.training_step)), patch.object(Path, "replace", put):
        yield


if __name__ == "__main__":
    with keeping_last(), killed_at(sys.argv[1]):
        sys.exit(main(sys.argv[2:]))

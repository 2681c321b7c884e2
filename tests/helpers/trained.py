"""A model that was trained for two epochs on three slices of the tiny phantoms."""

from pathlib import Path

from acdc_medsam.encoders.registry import fingerprint
from acdc_medsam.files import read_table, sha256_file, write_table
from acdc_medsam.publish import MANIFEST_COLUMNS
from acdc_medsam.train.__main__ import main
from small_dataset import SmallDataset


def few_slices(dataset: SmallDataset, checkpoint: Path) -> None:
    """Publish two slices to train on and the two phases of one validation patient, a slice each.

    Their embeddings are said to be by the checkpoint. Random as they are, training on them is as quick as on others.
    """
    dataset.publish()
    encoder, manifest = fingerprint("lite_medsam", sha256_file(checkpoint), "float32"), dataset.data / "manifest.tsv"
    rows = [row | {"encoder": encoder} for row in read_table(manifest)]
    whole = [row for row in rows if all(int(row[f"{key}_pixels"]) for key in ("rv", "myo", "lv"))]
    train = [row for row in whole if row["split"] == "train"][:2]
    val = {row["phase"]: row for row in whole if row["split"] == "val"}
    write_table(manifest, MANIFEST_COLUMNS, [*train, *val.values()])


def train(dataset: SmallDataset, checkpoint: Path) -> None:
    """Train without a disturbance, by the command line."""
    few_slices(dataset, checkpoint)
    folders = ["--data_dir", str(dataset.data), "--out", str(dataset.output / "training")]
    options = ["--checkpoint", str(checkpoint), "--epochs", "2", "--batch_size", "1", "--threads", "2"]
    assert main([*folders, *options]) == 0

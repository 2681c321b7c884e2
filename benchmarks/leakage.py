"""What a split by slice makes of a validation score: the same slices and training, split by patient and by slice.

    python benchmarks/leakage.py --dataset data/ACDC --checkpoint checkpoints/lite_medsam.pth --epochs 10

Testing patients are left out. Prints validation Dice of the best epoch of either, and how many patients with validation
slices are also trained on. With ``--out`` a run that was stopped goes on.
"""

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from acdc_medsam.formats.files import Row, read_table, write_table
from acdc_medsam.layout import MANIFEST_COLUMNS
from acdc_medsam.stages.split import assign_splits
from acdc_medsam.train.fit import fine_tune
from acdc_medsam.train.options import TrainOptions

UNITS = ("patient", "slice")


def split_anew(dataset: Path, folder: Path, unit: str, validation: float, seed: int) -> list[Row]:
    """Make a dataset of links to another one's files, split otherwise; returns its manifest."""
    rows = [row | {"subset": "training"} for row in read_table(dataset / "manifest.tsv") if row["split"] != "test"]
    linked = []
    for row, given in zip(rows, assign_splits(rows, unit, validation, seed, stratify=True), strict=True):
        old, new = dataset / row["split"], folder / given["split"]
        for kind, suffix in (("images", "png"), ("masks", "png"), ("image_embeddings", "pt")):
            link = new / kind / f"{row['slice']}.{suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to((old / kind / link.name).resolve())
        embedding = f"{given['split']}/image_embeddings/{row['slice']}.pt"
        linked.append({column: row[column] for column in MANIFEST_COLUMNS} | given | {"embedding": embedding})
    write_table(folder / "manifest.tsv", MANIFEST_COLUMNS, linked)
    encoding = folder / "positional_encoding/pe.pt"
    encoding.parent.mkdir(exist_ok=True)
    encoding.unlink(missing_ok=True)
    encoding.symlink_to((dataset / "positional_encoding/pe.pt").resolve())
    return linked


def measure(dataset: Path, checkpoint: Path, unit: str, validation: float, options: TrainOptions, out: Path) -> Any:
    """Split, train, and say what validation found."""
    rows = split_anew(dataset, out / unit / "data", unit, validation, seed=2026)
    fine_tune(out / unit / "data", checkpoint, out / unit / "model.pth", options)
    best = max(read_table(out / unit / "log.tsv"), key=lambda row: float(row["val_dice"]))
    patients = {split: {row["patient"] for row in rows if row["split"] == split} for split in ("train", "val")}
    return {
        "unit": unit,
        "training_slices": sum(row["split"] == "train" for row in rows),
        "validation_slices": sum(row["split"] == "val" for row in rows),
        "patients_on_both_sides": len(patients["train"] & patients["val"]),
        "epoch": int(best["epoch"]),
        **{key: round(float(value), 4) for key, value in best.items() if key.startswith("val_")},
    }


def main() -> None:
    """Read the command line, measure, print one JSON object per split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("data/ACDC"))
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/lite_medsam.pth"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--validation", type=float, default=0.34, help="share of patients, or slices, that validate")
    parser.add_argument("--out", type=Path, help="folder to keep models and logs in")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as temporary:
        for unit in UNITS:
            options = TrainOptions(epochs=given.epochs)
            out = given.out or Path(temporary)
            found = measure(given.dataset, given.checkpoint, unit, given.validation, options, out)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

"""Measure how a split by slice inflates the validation score: the same slices and training, with either split.

    python benchmarks/leakage.py --dataset data/ACDC --checkpoint checkpoints/lite_medsam.pth --epochs 10

Testing patients are left out. The output is the validation Dice of the best epoch with each split, and the number of
patients that have slices on both sides. With ``--out``, an interrupted run can be resumed.
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
from acdc_medsam.stages.split_rule import SplitRule
from acdc_medsam.train.fit import fine_tune
from acdc_medsam.train.options import TrainOptions

UNITS = ("patient", "slice")


def link_split(dataset: Path, folder: Path, unit: str, validation: float, seed: int) -> list[Row]:
    """Make a dataset with another split out of links to a dataset's files; returns the rows of its manifest."""
    # assign_splits asks for the subset, which the manifest does not have.
    rows = [row | {"subset": "training"} for row in read_table(dataset / "manifest.tsv") if row["split"] != "test"]
    rule = SplitRule(unit=unit, validation=validation, seed=seed)
    linked = []
    for row, assigned in zip(rows, assign_splits(rows, rule), strict=True):
        old = dataset / row["split"]
        new = folder / assigned["split"]
        for kind, suffix in (("images", "png"), ("masks", "png"), ("image_embeddings", "pt")):
            link = new / kind / f"{row['slice']}.{suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to((old / kind / link.name).resolve())
        embedding = f"{assigned['split']}/image_embeddings/{row['slice']}.pt"
        linked.append({column: row[column] for column in MANIFEST_COLUMNS} | assigned | {"embedding": embedding})
    write_table(folder / "manifest.tsv", MANIFEST_COLUMNS, linked)

    encoding = folder / "positional_encoding/pe.pt"
    encoding.parent.mkdir(exist_ok=True)
    encoding.unlink(missing_ok=True)
    encoding.symlink_to((dataset / "positional_encoding/pe.pt").resolve())
    return linked


def measure(dataset: Path, checkpoint: Path, unit: str, validation: float, options: TrainOptions, out: Path) -> Any:
    """Split, train, and return the validation scores of the best epoch."""
    rows = link_split(dataset, out / unit / "data", unit, validation, seed=2026)
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
    """Read the command line, measure, and print one JSON object per split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("data/ACDC"))
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/lite_medsam.pth"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--validation", type=float, default=0.34, help="share of patients or slices for validation")
    parser.add_argument("--out", type=Path, help="folder in which models and logs are kept")
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

"""Time the run after a change of one patient in a finished cohort, up to the verified dataset.

    python benchmarks/change.py --patients 100 --cores 2

The embeddings of the finished cohort are random numbers in files like the workflow's own, because encoding would take
long and make no difference. Three changes follow one after the other: one voxel of a label, after which nothing is
encoded; the image of one frame; and both frames of the patient.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.model import PRECISIONS
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.encoders.store import Maker, Store, embedding_digest
from acdc_medsam.formats.files import read_sealed
from acdc_medsam.layout import EMBEDDING_SHAPE
from acdc_medsam.phantom.cohort import write_patient
from cohort import make_phantoms, run_workflow
from reference import CHECKPOINTS

NAME = "lite_medsam"
CHECKPOINT = CHECKPOINTS / "lite_medsam.pth"


def link_cohort(source: Path, target: Path) -> Path:
    """Copy a cohort by hard links, so that a patient can be replaced; returns ``target``."""
    for path in source.glob("training/*/*"):
        link = target / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, link)
    return target


def fill_store(work: Path, precision: str) -> int:
    """Write a random embedding for each image to where the workflow looks for it; returns their number."""
    weights = checked_sha256(CHECKPOINT, ENCODERS[NAME], None)
    maker = Maker(NAME, weights, precision, device="cpu", code="benchmark")
    store = Store(work / "embeddings/store", maker.facts())
    rows = [row for table in work.glob("png/*/slices.tsv") for row in read_sealed(table)]
    for row in rows:
        store.save(embedding_digest(maker.fingerprint, row["pixels_sha256"]), torch.randn(EMBEDDING_SHAPE))
    return len(rows)


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the voxels of a NIfTI file, but not those of files that are hard-linked to it."""
    image = nib.load(path)
    changed = nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine, image.header)
    path.unlink()
    nib.save(changed, path)


def clear_one_voxel(label: Any) -> Any:
    """Set the first labeled voxel of a label (X, Y, Z) to background."""
    voxel = tuple(np.argwhere(label)[0])
    label = label.copy()
    label[voxel] = 0
    return label


def correct_label(patient: Path) -> None:
    """Change one voxel of the label of the first frame."""
    rewrite(min(patient.glob("*_gt.nii.gz")), clear_one_voxel)


def replace_frame(patient: Path) -> None:
    """Flip the image of the first frame."""
    rewrite(min(patient.glob("*_frame??.nii.gz")), np.flipud)


def replace_patient(patient: Path) -> None:
    """Replace both frames and their labels."""
    for path in patient.iterdir():
        path.unlink()
    write_patient(patient.parent, int(patient.name.removeprefix("patient")), seed=1)


CHANGES = {"label": correct_label, "frame": replace_frame, "patient": replace_patient}


def measure(patients: int, cores: int, precision: str) -> dict[str, Any]:
    """Finish a cohort, change one patient in three ways, and time the run after each."""
    config = {"encoder": {"name": NAME, "checkpoint": str(CHECKPOINT), "precision": precision}}
    with tempfile.TemporaryDirectory() as temporary:
        raw = link_cohort(make_phantoms(patients), Path(temporary) / "raw")
        out = Path(temporary) / "out"

        def run(target: str) -> float:
            seconds = run_workflow(raw, out, cores, target=target, **config).seconds
            print(f"{target}: {seconds:.1f} s", file=sys.stderr)
            return seconds

        run("images")
        slices = fill_store(out / "work", precision)
        everything = run("verify")
        nothing = run("verify")

        changed = {}
        for kind, change in CHANGES.items():
            change(raw / "training/patient001")
            seconds = run("verify")
            # The log may hold earlier runs too.
            encoded = re.findall(r"encoded (\d+) slices", (out / "work/logs/embed/p001-016.log").read_text())
            changed[kind] = {"seconds": seconds, "slices_encoded": int(encoded[-1])}
    return {
        "patients": patients,
        "slices": slices,
        "cores": cores,
        "precision": precision,
        "publish_and_verify_all_seconds": everything,
        "nothing_to_do_seconds": nothing,
        "changed": changed,
    }


def main() -> None:
    """Read the command line, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="precision of the encoder")
    options = parser.parse_args()
    print(json.dumps(measure(options.patients, options.cores, options.precision)))


if __name__ == "__main__":
    main()

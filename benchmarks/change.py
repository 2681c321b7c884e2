"""Time what one changed patient costs in a finished cohort, up to the verified dataset.

    python benchmarks/change.py --patients 100 --cores 2

The embeddings of the finished cohort are random numbers in files as the workflow writes them, because encoding them
would take long and change nothing; those of the changed patient are encoded.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.registry import ENCODERS, fingerprint
from acdc_medsam.files import read_table
from acdc_medsam.phantom import write_patient
from acdc_medsam.store import EMBEDDING_SHAPE, embedding_digest, save_tensor, store_path
from cohort import phantoms, run_workflow
from reference import CHECKPOINTS

NAME = "lite_medsam"
CHECKPOINT = CHECKPOINTS / "lite_medsam.pth"


def link_cohort(source: Path, target: Path) -> Path:
    """Make a cohort of hard links, in which a patient can be replaced."""
    for path in source.glob("training/*/*"):
        link = target / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, link)
    return target


def fill_store(work: Path) -> int:
    """Write a random embedding for each image, where the workflow looks for it."""
    encoder = fingerprint(NAME, checked_sha256(CHECKPOINT, ENCODERS[NAME], None), "float32")
    rows = [row for table in work.glob("png/*/slices.tsv") for row in read_table(table)]
    for row in rows:
        digest = embedding_digest(encoder, row["pixels_sha256"])
        save_tensor(torch.randn(EMBEDDING_SHAPE), store_path(work / "embeddings/store", digest))
    return len(rows)


def measure(patients: int, cores: int) -> dict[str, Any]:
    """Finish a cohort, change one patient, and time the next run."""
    config = {"encoder": {"name": NAME, "checkpoint": str(CHECKPOINT)}}
    with tempfile.TemporaryDirectory() as name:
        raw, out = link_cohort(phantoms(patients), Path(name) / "raw"), Path(name) / "out"

        def run(target: str) -> float:
            seconds = run_workflow(raw, out, cores, target=target, **config).seconds
            print(f"{target}: {seconds:.1f} s", file=sys.stderr)
            return seconds

        run("images")
        slices = fill_store(out / "work")
        everything, nothing = run("verify"), run("verify")
        for path in (raw / "training/patient001").iterdir():
            path.unlink()
        write_patient(raw / "training", 1, seed=1)
        changed = run("verify")
        encoded = re.findall(r"encoded (\d+) slices", (out / "work/logs/embed/p001-016.log").read_text())
    return {
        "patients": patients,
        "slices": slices,
        "cores": cores,
        "publish_and_verify_all_seconds": everything,
        "nothing_to_do_seconds": nothing,
        "changed_patient_seconds": changed,
        "slices_encoded": int(encoded[-1]),
    }


def main() -> None:
    """Read the command line, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.patients, options.cores)))


if __name__ == "__main__":
    main()

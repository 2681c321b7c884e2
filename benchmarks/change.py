"""Time the run after a change of one patient in a finished cohort, up to the verified dataset and up to the report.

    python benchmarks/change.py --patients 100 --cores 2
    python benchmarks/change.py --patients 100 --rounds 3 --folder kept

The embeddings of the finished cohort are random numbers in files like the workflow's own, because encoding would take
long and make no difference. Three changes follow one after the other: one voxel of a label, after which nothing is
encoded; the image of one frame; and both frames of the patient. For each run, the start and the end of every job are
given in seconds from the start of the run; what lies before the first job and after the last one is Snakemake's.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from acdc_medsam.encoders.checkpoint_file import checked_sha256
from acdc_medsam.encoders.registry import ENCODERS, PRECISIONS
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


def correct_label(patient: Path, seed: int) -> None:
    """Change one voxel of the label of the first frame."""
    rewrite(min(patient.glob("*_gt.nii.gz")), clear_one_voxel)


def replace_frame(patient: Path, seed: int) -> None:
    """Move the image of the first frame by some columns, beyond whose last one comes the first."""
    rewrite(min(patient.glob("*_frame??.nii.gz")), lambda image: np.roll(image, 1 + seed % (len(image) - 1), axis=0))


def replace_patient(patient: Path, seed: int) -> None:
    """Replace both frames and their labels."""
    for path in patient.iterdir():
        path.unlink()
    write_patient(patient.parent, int(patient.name.removeprefix("patient")), seed=seed)


CHANGES = {"label": correct_label, "frame": replace_frame, "patient": replace_patient}


def read_jobs(work: Path, since: float) -> dict[str, list[float]]:
    """Read when each job of the last run started and ended, in seconds from the start of that run, in order.

    Args:
        work: Folder that the benchmark files of the jobs lie in.
        since: Time at which the run started.
    """
    jobs = {}
    for path in (work / "benchmarks").rglob("*.tsv"):
        # Snakemake writes the file when the job has ended.
        end = path.stat().st_mtime - since
        if end > 0:
            seconds = float(path.read_text().splitlines()[1].split("\t")[0])
            jobs[str(path.relative_to(work / "benchmarks").with_suffix(""))] = [round(end - seconds, 2), round(end, 2)]
    return dict(sorted(jobs.items(), key=lambda job: job[1]))


def time_run(raw: Path, out: Path, cores: int, config: dict[str, Any]) -> dict[str, Any]:
    """Run the workflow up to the report; returns the times of the run and of its jobs."""
    accepted = out / "work/accepted.tsv"
    before = accepted.stat().st_mtime_ns if accepted.exists() else 0
    started = time.time()
    finished = run_workflow(raw, out, cores, target="report", **config)
    times: dict[str, Any] = {"seconds": finished.seconds, "cpu_seconds": finished.cpu_seconds}
    if accepted.stat().st_mtime_ns != before:
        times["verified_after_seconds"] = accepted.stat().st_mtime - started
    return times | {"jobs": read_jobs(out / "work", started)}


def count_encoded(work: Path) -> int:
    """Read from the log how many slices the batch of the changed patient needed to be encoded."""
    # The log may hold earlier runs too.
    return int(re.findall(r"encoded (\d+) slices", (work / "logs/embed/p001-016.log").read_text())[-1])


def measure(folder: Path, patients: int, cores: int, precision: str, rounds: int) -> dict[str, Any]:
    """Finish a cohort, change one patient in three ways, and time the run after each."""
    config = {"encoder": {"name": NAME, "checkpoint": str(CHECKPOINT), "precision": precision}}
    raw, out = folder / "raw", folder / "out"
    if not raw.exists():
        link_cohort(make_phantoms(patients), raw)
    run_workflow(raw, out, cores, target="images", **config)
    slices = fill_store(out / "work", precision)
    figures: dict[str, Any] = {"patients": patients, "slices": slices, "cores": cores, "precision": precision}

    figures["everything"] = time_run(raw, out, cores, config)
    for _ in range(rounds):
        for kind, change in {"nothing": None, **CHANGES}.items():
            if change:
                # In a folder that is kept, a seed of an earlier call would change nothing.
                change(raw / "training/patient001", random.randrange(1, 2**31))
            times = time_run(raw, out, cores, config)
            if change:
                times["slices_encoded"] = count_encoded(out / "work")
            print(f"{kind}: {times}", file=sys.stderr)
            if times["seconds"] < figures.get(kind, times)["seconds"] or kind not in figures:
                figures[kind] = times
    return figures


def main() -> None:
    """Read the command line, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="precision of the encoder")
    parser.add_argument("--rounds", type=int, default=1, help="number of rounds, of which the best times are reported")
    parser.add_argument("--folder", type=Path, help="folder that keeps the cohort for the next call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        print(json.dumps(measure(folder, options.patients, options.cores, options.precision, options.rounds)))


if __name__ == "__main__":
    main()

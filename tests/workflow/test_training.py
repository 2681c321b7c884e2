"""Training and evaluation as targets: what is refused before any job, and what makes a model and metrics stale."""

import itertools
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from acdc_medsam.formats.files import read_table, sha256_file
from harms import HARMS
from workflow_run import Workflow


def refused(workflow: Workflow, target: str) -> str:
    """Run a target that must be refused before any job, and return the output."""
    run = workflow.run(target, expect=1)
    assert "Traceback" not in run.output and run.jobs == []
    return run.output


@pytest.fixture
def encoding(workflow: Workflow, checkpoint: Path) -> Workflow:
    """A workflow before its first run, with an encoder."""
    workflow.configure(encoder={"name": "lite_medsam", "checkpoint": str(checkpoint)})
    return workflow


@pytest.mark.parametrize("target", ["train", "evaluate"])
@pytest.mark.parametrize("unit", ["patient", "slice"])
def test_no_validation_is_refused_before_any_job(encoding: Workflow, target: str, unit: str) -> None:
    encoding.configure(**encoding.configuration(), split={"validation": 0, "unit": unit})
    output = refused(encoding, target)
    if (target, unit) != ("evaluate", "slice"):
        assert "training needs slices of 'val' to choose its best epoch by" in output
        assert "split.validation is 0, and there are 2 training patients" in output


def test_one_training_patient_is_refused_before_any_job(encoding: Workflow) -> None:
    encoding.configure(**encoding.configuration(), exclude=["patient001"])
    assert "split.validation is 0.2, and there are 1 training patients" in refused(encoding, "train")


def test_a_scheme_without_validation_patients_is_refused_before_any_job(encoding: Workflow) -> None:
    encoding.configure(**encoding.configuration(), split={"scheme": "wsl4mis", "fold": 2})
    output = refused(encoding, "train")
    assert "split.scheme wsl4mis:2 puts none of these patients in 'val'; choose another split.fold" in output


def test_evaluation_without_embeddings_is_refused_before_any_job(workflow: Workflow) -> None:
    assert "training needs embeddings: set encoder.name in config.yaml" in refused(workflow, "evaluate")


def test_evaluation_of_a_split_by_slice_is_refused(encoding: Workflow) -> None:
    encoding.configure(**encoding.configuration(), split={"unit": "slice"})
    output = refused(encoding, "evaluate")
    assert "evaluation measures whole patients, and with split.unit: slice" in output
    assert "Set 'split: {unit: patient}' in config.yaml" in output
    assert "train_model" in encoding.run("train", "--dry-run").output


def shift_labels(raw: Path) -> None:
    """Move all labels by six pixels, so that each structure keeps its number of pixels."""
    for path in raw.rglob("*_gt.nii.gz"):
        image = nib.load(path)
        moved = np.roll(np.asarray(image.dataobj), 6, axis=0)
        nib.save(nib.Nifti1Image(moved, image.affine, image.header), path)


KINDS = (
    "model.pth",
    "best.ckpt",
    "log.tsv",
    "trained.tsv",
    "training.json",
    "metrics.json",
    "evaluated.tsv",
    "cases/val/*.png",
    "predictions/val/*/*.nii.gz",
)
"""Patterns of every kind of file that training and evaluation make."""


def contents_of(folder: Path) -> dict[Path, bytes | list[dict[str, str]]]:
    """Return the content of every file, without what depends on how long an epoch took.

    Left out are the seconds in the log, the files with a digest of the log, and the notes of files' times.
    """
    with_digest = ("trained.tsv", "training.json")
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.name not in with_digest and path.name[0] != "."
    ]
    rows = read_table(folder / "log.tsv")
    untimed = [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]
    return {path: untimed if path.name == "log.tsv" else path.read_bytes() for path in files}


def test_a_model_and_its_metrics_follow_the_labels(small_run: Workflow, request: pytest.FixtureRequest) -> None:
    small_run.configure(**small_run.configuration(), train={"epochs": 1})
    folder, page = small_run.folder / "training/lite_medsam", small_run.data / "report.html"
    small_run.run("evaluate")
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    model = sha256_file(folder / "model.pth")
    assert metrics["model_sha256"] == model and list(metrics["splits"]) == ["val"]
    assert small_run.run("evaluate").jobs == []
    small_run.run("report")
    assert 'id="results"' in page.read_text()

    # Damage is restored. Each kind of file gets one harm; with the option, each kind gets every harm in turn.
    content = contents_of(folder)
    for first in range(len(HARMS) if request.config.getoption("--each-damage") else 1):
        harms = itertools.islice(itertools.cycle(HARMS.values()), first, None)
        for kind, harm in zip(KINDS, harms, strict=False):
            victim, *others = sorted(folder.glob(kind))
            harm(victim, (others or [page])[-1])
        small_run.run("evaluate")
        assert contents_of(folder) == content

    # Other labels give another model and other metrics, even with the same number of labeled pixels.
    log = small_run.folder / "work/logs/train.log"
    before = {row["slice"]: row for row in read_table(small_run.data / "manifest.tsv")}
    shift_labels(small_run.raw)
    small_run.run("evaluate")
    after = {row["slice"]: row for row in read_table(small_run.data / "manifest.tsv")}
    assert all(after[name]["lv_pixels"] == row["lv_pixels"] for name, row in before.items()), "as many as before"
    assert "epoch 1 of 1" in log.read_text() and "resuming from" not in log.read_text()

    shifted = sha256_file(folder / "model.pth")
    assert shifted != model
    again = json.loads((folder / "metrics.json").read_text())
    assert again["manifest_sha256"] == sha256_file(small_run.data / "manifest.tsv") != metrics["manifest_sha256"]
    assert again["model_sha256"] == shifted
    assert again["splits"]["val"]["truth_sha256"] != metrics["splits"]["val"]["truth_sha256"]

    # If it is forced, training starts from the first epoch, although nothing has changed.
    assert [job for job in small_run.run("train", "--forcerun", "train_model").jobs if "fine-tune" in job]
    assert "epoch 1 of 1" in log.read_text() and "resuming from" not in log.read_text()
    assert sha256_file(folder / "model.pth") == shifted
    assert not (folder / "metrics.json").exists() and not (folder / "predictions").exists()
    small_run.run("report")
    assert 'id="results"' not in page.read_text()
